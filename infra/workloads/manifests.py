"""Owns what an agent or a pool of agents is in Kubernetes: pure functions from catalog to plain dicts.

No Pulumi import: values that come from elsewhere (an address, a secret's name) are passed through as they
are, so they may be Pulumi outputs. The shape is specification section 4 plus what production needs: probes,
a rolling update that never goes below what runs, restricted pod security (Kubernetes' Pod Security
Standards), spread over zones and nodes, a disruption budget. ``replicas`` is left out, since the autoscaler
owns it and both would fight (pulumi-kubernetes#2491).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from catalog.contract import POOL_PORT, PORT_NAME, Env
from catalog.registry import content_digest, digest_of, dump_agent
from catalog.schema import AgentSpec
from catalog.values import Resources, Scaling
from catalog.versions import Version
from infra import pods
from infra.naming import NAMESPACE, labels
from infra.settings import PlatformSpec

Manifest = pods.Manifest

CATALOG_MOUNT = "/catalog"
IDENTITY_MOUNT = "/etc/identity"
VAULT_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CONSUL_MOUNT = "/etc/consul"
CONSUL_CA_MAP = "consul-ca"
"""ConfigMap with Consul's authority, key ca.crt."""
USER_ID = 10001
"""The image's non-root user (runtime/Dockerfile)."""

ROLE_LABEL = "role"
AGENT_ROLE = "agent"
"""Value of the ``role`` label that network policies select agents by (specification section 5)."""

GRACE_SECONDS = 150
"""Longest execution (120 s) and what draining takes on top, before a pod is killed."""


@dataclass(frozen=True)
class RuntimeArgs:
    """What every agent process of a fleet is configured with; addresses and names may be Pulumi outputs."""

    image: Any
    model: str
    """CLAUDE_MODEL; empty for the platform's default."""
    max_tokens: int
    log_level: str
    redis_secret: Any
    """Secret with the keys REDIS_STATE_URL and REDIS_CACHE_URL."""
    identity_keys: Any
    """ConfigMap with the key public.pem."""
    vault: Any = None
    """Vault's URL; None: the Claude key comes from the secret agent-secrets."""
    consul: Any = None
    """Consul's URL; None: no discovery and no dynamic settings."""
    pull_secret: str = ""

    @classmethod
    def of(
        cls, spec: PlatformSpec, *, redis_secret: Any, identity_keys: Any, vault_address: Any, consul_address: Any
    ) -> RuntimeArgs:
        """As the stack's settings say, with what the services layer hands over."""
        return cls(
            image=spec.images.runtime,
            model=spec.fleet.model,
            max_tokens=spec.fleet.max_tokens,
            log_level=spec.fleet.log_level,
            redis_secret=redis_secret,
            identity_keys=identity_keys,
            vault=vault_address if spec.components.vault else None,
            consul=consul_address if spec.components.consul else None,
            pull_secret=spec.images.pull_secret,
        )


@dataclass(frozen=True)
class Process:
    """One Deployment's process: the name it goes by, what it serves and how much of the node it takes."""

    name: str
    port: int
    serves: Mapping[str, str]
    """Environment that says which agents: SERVE_POOL or SERVE_AGENTS."""
    catalog: tuple[str, ...]
    """Names of the ConfigMaps with those agents."""
    digest: str
    """Digest of the served agents' content; a change rolls the Deployment."""
    resources: Resources
    scaling: Scaling
    concurrency: int
    pod_labels: Mapping[str, str]
    """Labels of its pods beside the common ones, which metrics and sidecars go by."""


def version_process(version: Version, chunks: Iterable[Manifest]) -> Process:
    """The process of one version: it serves its pool's agents or its one dedicated agent, from ``chunks``."""
    names = tuple(chunk["metadata"]["name"] for chunk in chunks)
    if version.pool is not None:
        return Process(
            name=version.name,
            port=POOL_PORT,
            serves={Env.SERVE_POOL: version.pool.name},
            catalog=names,
            digest=digest_of(version.agents),
            resources=version.pool.resources,
            scaling=version.pool.scaling,
            concurrency=version.pool.concurrency,
            pod_labels={"pool": version.pool.name},
        )
    (agent,) = version.agents
    return Process(
        name=version.name,
        port=agent.port,
        serves={Env.SERVE_AGENTS: agent.id},
        catalog=names,
        digest=content_digest(agent),
        resources=agent.resources,
        scaling=agent.scaling,
        concurrency=agent.scaling.concurrency,
        pod_labels={"pool": agent.pool, "domain": agent.domain},
    )


