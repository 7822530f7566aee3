"""Owns the gateway in the cluster: nginx with the configuration infra.gateway renders, watched by infra/gateway/serve.sh.

Each fleet stack's routes are a ConfigMap of its own, mounted optionally: a fleet that is not there never keeps
the gateway from starting, and one that is broken keeps its last good routes. Unprivileged image, no root. What
stands before it is infra.services.edge's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pulumi
from pulumi import Input, ResourceOptions

from catalog.contract import CONTROL_PORT, GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT
from infra import kubernetes, pods
from infra.contracts import Edge
from infra.gateway import config
from infra.gateway.config import Certificate, GatewaySettings, Listener, render
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services.base import config_map
from infra.services.mesh.canary import SIDECAR
from infra.services.policies.networks import GOOGLE_FRONT_ENDS
from infra.settings import PlatformSpec

NAME = "gateway"
ROLE = "api-gateway"
"""Value of the ``role`` label (specification section 5)."""
IMAGE = "docker.io/nginxinc/nginx-unprivileged:1.31.3-alpine"
USER_ID = 101
"""The image's nginx user."""
SOURCE = "/etc/gateway"
"""Where everything is mounted."""
LIVE = "/tmp/gateway"
"""What nginx reads: serve.sh's copies of what is mounted and works."""
CLIENT_ADDRESS = "X-Client-Address"
"""Header in which Google's load balancer says whom it speaks for (infra.services.edge.gcp)."""
TLS_SECRET = "gateway-tls"
_SERVE = Path(config.__file__).with_name("serve.sh")


@dataclass(frozen=True)
class GatewayArgs:
    """What the gateway is made of."""

    spec: PlatformSpec
    edge: Edge
    client_id: Input[str] | None = None
    """Of the Azure identity that proves the domain; None where the certificate comes from a private authority."""
    issuing: pulumi.Resource | None = None
    """cert-manager's release, which knows what a certificate is."""


