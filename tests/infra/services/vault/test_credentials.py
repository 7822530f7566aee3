"""The cloud's database credentials reach a real Vault, only when they changed; Vault's Secret store in a real cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services.jobs.stores import KubernetesSecret
from infra.services.jobs.web import CallError
from tests.e2e.platform import wait
from tests.infra.services.kubernetes import AUDIENCE_OF_THE_API, Kubernetes, RealKubernetes
from tests.infra.services.vault.cluster import Cluster, raft
from tests.infra.services.vault.conftest import Pod, admin


@pytest.fixture
def vault(tmp_path: Path, pod: Pod) -> Iterator[Cluster]:
    with raft(tmp_path / "vault", 1, auto_unseal=False) as cluster:
        assert pod.bootstrap(cluster.url).returncode == 0
        yield cluster


def hand_over(vault: Cluster, pod: Pod, text: str) -> tuple[int, str]:
    (pod.folder / "secret").write_text(text)
    account = pod.account("ai-agents", "database-credentials")
    done = pod.run(
        "database_credentials",
        VAULT_ADDR=vault.url,
        SERVICE_ACCOUNT_TOKEN=account,
        CREDENTIALS_KIND="file",
        CREDENTIALS_ID=str(pod.folder / "secret"),
    )
    return done.returncode, done.stdout + done.stderr


def test_credentials_are_written_once_and_again_when_the_cloud_rotated_them(vault: Cluster, pod: Pod) -> None:
    # RDS writes more than the two fields.
    first = {"username": "agents_admin", "password": "one", "engine": "postgres"}
    assert hand_over(vault, pod, json.dumps(first)) == (0, "database-credentials: changed\n")
    assert hand_over(vault, pod, json.dumps(first)) == (0, "database-credentials: unchanged\n")
    assert hand_over(vault, pod, json.dumps({**first, "password": "two"})) == (0, "database-credentials: changed\n")
    kv = admin(vault, pod).secrets.kv.v2
    answer = kv.read_secret_version(path="platform/database", raise_on_deleted_version=True)["data"]
    assert (answer["data"], answer["metadata"]["version"]) == ({"username": "agents_admin", "password": "two"}, 2)


def test_a_secret_of_another_shape_is_refused_without_being_shown(vault: Cluster, pod: Pod) -> None:
    code, said = hand_over(vault, pod, '{"username": "x", "passphrase": "hunter2"}')
    assert (code, "no JSON object with username and password" in said, "hunter2" in said) == (1, True, False)


def _may_read(store: KubernetesSecret) -> bool:
    """Whether the API server follows the role by now: it learns of a binding by a watch of its own."""
    try:
        store.read()
    except CallError as error:
        if error.status == 403:
            return False
        raise
    return True


@pytest.mark.cluster
@pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG does not point at a disposable cluster")
def test_recovery_keys_lie_in_a_kubernetes_secret_its_account_may_touch(api: Kubernetes, tmp_path: Path) -> None:
    from kubernetes.client import RbacAuthorizationV1Api

    assert isinstance(api, RealKubernetes)
    (tmp_path / "token").write_text(api.token("vault", "tests-recovery", AUDIENCE_OF_THE_API))
    (tmp_path / "ca.crt").write_text(api.ca)
    rbac = RbacAuthorizationV1Api(api.core.api_client)
    name = "tests-recovery"
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get", "patch"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "vault"}
    rbac.create_namespaced_role("vault", {"metadata": {"name": name}, "rules": [rule]})
    rbac.create_namespaced_role_binding(
        "vault", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    )
    api.core.create_namespaced_secret("vault", {"metadata": {"name": name}})
    try:
        store = KubernetesSecret(f"vault/{name}/document", api.host, tmp_path)
        wait("the role in force", lambda: _may_read(store), 60)
        assert store.read() is None
        store.write("keys")
        assert store.read() == "keys"
    finally:
        api.core.delete_namespaced_secret(name, "vault")
        rbac.delete_namespaced_role_binding(name, "vault")
        rbac.delete_namespaced_role(name, "vault")
