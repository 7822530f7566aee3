"""Owns the moves of a rollout as changes of text: begin, share, promote, abort, finish. Pure.

A rollout's candidate and previous version are the very lines that the entry had or will have, moved; so a rollout
that is aborted leaves the file as it was, byte for byte. What the lines mean is the catalog's, which files they lie
in the targets'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from catalog.rollout import Colour, Strategy
from catalog.versions import idle
from cli.rollouts.text import Block, New, TextError, Value

OURS = "until fleet rollout takes it away"
"""Comment beside a rollout that `fleet rollout start` wrote, and that therefore goes when it is over."""

Name = tuple[str, ...]
"""Where a field lies within a version's changes: ``("prompt",)``, or in a pool ``("agents", id, "prompt")``."""
Other = Literal["candidate", "previous"]


@dataclass(frozen=True)
class Slot:
    """Where the serving version has one field that a rollout may change."""

    home: Block | New
    key: str
    name: Name
    absent: str
    """What says the field's default where it is not written: a version that has it not must say so."""
    after: Sequence[str] = ()
    """Keys it is put behind where it is not there yet, the nearest last."""

    @property
    def value(self) -> Value | None:
        """The field as the serving version has it written."""
        return self.home.value(self.key) if isinstance(self.home, Block) else None

    def put(self, value: Value | None, after: Sequence[str] = ()) -> None:
        """Write the field; one that says its default alone is left out."""
        if value is not None and value.text.strip() == f": {self.absent}":
            value = None
        self.home.put(self.key, value, after or self.after)


@dataclass(frozen=True)
class Terms:
    """How a new version takes over."""

    strategy: Strategy
    active: Colour = "blue"
    percent: int | None = None
    """Share of a canary, percent, where it is to be written; None: as the file says, or the default."""


Before = Mapping[Name, tuple[Value | None, Sequence[str]]]
"""Changed fields → how the serving version goes on having them, and the keys they stood behind."""


def begin(owner: Block | New, slots: Iterable[Slot], before: Before, terms: Terms, stated: Mapping[Name, Value], key: str = "canary_percent") -> None:  # fmt: skip
    """Put what the entry has now beside what it had: the former as candidate, the latter back in its place.

    ``slots`` are the changed fields in the order the candidate states them, ``before`` what goes back in the order it
    is put; ``stated`` are fields of the candidate that stand nowhere yet.
    """
    places = {slot.name: slot for slot in slots}
    candidate = {**stated, **{name: slot.value or Value.scalar(slot.absent) for name, slot in places.items()}}
    for name, (value, after) in before.items():
        places[name].put(value, after)
    fields = {"strategy": Value.scalar(terms.strategy)}
    if terms.strategy == "blue-green":
        fields["active"] = Value.scalar(terms.active)
    elif terms.percent is not None:
        fields[key] = Value.scalar(terms.percent)
    fields["candidate"] = _nested(candidate)
    _write(owner, fields)


def share(owner: Block, percent: int, key: str = "canary_percent") -> None:
    """Give a canary another share, percent."""
    _write(owner, {key: Value.scalar(percent)})


def swap(owner: Block, slot_of: Callable[[Name], Slot], source: Other, keep: Other | None, active: Colour) -> None:
    """Let the other version be the one that serves; what served is kept as ``keep``, or goes.

    The colour that serves becomes the other one, so that neither colour's content changes.
    """
    rollout = _rollout(owner)
    kept: dict[Name, Value] = {}
    for name, value in _flat(rollout.block(source)).items():
        slot = slot_of(name)
        kept[name] = slot.value or Value.scalar(slot.absent)
        slot.put(value)
    if keep is None:
        drop(owner, source)
        return
    _write(owner, {"active": Value.scalar(idle(active)), keep: _nested(kept)}, without=source)


def drop(owner: Block, other: Other, keeps: Colour | None = None) -> None:
    """End a rollout: the other version goes, and with it what `fleet rollout start` wrote.

    Where ``keeps`` is a colour, what serves goes by it, and so it stays written.
    """
    rollout = _rollout(owner)
    if rollout_comment(owner) == OURS:
        left = {} if keeps is None else {"strategy": Value.scalar("blue-green"), "active": Value.scalar(keeps)}
        owner.put("rollout", Value.mapping(left) if left else None)
    elif rollout.is_flow:
        left = {key: value for key in rollout.keys if key != other and (value := rollout.value(key))}
        owner.put("rollout", Value.mapping(left) if left else None)
    else:
        rollout.put(other, None)


def rollout_comment(owner: Block) -> str:
    """The comment beside the rollout."""
    return owner.comment("rollout")


def _rollout(owner: Block) -> Block:
    found = owner.block("rollout")
    if found is None:
        raise TextError("there is no rollout")
    return found


def _write(owner: Block | New, fields: Mapping[str, Value], without: str = "") -> None:
    """Set fields of the rollout, leaving the others as they are but ``without``; made where there is none."""
    rollout = owner.block("rollout") if isinstance(owner, Block) else None
    if rollout is None:
        owner.put("rollout", Value.mapping(fields, OURS))
    elif rollout.is_flow:
        known = {key: value for key in rollout.keys if key != without and (value := rollout.value(key))}
        owner.put("rollout", Value.mapping({**known, **fields}))
    else:
        rollout.put(without, None)
        for key, value in fields.items():
            if rollout.value(key) is None or (rollout.scalar(key) or "") != value.text[2:-1]:
                rollout.put(key, value)


def _nested(fields: Mapping[Name, Value]) -> Value:
    """A version's changes as they are written."""
    tree: dict[str, dict[Name, Value]] = {}
    for name, value in fields.items():
        tree.setdefault(name[0], {})[name[1:]] = value
    return Value.mapping({key: inner[()] if () in inner else _nested(inner) for key, inner in tree.items()})


def _flat(block: Block | None, depth: int = 1) -> dict[Name, Value]:
    """A version's changes by name: fields, and those of a pool's agents."""
    found: dict[Name, Value] = {}
    for key in block.keys if block else ():
        assert block is not None
        if key == "agents" and depth == 1:
            agents = block.block(key)
            for agent in agents.keys if agents else ():
                inner = agents.block(agent) if agents else None
                found |= {(key, agent, *name): value for name, value in _flat(inner, 2).items()}
        elif (value := block.value(key)) is not None:
            found[(key,)] = value
    return found
