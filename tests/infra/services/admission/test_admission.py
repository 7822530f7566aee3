"""The API server itself refuses what must be refused in namespaces of ours, and admits everything we render."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.plan import record
from infra.services.admission import registries, rules
from infra.services.policies import networks, quotas
from infra.settings import parse
from tests.infra.cluster.api import Cluster, Manifest, RefusedError, path
from tests.infra.cluster.test_apply import objects

RUNTIME = "ghcr.io/your-org/ai-agents-runtime@sha256:" + "0" * 64
SPACE = "tests-admission"
OTHER = "tests-elsewhere"
SPEC = parse({"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"certificates": False}})


def pod(**changes: Any) -> Manifest:
    """A pod that every rule and restricted pod security admit; ``changes`` are to its one container."""
    container = {
        "name": "it",
        "image": RUNTIME,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **changes,
    }
    return {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
    }


def workload(kind: str, spec: Manifest, namespace: str = SPACE) -> Manifest:
    """An object of a kind that makes pods of ``spec``."""
    labels = {"app": "it"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    restarting = {**template, "spec": {**spec, "restartPolicy": "Never"}}
    selected = {"selector": {"matchLabels": labels}, "template": template}
    bodies: dict[str, tuple[str, Manifest]] = {
        "Pod": ("v1", spec),
        "Deployment": ("apps/v1", {"replicas": 0, **selected}),
        "StatefulSet": ("apps/v1", {"replicas": 0, "serviceName": "it", **selected}),
        "Job": ("batch/v1", {"suspend": True, "template": restarting}),
        "CronJob": ("batch/v1", {"suspend": True, "schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": restarting}}}),
    }  # fmt: skip
    version, body = bodies[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "it", "namespace": namespace}, "spec": body}


def bound(manifest: Manifest) -> Manifest:
    """A rule as it is, but for namespaces and a name of the tests', so that it meets nobody else's objects."""
    made = copy.deepcopy(manifest)
    made["metadata"]["name"] = f"tests-{made['metadata']['name']}"
    if made["kind"].endswith("Binding"):
        made["spec"]["policyName"] = f"tests-{made['spec']['policyName']}"
        made["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"] = [SPACE]
    return made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with the rules, the quota and the limits in a namespace of the tests'."""
    api = Cluster()
    made = [_namespace(SPACE, "restricted"), _namespace(OTHER, "privileged")]
    made += [bound(manifest) for manifest in rules.manifests(SPEC)]
    made += [_moved(quotas.quota(SPEC, "ai-agents")), _moved(quotas.limit_range("ai-agents"))]
    try:
        for manifest in made:
            api.apply(manifest)
        # The server takes a moment to hold by a new rule, and takes each of them up by itself.
        for rule, case in ALONE.items():
            _wait_in_force(api, rule, workload(*CASES[case][:2]))
        yield api
    finally:
        api.remove_all(reversed(made))


def _namespace(name: str, level: str) -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": level}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _moved(manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": SPACE}}


def _wait_in_force(api: Cluster, rule: str, refused: Manifest) -> None:
    api.wait(f"{rule} is in force", lambda: rule in _refused(api, refused), 60)


def _refused(api: Cluster, manifest: Manifest) -> str:
    """The server's words where it refuses the object; it is not kept where it admits it."""
    try:
        api.apply(manifest)
    except RefusedError as error:
        return str(error)
    api.delete(path(manifest))
    return ""


UNLIMITED = {"requests": {"cpu": "10m", "memory": "16Mi"}}
DIGEST = "@sha256:" + "1" * 64
CASES = {
    "no tag": ("Deployment", pod(image="docker.io/grafana/loki"), "images-pinned.*container it: name a version"),
    "latest": ("Deployment", pod(image="docker.io/hashicorp/vault:latest"), "images-pinned"),
    # Two rules refuse it, and the server tells of either.
    "no tag behind a port": ("Job", pod(image="registry.example.com:5000/vault"), "images-pinned|image-registries"),
    "latest of an init container": ("CronJob", {**pod(), "initContainers": [{**pod()["containers"][0], "name": "first", "image": "docker.io/valkey/valkey"}]}, "images-pinned.*container first"),
    "another registry": ("Deployment", pod(image=f"evil.example.com/vault:1.0{DIGEST}"), "image-registries.*not on the list"),
    "a name that only begins like ours": ("Deployment", pod(image="ghcr.io/your-org-evil/ai-agents-runtime:1"), "image-registries"),
    "a repository that only begins like ours": (
        "Deployment",
        pod(image="ghcr.io/your-org/ai-agents-runtime-evil:1"),
        "image-registries",
    ),
    "Docker Hub's own library": ("StatefulSet", pod(image="busybox:1.37"), "image-registries"),
    "Docker Hub unqualified": ("Pod", pod(image="someone/thing:1"), "image-registries"),
    "no limits": ("Deployment", pod(resources=UNLIMITED), "ai-agents-limits.*resources.limits for memory"),
    "nothing stated": ("CronJob", pod(resources={}), "ai-agents-limits"),
    "no request": ("StatefulSet", pod(resources={"limits": {"memory": "16Mi", "cpu": "1"}}), "ai-agents-limits"),
    "privileged": ("Deployment", pod(securityContext={"privileged": True}), "no-privileged.*container it"),
    "the node's network": ("Deployment", {**pod(), "hostNetwork": True}, "no-privileged.*only node exporters"),
    "the node's processes": ("Job", {**pod(), "hostPID": True}, "no-privileged"),
    "root": ("Pod", {**pod(), "securityContext": {"runAsUser": 0}}, "PodSecurity.*restricted"),
    "more than a container may": ("Pod", pod(resources={"requests": {"cpu": "9", "memory": "1Gi"}, "limits": {"cpu": "9", "memory": "1Gi"}}), "maximum cpu usage per Container is 8"),
}  # fmt: skip

