"""Owns the Stores component: PostgreSQL and two Valkeys in the cluster."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_random as random
from pulumi import Output, ResourceOptions

from infra import contracts, kubernetes
from infra.clouds.stores import manifests
from infra.naming import Placement
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class StoresArgs:
    """What the stores are made of."""

    spec: PlatformSpec
    place: Placement


class Stores(pulumi.ComponentResource):
    """One replica of each store."""

    database: contracts.Database
    cache: contracts.Cache

    def __init__(self, name: str, args: StoresArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:stores:Stores", name, {}, opts)
        settings = args.spec.database
        namespace = kubernetes.apply(manifests.namespace(), name=f"{name}-namespace", opts=ResourceOptions(parent=self))
        inside = ResourceOptions(parent=self, depends_on=[namespace])
        passwords = {store: self._password(f"{name}-{store}-password") for store in ("postgres", "valkey")}
        secret = kubernetes.apply(manifests.passwords(**passwords), name=f"{name}-passwords", opts=inside)
        objects = {"postgres": manifests.postgres(settings.name, settings.user, settings.storage_gib)}
        objects |= {store: manifests.valkey(store) for store in manifests.EVICTION}
        for store, parts in objects.items():
            for manifest in parts:
                options = ResourceOptions(
                    parent=self, depends_on=[secret], protect=args.place.protect and manifest["kind"] == "StatefulSet"
                )
                kubernetes.apply(manifest, name=f"{name}-{store}-{manifest['kind'].lower()}", opts=options)
        domain = f"{manifests.DATA_NAMESPACE}.svc.cluster.local"
        self.database = contracts.Database(
            host=f"postgres.{domain}",
            port=5432,
            name=settings.name,
            user=settings.user,
            password=passwords["postgres"],
            credentials_secret="",
            ca="",
        )
        self.cache = contracts.Cache(
            state_host=f"valkey-state.{domain}",
            state_port=6379,
            cache_host=f"valkey-cache.{domain}",
            cache_port=6379,
            tls=False,
            password=passwords["valkey"],
            cache_password=passwords["valkey"],
            ca="",
        )
        self.register_outputs({})

    def _password(self, name: str) -> Output[str]:
        made = random.RandomPassword(
            name, length=40, special=False, opts=ResourceOptions(parent=self, additional_secret_outputs=["result"])
        )
        return Output.secret(made.result)