class Gateway(pulumi.ComponentResource):
    """nginx, its configuration, certificate, Service, autoscaler and disruption budget."""

    service: pulumi.CustomResource

    def __init__(self, name: str, args: GatewayArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Gateway", name, {}, opts)
        child = ResourceOptions(parent=self)
        configuration = configuration_map(args.spec)
        before = [kubernetes.apply(configuration, name=f"{name}-configuration", opts=child)]
        if args.spec.components.certificates:
            for what, manifest in certificates(args).items():
                known = ResourceOptions(parent=self, depends_on=[args.issuing] if args.issuing else [])
                before.append(kubernetes.apply(manifest, name=f"{name}-{what}", opts=known))
        after = ResourceOptions(parent=self, depends_on=before)
        fewest = 3 if args.spec.environment == "prod" else 2
        kubernetes.apply(
            deployment(args.spec, configuration["metadata"]["name"]), name=f"{name}-deployment", opts=after
        )
        self.service = kubernetes.apply(service(args.spec), name=f"{name}-service", opts=after)
        for manifest in (
            pods.autoscaler(_metadata("gateway-hpa"), NAME, fewest, 10, {"cpu": 60}),
            pods.disruption_budget(_metadata(NAME), NAME),
        ):
            kubernetes.apply(manifest, name=f"{name}-{manifest['kind'].lower()}", opts=after)
        self.register_outputs({})


def settings(spec: PlatformSpec) -> GatewaySettings:
    """The cluster's gateway: resolved by the cluster's DNS, trusting the edge's addresses alone."""
    trusted, header = proxies(spec)
    plain = Listener(port=GATEWAY_HTTP_PORT, redirect=spec.components.certificates)
    secure = Listener(
        port=GATEWAY_TLS_PORT, certificate=Certificate(chain=f"{LIVE}/tls/tls.crt", key=f"{LIVE}/tls/tls.key")
    )
    return GatewaySettings(
        # A port forwarded from a cluster you have answers by the name it is called by.
        hosts=(spec.api_host, *(("localhost", "127.0.0.1") if spec.cloud == "existing" else ())),
        listeners=(plain, secure) if spec.components.certificates else (plain,),
        control=f"control.{NAMESPACE}.svc.cluster.local:{CONTROL_PORT}",
        routes=f"{LIVE}/routes/*",
        pid="/tmp/nginx.pid",
        temporary="/tmp",
        # serve.sh puts the pod's own DNS servers in its place.
        resolver="kube-dns.kube-system.svc.cluster.local",
        trusted_proxies=trusted,
        client_address_header=header,
        names_agents=spec.components.mesh == "istio",
    )


def proxies(spec: PlatformSpec) -> tuple[tuple[str, ...], str]:
    """Ranges that may say whom they speak for, and the header they say it in; none where nothing stands between."""
    if spec.cloud == "gcp":
        # X-Forwarded-For would end in the load balancer's own address.
        return GOOGLE_FRONT_ENDS, CLIENT_ADDRESS
    if spec.components.edge and spec.cloud in ("aws", "azure"):
        return (spec.network.cidr,), "X-Forwarded-For"
    return (), "X-Forwarded-For"


def configuration_map(spec: PlatformSpec) -> Manifest:
    """nginx.conf and serve.sh as an immutable ConfigMap named by its digest: a change rolls the gateway."""
    files = {"nginx.conf": render(settings(spec)), "serve.sh": _SERVE.read_text("utf-8")}
    digest = sha256("\0".join(files.values()).encode()).hexdigest()[:10]
    return {**config_map(f"gateway-{digest}", files), "immutable": True}


def certificates(args: GatewayArgs) -> dict[str, Manifest]:
    """The gateway's certificate and what issues it, by what each object is: an authority of its own, or a public one
    where the edge takes no other (Azure).

    Clients of the cloud's edge see the edge's public certificate; this one encrypts the way from there.
    """
    spec = args.spec
    named = {"namespace": NAMESPACE, "labels": labels(NAME, "gateway")}
    key = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
    authority = f"{NAME}-authority"

    def made(kind: str, name: str, body: Manifest) -> Manifest:
        return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name, **named}, "spec": body}

    names = [spec.api_host]
    if args.client_id is not None:
        issuers = {"issuer": made("Issuer", NAME, {"acme": _acme(spec, args.edge, args.client_id)})}
    else:
        names += [f"{NAME}.{NAMESPACE}.svc", f"{NAME}.{NAMESPACE}.svc.cluster.local"]
        issuers = {
            "root": made("Issuer", f"{NAME}-root", {"selfSigned": {}}),
            "authority": made(
                "Certificate",
                authority,
                {
                    "isCA": True,
                    "commonName": "Gateway of the agents platform",
                    "secretName": authority,
                    "duration": "87600h",
                    "renewBefore": "8760h",
                    "privateKey": {**key, "rotationPolicy": "Never"},
                    "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": f"{NAME}-root"},
                },
            ),
            "issuer": made("Issuer", NAME, {"ca": {"secretName": authority}}),
        }
    return {
        **issuers,
        "certificate": made(
            "Certificate",
            NAME,
            {
                "secretName": TLS_SECRET,
                "dnsNames": names,
                "duration": "2160h",
                "renewBefore": "720h",
                "privateKey": key,
                "usages": ["digital signature", "server auth"],
                "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": NAME},
            },
        ),
    }


def _acme(spec: PlatformSpec, edge: Edge, client_id: Input[str]) -> Manifest:
    """Let's Encrypt, with the domain proven in its Azure zone (cert-manager's documentation, AzureDNS)."""
    zone = {
        "subscriptionID": spec.account,
        "resourceGroupName": edge.origin["resource_group"],
        "hostedZoneName": edge.zone,
        "environment": "AzurePublicCloud",
        "managedIdentity": {"clientID": client_id},
    }
    return {
        "server": "https://acme-v02.api.letsencrypt.org/directory",
        **({"email": spec.alerts.email} if spec.alerts.email else {}),
        "privateKeySecretRef": {"name": f"{NAME}-acme"},
        "solvers": [{"dns01": {"azureDNS": zone}}],
    }


