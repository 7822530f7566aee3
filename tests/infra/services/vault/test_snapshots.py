"""Raft snapshots of a real Vault: taken, checked, put back into the same Vault and into a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.services.vault.cluster import Cluster, raft, transit_vault
from tests.infra.services.vault.conftest import Pod, admin


@pytest.fixture(scope="module")
def transit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transit_vault(tmp_path_factory.mktemp("transit")) as url:
        yield url


@pytest.fixture
def vault(tmp_path: Path, transit: str) -> Iterator[Cluster]:
    with raft(tmp_path / "vault", transit=transit) as cluster:
        yield cluster


def storage(pod: Pod) -> dict[str, str]:
    return {"STORAGE_KIND": "filesystem", "STORAGE_ID": str(pod.folder / "snapshots")}


def save(pod: Pod, vault: Cluster) -> str:
    account = pod.account("vault", "vault-backup")
    done = pod.run("vault_snapshot", "save", VAULT_ADDR=vault.url, SERVICE_ACCOUNT_TOKEN=account, **storage(pod))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def restore(pod: Pod, vault: Cluster, *arguments: str) -> None:
    account = pod.account("vault", "vault-backup", "vault-restore")
    environment = {"VAULT_ADDR": vault.url, "SERVICE_ACCOUNT_TOKEN": account, **storage(pod)}
    done = pod.run("vault_snapshot", "restore", *arguments, **environment)
    assert done.returncode == 0, done.stderr


def write(vault: Cluster, pod: Pod, value: str) -> None:
    admin(vault, pod).secrets.kv.v2.create_or_update_secret(path="agents/anthropic", secret={"api_key": value})


def read(vault: Cluster, pod: Pod) -> str:
    client = vault.client()
    client.auth.kubernetes.login(role="agent", jwt=pod.kubernetes.token("ai-agents", "agent"))
    answer = client.secrets.kv.v2.read_secret_version(path="agents/anthropic", raise_on_deleted_version=True)
    return str(answer["data"]["data"]["api_key"])


def test_after_a_restore_the_old_secrets_are_back_and_the_bootstrap_still_finishes(vault: Cluster, pod: Pod) -> None:
    assert pod.bootstrap(vault.url).returncode == 0
    write(vault, pod, "sk-old")
    taken = save(pod, vault)
    write(vault, pod, "sk-new")
    restore(pod, vault)
    again = pod.bootstrap(vault.url)
    assert again.returncode == 0, again.stderr
    assert read(vault, pod) == "sk-old"
    listed = pod.run("vault_snapshot", "list", **storage(pod))
    assert listed.stdout.split() == [taken]


def test_a_new_vault_takes_over_a_lost_ones_snapshot_and_both_generations_of_keys_are_kept(
    vault: Cluster, pod: Pod, tmp_path: Path, transit: str
) -> None:
    assert pod.bootstrap(vault.url).returncode == 0
    write(vault, pod, "sk-old")
    save(pod, vault)
    (lost,) = pod.recovery()
    for node in vault.nodes:
        node.stop()
    with raft(tmp_path / "new", transit=transit) as new:
        assert pod.bootstrap(new.url).returncode == 0
        assert [generation["keys"] for generation in pod.recovery()][1] == lost["keys"]
        restore(pod, new)
        again = pod.bootstrap(new.url)
        assert again.returncode == 0, again.stderr
        assert read(new, pod) == "sk-old"


def test_a_restore_into_a_new_vault_without_a_cloud_key_is_opened_with_the_old_vaults_unseal_keys(
    pod: Pod, tmp_path: Path
) -> None:
    with raft(tmp_path / "old", 1, auto_unseal=False) as old:
        first = pod.bootstrap(old.url)
        assert first.returncode == 0, first.stderr
        assert [generation["kind"] for generation in pod.recovery()] == ["unseal"]
        write(old, pod, "sk-old")
        save(pod, old)
        # What a pod's restart does: sealed until the bootstrap runs again.
        old.nodes[0].stop()
        old.nodes[0].start()
        assert old.client().sys.read_seal_status()["sealed"]
        assert pod.bootstrap(old.url).returncode == 0
        assert read(old, pod) == "sk-old"
    with raft(tmp_path / "new", 1, auto_unseal=False) as new:
        assert pod.bootstrap(new.url).returncode == 0
        restore(pod, new)
        again = pod.bootstrap(new.url)
        assert again.returncode == 0, again.stderr
        assert read(new, pod) == "sk-old"


def test_a_snapshot_that_is_cut_short_or_altered_is_neither_kept_nor_put_back(
    tmp_path_factory: pytest.TempPathFactory, transit: str, pod: Pod, tmp_path: Path
) -> None:
    with raft(tmp_path / "vault", 1, transit=transit) as vault:
        assert pod.bootstrap(vault.url).returncode == 0
        file = pod.folder / "snapshots" / save(pod, vault)
        whole = file.read_bytes()
        for broken in (whole[: len(whole) // 2], b"", b"not an archive"):
            file.write_bytes(broken)
            account = pod.account("vault", "vault-backup", "vault-restore")
            environment = {"VAULT_ADDR": vault.url, "SERVICE_ACCOUNT_TOKEN": account, **storage(pod)}
            done = pod.run("vault_snapshot", "restore", **environment)
            assert done.returncode == 1
            assert "not whole" in done.stderr
        missing = pod.run("vault_snapshot", "restore", "vault/never.snap", **environment)
        assert (missing.returncode, "there is no snapshot vault/never.snap" in missing.stderr) == (1, True)


def test_the_backup_account_can_take_snapshots_and_nothing_else(pod: Pod, tmp_path: Path, transit: str) -> None:
    with raft(tmp_path / "vault", 1, transit=transit) as vault:
        assert pod.bootstrap(vault.url).returncode == 0
        save(pod, vault)
        # With the token the snapshot job has, a restore is refused.
        account = pod.account("vault", "vault-backup")
        environment = {"VAULT_ADDR": vault.url, "SERVICE_ACCOUNT_TOKEN": account, **storage(pod)}
        done = pod.run("vault_snapshot", "restore", **environment)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
