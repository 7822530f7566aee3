"""Owns what one layer hands to the next: the same shapes from every cloud, from a cluster you have, or from
another stack's outputs.

Each contract is a frozen dataclass of Pulumi inputs. ``export`` makes a layer one plain stack output;
``read`` builds the same contract from a StackReference, so that a layer never knows which of the two it got.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

import pulumi
from pulumi import Input, Output


@dataclass(frozen=True)
class Contract:
    """Base of the contracts."""

    def export(self) -> dict[str, Any]:
        """As nested plain data for a stack output; secrets stay marked."""
        return {item.name: _exported(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def read(cls, value: Output[Any]) -> Self:
        """The contract of an exported output. Structure comes from the types, so nothing unknown is indexed early."""
        # Not get_type_hints: pulumi.Input is made of forward references that only its own module resolves.
        return cls(
            **{item.name: _read(globals().get(str(item.type)), value.apply(_getter(item.name))) for item in fields(cls)}
        )


def _getter(name: str) -> Any:
    return lambda value: (value or {}).get(name)


def _exported(value: Any) -> Any:
    if isinstance(value, Contract):
        return value.export()
    return value


def _read(hint: Any, value: Output[Any]) -> Any:
    if isinstance(hint, type) and is_dataclass(hint) and issubclass(hint, Contract):
        return hint.read(value)
    return value


@dataclass(frozen=True)
class Network(Contract):
    """Where everything runs."""

    id: Input[str]
    """VPC id, network self link or virtual network resource id."""
    private_subnets: Input[Sequence[Input[str]]]
    """Subnets of nodes; no route from the internet."""
    public_subnets: Input[Sequence[Input[str]]]
    """Subnets of load balancers; empty where the cloud needs none."""
    database_subnets: Input[Sequence[Input[str]]]
    """Subnets (or the peering range's name) of the data stores; no route to the internet."""


@dataclass(frozen=True)
class Keys(Contract):
    """Customer-managed encryption keys."""

    cluster: Input[str]
    """Key of Kubernetes secrets at rest."""
    data: Input[str]
    """Key of database, cache, disks, logs and backups."""
    vault: Input[str]
    """Key with which Vault unseals itself."""


@dataclass(frozen=True)
class Cluster(Contract):
    """A Kubernetes cluster and how to reach it."""

    name: Input[str]
    endpoint: Input[str]
    """URL of the API server."""
    kubeconfig: Input[str]
    """Kubeconfig text without a long-lived credential (an exec section of the cloud's own plugin)."""
    issuer: Input[str]
    """OIDC issuer of service-account tokens; empty where there is none."""


@dataclass(frozen=True)
class Database(Contract):
    """PostgreSQL."""

    host: Input[str]
    port: Input[int]
    name: Input[str]
    user: Input[str]
    password: Input[str]
    """Secret; empty where the cloud's secret manager keeps it (credentials_secret)."""
    credentials_secret: Input[str]
    """Id of the cloud secret with the credentials; empty where the password is given."""
    ca: Input[str]
    """Where clients find the server's CA: a well-known bundle's name (rds, azure), PEM text, or empty for none."""


@dataclass(frozen=True)
class Cache(Contract):
    """Redis-compatible stores: state must not be evicted, cache may be."""

    state_host: Input[str]
    state_port: Input[int]
    cache_host: Input[str]
    cache_port: Input[int]
    tls: Input[bool]
    password: Input[str]
    """Secret of the state store; empty where access is by network and TLS or by cloud identity."""
    cache_password: Input[str]
    """Secret of the cache store; likewise."""
    ca: Input[str]
    """PEM text of a private CA of the stores; empty for a public one or none."""


@dataclass(frozen=True)
class Edge(Contract):
    """What stands before the gateway."""

    hostname: Input[str]
    """Name the API answers under."""
    certificate: Input[str]
    """Cloud certificate of that name at the edge; empty where cert-manager makes it in the cluster."""
    zone: Input[str]
    """DNS zone the name lives in."""
    origin: Mapping[str, Input[str]]
    """What the services layer attaches the gateway to the edge with, by the cloud's own nouns: AWS target_group;
    GCP address, certificate, security_policy, ssl_policy; Azure resource_group, profile, endpoint, group."""
    trusted_cidrs: Input[Sequence[Input[str]]]
    """Ranges whose X-Forwarded-For the gateway believes: the load balancer's and the CDN's."""


@dataclass(frozen=True)
class Storage(Contract):
    """Object storage for logs and snapshots."""

    kind: Input[str]
    """s3, gcs, azure or filesystem."""
    logs: Input[str]
    """Bucket or container of Loki's chunks."""
    snapshots: Input[str]
    """Bucket or container of Vault's snapshots."""


@dataclass(frozen=True)
class Identities(Contract):
    """Cloud identities of in-cluster service accounts, as the annotations that bind them; labels where needed."""

    vault: Input[dict[str, str]]
    """Annotations of Vault's service account: may use keys.vault."""
    bootstrap: Input[dict[str, str]]
    """Annotations of the service account of Vault's bootstrap: may write its recovery keys."""
    loki: Input[dict[str, str]]
    """Annotations of Loki's service account: may use storage.logs."""
    backup: Input[dict[str, str]]
    """Annotations of the backup jobs' service account: may write storage.snapshots."""
    database: Input[dict[str, str]]
    """Annotations of the job that hands the database's credentials to Vault: may read that one secret."""


@dataclass(frozen=True)
class Foundation(Contract):
    """All the foundation layer hands on."""

    network: Network
    keys: Keys
    cluster: Cluster
    database: Database
    cache: Cache
    edge: Edge
    storage: Storage
    identities: Identities


@dataclass(frozen=True)
class Services(Contract):
    """All the services layer hands to the fleet."""

    vault_address: Input[str]
    """URL of Vault inside the cluster; empty where there is none."""
    consul_address: Input[str]
    """URL of Consul inside the cluster; empty where there is none."""
    redis_state_secret: Input[str]
    """Name of the Kubernetes secret with REDIS_STATE_URL and REDIS_CACHE_URL, in the fleet's namespace."""
    identity_keys: Input[str]
    """Name of the ConfigMap with the public keys that identity tokens are signed with."""
    mesh: Input[str]
    """none or istio."""


def reference(stack: str) -> pulumi.StackReference:
    """The other stack of this project: by its bare name, or as organization/project/stack.

    A bare name is completed with this stack's own organization and project, which works on every backend.
    """
    full = stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
    return pulumi.StackReference(full)
