"""Owns a stack's configuration: the only reader of pulumi.Config, and what a valid platform is.

``load`` turns the configuration of a stack into one validated PlatformSpec or raises SettingsError with
every problem at once, each naming its key, before anything is registered. Keys are written as in the stack
file: ``cluster.access`` is ``access`` under ``ai-agents-platform:cluster``. Pulumi.yaml's config schema is
generated from here (a test compares). What the sections hold is ``sections.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator

from infra import rules
from infra.sections import (
    AlertSettings,
    CacheSettings,
    ClusterSettings,
    ComponentSettings,
    DatabaseSettings,
    FleetSettings,
    GatewaySettings,
    ImageSettings,
    NetworkSettings,
    Settings,
    StackSettings,
)

PROJECT = "ai-agents-platform"
NAMESPACE = "ai-agents"

Cloud = Literal["aws", "gcp", "azure", "existing"]
Environment = Literal["dev", "staging", "prod"]
Layer = Literal["foundation", "services", "fleet"]
LAYERS: tuple[Layer, ...] = ("foundation", "services", "fleet")

Hostname = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$", max_length=253)
]


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
        showable = frozenset(_showable(PlatformSpec))
        raise SettingsError(
            [(_key(entry["loc"]), _message(entry, showable)) for entry in error.errors(include_url=False)]
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


def _message(entry: Any, showable: Container[str]) -> str:
    if entry["type"] == "extra_forbidden":
        return "unknown key; Pulumi.yaml lists the keys there are"
    if entry["type"] == "missing":
        return "required"
    if entry["type"] == "model_type":
        return "is a section: write its keys under it"
    message = str(entry["msg"]).removeprefix("Value error, ")
    given, key = entry["input"], _key(tuple(part for part in entry["loc"] if isinstance(part, str)))
    # Our own words (value_error) name what they refuse.
    shown = key in showable and isinstance(given, str | int | float) and entry["type"] != "value_error"
    return f"{message[0].lower()}{message[1:]}" + (f" (got {given!r})" if shown else "")


def _showable(section: type[Settings], above: str = "") -> Iterator[str]:
    """Keys whose refused value an error may show, since it goes into logs and pull requests.

    Those of fields that hold neither a secret nor a section: what stands in a section's place may be its secret.
    """
    for field in section.model_fields.values():
        key = f"{above}{field.alias}"
        types = set(_types(field.annotation))
        sections = [each for each in types if issubclass(each, Settings)]
        for each in sections:
            yield from _showable(each, f"{key}.")
        if not sections and SecretStr not in types:
            yield key


def _types(annotation: Any) -> Iterator[type]:
    """The classes an annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for each in get_args(annotation):
        yield from _types(each)
