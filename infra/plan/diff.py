"""Owns comparing two plans of one stack: what would be created, changed, replaced, moved and deleted.

Resources are matched by URN, then by declared aliases, then by equal type and inputs (a rename, for which it
says what keeps the resource). ``replaced`` is said only where ``replacements.yaml`` or the recorded options
say so, else ``changed``. What it means in the cluster is ``impact``; an agent's text is ``agents``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson

from infra.plan.plan import Plan, Resource, redacted

Action = Literal["created", "changed", "replaced", "moved", "deleted"]
ACTIONS: tuple[Action, ...] = ("created", "changed", "replaced", "moved", "deleted")
TABLE = Path(__file__).with_name("replacements.yaml")


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Any = _Absent()
"""Value of a property on the side that does not have it."""


@dataclass(frozen=True)
class PropertyChange:
    """One property that differs. Values are redacted; a changed secret shows as changed and nothing more."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """What happens to one resource."""

    action: Action
    resource: Resource
    """As in the head plan; as in the base plan where it is deleted."""
    before: Resource | None = None
    properties: tuple[PropertyChange, ...] = ()
    why: str = ""
    """For replaced: the property and the source that says so."""
    advice: str = ""
    """For moved: what keeps the resource, a command or an alias."""

    @property
    def kept_by_alias(self) -> bool:
        """Whether a move is already declared in the program."""
        return self.action == "moved" and not self.advice


@dataclass(frozen=True)
class Diff:
    """Everything that differs between two plans of a stack."""

    base: Plan
    head: Plan
    changes: tuple[Change, ...]

    def of(self, *actions: Action) -> list[Change]:
        """Changes of these actions, in program order."""
        return [change for change in self.changes if change.action in actions]

    @property
    def counts(self) -> dict[str, int]:
        """How many changes of each action there are, zeros left out."""
        counted = {action: len(self.of(action)) for action in ACTIONS}
        return {action: count for action, count in counted.items() if count}


def diff(base: Plan, head: Plan) -> Diff:
    """Compare two plans of one stack, components left out (they are no resource anywhere)."""
    before = {item.urn: item for item in base.resources if item.custom and not item.read}
    after = {item.urn: item for item in head.resources if item.custom and not item.read}
    lost = {urn: item for urn, item in before.items() if urn not in after}
    fresh = {urn: item for urn, item in after.items() if urn not in before}
    pairs = {urn: before[urn] for urn in after if urn in before}
    moves: dict[str, tuple[Resource, str]] = {}
    for urn, old in _aliased(fresh, lost, head):
        moves[urn] = (old, "")
        del lost[old.urn]
    for urn, old in _renamed({urn: item for urn, item in fresh.items() if urn not in moves}, lost):
        moves[urn] = (old, _advice(old, fresh[urn]))
        del lost[old.urn]
    changes: list[Change] = []
    for urn, item in after.items():
        if urn in moves:
            old, advice = moves[urn]
            changes.append(Change("moved", item, old, tuple(_properties(old.inputs, item.inputs)), advice=advice))
            continue
        paired = pairs.get(urn)
        changes += [Change("created", item)] if paired is None else _compared(paired, item)
    changes += [Change("deleted", item, item) for item in lost.values()]
    return Diff(base, head, tuple(changes))


def empty(head: Plan) -> Plan:
    """The base of a stack that did not exist."""
    return Plan(head.stack, head.mode, (), head.project)


def moves_between(diffs: Iterable[Diff]) -> list[str]:
    """`pulumi state move` commands for what leaves one stack and appears in another with the same type and inputs."""
    listed = list(diffs)
    gone = {
        (_identity(change.resource)): (each.head.stack, change.resource)
        for each in listed
        for change in each.of("deleted")
    }
    commands = []
    for each in listed:
        for change in each.of("created"):
            source = gone.get(_identity(change.resource))
            if source is not None and source[0] != each.head.stack:
                commands.append(f"pulumi state move --source {source[0]} --dest {each.head.stack} '{source[1].urn}'")
    return commands


def _compared(old: Resource, new: Resource) -> list[Change]:
    properties = tuple(_properties(old.inputs, new.inputs))
    properties += tuple(_options(old, new))
    if not properties:
        return []
    why = next(filter(None, (replaces(new, change.path) for change in properties)), "")
    return [Change("replaced" if why else "changed", new, old, properties, why)]


def _options(old: Resource, new: Resource) -> Iterator[PropertyChange]:
    for name in ("protect", "retain_on_delete", "ignore_changes"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield PropertyChange(f"options.{name}", before, after)
    if old.provider.rpartition("::")[0] != new.provider.rpartition("::")[0]:
        yield PropertyChange("options.provider", _provider(old), _provider(new))


def _provider(resource: Resource) -> str:
    return resource.provider.rpartition("::")[0].rpartition("::")[2] or "(default)"


def _properties(before: Any, after: Any, path: str = "") -> Iterator[PropertyChange]:
    if before == after:
        return
    if _tree(before) and _tree(after):
        for key in sorted({*before, *after}):
            yield from _properties(before.get(key, ABSENT), after.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from _properties(left, right, f"{path}[{index}]")
    else:
        yield PropertyChange(path, _shown(before), _shown(after))


def _tree(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(key.startswith("$") for key in value)


def _shown(value: Any) -> Any:
    return value if value is ABSENT else redacted(value)


def replaces(resource: Resource, path: str) -> str:
    """Why a change of ``path`` replaces the resource, with its source; empty where nothing says that it does."""
    plain = path.replace("[", ".").replace("]", "")
    if any(_below(plain, listed) for listed in resource.replace_on_changes):
        return f"{path} (the resource's own replaceOnChanges)"
    for token in (resource.type, f"{resource.package}:*"):
        for listed, source in _table().get(token, {}).items():
            if _below(plain, listed):
                return f"{path} ({source})"
    return ""


def _below(path: str, listed: str) -> bool:
    # Positions in lists do not matter to a rule: encryptionConfig.0.resources is encryptionConfig.resources.
    bare = ".".join(part for part in path.split(".") if not part.isdigit())
    return any(candidate == listed or candidate.startswith(f"{listed}.") for candidate in (path, bare))


@cache
def _table() -> dict[str, dict[str, str]]:
    import yaml_rs

    table: dict[str, dict[str, str]] = defaultdict(dict)
    entries: Any = yaml_rs.loads(TABLE.read_text("utf-8"))
    for entry in entries:
        for token, paths in entry["types"].items():
            table[token].update(dict.fromkeys(paths, entry["source"]))
    return table


def _aliased(fresh: Mapping[str, Resource], lost: Mapping[str, Resource], head: Plan) -> list[tuple[str, Resource]]:
    found = []
    for urn, item in fresh.items():
        for alias in item.aliases:
            old = lost.get(alias if isinstance(alias, str) else _alias_urn(item, alias, head))
            if old is not None:
                found.append((urn, old))
                break
    return found


def _alias_urn(item: Resource, alias: Mapping[str, str], head: Plan) -> str:
    stack, project, qualified, name = item.urn.removeprefix("urn:pulumi:").split("::", 3)
    chain = qualified.split("$")
    if alias.get("parent"):
        chain = [*alias["parent"].split("::")[2].split("$"), chain[-1]]
    chain[-1] = alias.get("type", chain[-1])
    return "urn:pulumi:" + "::".join(
        (alias.get("stack", stack), alias.get("project", project), "$".join(chain), alias.get("name", name))
    )


def _identity(item: Resource) -> tuple[str, bytes]:
    return item.type, orjson.dumps(item.inputs, option=orjson.OPT_SORT_KEYS)


def _renamed(fresh: Mapping[str, Resource], lost: Mapping[str, Resource]) -> list[tuple[str, Resource]]:
    """Pairs of equal type and inputs; where several are equal (attachments without content), only those of one name."""
    gone: dict[tuple[str, bytes], list[Resource]] = defaultdict(list)
    for item in lost.values():
        gone[_identity(item)].append(item)
    found: list[tuple[str, Resource]] = []
    taken: set[str] = set()
    for urn, item in fresh.items():
        candidates = [old for old in gone.get(_identity(item), []) if old.urn not in taken]
        named = [old for old in candidates if old.name == item.name]
        chosen = named[0] if named else candidates[0] if len(candidates) == 1 else None
        if chosen is not None:
            taken.add(chosen.urn)
            found.append((urn, chosen))
    return found


def _advice(old: Resource, new: Resource) -> str:
    """What keeps a resource that only its URN changed of."""
    if old.urn.rpartition("::")[0] == new.urn.rpartition("::")[0]:
        return (
            f"pulumi state rename '{old.urn}' {new.name}   or in the program: aliases=[pulumi.Alias(name={old.name!r})]"
        )
    return f"in the program: aliases=[{old.urn!r}]"
