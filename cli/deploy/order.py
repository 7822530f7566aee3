"""Owns in which order stacks are changed: whoever is read before its readers, shards of one platform in waves.

Pure: nodes in, waves out. Reading stack files is run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain, zip_longest

from infra.settings import LAYERS, PROJECT, PlatformSpec

DEFAULT_WAVE = 4


class OrderError(ValueError):
    """Stacks that cannot be put in order, or a canary that is none of them; the message says why."""


@dataclass(frozen=True)
class Node:
    """What the order needs to know of a stack."""

    layers: tuple[str, ...]
    reads: Mapping[str, str]
    """Layer it does not build → the stack it reads it from, as the file says."""
    shard: str = ""


@dataclass(frozen=True)
class Wave:
    """Stacks that may be changed side by side, once every wave before is through."""

    name: str
    stacks: tuple[str, ...]


def node(spec: PlatformSpec) -> Node:
    """What a stack's settings say about its place."""
    references = {"foundation": spec.stacks.foundation, "services": spec.stacks.services}
    return Node(spec.layers, {layer: name for layer, name in references.items() if name}, spec.fleet.shard)


def own_name(reference: str) -> str | None:
    """The name of a stack of this project, written bare or as organization/project/stack; None for another project's."""
    parts = reference.split("/")
    if len(parts) == 1:
        return reference
    return parts[2] if len(parts) == 3 and parts[1] == PROJECT else None


def reads(one: Node) -> dict[str, str]:
    """Layer → stack of this project that it is read from."""
    named = {layer: own_name(reference) for layer, reference in one.reads.items()}
    return {layer: name for layer, name in named.items() if name is not None}


def waves(asked: Sequence[str], nodes: Mapping[str, Node], *, canary: str = "", size: int = DEFAULT_WAVE) -> list[Wave]:
    """The waves in which the asked stacks are brought up. Every one of them is in exactly one wave.

    ``nodes`` holds the asked stacks and all they read, directly or not; what is read and not asked for only orders.
    Shards (stacks of the fleet layer alone that stand on the same services) go one first, then ``size`` at a time:
    ``canary`` names the first by stack or shard, else it is the first by name that is a shard: a fleet without a
    shard's name serves most callers. Raises OrderError for a reference that leads nowhere, a circle, or a canary
    that is not among the shards.
    """
    _require_references(nodes)
    levels = _levels(asked, nodes)
    if canary and not any(canary in (name, nodes[name].shard) for name in asked):
        raise OrderError(
            f"--canary-shard {canary}: is neither a stack nor the shard of one asked for ({', '.join(asked)})"
        )
    return list(chain.from_iterable(_split(level, nodes, canary, size) for level in levels))


def reversed_waves(asked: Sequence[str], nodes: Mapping[str, Node], *, size: int = DEFAULT_WAVE) -> list[Wave]:
    """The waves in which the asked stacks are taken down: readers before what they read."""
    return list(reversed(waves(asked, nodes, size=size)))


def _require_references(nodes: Mapping[str, Node]) -> None:
    for stack, one in nodes.items():
        for layer, name in reads(one).items():
            if name not in nodes:
                raise OrderError(
                    f"{stack} reads {layer} from {name}, and there is no stacks/Pulumi.{name}.yaml: "
                    f"correct {PROJECT}:stacks.{layer}, or write that stack's file"
                )
            if layer not in nodes[name].layers:
                raise OrderError(
                    f"{stack} reads {layer} from {name}, which builds {', '.join(nodes[name].layers)}: "
                    f"correct {PROJECT}:stacks.{layer}"
                )


def _levels(asked: Sequence[str], nodes: Mapping[str, Node]) -> Iterator[list[str]]:
    sorter = TopologicalSorter({stack: reads(one).values() for stack, one in nodes.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise OrderError(f"stacks read each other in a circle: {' → '.join(reversed(error.args[1]))}") from None
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        level = sorted(set(ready) & set(asked))
        if level:
            yield level


def _split(level: list[str], nodes: Mapping[str, Node], canary: str, size: int) -> Iterator[Wave]:
    """The waves of stacks that do not read one another: each platform's shards step by step, platforms side by side."""
    platforms: dict[str, list[str]] = {}
    for stack in level:
        platforms.setdefault(_platform(stack, nodes[stack]), []).append(stack)
    columns = [_steps(shards, nodes, canary, size) for shards in platforms.values()]
    rows = [tuple(chain.from_iterable(row)) for row in zip_longest(*columns, fillvalue=())]
    built = [layer for layer in LAYERS if any(layer in nodes[stack].layers for stack in level)]
    name = "+".join(built)
    for number, row in enumerate(rows):
        step = "" if len(rows) == 1 else " canary" if number == 0 else f" wave {number} of {len(rows) - 1}"
        yield Wave(name + step, row)


def _platform(stack: str, one: Node) -> str:
    below = one.reads.get("services")
    return f"on {below}" if one.layers == ("fleet",) and below else stack


def _steps(shards: list[str], nodes: Mapping[str, Node], canary: str, size: int) -> list[tuple[str, ...]]:
    if len(shards) == 1:
        return [tuple(shards)]
    named = [stack for stack in shards if nodes[stack].shard]
    asked = [stack for stack in shards if canary and canary in (stack, nodes[stack].shard)]
    first = [*asked, *named, *shards][0]
    rest = [stack for stack in shards if stack != first]
    return [(first,), *(tuple(rest[at : at + size]) for at in range(0, len(rest), size))]