def fleets(spec: PlatformSpec) -> tuple[str, ...]:
    """Names of the fleets whose routes are mounted: the unsharded one, or the shards the settings name."""
    return spec.gateway.fleets or ("fleet",)


def ports(spec: PlatformSpec) -> dict[str, int]:
    """The gateway's container ports by name."""
    secure = {"https": GATEWAY_TLS_PORT} if spec.components.certificates else {}
    return {"http": GATEWAY_HTTP_PORT, **secure}


def deployment(spec: PlatformSpec, configuration: str) -> Manifest:
    """The gateway's Deployment; its autoscaler owns the number of replicas."""
    sources = {
        f"routes-{fleet}": (f"{SOURCE}/routes/{fleet}", {"configMap": {"name": f"routes-{fleet}", "optional": True}})
        for fleet in fleets(spec)
    }
    if spec.components.certificates:
        # Not optional: the pod waits until cert-manager has made it.
        sources["tls"] = (f"{SOURCE}/tls", {"secret": {"secretName": TLS_SECRET}})
    container: Manifest = {
        "name": NAME,
        "image": IMAGE,
        "command": ["/bin/sh", f"{SOURCE}/serve.sh"],
        "env": [pods.env_value("TZ", "UTC")],
        "ports": [{"name": key, "containerPort": port, "protocol": "TCP"} for key, port in ports(spec).items()],
        "resources": pods.resources("250m", "1", "128Mi", "256Mi"),
        "securityContext": pods.container_security(),
        "startupProbe": pods.http_probe("/health", "http", period=2, failures=30),
        "readinessProbe": pods.http_probe("/health", "http", period=5, failures=2),
        "livenessProbe": pods.http_probe("/health", "http", period=10, failures=3),
        # Endpoints are withdrawn while it still answers; then serve.sh lets nginx finish what it has.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": [
            *(
                pods.mount("configuration", f"{SOURCE}/{file}", read_only=True) | {"subPath": file}
                for file in ("nginx.conf", "serve.sh")
            ),
            *(pods.mount(volume, path, read_only=True) for volume, (path, _) in sources.items()),
            pods.mount("tmp", "/tmp"),
        ],
    }
    pod = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 180,
        "priorityClassName": "ai-agents-platform",
        "securityContext": pods.pod_security(USER_ID),
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [_apart()]}},
        "topologySpreadConstraints": pods.spread(NAME),
        "containers": [container],
        "volumes": [
            {"name": "configuration", "configMap": {"name": configuration}},
            *({"name": volume, **source} for volume, (_, source) in sources.items()),
            {"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}},
        ],
    }
    # Where requests to an agent's versions are split.
    sidecar = SIDECAR if spec.components.mesh == "istio" else {}
    template = {"metadata": {"labels": {**labels(NAME, "gateway"), "role": ROLE, **sidecar}}, "spec": pod}
    return pods.deployment(_metadata(NAME), NAME, template)


def service(spec: PlatformSpec) -> Manifest:
    """The gateway's Service inside the cluster; a cloud's edge changes what it needs to (infra.services.edge)."""
    from infra.services.edge import exposed

    manifest = pods.cluster_ip(_metadata(NAME), NAME, "http", GATEWAY_HTTP_PORT)
    manifest["spec"]["ports"] = [
        {"name": key, "port": port, "targetPort": key, "protocol": "TCP"} for key, port in ports(spec).items()
    ]
    return exposed(spec, manifest)


def _apart() -> Manifest:
    term = {"labelSelector": {"matchLabels": {"app": NAME}}, "topologyKey": "kubernetes.io/hostname"}
    return {"weight": 100, "podAffinityTerm": term}


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(NAME, "gateway")}
