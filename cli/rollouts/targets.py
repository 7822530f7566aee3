"""Owns which target of a rollout a name means, and what is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from catalog import versions
from catalog.registry import Registry
from cli.errors import CommandError, Exit
from cli.rollouts.agents import CatalogTarget, load
from cli.rollouts.stacks import StackTarget, stack, stack_names, stacks_under_way


def find(name: str, folder: Path) -> CatalogTarget | StackTarget:
    """What a name means; ``pool:``, ``agent:`` or ``stack:`` before it decides where it means several things.

    Raises CommandError where it means nothing, or several things.
    """
    kind, colon, bare = name.rpartition(":")
    registry = load(folder)
    found: dict[str, Callable[[], CatalogTarget | StackTarget]] = {}
    agent = registry.get(bare)
    if agent is not None:
        found["agent"] = lambda: CatalogTarget("agent", agent.id, agent.rollout, folder=folder, registry=registry)
    if bare in registry.pools:
        found["pool"] = lambda: CatalogTarget(
            "pool", bare, registry.pools[bare].rollout, folder=folder, registry=registry
        )
    if bare in stack_names():
        found["stack"] = lambda: stack(bare)
    if colon:
        found = {key: make for key, make in found.items() if key == kind}
    if len(found) > 1:
        listed = " or ".join(f"{key}:{bare}" for key in found)
        raise CommandError(f"{name!r} means several things: say {listed}", Exit.USAGE)
    if not found:
        raise CommandError(_unknown(name, bare, registry), Exit.NOT_FOUND)
    return next(iter(found.values()))()


def _unknown(name: str, bare: str, registry: Registry) -> str:
    from difflib import get_close_matches

    known = [*(agent.id for agent in registry), *registry.pools, *stack_names()]
    near = get_close_matches(bare, known, 3) or get_close_matches(bare.replace("-", "_"), known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "fleet agents search and fleet stacks list what there is"
    return f"there is no agent, pool or stack {name!r}; {hint}"


def under_way(folder: Path) -> Iterator[CatalogTarget | StackTarget]:
    """Everything that has two versions: pools, agents, stacks. Stack files that cannot be read are left out."""
    registry = load(folder)
    for name in versions.under_way(registry, registry.pools):
        if name in registry.pools:
            yield CatalogTarget("pool", name, registry.pools[name].rollout, folder=folder, registry=registry)
        else:
            yield CatalogTarget("agent", name, registry.require(name).rollout, folder=folder, registry=registry)
    yield from stacks_under_way()