def catalog_chunks(version: Version, suffix: str) -> dict[str, Manifest]:
    """A version's catalog: by domain for a pool, so that one prompt changes one of them; else one, under "".

    A dedicated agent has its own and not its domain's: a neighbour's new prompt must not roll it. ``suffix`` tells
    the versions of one workload apart.
    """
    if version.pool is None:
        (agent,) = version.agents
        return {"": catalog_chunk(f"{agent.kubernetes_name}{suffix}", version.agents)}
    return {
        domain: catalog_chunk(f"{version.pool.name}-{domain}{suffix}", members)
        for domain, members in groupby(version.agents, key=lambda agent: agent.domain)
    }


def catalog_chunk(name: str, agents: Iterable[AgentSpec]) -> Manifest:
    """An immutable ConfigMap with one key per agent, named by its content's digest.

    Immutable and digest-named, so two versions live side by side and a rollback finds the old one.
    """
    chosen = tuple(agents)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"catalog-{name}-{digest_of(chosen)[:10]}",
            "namespace": NAMESPACE,
            # Without the name's "catalog-": a label has 63 characters, which the longest id and its suffix nearly fill.
            "labels": labels(name, "catalog"),
        },
        "immutable": True,
        "data": {agent.id + ".json": dump_agent(agent).decode() for agent in chosen},
    }


def deployment(process: Process, runtime: RuntimeArgs) -> Manifest:
    """The Deployment of a process."""
    pod_labels = {**labels(process.name, "agent"), ROLE_LABEL: AGENT_ROLE, **process.pod_labels}
    template = {
        "metadata": {"labels": pod_labels, "annotations": {"ai-agents/catalog-digest": process.digest}},
        "spec": _pod(process, runtime),
    }
    return pods.deployment(_metadata(process.name), process.name, template, progressDeadlineSeconds=300)


def _pod(process: Process, runtime: RuntimeArgs) -> Manifest:
    pod: Manifest = {
        "serviceAccountName": "agent",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "priorityClassName": "ai-agents-fleet",
        "securityContext": pods.pod_security(USER_ID),
        "topologySpreadConstraints": pods.spread(process.name),
        "containers": [_container(process, runtime)],
        "volumes": _volumes(process, runtime),
    }
    if runtime.pull_secret:
        pod["imagePullSecrets"] = [{"name": runtime.pull_secret}]
    return pod


