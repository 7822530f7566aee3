"""Owns what in-cluster service accounts may do in Google Cloud: a service account each, bound by Workload Identity."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.gcp.cluster import Cluster
from infra.clouds.gcp.database import Database, replication
from infra.clouds.gcp.keys import Keys
from infra.clouds.gcp.storage import Storage
from infra.naming import NAMESPACE, Placement
from infra.settings import PlatformSpec

ANNOTATION = "iam.gke.io/gcp-service-account"


@dataclass(frozen=True)
class IdentityArgs:
    """What the accounts refer to."""

    spec: PlatformSpec
    place: Placement
    cluster: Cluster
    keys: Keys
    storage: Storage
    database: Database | None
    """None where the database is not the cloud's."""


class Identity(pulumi.ComponentResource):
    """A cloud account for each service account that calls Google Cloud, with just what it needs on just what it needs."""

    contract: contracts.Identities
    recovery_secret: Output[str]
    """Id of the secret Vault's bootstrap writes its recovery keys to."""

    def __init__(self, name: str, args: IdentityArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Identity", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        recovery = gcp.secretmanager.Secret(
            f"{name}-vault-recovery",
            secret_id=f"{args.place.prefix}-vault-recovery",
            replication=replication(args.spec, args.keys),
            labels=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect, depends_on=args.keys.grants),
        )
        self.recovery_secret = recovery.id
        vault = self._account("vault", "vault", ("vault",))
        self._use_key("vault", args.keys.vault, vault)
        bootstrap = self._account("vault-bootstrap", "vault", ("vault-bootstrap",))
        for role in ("secretVersionAdder", "secretAccessor"):
            self._use_secret(f"vault-bootstrap-{role.lower()}", recovery.id, f"roles/secretmanager.{role}", bootstrap)
        backup = self._account("vault-backup", "vault", ("vault-backup",))
        self._use_bucket("vault-backup", "snapshots", "roles/storage.objectUser", backup)
        loki = self._account("loki", "monitoring", ("loki",))
        self._use_bucket("loki", "logs", "roles/storage.objectUser", loki)
        self.contract = contracts.Identities(
            vault=_annotation(vault),
            bootstrap=_annotation(bootstrap),
            loki=_annotation(loki),
            backup=_annotation(backup),
            database=self._database(),
        )
        self.register_outputs({"recovery_secret": recovery.id})

    def _database(self) -> Input[dict[str, str]]:
        if self._args.database is None:
            return {}
        account = self._account("database", NAMESPACE, ("database-credentials",))
        secret = self._args.database.credentials_secret
        self._use_secret("database", secret, "roles/secretmanager.secretAccessor", account)
        return _annotation(account)

    def _account(self, what: str, namespace: str, service_accounts: tuple[str, ...]) -> Output[str]:
        # An account's id has at most 30 characters.
        account = gcp.serviceaccount.Account(
            f"{self._name}-{what}",
            account_id=f"{self._args.place.prefix}-{what}"[:30],
            display_name=f"{what} of the agents platform",
            opts=self._child,
        )
        for service_account in service_accounts:
            # The pool of identities exists once a cluster uses it.
            gcp.serviceaccount.IAMMember(
                f"{self._name}-{what}-{service_account}",
                service_account_id=account.name,
                role="roles/iam.workloadIdentityUser",
                member=f"serviceAccount:{self._args.spec.account}.svc.id.goog[{namespace}/{service_account}]",
                opts=ResourceOptions(parent=self, depends_on=[self._args.cluster]),
            )
        return account.email

    def _use_key(self, what: str, key: Output[str], email: Output[str]) -> None:
        for role in ("cryptoKeyEncrypterDecrypter", "viewer"):
            gcp.kms.CryptoKeyIAMMember(
                f"{self._name}-{what}-{role.lower()}",
                crypto_key_id=key,
                role=f"roles/cloudkms.{role}",
                member=_member(email),
                opts=self._child,
            )

    def _use_secret(self, what: str, secret: Output[str], role: str, email: Output[str]) -> None:
        gcp.secretmanager.SecretIamMember(
            f"{self._name}-{what}-secret", secret_id=secret, role=role, member=_member(email), opts=self._child
        )

    def _use_bucket(self, what: str, purpose: str, role: str, email: Output[str]) -> None:
        gcp.storage.BucketIAMMember(
            f"{self._name}-{what}-bucket",
            bucket=self._args.storage.names[purpose],
            role=role,
            member=_member(email),
            opts=self._child,
        )


def _member(email: Output[str]) -> Output[str]:
    return Output.concat("serviceAccount:", email)


def _annotation(email: Output[str]) -> Output[dict[str, str]]:
    return email.apply(lambda text: {ANNOTATION: text})
