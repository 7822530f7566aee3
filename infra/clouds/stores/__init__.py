"""Stores that no cloud manages: PostgreSQL and Valkey inside the cluster, or external ones you name.

In-cluster stores are for development: one replica each, no point-in-time recovery, and prod refuses them
(infra.rules).
"""

from __future__ import annotations

import pulumi
from pulumi import Output, ResourceOptions

from infra import contracts, kubernetes
from infra.clouds.stores.incluster import Stores, StoresArgs
from infra.naming import Placement
from infra.settings import PlatformSpec


def unmanaged(
    spec: PlatformSpec, place: Placement, parent: pulumi.Resource, cluster: contracts.Cluster | None
) -> tuple[contracts.Database, contracts.Cache]:
    """The stores of ``data: in-cluster`` (made in ``cluster``, or in the ambient kubeconfig's) or ``data: external``."""
    if spec.data == "external":
        return external_database(spec), external_cache(spec)
    provider = kubernetes.provider(
        "foundation-cluster-provider", cluster, spec.cluster.context, ResourceOptions(parent=parent)
    )
    stores = Stores(
        "foundation-stores", StoresArgs(spec, place), opts=ResourceOptions(parent=parent, provider=provider)
    )
    return stores.database, stores.cache


def external_database(spec: PlatformSpec) -> contracts.Database:
    """The PostgreSQL you named under ``database``."""
    return contracts.Database(
        host=spec.database.host,
        port=spec.database.port,
        name=spec.database.name,
        user=spec.database.user,
        password=Output.secret(spec.database.password.get_secret_value()),
        credentials_secret="",
        ca="",
    )


def external_cache(spec: PlatformSpec) -> contracts.Cache:
    """The store you named under ``cache``, used for state and for cached answers."""
    password = Output.secret(spec.cache.password.get_secret_value())
    return contracts.Cache(
        state_host=spec.cache.host,
        state_port=spec.cache.port,
        cache_host=spec.cache.host,
        cache_port=spec.cache.port,
        tls=True,
        password=password,
        cache_password=password,
        ca="",
    )


__all__ = ["unmanaged"]
