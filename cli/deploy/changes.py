"""Owns what the engine said, as data: steps, messages, what a stack holds, what a preview would change. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["begun", "ended", "failed"]
_COLOUR = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*[mK]")
_REPLACING = ("replace", "create-replacement", "delete-replaced")
_UNTOUCHED = ("same", "read", "refresh")
_GENERAL = re.compile(r"(update|preview|refresh|destroy|resource operation)\w* (failed|canceled)\.?", re.IGNORECASE)
PAST = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "replace": "replaced",
    "import": "imported",
}
"""Operations in the order they are shown, and their participle. A replacement's inner steps have names of their own."""


def plain(text: str) -> str:
    """A message of the engine without its colour tags."""
    return _COLOUR.sub("", text).strip()


def name_of(urn: str) -> str:
    """The logical name of a resource: the last part of its URN."""
    return urn.rpartition("::")[2]


def types_of(urn: str) -> list[str]:
    """The types of a resource's parents, outermost first, and its own last; one empty type where there is no URN."""
    return urn.rpartition("::")[0].rpartition("::")[2].split("$")


def kind_of(urn: str) -> str:
    """The last word of a resource's own type: Deployment."""
    return types_of(urn)[-1].rpartition(":")[2]


def short(urn: str) -> str:
    """Kind and name of a resource as people know them: Deployment pool-business."""
    return f"{kind_of(urn)} {name_of(urn)}".strip()


@dataclass(frozen=True)
class Property:
    """One property path that differs; never its values, which may be secret."""

    path: str
    kind: str
    """add, delete or update."""


@dataclass(frozen=True)
class Step:
    """One operation of the engine on one resource."""

    phase: Phase
    op: str
    urn: str
    type: str
    custom: bool = True
    """Whether a provider holds something for it; components are groups."""
    protected: bool = False
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True)
class Message:
    """What the engine or a provider said: in its own words, colours removed, secrets masked by the engine."""

    severity: str
    text: str
    urn: str = ""


@dataclass(frozen=True)
class Totals:
    """The engine's own count at the end: operation → resources, without what stays the same."""

    counts: Mapping[str, int]


Event = Step | Message | Totals


@dataclass(frozen=True)
class Pending:
    """An operation that was begun and of whose end the engine never heard."""

    urn: str
    kind: str
    """creating, updating, deleting, reading or importing."""


@dataclass(frozen=True)
class Holding:
    """What a stack's state holds."""

    resources: frozenset[str] = frozenset()
    """URNs of what providers hold; components and providers themselves are not among them."""
    protected: frozenset[str] = frozenset()
    pending: tuple[Pending, ...] = ()
    outputs: frozenset[str] = frozenset()
    """Names of the stack's outputs."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """URN → URN of its parent, of components too."""
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """URN of a ConfigMap → names of its entries."""

    @property
    def pending_creates(self) -> tuple[str, ...]:
        """What may exist in the cloud without the state knowing its id."""
        return tuple(dict.fromkeys(one.urn for one in self.pending if one.kind == "creating"))


def holding(deployment: Mapping[str, Any]) -> Holding:
    """What an exported deployment (``deployment`` of `pulumi stack export`, version 3 and later) holds."""
    listed: list[Mapping[str, Any]] = deployment.get("resources") or []
    root = next((one for one in listed if one["type"] == "pulumi:pulumi:Stack"), {})
    real = [one for one in listed if one.get("custom") and not one["type"].startswith("pulumi:providers:")]
    return Holding(
        frozenset(one["urn"] for one in real if not one.get("delete")),
        frozenset(one["urn"] for one in listed if one.get("protect")),
        tuple(Pending(one["resource"]["urn"], one["type"]) for one in deployment.get("pending_operations") or []),
        frozenset(root.get("outputs") or {}),
        {one["urn"]: one["parent"] for one in listed if one.get("parent")},
        {one["urn"]: _keys(one) for one in real if kind_of(one["urn"]) == "ConfigMap"},
    )


def _keys(resource: Mapping[str, Any]) -> frozenset[str]:
    data = (resource.get("inputs") or {}).get("data")
    return frozenset(data) if isinstance(data, Mapping) else frozenset()


@dataclass(frozen=True)
class Changes:
    """What a preview would do, or an operation did, to one stack."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Operation (create, update, delete, replace, …) → resources."""
    steps: tuple[Step, ...] = ()
    faults: tuple[Message, ...] = ()
    warnings: tuple[Message, ...] = ()

    @property
    def total(self) -> int:
        """How many resources change."""
        return sum(self.counts.values())

    def having(self, *ops: str) -> tuple[str, ...]:
        """URNs that any of the operations is about, in order; ``replace`` also means its inner steps."""
        wanted = {*ops, *(_REPLACING if "replace" in ops else ())}
        return tuple(dict.fromkeys(step.urn for step in self.steps if step.op in wanted))

    @property
    def protected(self) -> frozenset[str]:
        """What would be deleted or replaced although the state protects it."""
        gone = {*self.having("delete", "replace")}
        return frozenset(step.urn for step in self.steps if step.protected and step.urn in gone)


@dataclass(frozen=True)
class Outcome:
    """How one run of the engine on one stack ended."""

    changes: Changes
    problem: str = ""
    """Why it failed where no event said so, in the CLI's words; "" where it did not fail."""
    cancelled: bool = False

    @property
    def failed(self) -> bool:
        """Whether it did not do what was asked."""
        return bool(self.problem or self.changes.faults or self.cancelled)


def gathered(events: Iterable[Event]) -> Changes:
    """The changes a run of the engine told of, event by event."""
    steps: dict[tuple[str, str], Step] = {}
    messages: list[Message] = []
    counts: Mapping[str, int] | None = None
    for event in events:
        if isinstance(event, Step) and event.op not in _UNTOUCHED:
            # The end of a step knows more than its beginning: what a refresh found, which properties differ.
            steps[event.urn, event.op] = event
        elif isinstance(event, Message):
            messages.append(event)
        elif isinstance(event, Totals):
            counts = event.counts
    errors = [message for message in messages if message.severity == "error"]
    specific = [message for message in errors if message.urn or not _GENERAL.fullmatch(message.text)]
    return Changes(
        dict(counts)
        if counts is not None
        else dict(Counter(step.op for step in steps.values() if step.op in PAST and step.phase == "ended")),
        tuple(steps.values()),
        tuple(specific or errors),
        tuple(message for message in messages if message.severity == "warning"),
    )


def counted(counts: Mapping[str, int]) -> str:
    """Counts in words: 12 created · 3 updated; "no changes" where there are none."""
    order = [*PAST, *sorted(set(counts) - set(PAST))]
    return " · ".join(f"{counts[op]:,} {PAST.get(op, op)}" for op in order if counts.get(op)) or "no changes"
