"""Owns control in the cluster: the catalog it knows, a migration Job that runs before it, Deployment, Service, autoscaler, budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pulumi
from pulumi import ResourceOptions

from catalog import registry
from catalog.contract import CONTROL_PORT, PORT_NAME, Env
from catalog.registry import dump_agent
from catalog.schema import AgentSpec
from infra import kubernetes, pods
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.services.base import Base
from infra.settings import PlatformSpec
from infra.workloads.manifests import (
    CATALOG_MOUNT,
    CONSUL_MOUNT,
    USER_ID,
    VAULT_TOKEN_MOUNT,
    advertised_address,
    catalog_volume,
    consul_environment,
    consul_volume,
    vault_environment,
    vault_volume,
)

NAME = "control"
ROLE = "control"
KEYS_MOUNT = "/etc/control"


@dataclass(frozen=True)
class ControlArgs:
    """What control is made of."""

    spec: PlatformSpec
    base: Base
    vault: Any = None
    """Vault's URL; None: DATABASE_URL holds the password."""
    consul: Any = None
    """Consul's URL; None: no discovery and no dynamic settings."""


class Control(pulumi.ComponentResource):
    """The control plane's processes; the database is migrated before a new version starts."""

    def __init__(self, name: str, args: ControlArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Control", name, {}, opts)
        maps = catalog_maps(registry.load())
        process = ControlProcess(
            args.spec.images.runtime,
            tuple(manifest["metadata"]["name"] for manifest in maps),
            args.base.control_secret,
            args.base.stores_secret,
            args.spec.fleet.log_level,
            args.spec.images.pull_secret,
            args.vault,
            args.consul,
        )
        known = [
            kubernetes.apply(
                manifest,
                name=f"{name}-{manifest['metadata']['name'].removeprefix(f'{NAME}-')}",
                opts=ResourceOptions(parent=self),
            )
            for manifest in maps
        ]
        migration = kubernetes.apply(
            migration_job(process), name=f"{name}-migration", opts=ResourceOptions(parent=self)
        )
        after = ResourceOptions(parent=self, depends_on=[migration, *known])
        # On the path of every request: never fewer than two, three in production.
        fewest = 3 if args.spec.environment == "prod" else 2
        objects = (
            deployment(process),
            pods.cluster_ip(_metadata(NAME), NAME, PORT_NAME, CONTROL_PORT),
            pods.autoscaler(_metadata("control-hpa"), NAME, fewest, 10, {"cpu": 60}),
            pods.disruption_budget(_metadata(NAME), NAME),
        )
        for manifest in objects:
            kubernetes.apply(manifest, name=f"{name}-{manifest['kind'].lower()}", opts=after)
        self.register_outputs({})


@dataclass(frozen=True)
class ControlProcess:
    """What control's containers are configured with; names may be Pulumi outputs."""

    image: str
    catalog: tuple[str, ...]
    """Names of the ConfigMaps with the agents it knows."""
    control_secret: Any
    stores_secret: Any
    log_level: str
    pull_secret: str = ""
    vault: Any = None
    consul: Any = None


def migration_job(process: ControlProcess) -> Manifest:
    """A Job that brings the database to the image's version. Named by the image, so that a new image runs anew."""
    version = sha256(process.image.encode()).hexdigest()[:10]
    pod = _pod(process, ["migrate"], serving=False)
    pod["restartPolicy"] = "OnFailure"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(f"control-migration-{version}"),
        "spec": {
            "backoffLimit": 6,
            "activeDeadlineSeconds": 900,
            "template": {"metadata": {"labels": {**labels("control-migration", "control"), "role": ROLE}}, "spec": pod},
        },
    }


