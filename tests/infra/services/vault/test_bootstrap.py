"""Vault's bootstrap against three real Vaults that share their data by Raft: twice, cut off anywhere, after a restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from tests.infra.services.vault.cluster import Cluster, raft, transit_vault
from tests.infra.services.vault.conftest import Pod, admin, make_pod


@pytest.fixture(scope="session")
def transit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transit_vault(tmp_path_factory.mktemp("transit")) as url:
        yield url


@pytest.fixture
def vault(tmp_path: Path, transit: str) -> Iterator[Cluster]:
    with raft(tmp_path / "vault", transit=transit) as cluster:
        yield cluster


def state(client: Any) -> dict[str, Any]:
    """What the bootstrap is answerable for, as Vault itself says it."""
    roles = client.list("auth/kubernetes/role")["data"]["keys"]
    return {
        "audit": client.sys.list_enabled_audit_devices()["data"],
        "auth": sorted(client.sys.list_auth_methods()["data"]),
        "mount": client.sys.list_mounted_secrets_engines()["data"]["secret/"],
        "policies": {name: client.sys.read_policy(name)["data"]["rules"] for name in roles},
        "roles": {name: client.read(f"auth/kubernetes/role/{name}")["data"] for name in roles},
        "config": client.read("auth/kubernetes/config")["data"],
        "kv": client.read("secret/config")["data"],
        "rotation": client.read("sys/rotate/config")["data"],
    }


def login(vault: Cluster, pod: Pod, role: str, namespace: str, account: str, audience: str = "vault") -> Any:
    client = vault.client()
    client.auth.kubernetes.login(role=role, jwt=pod.kubernetes.token(namespace, account, audience))
    return client


def test_a_leader_that_was_just_lost_is_waited_out(vault: Cluster, pod: Pod) -> None:
    assert pod.bootstrap(vault.url).returncode == 0
    first, second, _ = vault.nodes
    with_rights = admin(vault, pod)
    # Those that join vote some seconds after, and then two of three go on without the third.
    second.wait(lambda: sum(peer["voter"] for peer in vault.peers(with_rights.token)) == 3)
    first.stop()
    # For some seconds the others name a leader that is gone.
    again = pod.bootstrap(second.url)
    assert again.returncode == 0, again.stderr


def test_twice_in_a_row_changes_nothing_and_leaves_no_root_token(vault: Cluster, pod: Pod) -> None:
    first = pod.bootstrap(vault.url)
    assert first.returncode == 0, first.stderr
    assert "initialize" in first.stdout.splitlines()
    kept = pod.recovery()
    assert len(kept) == 1
    assert (kept[0]["kind"], kept[0]["threshold"], len(kept[0]["keys"]), kept[0]["root_token"]) == (
        "recovery",
        3,
        5,
        "",
    )
    client = admin(vault, pod)
    before = state(client)
    second = pod.bootstrap(vault.url)
    assert second.returncode == 0, second.stderr
    assert "initialize" not in second.stdout.splitlines()
    assert pod.recovery() == kept
    assert state(client) == before
    assert "stdout/" in before["audit"]
    assert before["mount"]["options"] == {"version": "2"}
    assert before["rotation"]["enabled"]
    # All three nodes hold the data, and the audit device wrote.
    vault.nodes[0].wait(lambda: len(vault.peers(client.token)) == 3)
    assert (pod.folder / "audit.log").stat().st_size > 0
    accessors = client.list("auth/token/accessors")["data"]["keys"]
    tokens = [client.write("auth/token/lookup-accessor", accessor=accessor)["data"] for accessor in accessors]
    assert [token["policies"] for token in tokens] == [["root"]], "only the root token the test made itself is left"


def test_each_role_reads_only_its_own_paths(vault: Cluster, pod: Pod) -> None:
    assert pod.bootstrap(vault.url).returncode == 0
    keeper = admin(vault, pod)
    secrets = ("agents/anthropic", "platform/control", "platform/database", "agents/other", "platform/other")
    for path in secrets:
        keeper.secrets.kv.v2.create_or_update_secret(path=path, secret={"value": path})
    allowed = {
        ("agent", "ai-agents", "agent"): {"agents/anthropic"},
        ("control", "ai-agents", "control"): {"platform/control", "platform/database"},
        ("database-credentials", "ai-agents", "database-credentials"): {"platform/database"},
        ("backup", "vault", "vault-backup"): set(),
        ("operator", "vault", "vault-operator"): {"agents/anthropic", "agents/other"},
    }
    for (role, namespace, account), expected in allowed.items():
        client = login(vault, pod, role, namespace, account)
        readable = {path for path in secrets if _reads(client, path)}
        assert readable == expected, role
        writable = {path for path in secrets if _writes(client, path)}
        assert writable == (expected if role in ("operator", "database-credentials") else set()), role


@pytest.mark.parametrize(
    ("role", "namespace", "account", "audience"),
    [
        ("control", "ai-agents", "agent", "vault"),
        ("agent", "default", "agent", "vault"),
        ("agent", "ai-agents", "agent", "https://kubernetes.default.svc"),
        ("restore", "vault", "vault-backup", "vault"),
        ("backup", "vault", "vault-backup", "vault-restore"),
        ("bootstrap", "vault", "vault-backup", "vault"),
    ],
)
def test_a_token_of_another_account_namespace_or_audience_logs_nobody_in(
    ready: tuple[Cluster, Pod], role: str, namespace: str, account: str, audience: str
) -> None:
    vault, pod = ready
    with pytest.raises(hvac.exceptions.VaultError):
        login(vault, pod, role, namespace, account, audience)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, transit: str, api: Any) -> Iterator[tuple[Cluster, Pod]]:
    folder = tmp_path_factory.mktemp("ready")
    with raft(folder / "vault", 1, transit=transit) as cluster:
        pod = make_pod(folder, api)
        assert pod.bootstrap(cluster.url).returncode == 0
        yield cluster, pod


def test_killed_before_every_step_the_next_run_finishes(vault: Cluster, pod: Pod) -> None:
    steps = 0
    while True:
        killed = pod.bootstrap(vault.url, die_before=steps)
        if killed.returncode == 0:
            break
        assert killed.returncode == -9, killed.stderr
        steps += 1
    assert steps > 10
    (generation,) = pod.recovery()
    assert generation["root_token"] == ""
    again = pod.bootstrap(vault.url)
    assert again.returncode == 0, again.stderr


def _reads(client: Any, path: str) -> bool:
    try:
        client.secrets.kv.v2.read_secret_version(path=path, raise_on_deleted_version=True)
    except hvac.exceptions.Forbidden:
        return False
    return True


def _writes(client: Any, path: str) -> bool:
    try:
        client.secrets.kv.v2.create_or_update_secret(path=path, secret={"value": "changed"})
    except hvac.exceptions.Forbidden:
        return False
    return True


def test_a_vault_whose_keys_nobody_has_is_left_alone_and_the_message_says_what_to_do(
    tmp_path: Path, transit: str, pod: Pod
) -> None:
    with raft(tmp_path / "vault", 1, transit=transit) as vault:
        # What is left where Vault's answer to "initialize" was lost.
        vault.client().adapter.put("/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1})
        done = pod.bootstrap(vault.url)
        assert done.returncode == 1
        assert "delete the volumes data-vault-*" in done.stderr
        assert not pod.store.exists()


def test_a_lost_role_is_put_back_with_a_root_token_made_by_hand_which_is_revoked(
    tmp_path: Path, transit: str, pod: Pod
) -> None:
    with raft(tmp_path / "vault", 1, transit=transit) as vault:
        assert pod.bootstrap(vault.url).returncode == 0
        admin(vault, pod).delete("auth/kubernetes/role/bootstrap")
        lost = pod.bootstrap(vault.url)
        assert lost.returncode == 1
        assert "vault operator generate-root" in lost.stderr
        token = admin(vault, pod)
        (tmp_path / "root").write_text(token.token)
        pod.environment["VAULT_TOKEN_FILE"] = str(tmp_path / "root")
        found = pod.bootstrap(vault.url)
        assert found.returncode == 0, found.stderr
        with pytest.raises(hvac.exceptions.Forbidden):
            token.auth.token.lookup_self()
        del pod.environment["VAULT_TOKEN_FILE"]
        assert pod.bootstrap(vault.url).returncode == 0


def test_who_cannot_keep_the_keys_does_not_initialize(tmp_path: Path, transit: str, pod: Pod) -> None:
    with raft(tmp_path / "vault", 1, transit=transit) as vault:
        pod.store.mkdir()
        assert pod.bootstrap(vault.url).returncode == 1
        assert not vault.client().sys.is_initialized()
