"""Owns bringing a Vault from nothing to what the platform needs, any number of times: ``python -m jobs.vault_bootstrap``.

Initialize, keep the recovery keys, unseal where no cloud key does, enable Kubernetes auth, KV v2 and the audit
device, write policies and roles, let Vault rotate its encryption key. The root token lives until the job can
log in as its own role, then it is revoked and forgotten. Every step looks first and may be cut off after any
word: the next run goes on. One moment cannot be made safe, Vault's answer to "initialize" getting lost on its
way: such a Vault is empty, and the error says to delete its volumes.

Environment: VAULT_ADDR, VAULT_CACERT, RECOVERY_KIND and RECOVERY_ID (stores.secret_store); SPOOL, a folder that
outlives the container; AUDIT_FILE (default stdout); KUBERNETES_HOST, KUBERNETES_CACERT and TOKEN_REVIEWER for a
Vault outside the cluster; VAULT_TOKEN_FILE for a root token made by hand.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.contract import VAULT_MOUNT

from .access import BOOTSTRAP, ROLES
from .recovery import Generation, Recovery
from .stores import SecretFile, SecretStore, SettingError, secret_store
from .vault import AWAY, Connection, JobError, waiting
from .web import CallError

SHARES, THRESHOLD = 5, 3
VERSIONS_KEPT = 10
"""Versions of a secret that KV keeps."""
ROTATION = "720h"
"""How often Vault changes the key it encrypts new data with; old data stays readable."""
WAIT_SECONDS = 300.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What a bootstrap is told."""

    connection: Connection
    store: SecretStore
    spool: SecretStore | None = None
    audit_file: str = "stdout"
    kubernetes_host: str = "https://kubernetes.default.svc"
    kubernetes_ca: str | None = None
    """PEM; None: Vault's own pod knows it."""
    reviewer: str | None = None
    """Token that may review tokens; None: Vault's own service account."""
    token: str | None = None
    """A root token made by hand, where the job cannot log in any more."""
    wait_seconds: float = WAIT_SECONDS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingError."""

        def text(name: str) -> str | None:
            path = environment.get(name)
            return Path(path).read_text("utf-8").strip() if path else None

        spool = environment.get("SPOOL")
        return cls(
            connection=Connection.from_environment(environment),
            store=secret_store("RECOVERY", environment),
            spool=SecretFile(Path(spool) / "init.json") if spool else None,
            audit_file=environment.get("AUDIT_FILE", "stdout"),
            kubernetes_host=environment.get("KUBERNETES_HOST", "https://kubernetes.default.svc"),
            kubernetes_ca=text("KUBERNETES_CACERT"),
            reviewer=text("TOKEN_REVIEWER"),
            token=text("VAULT_TOKEN_FILE"),
        )


def bootstrap(settings: Settings, report: Report) -> None:
    """Bring Vault to what the platform needs; ``report`` hears of each step before it is done.

    Raises JobError, hvac's errors, CallError.
    """
    recovery = Recovery(settings.store, settings.spool)
    client = settings.connection.client()
    report("wait until Vault answers")
    status = waiting("Vault answers", client.sys.read_seal_status, seconds=settings.wait_seconds)
    if not status["initialized"]:
        _initialize(client, status, recovery, report)
    else:
        recovery.collect()
    _unseal(settings, client, recovery, report)
    report("log in")
    client = _logged_in(settings, recovery)
    _configure(settings, client, report)
    report("log in as the job's own role")
    own = _login(settings)
    # From here on no other credential is needed, so none is kept.
    report("revoke the root token")
    _revoke_root(settings, recovery)
    report("forget the root token")
    recovery.forget_root_tokens()
    for used in (client, own):
        if _valid(used):
            used.auth.token.revoke_self()
    report("done")


def _initialize(client: Any, status: Mapping[str, Any], recovery: Recovery, report: Report) -> None:
    # Who cannot write must not initialize: nobody would ever hold the keys.
    report("try the store of the recovery keys")
    recovery.try_to_write()
    # A cloud's key unseals: then the keys people hold are recovery keys.
    by_cloud = status["type"] != "shamir"
    kind = "recovery" if by_cloud else "secret"
    report("initialize")
    with _uninterrupted():
        answer = client.adapter.put("/v1/sys/init", json={f"{kind}_shares": SHARES, f"{kind}_threshold": THRESHOLD})
        keys = answer["recovery_keys_base64"] if by_cloud else answer["keys_base64"]
        generation = Generation.new("recovery" if by_cloud else "unseal", keys, THRESHOLD, answer["root_token"])
        recovery.spool(generation)
    report("store the recovery keys")
    recovery.collect()


def _unseal(settings: Settings, client: Any, recovery: Recovery, report: Report) -> None:
    status = client.sys.read_seal_status()
    if status["sealed"] and status["type"] == "shamir":
        report("unseal")
        _unseal_with(client, recovery)
    report("wait until Vault is active")
    waiting(
        "Vault is unsealed and has an active node",
        lambda: not client.sys.read_seal_status()["sealed"] and _active(settings),
        seconds=settings.wait_seconds,
    )


def _unseal_with(client: Any, recovery: Recovery) -> None:
    # Newest first: after a snapshot of an older Vault was restored, an older generation's keys are the right ones.
    for generation in recovery.generations("unseal"):
        client.sys.submit_unseal_key(reset=True)
        try:
            for key in generation.keys[: generation.threshold]:
                if not client.sys.submit_unseal_key(key=key)["sealed"]:
                    return
        except AWAY:
            continue
    raise JobError(f"no unseal key in {recovery.place} opens this Vault; {recovery.remedy}")


def _active(settings: Settings) -> bool:
    # Only the active node says who a token is, whichever node is asked; one that has just lost it still names it.
    return not _valid(settings.connection.client("nobody"))


def _logged_in(settings: Settings, recovery: Recovery) -> Any:
    """A client that may configure: a given token, the root token of an unfinished start, else the job's own role."""
    tokens = [settings.token] if settings.token else []
    tokens += [generation.root_token for generation in recovery.generations() if generation.root_token]
    for token in tokens:
        client = settings.connection.client(token)
        if _valid(client):
            return client
    if not recovery.generations() and not settings.token:
        raise JobError(
            f"Vault is initialized, but {recovery.place} has no keys of it. If it is new (its bootstrap was killed as it "
            "began), delete the volumes data-vault-* in namespace vault and run this again; if it holds data, "
            f"{recovery.remedy}"
        )
    try:
        return _login(settings)
    except (*AWAY, OSError) as error:
        raise JobError(
            f"the job cannot log in as its role {BOOTSTRAP} ({type(error).__name__}). Make a root token of the recovery "
            'keys (`vault operator generate-root`; Vault 2 needs enable_unauthenticated_access = ["generate-root"] in '
            "its configuration for it) and run the job with it in a file named by VAULT_TOKEN_FILE"
        ) from None