def _container(process: Process, runtime: RuntimeArgs) -> Manifest:
    mounts = [
        {"name": "catalog", "mountPath": CATALOG_MOUNT, "readOnly": True},
        {"name": "identity", "mountPath": IDENTITY_MOUNT, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if runtime.vault is not None:
        mounts.append(pods.mount("vault-token", VAULT_TOKEN_MOUNT, read_only=True))
    if runtime.consul is not None:
        mounts.append(pods.mount("consul", CONSUL_MOUNT, read_only=True))
    return {
        "name": process.name,
        "image": runtime.image,
        "args": ["agent"],
        "ports": [{"name": PORT_NAME, "containerPort": process.port, "protocol": "TCP"}],
        "env": _environment(process, runtime),
        "resources": {
            "requests": {"memory": process.resources.memory_request, "cpu": process.resources.cpu_request},
            "limits": {"memory": process.resources.memory_limit, "cpu": process.resources.cpu_limit},
        },
        "securityContext": pods.container_security(),
        # Liveness asks whether the process is alive, readiness whether it can answer now: a dependency that
        # is away must take a pod out of the Service and never restart it.
        "startupProbe": pods.http_probe("/health", PORT_NAME, period=2, failures=30),
        "livenessProbe": pods.http_probe("/health", PORT_NAME, period=10, failures=3),
        "readinessProbe": pods.http_probe("/ready", PORT_NAME, period=5, failures=2),
        # Endpoints are withdrawn while the process still answers; then it drains.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": mounts,
    }


def _environment(process: Process, runtime: RuntimeArgs) -> list[Manifest]:
    values: dict[str, Any] = {
        Env.HOST: "0.0.0.0",
        Env.PORT: str(process.port),
        Env.SERVICE_NAME: process.name,
        **process.serves,
        Env.CATALOG_PATH: CATALOG_MOUNT,
        Env.IDENTITY_PUBLIC_KEYS: f"{IDENTITY_MOUNT}/public.pem",
        Env.LOG_LEVEL: runtime.log_level,
        Env.MAX_TOKENS: str(runtime.max_tokens),
        Env.MAX_CONCURRENCY: str(process.concurrency),
        Env.RUNTIME_IMAGE: runtime.image,
        Env.DRAIN_SECONDS: "5",
        Env.SHUTDOWN_SECONDS: "130",
    }
    if runtime.model:
        values[Env.CLAUDE_MODEL] = runtime.model
    if runtime.vault is not None:
        values |= vault_environment(runtime.vault, AGENT_ROLE)
    if runtime.consul is not None:
        values |= consul_environment(runtime.consul)
    entries: list[Manifest] = [pods.env_value(name, value) for name, value in values.items()]
    entries += [pods.env_secret(name, runtime.redis_secret) for name in (Env.REDIS_STATE_URL, Env.REDIS_CACHE_URL)]
    if runtime.vault is None:
        entries.append(pods.env_secret(Env.ANTHROPIC_API_KEY, "agent-secrets", optional=True))
    if runtime.consul is not None:
        entries.append(advertised_address())
    return entries


def _volumes(process: Process, runtime: RuntimeArgs) -> list[Manifest]:
    volumes: list[Manifest] = [
        catalog_volume(process.catalog),
        {"name": "identity", "configMap": {"name": runtime.identity_keys}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if runtime.vault is not None:
        volumes.append(vault_volume())
    if runtime.consul is not None:
        volumes.append(consul_volume(AGENT_ROLE))
    return volumes


def catalog_volume(maps: Iterable[str]) -> Manifest:
    """The agents of the named ConfigMaps in one folder; mounted at CATALOG_MOUNT."""
    return {"name": "catalog", "projected": {"sources": [{"configMap": {"name": name}} for name in maps]}}


def vault_environment(address: Any, role: str) -> dict[str, Any]:
    """Where a process finds Vault, and the role it logs in as with the token of ``vault_volume``."""
    return {Env.VAULT_ADDR: address, Env.VAULT_ROLE: role, Env.VAULT_CACERT: f"{VAULT_TOKEN_MOUNT}/vault-ca.crt"}


def vault_volume() -> Manifest:
    """A service-account token that only Vault takes, and Vault's authority; mounted at VAULT_TOKEN_MOUNT."""
    token = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 3600}}
    ca = {"configMap": {"name": "vault-ca", "items": [{"key": "ca.crt", "path": "vault-ca.crt"}]}}
    return {"name": "vault-token", "projected": {"sources": [token, ca]}}


def consul_environment(address: Any) -> dict[str, Any]:
    """Where a process finds Consul, with the token of ``consul_volume``."""
    return {
        Env.CONSUL_HTTP_ADDR: address,
        Env.CONSUL_HTTP_TOKEN_FILE: f"{CONSUL_MOUNT}/token",
        Env.CONSUL_CACERT: f"{CONSUL_MOUNT}/ca.crt",
    }


def consul_volume(role: str) -> Manifest:
    """The role's Consul token and Consul's authority; mounted at CONSUL_MOUNT."""
    return {
        "name": "consul",
        "projected": {
            "sources": [{"secret": {"name": consul_token_secret(role)}}, {"configMap": {"name": CONSUL_CA_MAP}}]
        },
    }


def consul_token_secret(role: str) -> str:
    """Name of the Secret with a role's Consul token, key token."""
    return f"consul-token-{role}"


def advertised_address() -> Manifest:
    """The pod's address, which others reach the process at."""
    return {"name": str(Env.ADVERTISE_ADDRESS), "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def service(name: str, process: Process) -> Manifest:
    """The Service ``name``, which selects a process; the gateway resolves it at request time."""
    return pods.cluster_ip(_metadata(name), process.name, PORT_NAME, process.port)


def autoscaler(process: Process) -> Manifest:
    """The HorizontalPodAutoscaler of a process (specification section 4: 2 to 10 replicas at 70% CPU)."""
    scaling = process.scaling
    targets = {"cpu": scaling.cpu_percent, "memory": scaling.memory_percent}
    metadata = _metadata(f"{process.name}-hpa", process.name)
    return pods.autoscaler(metadata, process.name, scaling.min_replicas, scaling.max_replicas, targets)


def disruption_budget(process: Process) -> Manifest:
    """The PodDisruptionBudget of a process."""
    return pods.disruption_budget(_metadata(process.name), process.name)


def _metadata(name: str, app: str | None = None) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(app or name, "agent")}
