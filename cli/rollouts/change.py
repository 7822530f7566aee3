"""Owns turning a rollout's move into files that are known to be right before they replace the old ones.

The catalog (or the stack) is read once more with the changed files in place of the old: it must be valid, both
versions must be what the move promises, and nothing else may be different. Applying it is ``apply.py``'s.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from catalog import registry as catalogs
from catalog.registry import CatalogError, Registry
from catalog.rollout import DEFAULT_PERCENT, Rollout, Strategy
from cli.errors import CommandError, Exit
from cli.rollouts import agents, moves, stacks
from cli.rollouts.agents import CatalogTarget
from cli.rollouts.moves import Name, Terms
from cli.rollouts.stacks import StackTarget
from cli.rollouts.target import Meaning
from cli.rollouts.text import Block, TextError, Value

Changes = Mapping[Path, tuple[bytes | None, bytes | None]]
"""Path → content before and after; None: there is no such file."""
AnyTarget = CatalogTarget | StackTarget


@dataclass(frozen=True)
class Asked:
    """What somebody said about a rollout that begins; empty or None where they left it open."""

    strategy: Strategy | None = None
    percent: int | None = None
    stated: Mapping[str, str | int] | None = None
    """Fields of a stack's candidate that are named outright: image, model, maxTokens, logLevel."""


def start(target: AnyTarget, reference: Path, asked: Asked, said: str) -> Changes:
    """Put what differs from ``reference`` beside it: a catalog folder as of then, or for a stack its file.

    ``said`` is what to call the reference in a message. Raises CommandError where nothing differs, and where a
    rollout is under way already.
    """
    if target.is_under_way:
        raise CommandError(f"{target.shown} has two versions already: promote, abort or finish that rollout first")
    terms = _terms(target, asked)
    if isinstance(target, StackTarget):
        return _start_stack(target, reference, asked, terms, said)
    then = agents.load(reference)
    _require_there(target, then, said)
    names = target.changed_since(then)
    if not names:
        carried = ", ".join(agents.AGENT_FIELDS)
        raise CommandError(
            f"{target.shown}: nothing that a rollout carries differs from {said} ({carried}): change it in its place, "
            f"and start then; other fields take effect at once, with fleet up"
        )
    expected = (target.as_before(then, names), target.meaning(target.registry).serving)
    with _told():
        before = target.texts(names, reference, then)
        moves.begin(target.owner(), map(target.slot, names), before, terms, {})
        return checked(target, expected)


def _start_stack(target: StackTarget, reference: Path, asked: Asked, terms: Terms, said: str) -> Changes:
    assert target.spec is not None
    assert target.project is not None
    serving = stacks.serving_of(target.spec)
    if asked.stated:
        stated: dict[Name, Value] = {(name,): Value.scalar(value) for name, value in asked.stated.items()}
        expected: tuple[object, object] = (serving, {**serving, **asked.stated})
        if expected[0] == expected[1]:
            raise CommandError(f"{target.shown} serves that already")
        with _told():
            moves.begin(target.owner(), (), {}, terms, stated, target.percent_key)
            return checked(target, expected)
    folder = reference.parent
    then = stacks.serving_of(stacks.stack_spec(replace(target.project, stacks=folder), target.name))
    names: list[Name] = [(name,) for name in serving if serving[name] != then[name]]
    if not names:
        raise CommandError(
            f"{target.shown}: neither image nor model, maxTokens or logLevel differ from {said}: "
            "say them (--image, --model, --max-tokens, --log-level), or change the file, and start then"
        )
    with _told():
        before = target.texts(names, reference)
        moves.begin(target.owner(), map(target.slot, names), before, terms, {}, target.percent_key)
        return checked(target, (then, serving))


def _require_there(target: CatalogTarget, then: Registry, said: str) -> None:
    there = target.pool in then.pools if target.kind == "pool" else then.get(target.name) is not None
    if not there:
        raise CommandError(
            f"{target.shown} is not in {said}: what is new has no version before it; fleet up applies it"
        )


def _terms(target: AnyTarget, asked: Asked) -> Terms:
    own = target.rollout
    strategy = asked.strategy or (own.strategy if own else None)
    if strategy is None and isinstance(target, CatalogTarget) and target.kind == "agent":
        pools = target.registry.pools[target.pool].rollout
        strategy = pools.strategy if pools and pools.strategy != "rolling" else None
    strategy = strategy or "canary"
    if strategy == "rolling":
        raise CommandError(
            f"{target.shown} is rolled out rolling: fleet up applies the change as it is. "
            "Say --strategy canary or blue-green to have both versions beside each other",
            Exit.USAGE,
        )
    if strategy != "canary" and asked.percent is not None:
        raise CommandError("--percent is a canary's: blue-green switches all requests at once", Exit.USAGE)
    fresh = own is None and strategy == "canary"
    return Terms(strategy, own.active if own else "blue", asked.percent or (DEFAULT_PERCENT if fresh else None))


def share(target: AnyTarget, percent: int) -> Changes:
    """Give a canary another share of the requests."""
    rollout = _under_way(target)
    if rollout.strategy != "canary":
        raise CommandError(f"{target.shown} is rolled out {rollout.strategy}: it has no share to change", Exit.USAGE)
    if rollout.canary_percent == percent:
        raise CommandError(f"{target.shown}: the candidate has {percent}% already")
    now = _meaning(target)
    with _told():
        moves.share(_owner(target), percent, target.percent_key)
        return checked(target, (now.serving, now.other))