def _login(settings: Settings) -> Any:
    return settings.connection.login(BOOTSTRAP)


def _valid(client: Any) -> bool:
    from hvac.exceptions import Forbidden

    try:
        client.auth.token.lookup_self()
    except Forbidden:
        return False
    return True


def _configure(settings: Settings, client: Any, report: Report) -> None:
    # First, so that everything after it is on record.
    report("audit device")
    if "stdout/" not in _data(client.sys.list_enabled_audit_devices()):
        client.sys.enable_audit_device("file", path="stdout", options={"file_path": settings.audit_file})
    report("key-value store")
    mount = _data(client.sys.list_mounted_secrets_engines()).get(f"{VAULT_MOUNT}/")
    if mount is None:
        client.sys.enable_secrets_engine("kv", path=VAULT_MOUNT, options={"version": "2"})
    elif mount["type"] != "kv" or (mount.get("options") or {}).get("version") != "2":
        raise JobError(f"Vault has something else than KV version 2 at {VAULT_MOUNT}/: move it (`vault secrets move`)")
    # A mount takes a moment to become version 2 and refuses meanwhile.
    waiting("KV version 2 is ready", lambda: _keep_versions(client), seconds=60, pause=0.2)
    report("Kubernetes auth")
    if "kubernetes/" not in _data(client.sys.list_auth_methods()):
        client.sys.enable_auth_method("kubernetes")
    config = {
        "kubernetes_host": settings.kubernetes_host,
        "kubernetes_ca_cert": settings.kubernetes_ca or "",
        "token_reviewer_jwt": settings.reviewer or "",
        "disable_local_ca_jwt": settings.kubernetes_ca is not None,
    }
    client.adapter.post("/v1/auth/kubernetes/config", json=config)
    for role in ROLES:
        report(f"policy and role {role.name}")
        client.sys.create_or_update_acl_policy(role.name, role.policy)
        client.adapter.post(
            f"/v1/auth/kubernetes/role/{role.name}",
            json={
                "bound_service_account_names": [role.service_account],
                "bound_service_account_namespaces": [role.namespace],
                "audience": role.audience,
                "token_policies": [role.name],
                "token_no_default_policy": False,
                "token_ttl": role.ttl_seconds,
                **role.options,
            },
        )
    report("rotation of the encryption key")
    client.adapter.post("/v1/sys/rotate/config", json={"enabled": True, "interval": ROTATION})


def _keep_versions(client: Any) -> bool:
    client.adapter.post(f"/v1/{VAULT_MOUNT}/config", json={"max_versions": VERSIONS_KEPT})
    return True


def _revoke_root(settings: Settings, recovery: Recovery) -> None:
    for generation in recovery.generations():
        client = settings.connection.client(generation.root_token)
        if generation.root_token and _valid(client):
            client.auth.token.revoke_self()


def _data(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    found = answer.get("data")
    return found if isinstance(found, Mapping) else answer


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A polite end (a drained node, a deleted pod) waits until the keys are written down."""
    polite = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, polite)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main() -> int:
    """The job; 1 where it has to be tried again, with the reason."""
    try:
        bootstrap(Settings.from_environment(os.environ), lambda step: print(f"vault-bootstrap: {step}", flush=True))
    except (JobError, SettingError, CallError, *AWAY, OSError) as error:
        print(f"vault-bootstrap: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
