"""Each cloud's way from its edge to the gateway's pods, over the recorded stacks, known and at a first preview."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from catalog.contract import GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT
from infra.gateway.config import render
from infra.plan import Plan, record
from infra.services import gateway
from infra.services.policies import networks
from infra.settings import parse
from tests.infra.services import schemas

MODES = ("known", "unknown")
STACKS = (
    "kind",
    "aws-staging",
    "gcp-staging",
    "azure-staging",
    "aws-prod-services",
    "gcp-prod-services",
    "azure-prod-services",
)
"""All layers in one, and the services on a foundation of another stack."""


@pytest.fixture(params=[(stack, mode) for stack in STACKS for mode in MODES], ids="-".join)
def plan(request: pytest.FixtureRequest) -> Plan:
    stack, mode = request.param
    return record(stack, mode)


def plain(value: Any) -> Any:
    """The value with a text in place of what is secret or not known yet."""
    if isinstance(value, dict):
        if "$unknown" in value or "$secret" in value:
            return "later"
        return {key: {} if key == "annotations" and "$unknown" in item else plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_every_object_of_ours_is_valid_and_every_custom_one_is_what_its_definition_takes(plan: Plan) -> None:
    checked = 0
    for item in plan.objects:
        if not item.name.startswith("services-") or item.name.startswith(
            ("services-vault", "services-consul", "services-monitoring")
        ):
            continue
        manifest = plain(dict(item.inputs))
        manifest.pop("id", None)
        if manifest["kind"] in schemas.kinds():
            schemas.validate(manifest)
        else:
            kubernetes_validate.validate(manifest, "1.35", strict=True)
        checked += 1
    assert checked > 20


def test_the_gateway_is_not_public_by_itself(plan: Plan) -> None:
    service = plan.one(name="services-gateway-service")
    if plan.stack.startswith("azure"):
        assert service.get("spec.type") == "LoadBalancer"
        annotations = service.get("metadata.annotations")
        assert annotations["service.beta.kubernetes.io/azure-load-balancer-internal"] == "true"
        assert annotations["service.beta.kubernetes.io/azure-pls-create"] == "true"
    else:
        assert service.get("spec.type") == "ClusterIP"


@pytest.mark.parametrize("mode", MODES)
def test_aws_fills_the_foundations_target_group_with_the_gateways_tls_port(mode: str) -> None:
    plan = record("aws-staging", mode)
    binding = plan.one(kind="TargetGroupBinding")
    assert binding.get("spec.serviceRef") == {"name": "gateway", "port": "https"}
    group = plan.one("aws:lb/targetGroup:TargetGroup")
    assert group.get("port") == GATEWAY_TLS_PORT
    assert binding.property_dependencies["spec"] == (group.urn,)
    charts = {item.get("chart"): item for item in plan.resources if item.is_release}
    assert charts["aws-load-balancer-controller"].urn in binding.dependencies
    # The names the foundation bound identities to.
    bound = {item.get("serviceAccount") for item in plan.find("aws:eks/podIdentityAssociation:PodIdentityAssociation")}
    for chart, path in (("aws-load-balancer-controller", "values.serviceAccount.name"), ("cluster-autoscaler", "values.rbac.serviceAccount.name")):  # fmt: skip
        assert charts[chart].get(path) in bound
        assert charts[chart].get("namespace") == "kube-system"


@pytest.mark.parametrize("mode", MODES)
def test_google_makes_its_balancer_of_what_the_foundation_named(mode: str) -> None:
    plan = record("gcp-staging", mode)
    ingress, backend = plan.one(kind="Ingress"), plan.one(kind="BackendConfig")
    annotations = ingress.get("metadata.annotations")
    assert annotations["kubernetes.io/ingress.allow-http"] == "false"
    assert annotations["networking.gke.io/v1beta1.FrontendConfig"] == plan.one(kind="FrontendConfig").get(
        "metadata.name"
    )
    names = {"gcp:compute/globalAddress:GlobalAddress", "gcp:compute/managedSslCertificate:ManagedSslCertificate"}
    urns = {item.urn for item in plan.resources if item.type in names and "edge" in item.name}
    assert urns <= set(ingress.property_dependencies["metadata"])
    assert backend.get("spec.cdn") == {"enabled": False}
    assert backend.get("spec.securityPolicy.name")
    assert backend.get("spec.healthCheck.port") == GATEWAY_HTTP_PORT
    # The longest answer is let through: as long as the gateway itself waits.
    assert backend.get("spec.timeoutSec") >= 150


@pytest.mark.parametrize("mode", MODES)
def test_front_door_reaches_the_gateway_by_private_link_after_its_service_is_there(mode: str) -> None:
    plan = record("azure-staging", mode)
    origin, route = plan.one("azure-native:cdn:AFDOrigin"), plan.one("azure-native:cdn:Route")
    assert origin.get("enforceCertificateNameCheck") is True
    assert origin.get("httpsPort") == GATEWAY_TLS_PORT
    link = plan.one(name="services-gateway-service").get("metadata.annotations")[
        "service.beta.kubernetes.io/azure-pls-name"
    ]
    if mode == "known":
        assert origin.get("sharedPrivateLinkResource.privateLink.id").endswith(f"/privateLinkServices/{link}")
    assert route.get("forwardingProtocol") == "HttpsOnly"
    assert origin.urn in route.dependencies
    service = plan.one(name="services-gateway-service")
    assert service.urn in origin.dependencies
    # Front Door takes an origin's certificate from a public authority only.
    issuer = plan.one("kubernetes:cert-manager.io/v1:Issuer")
    assert "acme" in issuer.get("spec")
    assert plan.find("azure-native:authorization:RoleAssignment", where=lambda item: "prover" in item.name)


@pytest.mark.parametrize("stack", ["aws-staging", "gcp-staging"])
def test_elsewhere_the_gateways_certificate_comes_from_an_authority_of_its_own(stack: str) -> None:
    plan = record(stack, "known")
    certificate = plan.one("kubernetes:cert-manager.io/v1:Certificate", "services-gateway-certificate")
    assert certificate.get("spec.issuerRef.name") == "gateway"
    assert "acme" not in str([item.inputs for item in plan.find("kubernetes:cert-manager.io/v1:Issuer")])
    pod = plan.one(name="services-gateway-deployment").get("spec.template.spec")
    tls = next(volume for volume in pod["volumes"] if volume["name"] == "tls")
    assert tls["secret"]["secretName"] == certificate.get("spec.secretName")
    release = next(item for item in plan.resources if item.is_release and item.get("chart") == "cert-manager")
    assert release.urn in certificate.dependencies


CLOUDS: dict[str, dict[str, Any]] = {
    "aws": {"region": "eu-central-1", "zones": ["eu-central-1a", "eu-central-1b"], "account": "123456789012"},
    "gcp": {"region": "europe-west3", "zones": ["europe-west3-a", "europe-west3-b"], "account": "your-project"},
    "azure": {
        "region": "westeurope", "zones": ["1", "2"], "account": "00000000-0000-0000-0000-000000000000", "tenant": "00000000-0000-0000-0000-000000000000",
    },
    "existing": {"data": "in-cluster"},
}  # fmt: skip


@pytest.mark.parametrize("edge", [True, False])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_client_is_believed_to_be_whom_a_proxy_names_where_only_that_proxy_gets_in(cloud: str, edge: bool) -> None:
    """What may name the client must be what alone may connect: or anybody could name anybody."""
    spec = parse({"cloud": cloud, "environment": "dev", "components": {"edge": edge}, **CLOUDS[cloud]})
    trusted, _ = gateway.proxies(spec)
    if trusted:
        assert networks.clients(spec) == trusted
    else:
        assert networks.clients(spec) == ("0.0.0.0/0",)


def test_googles_balancer_names_the_client_in_a_header_of_its_own() -> None:
    spec = parse({"cloud": "gcp", "environment": "dev", **CLOUDS["gcp"]})
    text = render(gateway.settings(spec))
    assert "real_ip_header X-Client-Address;" in text
    headers = record("gcp-staging", "known").one(kind="BackendConfig").get("spec.customRequestHeaders.headers")
    assert headers == ["X-Client-Address:{client_ip_address}"]


def test_plain_http_answers_health_checks_alone_where_there_is_tls() -> None:
    secure = parse({"cloud": "aws", "environment": "dev", **CLOUDS["aws"]})
    assert [(item.port, item.redirect) for item in gateway.settings(secure).listeners] == [(8000, True), (8800, False)]
    own = parse(
        {**CLOUDS["existing"], "cloud": "existing", "environment": "dev", "components": {"certificates": False}}
    )
    assert [(item.port, item.redirect) for item in gateway.settings(own).listeners] == [(8000, False)]


def test_the_gateway_spreads_scales_and_survives_a_drain(plan: Plan) -> None:
    pod = plan.one(name="services-gateway-deployment").get("spec.template.spec")
    assert {item["topologyKey"] for item in pod["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert pod["affinity"]["podAntiAffinity"]
    scaler = plan.one(name="services-gateway-horizontalpodautoscaler")
    assert scaler.get("spec.minReplicas") >= 2
    assert plan.one(name="services-gateway-poddisruptionbudget").get("spec.maxUnavailable") == 1
    # Longer than the gateway lets requests run on, and the pause before.
    assert pod["terminationGracePeriodSeconds"] > 150 + 5


def test_routes_are_optional_and_the_certificate_is_not(plan: Plan) -> None:
    volumes = plan.one(name="services-gateway-deployment").get("spec.template.spec.volumes")
    routes = [volume for volume in volumes if volume["name"].startswith("routes-")]
    assert routes
    assert all(volume["configMap"]["optional"] for volume in routes)
    assert all("optional" not in volume["secret"] for volume in volumes if "secret" in volume)
