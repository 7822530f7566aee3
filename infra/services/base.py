"""Owns what every service and the fleet stand on: namespace, priorities, service accounts, the platform's own secrets.

Keys and the pepper are made here once and kept as secrets in the stack's state; the cloud's database
credentials stay in the cloud's secret manager.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random
import pulumi_tls as tls
from pulumi import Input, Output, ResourceOptions

from catalog.contract import Env
from infra import kubernetes, pods
from infra.contracts import Cache, Foundation
from infra.naming import NAMESPACE, Placement, labels
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.settings import PlatformSpec

STORES_SECRET = "stores"
CONTROL_SECRET = "control"
IDENTITY_KEYS = "identity-keys"
PRIORITIES = {"ai-agents-platform": 1_000_000, "ai-agents-fleet": 100_000}
"""When nodes run out, agents give way to what they all depend on."""
SERVICE_ACCOUNTS = ("agent", "control", "gateway", "database-credentials")


@dataclass(frozen=True)
class BaseArgs:
    """What the base is made of."""

    spec: PlatformSpec
    place: Placement
    foundation: Foundation


class Base(pulumi.ComponentResource):
    """The platform's namespace and what lies ready in it."""

    stores_secret: Output[str]
    """Name of the secret with REDIS_STATE_URL and REDIS_CACHE_URL."""
    control_secret: Output[str]
    """Name of the secret with control's signing keys, pepper and DATABASE_URL."""
    identity_keys: Output[str]
    """Name of the ConfigMap with public.pem."""

    def __init__(self, name: str, args: BaseArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Base", name, {}, opts)
        namespace = kubernetes.apply(
            pods.namespace(NAMESPACE, labels(NAMESPACE, "platform")),
            name=f"{name}-namespace",
            opts=ResourceOptions(parent=self),
        )
        boundary = Boundary(
            f"{name}-boundary",
            BoundaryArgs(args.spec, NAMESPACE, "platform", made=namespace),
            opts=ResourceOptions(parent=self),
        )
        self._name, self._inside = name, ResourceOptions(parent=self, depends_on=[boundary])
        for priority, value in PRIORITIES.items():
            kubernetes.apply(
                priority_class(priority, value), name=f"{name}-priority-{priority}", opts=ResourceOptions(parent=self)
            )
        for account in SERVICE_ACCOUNTS:
            annotations = args.foundation.identities.database if account == "database-credentials" else None
            kubernetes.apply(service_account(account, annotations), name=f"{name}-account-{account}", opts=self._inside)
        cache = args.foundation.cache
        urls = {
            Env.REDIS_STATE_URL: _redis_url(cache, cache.state_host, cache.state_port, cache.password),
            Env.REDIS_CACHE_URL: _redis_url(cache, cache.cache_host, cache.cache_port, cache.cache_password),
        }
        self.stores_secret = self._secret(STORES_SECRET, urls)
        key = tls.PrivateKey(
            f"{name}-signing-key", algorithm="ED25519", opts=ResourceOptions(parent=self, protect=args.place.protect)
        )
        pepper = random.RandomPassword(
            f"{name}-pepper",
            length=64,
            special=False,
            opts=ResourceOptions(parent=self, protect=args.place.protect, additional_secret_outputs=["result"]),
        )
        values = {
            "signing.pem": Output.secret(key.private_key_pem_pkcs8),
            "pepper": Output.secret(pepper.result),
            Env.DATABASE_URL: _database_url(args),
        }
        self.control_secret = self._secret(CONTROL_SECRET, values)
        public = kubernetes.apply(
            config_map(IDENTITY_KEYS, {"public.pem": key.public_key_pem}),
            name=f"{name}-identity-keys",
            opts=self._inside,
        )
        self.identity_keys = public.urn.apply(lambda _: IDENTITY_KEYS)
        self.register_outputs({})

    def _secret(self, secret: str, values: Mapping[Any, Input[str]]) -> Output[str]:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": NAMESPACE, "labels": labels(secret, "platform")},
            "type": "Opaque",
            "stringData": {str(key): value for key, value in values.items()},
        }
        made = kubernetes.apply(manifest, name=f"{self._name}-secret-{secret}", opts=self._inside)
        # The name is handed on through the resource, so that what uses the secret waits for it.
        return made.urn.apply(lambda _: secret)


def priority_class(name: str, value: int) -> pods.Manifest:
    """A priority class; nothing gets it unasked."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": labels(name, "platform")},
        "value": value,
        "globalDefault": False,
        "description": "AI agents platform",
    }


def service_account(name: str, annotations: Any = None) -> pods.Manifest:
    """A service account whose token is mounted only where a pod asks for it."""
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "labels": labels(name, "platform")}
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def config_map(name: str, data: dict[str, Any]) -> pods.Manifest:
    """A ConfigMap in the platform's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels(name, "platform")},
        "data": data,
    }


def _redis_url(cache: Cache, host: Input[str], port: Input[int], password: Input[str]) -> Output[str]:
    def url(values: list[Any]) -> str:
        scheme = "rediss" if values[0] else "redis"
        credentials = f":{values[3]}@" if values[3] else ""
        return f"{scheme}://{credentials}{values[1]}:{values[2]}/0"

    return Output.secret(Output.all(cache.tls, host, port, password).apply(url))


def _database_url(args: BaseArgs) -> Output[str]:
    """PostgreSQL's URL; without a password where the cloud keeps it (control then reads it from Vault)."""
    database, inside = args.foundation.database, args.spec.data == "in-cluster"

    def url(values: list[Any]) -> str:
        host, port, name, user, password = values
        credentials = f"{user}:{password}" if password else user
        return f"postgresql+psycopg://{credentials}@{host}:{port}/{name}?sslmode={'disable' if inside else 'require'}"

    return Output.secret(
        Output.all(database.host, database.port, database.name, database.user, database.password).apply(url)
    )