# Every rule that refuses something, by a case that no other rule refuses.
ALONE = {
    "ai-agents-images-pinned": "latest",
    "ai-agents-image-registries": "another registry",
    "ai-agents-limits": "no limits",
    "ai-agents-no-privileged": "privileged",
}


@pytest.mark.cluster
@pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG does not point at a disposable cluster")
class TestOnTheServer:
    @pytest.mark.parametrize("case", CASES)
    def test_what_must_be_refused_is(self, cluster: Cluster, case: str) -> None:
        kind, spec, said = CASES[case]
        answer = _refused(cluster, workload(kind, spec))
        assert answer, f"{case} was admitted"
        assert re.search(said, answer, re.DOTALL), answer

    @pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "Job", "CronJob"])
    def test_what_keeps_the_rules_is_admitted(self, cluster: Cluster, kind: str) -> None:
        assert _refused(cluster, workload(kind, pod())) == ""

    def test_other_namespaces_are_left_alone(self, cluster: Cluster) -> None:
        assert _refused(cluster, workload("Deployment", pod(image="busybox", resources={}), OTHER)) == ""

    def test_a_pod_that_leaves_limits_out_gets_the_namespaces_own(self, cluster: Cluster) -> None:
        made = cluster.apply(workload("Pod", pod(resources={})))
        cluster.delete(path(made))
        assert made["spec"]["containers"][0]["resources"]["limits"]["memory"] == "256Mi"

    def test_no_node_port_and_no_load_balancer_gets_past_the_quota(self, cluster: Cluster) -> None:
        def service(kind: str) -> Manifest:
            spec = {"type": kind, "selector": {"app": "it"}, "ports": [{"port": 80}]}
            return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it", "namespace": SPACE}, "spec": spec}

        def counted() -> bool:
            status = cluster.get(f"/api/v1/namespaces/{SPACE}/resourcequotas/quota").get("status") or {}
            return "services.nodeports" in (status.get("hard") or {})

        cluster.wait("the quota is counted", counted, 60)
        assert _refused(cluster, service("ClusterIP")) == ""
        for kind in ("NodePort", "LoadBalancer"):
            # The server's admission follows the quota's count by a watch of its own.
            cluster.wait(f"no {kind}", lambda kind=kind: "exceeded quota" in _refused(cluster, service(kind)), 60)

    @pytest.mark.parametrize("stack", ["kind", "aws-dedicated-01", "aws-staging", "gcp-staging", "azure-staging"])
    def test_every_workload_we_render_is_admitted(self, cluster: Cluster, stack: str) -> None:
        checked = 0
        for manifest in objects(record(stack, "known")):
            if manifest["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob"):
                if checked >= 40:
                    break
                moved = {**copy.deepcopy(manifest), "metadata": {"name": "it", "namespace": SPACE}}
                assert _refused(cluster, moved) == "", manifest["metadata"]["name"]
                checked += 1
        assert checked


def test_the_rules_hold_in_every_namespace_of_ours_and_warn_where_charts_leave_limits_out() -> None:
    full = parse({"cloud": "existing", "environment": "dev", "data": "in-cluster"})
    bindings = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in rules.manifests(full)
        if manifest["kind"].endswith("Binding")
    }
    denied = {
        name: spec["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"]
        for name, spec in bindings.items()
        if "Deny" in spec["validationActions"]
    }
    everywhere = ["ai-agents", "ai-agents-data", "vault", "consul", "monitoring", "collectors", "cert-manager"]
    for rule in ("images-pinned", "image-registries", "no-privileged"):
        assert denied[f"ai-agents-{rule}"] == everywhere
    assert set(denied) == set(ALONE)  # those the tests on a server wait for
    assert denied["ai-agents-limits"] == ["ai-agents", "ai-agents-data"]
    assert bindings["ai-agents-limits-charts"]["validationActions"] == ["Warn", "Audit"]


def test_the_runtimes_own_repository_is_allowed_whatever_its_tag_or_registry() -> None:
    image = f"registry.example.com:5000/team/runtime:1.2{DIGEST}"
    spec = parse({"cloud": "existing", "environment": "dev", "data": "in-cluster", "images": {"runtime": image}})
    assert "registry.example.com:5000/team/runtime" in registries.allowed(spec)


def test_the_quota_admits_fifteen_hundred_dedicated_agents_at_their_largest() -> None:
    """Specification section 2 and 4: 250m, 256Mi, limit 512Mi, at most 10 replicas, one more while rolling out."""
    hard = quotas.quota(SPEC, "ai-agents")["spec"]["hard"]
    at_most = 1_500 * (10 + 1)
    assert int(hard["pods"]) >= at_most
    assert int(hard["requests.cpu"]) >= at_most * 0.25
    assert int(hard["requests.memory"].removesuffix("Gi")) >= at_most * 0.25
    assert int(hard["limits.memory"].removesuffix("Gi")) >= at_most * 0.5


def test_every_network_policy_is_valid_kubernetes() -> None:
    import kubernetes_validate

    full = parse({"cloud": "existing", "environment": "dev", "data": "in-cluster", "components": {"mesh": "istio"}})
    checked = 0
    for namespace in ("ai-agents", "ai-agents-data", "vault", "consul", "monitoring", "collectors", "istio-system"):
        for manifest in (
            *networks.policies(full, namespace),
            quotas.quota(full, namespace),
            quotas.limit_range(namespace),
        ):
            kubernetes_validate.validate(manifest, "1.35", strict=True)
            checked += 1
    for manifest in rules.manifests(full):
        kubernetes_validate.validate(manifest, "1.35", strict=True)
        checked += 1
    assert checked > 30
