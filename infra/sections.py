"""Owns what the sections of a stack's configuration hold: every key below the top level, its form and default.

What a platform is made of, and how its configuration is read, is ``settings.py``; what spans keys ``rules.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from catalog import models, rollout
from catalog.values import Isolation, PoolName
from infra import rules

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")]
ImageReference = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$")
]


def _served(model: str) -> str:
    if model:
        models.require_model(model)
    return model


ModelId = Annotated[str, AfterValidator(_served)]
"""A Claude model id that is not retired; empty for the platform's default."""


class Settings(BaseModel):
    """Base of every section: immutable, camelCase keys, an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class NetworkSettings(Settings):
    """Address ranges. They must not overlap and must hold the fleet."""

    cidr: Cidr = Field(
        default="10.0.0.0/16",
        description="Range of the network: nodes, data stores, load balancers; default 10.0.0.0/16.",
    )
    pods: Cidr = Field(
        default="10.64.0.0/14",
        description="Range of pods, where the cloud gives them one of their own; default 10.64.0.0/14.",
    )
    services: Cidr = Field(default="172.20.0.0/16", description="Range of Kubernetes Services; default 172.20.0.0/16.")
    flow_log_days: int = Field(default=90, ge=1, le=3650, description="How long flow logs are kept, days; default 90.")


class ClusterSettings(Settings):
    """The Kubernetes cluster."""

    version: str = Field(
        default="1.35",
        pattern=r"^1\.\d{2}$",
        description="Kubernetes minor version; default 1.35, the oldest supported.",
    )
    access: Literal["private", "authorized"] = Field(
        default="private",
        description="private: API server reachable from the network only; authorized: also from authorizedCidrs. Default private.",
    )
    authorized_cidrs: tuple[Cidr, ...] = Field(
        default=(), description="Ranges that may reach the API server where access is authorized; default none."
    )
    admins: tuple[str, ...] = Field(
        default=(),
        description="Principals with administrator access (AWS role ARNs, Google groups, Entra group object ids); default none.",
    )
    context: str = Field(
        default="", description="Context of the kubeconfig, for cloud: existing; default: its current one."
    )
    nodes: int = Field(
        default=0, ge=0, le=1000, description="Most nodes autoscaling may reach; default 0: what the fleet needs."
    )


class FleetChanges(Settings):
    """What another version of the whole fleet has different; what it leaves out is the stack's own."""

    image: ImageReference | None = Field(default=None, description="images.runtime of the agents; default the stack's.")
    model: ModelId | None = Field(default=None, description="fleet.model; default the stack's.")
    max_tokens: int | None = Field(default=None, ge=1, le=64_000, description="fleet.maxTokens; default the stack's.")
    log_level: LogLevel | None = Field(default=None, description="fleet.logLevel; default the stack's.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("changes nothing; it takes image, model, maxTokens and logLevel")
        return self


class FleetRollout(Settings):
    """How a new version of the whole fleet takes over (specification section 7)."""

    strategy: rollout.Strategy = Field(
        default="rolling",
        description="rolling, blue-green or canary, of what names none in the catalog; two versions at once of at most "
        f"{rules.AGENTS_WITH_TWO_VERSIONS} dedicated agents a stack; default rolling.",
    )
    active: rollout.Colour = Field(default="blue", description="The colour that serves, for blue-green; default blue.")
    canary_percent: int = Field(
        default=rollout.DEFAULT_PERCENT,
        ge=1,
        le=90,
        description="Share of requests the candidate gets, percent, for canary; default 10.",
    )
    candidate: FleetChanges | None = Field(
        default=None, description="The new version while it is tried: what it has different; default none."
    )
    previous: FleetChanges | None = Field(
        default=None, description="The version before, kept for switching back after a blue-green switch; default none."
    )

    @model_validator(mode="after")
    def _versions_fit_the_strategy(self) -> Self:
        rollout.check(self)
        return self

    @property
    def other(self) -> FleetChanges | None:
        """What the version beside the one that serves has different; None where there is one version."""
        return self.candidate if self.candidate is not None else self.previous


class FleetSettings(Settings):
    """Which agents the stack runs and how."""

    isolation: Isolation = Field(
        default="pooled", description="pooled: one Deployment a pool; dedicated: one an agent. Default pooled."
    )
    shard: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9-]{0,30})?$",
        description="Name of this stack's shard of a dedicated fleet; default: not sharded.",
    )
    pools: tuple[PoolName, ...] = Field(
        default=(), description="Pools to run; default: all, unless agents or domains are named."
    )
    domains: tuple[str, ...] = Field(
        default=(), description="Domains to run, as pool/domain; default: all of the pools."
    )
    agents: tuple[str, ...] = Field(
        default=(),
        description="Exactly these agents by id, written down one by one; default: all of the pools and domains.",
    )
    model: ModelId = Field(
        default="",
        description="CLAUDE_MODEL of agents that name none; retired ids are refused; default: the platform's.",
    )
    max_tokens: int = Field(
        default=4096, ge=1, le=64_000, description="MAX_TOKENS of agents that name none; default 4096."
    )
    log_level: LogLevel = Field(default="INFO", description="LOG_LEVEL of the agents; default INFO.")
    rollout: FleetRollout | None = Field(
        default=None, description="How a new image or model takes over in the whole fleet; default rolling."
    )
    requests_per_day: int = Field(
        default=0, ge=0, description="Executions a day to estimate model cost with; default 0: no estimate."
    )