def promote(target: AnyTarget) -> Changes:
    """Let the candidate serve: a canary's is then the only version, blue-green keeps the one before."""
    rollout = _under_way(target)
    if rollout.candidate is None:
        raise CommandError(f"{target.shown} is promoted already: finish it, or abort to switch back")
    now = _meaning(target)
    keep: moves.Other | None = "previous" if rollout.strategy == "blue-green" else None
    with _told():
        moves.swap(_owner(target), target.slot, "candidate", keep, rollout.active)
        return checked(target, (now.other, now.serving if keep else None))


def abort(target: AnyTarget) -> Changes:
    """Drop the candidate; after a blue-green switch: switch back."""
    rollout = _under_way(target)
    now = _meaning(target)
    with _told():
        if rollout.candidate is not None:
            moves.drop(_owner(target), "candidate")
            return checked(target, (now.serving, None))
        moves.swap(_owner(target), target.slot, "previous", "candidate", rollout.active)
        return checked(target, (now.other, now.serving))


def finish(target: AnyTarget) -> Changes:
    """Retire the version before, after a blue-green switch."""
    rollout = _under_way(target)
    if rollout.previous is None:
        raise CommandError(f"{target.shown} still tries its candidate: promote or abort it")
    now = _meaning(target)
    with _told():
        moves.drop(_owner(target), "previous", rollout.active)
        return checked(target, (now.serving, None))


def _under_way(target: AnyTarget) -> Rollout:
    if target.rollout is None or not target.is_under_way:
        raise CommandError(
            f"{target.shown} has one version: fleet rollout start puts another beside it", Exit.NOT_FOUND
        )
    return target.rollout


def _owner(target: AnyTarget) -> Block:
    owner = target.owner()
    assert isinstance(owner, Block)
    return owner


def _meaning(target: AnyTarget) -> Meaning:
    if isinstance(target, CatalogTarget):
        return target.meaning(target.registry)
    assert target.spec is not None
    return target.meaning(target.spec)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TextError as error:
        raise CommandError(str(error)) from None


def checked(target: AnyTarget, expected: tuple[object, object]) -> Changes:
    """The changes of a target's files, once they are known to mean what they should. Raises CommandError else."""
    changes = target.files.changes
    found: Meaning
    if isinstance(target, CatalogTarget):
        with overlaid(target.folder, changes) as folder:
            registry = _loaded(folder)
        found = target.meaning(registry)
        _refuse_crossing(registry, ())
    else:
        assert target.project is not None
        with overlaid(target.project.stacks, changes) as folder:
            spec = stacks.stack_spec(replace(target.project, stacks=folder), target.name)
        found = target.meaning(spec)
        if spec.fleet.rollout is not None:
            _refuse_crossing(catalogs.load(), (replace(target, spec=spec, rollout=spec.fleet.rollout),))
    if (found.serving, found.other) != expected or found.rest != _meaning(target).rest:
        places = ", ".join(str(path) for path in changes)
        raise CommandError(
            f"{places}: is written in a way that cannot be changed by lines without changing its meaning "
            "(anchors, merge keys or tags): nothing was changed; write those fields out"
        )
    return changes


def _loaded(folder: Path) -> Registry:
    try:
        return catalogs.load(folder)
    except CatalogError as error:
        raise CommandError(f"the change would break the catalog, so nothing was changed: {error}") from None


def _refuse_crossing(registry: Registry, only: Iterable[StackTarget]) -> None:
    """Refuse where a whole stack and something it runs would have two versions at once."""
    from infra.settings import SettingsError
    from infra.workloads import selection

    for stack in only or stacks.stacks_under_way():
        assert stack.spec is not None
        try:
            selection.workloads(stack.spec, registry)
        except SettingsError as error:
            problems = "; ".join(message for key, message in error.problems if key == "fleet.rollout")
            if problems:
                raise CommandError(f"stack {stack.name}: {problems}") from None


@contextmanager
def overlaid(folder: Path, changes: Changes) -> Iterator[Path]:
    """A temporary folder like ``folder``, with the changed files instead of those there are."""
    with tempfile.TemporaryDirectory(prefix="fleet-rollout-") as temporary:
        made = Path(temporary) / folder.name
        shutil.copytree(folder, made, ignore=shutil.ignore_patterns(".*"))
        for path, (_, content) in changes.items():
            (made / path.relative_to(folder)).write_bytes(content or b"")
        yield made


def unified(changes: Changes, root: Path) -> str:
    """The changes as a unified diff."""
    lines: list[str] = []
    for path, (before, after) in changes.items():
        name = os.path.relpath(path, root)
        names = ("/dev/null" if before is None else f"a/{name}", "/dev/null" if after is None else f"b/{name}")
        old, new = (_lines((content or b"").decode()) for content in (before, after))
        lines += difflib.unified_diff(old, new, *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines as git has them: a prompt may hold what str.splitlines would also end a line at."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def write(changes: Changes) -> None:
    """Replace the files, each in one step, after all are written beside them.

    Raises CommandError, with nothing replaced, where a file is no longer what the change was made from.
    """
    made: list[tuple[Path, Path]] = []
    try:
        for path, (before, after) in changes.items():
            if (path.read_bytes() if path.exists() else None) != before:
                raise CommandError(f"{path} was changed meanwhile: look at it first; no file was replaced")
            if after is None:
                continue
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            made.append((partial, path))
            partial.write_bytes(after)
            if before is not None:
                shutil.copymode(path, partial)
        for partial, path in made:
            partial.replace(path)
        for path, (_, after) in changes.items():
            if after is None:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    finally:
        for partial, _ in made:
            partial.unlink(missing_ok=True)