def catalog_maps(agents: Iterable[AgentSpec]) -> tuple[Manifest, ...]:
    """The agents control knows: a ConfigMap for each domain, changed in place.

    Control follows what is mounted, so a new prompt rolls only who executes it. With each agent's rollout, which
    control shows.
    """
    domains: dict[str, dict[str, str]] = {}
    for agent in agents:
        chunk = domains.setdefault(f"{NAME}-catalog-{agent.pool}-{agent.domain}", {})
        chunk[f"{agent.id}.json"] = dump_agent(agent, rollout=True).decode()
    return tuple(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name), "data": data}
        for name, data in domains.items()
    )


def deployment(process: ControlProcess) -> Manifest:
    """Control's Deployment; its autoscaler owns the number of replicas."""
    template = {
        "metadata": {"labels": {**labels(NAME, "control"), "role": ROLE}},
        "spec": _pod(process, ["control"], serving=True),
    }
    return pods.deployment(_metadata(NAME), NAME, template)


def _pod(process: ControlProcess, arguments: list[str], *, serving: bool) -> Manifest:
    container: Manifest = {
        "name": NAME,
        "image": process.image,
        "args": arguments,
        "ports": [{"name": PORT_NAME, "containerPort": CONTROL_PORT, "protocol": "TCP"}],
        "env": _environment(process),
        "resources": pods.resources("250m", "1", "256Mi", "512Mi"),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            pods.mount("keys", KEYS_MOUNT, read_only=True),
            pods.mount("tmp", "/tmp"),
        ],
    }
    if serving:
        container |= {
            "startupProbe": pods.http_probe("/health", PORT_NAME, period=2, failures=30),
            "livenessProbe": pods.http_probe("/health", PORT_NAME, period=10, failures=3),
            "readinessProbe": pods.http_probe("/ready", PORT_NAME, period=5, failures=2),
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        }
    pod: Manifest = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "priorityClassName": "ai-agents-platform",
        "securityContext": pods.pod_security(USER_ID),
        "topologySpreadConstraints": pods.spread(NAME),
        "containers": [container],
        "volumes": [
            {
                "name": "keys",
                "secret": {
                    "secretName": process.control_secret,
                    "items": [{"key": key, "path": key} for key in ("signing.pem", "pepper")],
                },
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    if serving:
        pod["volumes"].append(catalog_volume(process.catalog))
        container["volumeMounts"].append(pods.mount("catalog", CATALOG_MOUNT, read_only=True))
        container["env"].append(pods.env_value(Env.CATALOG_PATH, CATALOG_MOUNT))
    if process.vault is not None:
        pod["volumes"].append(vault_volume())
        container["volumeMounts"].append(pods.mount("vault-token", VAULT_TOKEN_MOUNT, read_only=True))
    if process.consul is not None:
        pod["volumes"].append(consul_volume(ROLE))
        container["volumeMounts"].append(pods.mount("consul", CONSUL_MOUNT, read_only=True))
    if process.pull_secret:
        pod["imagePullSecrets"] = [{"name": process.pull_secret}]
    return pod


def _environment(process: ControlProcess) -> list[Manifest]:
    values: Manifest = {
        Env.HOST: "0.0.0.0",
        Env.PORT: str(CONTROL_PORT),
        Env.SERVICE_NAME: NAME,
        Env.LOG_LEVEL: process.log_level,
        Env.DRAIN_SECONDS: "5",
        Env.SIGNING_KEYS: f"{KEYS_MOUNT}/signing.pem",
        Env.API_KEY_PEPPER: f"{KEYS_MOUNT}/pepper",
    }
    if process.vault is not None:
        values |= vault_environment(process.vault, ROLE)
    if process.consul is not None:
        values |= consul_environment(process.consul)
    secrets = [pods.env_secret(name, process.stores_secret) for name in (Env.REDIS_STATE_URL, Env.REDIS_CACHE_URL)]
    return [
        *(pods.env_value(name, value) for name, value in values.items()),
        pods.env_secret(Env.DATABASE_URL, process.control_secret),
        *secrets,
        *([advertised_address()] if process.consul is not None else []),
    ]


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(NAME, "control")}
