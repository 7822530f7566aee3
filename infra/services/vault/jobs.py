"""Owns the pods of Vault's jobs: bootstrap, snapshots, restore, hand-over of the database's credentials. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra import pods
from infra.contracts import Foundation
from infra.naming import NAMESPACE as PLATFORM
from infra.naming import Placement
from infra.pods import Manifest
from infra.services import scripts
from infra.services.jobs.access import AUDIENCE, RESTORE_AUDIENCE
from infra.services.scripts import Script
from infra.services.vault.settings import ADDRESS, FIRST_ADDRESS, NAMESPACE
from infra.settings import PlatformSpec

RECOVERY_SECRET, RECOVERY_KEY = "vault-recovery", "document"
"""The Kubernetes Secret of the recovery keys where there is no cloud."""
SNAPSHOT_CLAIM, SNAPSHOT_MOUNT = "vault-snapshots", "/snapshots"
SPOOL = "/spool"
ROLES = {"bootstrap": "vault-bootstrap", "backup": "vault-backup", "operator": "vault-operator"}
"""Service accounts in Vault's namespace."""
DATABASE = "database-credentials"


def recovery(spec: PlatformSpec, place: Placement, foundation: Foundation) -> Mapping[str, Any]:
    """Environment of the store of the recovery keys, as the clouds' identity.py made it."""
    match spec.cloud:
        case "aws":
            return {"RECOVERY_KIND": "aws", "RECOVERY_ID": f"{place.prefix}/vault-recovery", "AWS_REGION": spec.region}
        case "gcp":
            secret = f"projects/{spec.account}/secrets/{place.prefix}-vault-recovery"
            return {"RECOVERY_KIND": "gcp", "RECOVERY_ID": secret}
        case "azure":
            from pulumi import Output

            # Beside the key: https://<vault>.vault.azure.net/keys/<key>/<version>
            key = Output.from_input(foundation.keys.vault)
            return {
                "RECOVERY_KIND": "azure",
                "RECOVERY_ID": key.apply(lambda uri: uri.split("/keys/")[0] + "/secrets/vault-recovery"),
            }
    return {"RECOVERY_KIND": "kubernetes", "RECOVERY_ID": f"{NAMESPACE}/{RECOVERY_SECRET}/{RECOVERY_KEY}"}


def bootstrap(spec: PlatformSpec, store: Mapping[str, Any]) -> Script:
    """The bootstrap; its spool is memory that outlives a container and not the pod."""
    return _script(
        spec,
        "vault-bootstrap",
        "vault_bootstrap",
        ROLES["bootstrap"],
        {"VAULT_ADDR": FIRST_ADDRESS, **store, "SPOOL": SPOOL},
        account_token=spec.cloud == "existing",
        volumes=({"name": "spool", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},),
        mounts=(pods.mount("spool", SPOOL),),
    )


def snapshots(spec: PlatformSpec, storage: Mapping[str, Any]) -> tuple[Manifest, Manifest]:
    """The hourly snapshot, and the suspended restore: `kubectl -n vault create job --from=cronjob/vault-restore restore`.

    The restore's pod alone has a token with the audience that may replace Vault's data.
    """
    inside = spec.cloud == "existing"
    claim = {"name": "snapshots", "persistentVolumeClaim": {"claimName": SNAPSHOT_CLAIM}}
    where: dict[str, Any] = {
        "volumes": (claim,) if inside else (),
        "mounts": (pods.mount("snapshots", SNAPSHOT_MOUNT),) if inside else (),
    }
    environment = {"VAULT_ADDR": ADDRESS, **storage}
    account = ROLES["backup"]
    save = _script(spec, "vault-backup", "vault_snapshot", account, environment, arguments=("save",), **where)
    restore = _script(
        spec,
        "vault-restore",
        "vault_snapshot",
        account,
        environment,
        arguments=("restore",),
        audience=RESTORE_AUDIENCE,
        role="vault-backup",
        **where,
    )
    return scripts.cron_job(save, "17 * * * *"), scripts.cron_job(restore, "0 0 1 1 *", suspend=True)


def storage(spec: PlatformSpec, foundation: Foundation) -> Mapping[str, Any]:
    """Environment of the snapshots' storage."""
    if spec.cloud == "existing":
        return {"STORAGE_KIND": "filesystem", "STORAGE_ID": SNAPSHOT_MOUNT}
    region = {"AWS_REGION": spec.region} if spec.cloud == "aws" else {}
    return {"STORAGE_KIND": foundation.storage.kind, "STORAGE_ID": foundation.storage.snapshots, **region}


def database_credentials(spec: PlatformSpec, secret: Any) -> Script:
    """The job that brings Vault's copy of the database's credentials up to date; ``secret``: the cloud secret's id."""
    region = {"AWS_REGION": spec.region} if spec.cloud == "aws" else {}
    environment = {"VAULT_ADDR": ADDRESS, "CREDENTIALS_KIND": spec.cloud, "CREDENTIALS_ID": secret, **region}
    return _script(spec, DATABASE, "database_credentials", DATABASE, environment, namespace=PLATFORM)


def _script(
    spec: PlatformSpec, name: str, module: str, account: str, environment: Mapping[str, Any], **options: Any
) -> Script:
    azure = {"azure.workload.identity/use": "true"} if spec.cloud == "azure" else {}
    return Script(
        name=name,
        module=module,
        service_account=account,
        image=spec.images.runtime,
        environment={**environment, "VAULT_CACERT": f"{scripts.VAULT_CA_MOUNT}/ca.crt"},
        namespace=options.pop("namespace", NAMESPACE),
        audience=options.pop("audience", AUDIENCE),
        labels=azure,
        pull_secret=spec.images.pull_secret,
        **options,
    )