class ImageSettings(Settings):
    """The images of the runtime, pinned by digest."""

    runtime: ImageReference = Field(
        default="ghcr.io/your-org/ai-agents-runtime@sha256:" + "0" * 64,
        description="Image of control and agents, pinned by digest; the default is a placeholder that prod refuses.",
    )
    pull_secret: str = Field(default="", description="Name of an image pull secret in the namespace; default none.")


class ComponentSettings(Settings):
    """What the services layer installs."""

    vault: bool = Field(default=True, description="HashiCorp Vault; default true.")
    consul: bool = Field(default=True, description="Consul for discovery and dynamic settings; default true.")
    monitoring: bool = Field(default=True, description="Prometheus, Alertmanager, Grafana, Loki; default true.")
    mesh: Literal["none", "istio"] = Field(
        default="none", description="Service mesh for canaries; default none: nginx splits."
    )
    certificates: bool = Field(
        default=True,
        description="cert-manager and TLS from the edge to the gateway; default true. false, for cloud: existing alone: the gateway speaks HTTP inside the cluster.",
    )
    edge: bool = Field(default=True, description="CDN and web application firewall before the gateway; default true.")
    backup: bool = Field(default=True, description="Backup plans and restore tests; default true.")


class GatewaySettings(Settings):
    """The gateway of the services layer."""

    fleets: tuple[str, ...] = Field(
        default=(),
        description="Shards whose routes the gateway mounts, there or not; default: the one unsharded fleet.",
    )


class StackSettings(Settings):
    """Stacks that build the layers this one does not."""

    foundation: str = Field(
        default="", description="Stack (organization/project/stack or its name) with the foundation; default: this one."
    )
    services: str = Field(default="", description="Stack with the services; default: this one.")


class DatabaseSettings(Settings):
    """A PostgreSQL you run yourself, for data: external; sizes for data: managed."""

    host: str = Field(default="", description="Host of the external PostgreSQL.")
    port: int = Field(default=5432, ge=1, le=65535, description="Its TCP port; default 5432.")
    name: str = Field(default="agents", pattern=r"^[a-z][a-z0-9_]{0,30}$", description="Database; default agents.")
    user: str = Field(
        default="agents_admin",
        pattern=r"^[a-z][a-z0-9_]{0,30}$",
        description="User; default agents_admin (specification section 8).",
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        description="Its password, only for data: external; set with `pulumi config set --secret --path database.password`.",
    )
    storage_gib: int = Field(
        default=100, ge=20, le=65_536, description="Storage of a managed or in-cluster database, GiB; default 100."
    )
    backup_days: int = Field(
        default=14, ge=1, le=35, description="Days a point in time can be restored within; default 14."
    )


class CacheSettings(Settings):
    """A Redis-compatible store you run yourself, for data: external."""

    host: str = Field(default="", description="Host of the external Redis or Valkey.")
    port: int = Field(default=6379, ge=1, le=65535, description="Its TCP port; default 6379.")
    password: SecretStr = Field(
        default=SecretStr(""),
        description="Its password, only for data: external; set with `pulumi config set --secret --path cache.password`.",
    )


class AlertSettings(Settings):
    """Where alerts go."""

    email: str = Field(
        default="",
        pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        description="Address alerts are mailed to; default none: they are read in Grafana alone.",
    )
    smtp_host: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9.-]+:[0-9]+)?$",
        description="Mail server as host:port, with STARTTLS; required with alerts.email.",
    )
    smtp_user: str = Field(default="", description="User at the mail server; default: no login.")
    smtp_password: SecretStr = Field(
        default=SecretStr(""),
        description="Its password; set with `pulumi config set --secret --path alerts.smtpPassword`.",
    )
    runbook_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s#]+)?$",
        description="URL of the runbook's page, which alerts link to with their heading appended; default: its path in the repository.",
    )
