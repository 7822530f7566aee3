"""Owns the Vault component: namespace, certificate, release, bootstrap, snapshots, the database's credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from infra import kubernetes
from infra.contracts import Foundation
from infra.naming import NAMESPACE as PLATFORM
from infra.naming import Placement, labels
from infra.pods import Manifest
from infra.services import charts, scripts
from infra.services.certificates import Authority, AuthorityArgs, digest
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.services.vault import jobs, settings
from infra.services.vault.settings import NAMESPACE
from infra.settings import PlatformSpec

CA_MAP = "vault-ca"


@dataclass(frozen=True)
class VaultArgs:
    """What Vault is made of."""

    spec: PlatformSpec
    place: Placement
    foundation: Foundation


class Vault(pulumi.ComponentResource):
    """Vault, ready to be read from: who depends on it finds it initialized, unsealed and with its roles."""

    address: str
    ready: Output[str]
    """The address, URL of the active node; known once the bootstrap has run and the database's credentials are there."""

    def __init__(self, name: str, args: VaultArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Vault", name, {}, opts)
        self._name, self._args = name, args
        spec, identities = args.spec, args.foundation.identities
        boundary = Boundary(
            f"{name}-boundary", BoundaryArgs(spec, NAMESPACE, "vault"), opts=ResourceOptions(parent=self)
        )
        self._inside = ResourceOptions(parent=self, depends_on=[boundary])
        authority = Authority(
            f"{name}-authority", AuthorityArgs("Vault of the agents platform", args.place.protect), opts=self._inside
        )
        certificate, key = authority.server("server", settings.DNS_NAMES)
        pair = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.certificate}
        self._before = [
            self._add(_secret(settings.TLS_SECRET, pair), "tls"),
            self._add(_config_map(CA_MAP, NAMESPACE, {"ca.crt": authority.certificate}), "ca"),
            self._add(_config_map(CA_MAP, PLATFORM, {"ca.crt": authority.certificate}), "ca-platform"),
            self._add(scripts.config_map(NAMESPACE), "scripts"),
            *self._accounts(identities.bootstrap, identities.backup),
        ]
        release = self._release(certificate)
        ready = self._bootstrap(release)
        if spec.components.backup or spec.cloud == "existing":
            self._snapshots(ready)
        if spec.data == "managed":
            ready = self._database_credentials(ready)
        # Handed on through the last job, so that what uses Vault waits for it.
        self.address, self.ready = settings.ADDRESS, ready.urn.apply(lambda _: settings.ADDRESS)
        self.register_outputs({"address": self.address})

    def _release(self, certificate: Output[str]) -> pulumi.CustomResource:
        args = self._args
        seal = settings.seal(args.spec, args.foundation.keys.vault)
        config = seal.apply(lambda stanza: settings.configuration(settings.replicas(args.spec), stanza))
        chart = charts.VAULT
        return kubernetes.release(
            f"{self._name}-release",
            chart=chart.name,
            version=chart.version,
            repository=chart.repository,
            namespace=NAMESPACE,
            values=settings.values(args.spec, config, args.foundation.identities.vault, digest(certificate)),
            opts=ResourceOptions(parent=self, depends_on=self._before, protect=args.place.protect),
        )

    def _bootstrap(self, release: pulumi.Resource) -> pulumi.CustomResource:
        args = self._args
        script = jobs.bootstrap(args.spec, jobs.recovery(args.spec, args.place, args.foundation))
        # Runs anew with new code, another image or chart; what it finds done it leaves.
        version = scripts.digest(args.spec.images.runtime, charts.VAULT.version)
        after = ResourceOptions(parent=self, depends_on=[release])
        ready = kubernetes.apply(scripts.job(script, version), name=f"{self._name}-bootstrap", opts=after)
        if args.spec.cloud == "existing":
            # Nobody else unseals a pod that started again.
            again = ResourceOptions(parent=self, depends_on=[ready])
            kubernetes.apply(scripts.cron_job(script, "*/5 * * * *"), name=f"{self._name}-unseal", opts=again)
        return ready

    def _snapshots(self, ready: pulumi.Resource) -> None:
        args, after = self._args, ResourceOptions(parent=self, depends_on=[ready])
        if args.spec.cloud == "existing":
            self._add(_claim(), "snapshots")
        for manifest in jobs.snapshots(args.spec, jobs.storage(args.spec, args.foundation)):
            kubernetes.apply(manifest, name=f"{self._name}-{manifest['metadata']['name']}", opts=after)

    def _database_credentials(self, ready: pulumi.Resource) -> pulumi.CustomResource:
        args = self._args
        scripts_there = self._add(scripts.config_map(PLATFORM), "scripts-platform")
        after = ResourceOptions(parent=self, depends_on=[ready, scripts_there])
        script = jobs.database_credentials(args.spec, args.foundation.database.credentials_secret)
        # Once now, so that control finds them; then after each rotation, within five minutes.
        version = scripts.digest(args.spec.images.runtime)
        first = kubernetes.apply(scripts.job(script, version), name=f"{self._name}-database", opts=after)
        kubernetes.apply(scripts.cron_job(script, "*/5 * * * *"), name=f"{self._name}-database-again", opts=after)
        return first

    def _accounts(self, bootstrap: Any, backup: Any) -> list[pulumi.Resource]:
        annotations = {"bootstrap": bootstrap, "backup": backup, "operator": None}
        made: list[pulumi.Resource] = [
            self._add(_service_account(account, annotations[role]), f"account-{role}")
            for role, account in jobs.ROLES.items()
        ]
        if self._args.spec.cloud == "existing":
            # Made empty: the bootstrap fills it, and may touch no other.
            made.append(self._add(_secret(jobs.RECOVERY_SECRET, {}), "recovery"))
            made += [self._add(manifest, f"recovery-{manifest['kind'].lower()}") for manifest in _recovery_role()]
        return made

    def _add(self, manifest: Manifest, what: str) -> pulumi.CustomResource:
        return kubernetes.apply(manifest, name=f"{self._name}-{what}", opts=self._inside)


def _metadata(name: str, namespace: str = NAMESPACE) -> Manifest:
    return {"name": name, "namespace": namespace, "labels": labels(name, "vault")}


def _secret(name: str, values: Manifest) -> Manifest:
    secret: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(name), "type": "Opaque"}
    return {**secret, "stringData": values} if values else secret


def _config_map(name: str, namespace: str, data: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name, namespace), "data": data}


def _service_account(name: str, annotations: Any) -> Manifest:
    metadata = _metadata(name)
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def _recovery_role() -> tuple[Manifest, Manifest]:
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [jobs.RECOVERY_SECRET],
        "verbs": ["get", "patch"],
    }
    api = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{api}/v1",
        "kind": "Role",
        "metadata": _metadata(jobs.RECOVERY_SECRET),
        "rules": [rule],
    }
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(jobs.RECOVERY_SECRET),
        "roleRef": {"apiGroup": api, "kind": "Role", "name": jobs.RECOVERY_SECRET},
        "subjects": [{"kind": "ServiceAccount", "name": jobs.ROLES["bootstrap"], "namespace": NAMESPACE}],
    }
    return role, binding


def _claim() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            **_metadata(jobs.SNAPSHOT_CLAIM),
            # Bound when the first snapshot's pod is scheduled; nothing has to wait for that.
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
    }
