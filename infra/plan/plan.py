"""Owns the plan of one stack: its resources as the program registers them, without cloud, cluster or engine.

Frozen data with lookups; making one is ``record``, comparing two is ``diff``. Values keep the recorder's
markers (``{"$secret": digest}``, ``{"$unknown": true}``); ``redacted`` turns them into text for any output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import orjson

SECRET, UNKNOWN, REFERENCE, ASSET = "$secret", "$unknown", "$resource", "$asset"
REDACTED = "[secret]"
LAYERS = ("foundation", "services", "fleet")

_AREAS = {
    "aws": "foundation",
    "gcp": "foundation",
    "azure": "foundation",
    "existing": "foundation",
    "workloads": "fleet",
}
_PACKAGES = {"aws": "foundation", "gcp": "foundation", "azure-native": "foundation", "kubernetes": "services"}
OTHER = "stack"
"""Layer of what belongs to none: providers and stack references."""


@dataclass(frozen=True)
class Resource:
    """One registration, complete."""

    urn: str
    type: str
    """Type token: ``kubernetes:apps/v1:Deployment``, ``aws:ec2/vpc:Vpc``, ``platform:workloads:Pool``."""
    name: str
    """Logical name."""
    inputs: Mapping[str, Any]
    parent: str = ""
    """URN of the parent."""
    provider: str = ""
    """``<URN>::<id>`` of the explicit provider, empty for the default one."""
    custom: bool = True
    """False for components."""
    read: bool = False
    """Read, not managed: a StackReference or ``.get``."""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False
    aliases: tuple[Any, ...] = ()
    """URNs, or mappings of what differs (name, type, parent)."""
    retain_on_delete: bool = False
    delete_before_replace: bool = False
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    secret_outputs: tuple[str, ...] = ()
    deleted_with: str = ""
    import_id: str = ""
    timeouts: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What a component registered as its outputs."""

    @property
    def package(self) -> str:
        """``aws`` of ``aws:ec2/vpc:Vpc``."""
        return self.type.partition(":")[0]

    @property
    def kind(self) -> str:
        """What it is in a word: ``Deployment``, ``aws Vpc``, ``Pool``."""
        noun = self.type.rpartition(":")[2]
        if self.type.startswith("pulumi:providers:"):
            return f"{noun} provider"
        if self.package in ("kubernetes", "platform", "pulumi"):
            return noun
        return f"{self.package.removesuffix('-native')} {noun}"

    @property
    def label(self) -> str:
        """What it is for people, with the service where the kind alone is ambiguous: ``aws rds Instance``."""
        if self.package in ("kubernetes", "platform", "pulumi"):
            return self.kind
        service = self.type.split(":")[1].partition("/")[0]
        return f"{self.package.removesuffix('-native')} {service} {self.type.rpartition(':')[2]}"

    @property
    def is_component(self) -> bool:
        """Whether it is a grouping of the program and nothing in a cloud or cluster."""
        return not self.custom

    @property
    def is_object(self) -> bool:
        """Whether it is a Kubernetes object that the program itself defines."""
        return self.package == "kubernetes" and self.custom and not self.is_release

    @property
    def is_release(self) -> bool:
        """Whether it is a Helm release."""
        return self.type == "kubernetes:helm.sh/v3:Release"

    def get(self, path: str, default: Any = None) -> Any:
        """The input at a dotted path (``spec.template.spec``); list positions are numbers."""
        return dig(self.inputs, path, default)


