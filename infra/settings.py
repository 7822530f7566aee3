"""Owns a stack's configuration: the only reader of pulumi.Config, and what a valid platform is.

``load`` turns the configuration of a stack into one validated PlatformSpec or raises SettingsError with
every problem at once, each naming its key, before anything is registered. Keys are written as in the stack
file: ``cluster.access`` is ``access`` under ``ai-agents-platform:cluster``. Pulumi.yaml's config schema is
generated from here (a test compares).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from catalog import rollout
from catalog.values import Isolation, PoolName
from infra import rules

PROJECT = "ai-agents-platform"
NAMESPACE = "ai-agents"

Cloud = Literal["aws", "gcp", "azure", "existing"]
Environment = Literal["dev", "staging", "prod"]
Layer = Literal["foundation", "services", "fleet"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LAYERS: tuple[Layer, ...] = ("foundation", "services", "fleet")

Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")]
Hostname = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$", max_length=253)
]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
ImageReference = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$")
]


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
    model: str | None = Field(default=None, description="fleet.model; default the stack's.")
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
        description="rolling, blue-green or canary, of what names none in the catalog; default rolling.",
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
    model: str = Field(default="", description="CLAUDE_MODEL of agents that name none; default: the platform's.")
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

    email: Email | Literal[""] = Field(
        default="", description="Address alerts are mailed to; default none: they are read in Grafana alone."
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


class PlatformSpec(Settings):
    """One stack's platform, validated. Every default is written into Pulumi.yaml."""

    cloud: Cloud = Field(description="aws, gcp, azure, or existing: a cluster you have.")
    environment: Environment = Field(description="dev, staging or prod: decides sizes, replicas and protection.")
    layers: tuple[Layer, ...] = Field(
        default=LAYERS,
        min_length=1,
        description="Layers this stack builds; default all three. What it does not build it reads from stacks.*.",
    )
    data: Literal["managed", "in-cluster", "external"] = Field(
        default="managed",
        description="managed: the cloud's PostgreSQL and Valkey; in-cluster: pods; external: yours. Default managed.",
    )
    region: str = Field(default="", description="Region of the cloud; required but for existing.")
    zones: tuple[str, ...] = Field(
        default=(),
        description="Zones by name, three in prod; stated, not looked up, so that a preview needs no credentials.",
    )
    account: str = Field(
        default="", description="AWS account id, GCP project id or Azure subscription id; required but for existing."
    )
    tenant: str = Field(default="", description="Microsoft Entra tenant id; required for azure.")
    domain: Hostname = Field(
        default="agents.example.com", description="Domain the gateway answers under: api.<domain>."
    )
    deletion_protection: bool | None = Field(
        default=None,
        description="Protect what holds data from deletion; default: true in staging and prod. prod refuses false.",
    )
    tags: tuple[str, ...] = Field(
        default=(), description="Extra tags as key=value, on everything that takes them; default none."
    )
    network: NetworkSettings = NetworkSettings()
    cluster: ClusterSettings = ClusterSettings()
    fleet: FleetSettings = FleetSettings()
    images: ImageSettings = ImageSettings()
    components: ComponentSettings = ComponentSettings()
    gateway: GatewaySettings = GatewaySettings()
    stacks: StackSettings = StackSettings()
    database: DatabaseSettings = DatabaseSettings()
    cache: CacheSettings = CacheSettings()
    alerts: AlertSettings = AlertSettings()

    @model_validator(mode="after")
    def _obeys_the_rules(self) -> Self:
        problems = rules.check(self)
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def protected(self) -> bool:
        """Whether what holds data is protected from deletion."""
        return self.environment != "dev" if self.deletion_protection is None else self.deletion_protection

    @property
    def api_host(self) -> str:
        """Host name of the gateway (specification section 3: api. in production, staging-api. in staging)."""
        return {"prod": "api", "staging": "staging-api", "dev": "dev-api"}[self.environment] + f".{self.domain}"

    @property
    def extra_tags(self) -> dict[str, str]:
        """The extra tags as a mapping."""
        return dict(tag.split("=", 1) for tag in self.tags)

    def builds(self, layer: Layer) -> bool:
        """Whether this stack builds the layer."""
        return layer in self.layers


class SettingsError(Exception):
    """A configuration that is refused; ``problems`` are (key, message) pairs, all of them."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__(
            "the stack's configuration is refused:\n"
            + "\n".join(f"  {PROJECT}:{key}: {message}" for key, message in problems)
        )


def parse(values: Mapping[str, Any]) -> PlatformSpec:
    """A validated spec of a configuration's values: top-level key (without project) → plain data.

    Raises SettingsError with every problem: of form first, and where the form is right, of meaning.
    """
    try:
        return PlatformSpec.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(
            [(_key(entry["loc"]), _message(entry)) for entry in error.errors(include_url=False)]
        ) from None


def load(get: Callable[[str], str | None], keys: Mapping[str, str]) -> PlatformSpec:
    """The spec of a stack: ``get`` is pulumi.Config().get, ``keys`` all configuration keys there are.

    Raises SettingsError (see parse); keys of the project that no section knows are problems too.
    """
    values: dict[str, Any] = {}
    for full in keys:
        namespace, _, key = full.partition(":")
        if namespace == PROJECT:
            values[key] = _decode(get(key))
    return parse(values)


def _decode(text: str | None) -> Any:
    """Pulumi hands booleans, numbers, lists and objects over as JSON text, strings as they are."""
    if text is None:
        return None
    if text.startswith(("{", "[", '"')) or text in ("true", "false"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _message(entry: Any) -> str:
    if entry["type"] == "extra_forbidden":
        return "unknown key; Pulumi.yaml lists the keys there are"
    if entry["type"] == "missing":
        return "required"
    message = str(entry["msg"]).removeprefix("Value error, ")
    given = "" if "password" in entry["loc"] else f" (got {entry['input']!r})"
    return f"{message[0].lower()}{message[1:]}{given}"
