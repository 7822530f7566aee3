"""Owns what a policy is: a pure function over a resource's type and properties, or over a whole graph of them.

The same functions run offline over a recorded plan (``check``) and inside the engine (``pack``). Values that
are not known before `up` count as fulfilled: a policy says what it knows, and the engine asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")

SECRET, UNKNOWN = "$secret", "$unknown"


@dataclass(frozen=True)
class Subject:
    """One resource as a policy sees it."""

    type: str
    properties: Mapping[str, Any]
    """Inputs under their Pulumi names; secrets and unknowns as markers (``$secret``, ``$unknown``)."""
    name: str = ""
    urn: str = ""
    protect: bool = False

    def get(self, path: str, default: Any = None) -> Any:
        """The property at a dotted path; the first element of a list stands for the list."""
        return dig(self.properties, path, default)

    @property
    def kubernetes(self) -> bool:
        """Whether it is a Kubernetes object (not a Helm release)."""
        return self.type.startswith("kubernetes:") and not self.type.startswith("kubernetes:helm.sh")

    @property
    def kind(self) -> str:
        """Last part of the type token."""
        return self.type.rpartition(":")[2]

    @property
    def environment(self) -> str:
        """dev, staging or prod as its tags or labels say, empty where they do not."""
        for path in ("tags", "labels", "resourceLabels", "settings.userLabels"):
            tags = self.get(path)
            if isinstance(tags, Mapping) and isinstance(tags.get("environment"), str):
                return str(tags["environment"])
        return ""


Check = Callable[[Subject], Iterator[str]]
GraphCheck = Callable[[Sequence[Subject]], Iterator[tuple[str, str]]]
"""Messages with the URN of the resource they are about; empty for the stack itself."""


@dataclass(frozen=True)
class Policy:
    """A rule with what a person needs to act on it."""

    id: str
    severity: Severity
    title: str
    remedy: str
    source: str
    check: Check | None = None
    graph: GraphCheck | None = None
    types: frozenset[str] = field(default_factory=frozenset)
    """Type tokens ``check`` is for; empty: all."""
    needs_marks: bool = False
    """Judges by secret marks, which the engine takes off before it asks a policy pack: offline only."""

    def applies(self, subject: Subject) -> bool:
        """Whether ``check`` is for this resource."""
        return self.check is not None and (not self.types or subject.type in self.types)


@dataclass(frozen=True)
class Finding:
    """One violation."""

    policy: Policy
    message: str
    urn: str = ""
    name: str = ""

    def as_dict(self) -> dict[str, str]:
        """As JSON data."""
        return {
            "policy": self.policy.id,
            "severity": self.policy.severity,
            "resource": self.name,
            "urn": self.urn,
            "message": self.message,
            "remedy": self.policy.remedy,
            "source": self.policy.source,
        }


@dataclass(frozen=True)
class Rule:
    """One property that must be a certain way: what a table of a policy holds per type."""

    path: str
    test: Callable[[Any], bool]
    message: str


def evaluate(policies: Iterable[Policy], subjects: Sequence[Subject]) -> list[Finding]:
    """All findings, gravest first, then by policy and resource."""
    names = {subject.urn: subject.name for subject in subjects}
    found: list[Finding] = []
    for policy in policies:
        if policy.graph is not None:
            found += [Finding(policy, message, urn, names.get(urn, "")) for urn, message in policy.graph(subjects)]
        if policy.check is not None:
            found += [
                Finding(policy, message, subject.urn, subject.name)
                for subject in subjects
                if policy.applies(subject)
                for message in policy.check(subject)
            ]
    return sorted(found, key=lambda item: (SEVERITIES.index(item.policy.severity), item.policy.id, item.urn))


def table(rules: Mapping[str, Sequence[Rule]], *, unless: Callable[[Subject], bool] = lambda _: False) -> Check:
    """A check made of rules by type; ``unless`` exempts a resource."""

    def check(subject: Subject) -> Iterator[str]:
        if unless(subject):
            return
        for rule in rules.get(subject.type, ()):
            value = subject.get(rule.path)
            if not is_unknown(value) and not rule.test(value):
                yield rule.message

    return check


def dig(value: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path; on the way a list stands for its first element, an unknown for what is in it."""
    for part in path.split("."):
        while isinstance(value, list | tuple):
            if not value:
                return default
            value = value[0]
        if is_unknown(value):
            return value
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def is_unknown(value: Any) -> bool:
    """Whether the value is not known before `up`."""
    return isinstance(value, Mapping) and UNKNOWN in value


def is_secret(value: Any) -> bool:
    """Whether the value is marked secret."""
    return isinstance(value, Mapping) and SECRET in value


def on(value: Any) -> bool:
    """True, also as the text some properties take."""
    return value is True or value in ("true", "True", "Enabled", "ENABLED", "enabled")


def off(value: Any) -> bool:
    """False or left out."""
    return value in (None, False, "false", "Disabled", "DISABLED")


def given(value: Any) -> bool:
    """There is a value."""
    return value not in (None, "", [], {})


def one_of(*allowed: Any) -> Callable[[Any], bool]:
    """The value is one of these."""
    return lambda value: value in allowed


def at_least(fewest: int) -> Callable[[Any], bool]:
    """A number that is not below ``fewest``."""
    return lambda value: isinstance(value, int | float) and value >= fewest


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value with its path; secrets and unknowns left out."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        if SECRET in value or UNKNOWN in value:
            return
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")