@dataclass(frozen=True)
class Plan:
    """All resources of one stack."""

    stack: str
    mode: str
    resources: tuple[Resource, ...]
    project: str = "ai-agents-platform"
    values: Mapping[str, Any] = field(default_factory=dict)
    """The stack's own configuration without secret keys: top-level key → data."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """What recording took, interpreter start not included."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A plan of its JSON form; keys it does not know are left out."""
        known = {item.name for item in fields(cls)}
        rest = {key: value for key, value in data.items() if key in known and key != "resources"}
        return cls(resources=tuple(_resource(entry) for entry in data["resources"]), **rest)

    @classmethod
    def load(cls, path: Path) -> Self:
        """A saved plan. Raises ValueError where the file is none."""
        try:
            data = orjson.loads(path.read_bytes())
            return cls.from_dict(data)
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: not a saved plan (make one with: fleet preview STACK --save {path}): {error}"
            ) from None

    def save(self, path: Path) -> None:
        """Write the plan as JSON; secrets are digests in it."""
        path.write_bytes(orjson.dumps(self.as_dict(), option=orjson.OPT_INDENT_2))

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON data."""
        return asdict(self)

    @cached_property
    def by_urn(self) -> Mapping[str, Resource]:
        """Resources by URN."""
        return {resource.urn: resource for resource in self.resources}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.resources)

    def __len__(self) -> int:
        return len(self.resources)

    def find(
        self, token: str = "", name: str = "", *, kind: str = "", where: Callable[[Resource], bool] | None = None
    ) -> list[Resource]:
        """Resources of exactly that type token, logical name, kind, and condition; each where given."""
        return [
            resource
            for resource in self.resources
            if (not token or resource.type == token)
            and (not name or resource.name == name)
            and (not kind or resource.kind == kind)
            and (where is None or where(resource))
        ]

    def one(self, token: str = "", name: str = "", *, kind: str = "") -> Resource:
        """The one resource that ``find`` finds. Raises LookupError naming how many there were."""
        found = self.find(token, name, kind=kind)
        if len(found) != 1:
            wanted = " ".join(part for part in (token, name, kind) if part)
            raise LookupError(f"{len(found)} resources are {wanted!r}: {', '.join(item.name for item in found[:5])}")
        return found[0]

    @property
    def managed(self) -> list[Resource]:
        """What an engine would create: no components, no reads, no providers."""
        return [item for item in self.resources if item.custom and not item.read and item.package != "pulumi"]

    @property
    def objects(self) -> list[Resource]:
        """Kubernetes objects that the program itself defines."""
        return [item for item in self.resources if item.is_object]

    def ancestors(self, resource: Resource) -> Iterator[Resource]:
        """Parents, from the nearest up."""
        while (parent := self.by_urn.get(resource.parent)) is not None:
            yield parent
            resource = parent

    def children(self, resource: Resource) -> list[Resource]:
        """Resources whose parent it is."""
        return [item for item in self.resources if item.parent == resource.urn]

    def layer(self, resource: Resource) -> str:
        """foundation, services, fleet or stack: from the outermost component that says so, else from the type."""
        return self._layers[resource.urn]

    @cached_property
    def _layers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        # A parent is registered before its children, so its layer is known.
        for item in self.resources:
            own = _component_layer(item.type)
            above = found.get(item.parent, OTHER)
            found[item.urn] = (
                above if above != OTHER else own or (OTHER if item.is_component else _PACKAGES.get(item.package, OTHER))
            )
        return found

    def by_layer(self) -> dict[str, list[Resource]]:
        """Managed resources by layer, in the layers' order."""
        grouped: dict[str, list[Resource]] = {layer: [] for layer in (*LAYERS, OTHER)}
        for item in self.managed:
            grouped[self.layer(item)].append(item)
        return {layer: items for layer, items in grouped.items() if items}

    def by_kind(self, resources: list[Resource] | None = None) -> Counter[str]:
        """How many managed resources there are of each kind, by label."""
        return Counter(item.label for item in (self.managed if resources is None else resources))

    @property
    def names(self) -> list[str]:
        """``type name`` of every resource, sorted: what the committed lists of logical names hold."""
        return sorted(f"{item.type} {item.name}" for item in self.resources)


def _component_layer(token: str) -> str:
    package, _, rest = token.partition(":")
    if package != "platform":
        return ""
    area, _, noun = rest.partition(":")
    if area == "layer":
        return noun.lower() if noun.lower() in LAYERS else ""
    return _AREAS.get(area, "services")


_TUPLES = {"dependencies", "aliases", "ignore_changes", "replace_on_changes", "secret_outputs"}
_FIELDS = {item.name for item in fields(Resource)}


def _resource(entry: Mapping[str, Any]) -> Resource:
    values: dict[str, Any] = {
        key: tuple(value) if key in _TUPLES else value for key, value in entry.items() if key in _FIELDS
    }
    dependencies = values.get("property_dependencies")
    if dependencies:
        values["property_dependencies"] = {key: tuple(urns) for key, urns in dependencies.items()}
    return Resource(**values)


def dig(value: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path of mappings and lists, else ``default``."""
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return default
    return value


def is_secret(value: Any) -> bool:
    """Whether a recorded value is marked secret."""
    return isinstance(value, Mapping) and SECRET in value


def is_unknown(value: Any) -> bool:
    """Whether a recorded value is not known before `up`; an unknown secret is too."""
    return isinstance(value, Mapping) and (UNKNOWN in value or value.get(SECRET) == "")


def redacted(value: Any) -> Any:
    """The value with markers as text: ``[secret]``, ``[unknown]``, a reference's URN, an asset's source."""
    if isinstance(value, Mapping):
        if SECRET in value:
            return REDACTED
        if UNKNOWN in value:
            return "[unknown]"
        if REFERENCE in value:
            return value[REFERENCE]
        if ASSET in value:
            return f"[asset {', '.join(str(item) for item in value[ASSET].values())}]"
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value
