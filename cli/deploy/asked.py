"""Owns what a command on cloud stacks was asked for: which stacks, valid, in which order, and its options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cli.deploy import order
from cli.deploy.changes import name_of
from cli.deploy.guards import DEFAULT_SHARE, Allowed
from cli.deploy.order import DEFAULT_WAVE, Node, OrderError, Wave
from cli.errors import CommandError, Exit
from cli.planning import chosen, stack_settings
from infra import rules
from infra.plan import config
from infra.plan.config import ConfigError
from infra.settings import PROJECT, PlatformSpec

DEFAULT_PARALLEL = 2
EVERY = "all"


@dataclass(frozen=True)
class Options:
    """The options the commands share."""

    yes: bool = False
    as_json: bool = False
    canary: str = ""
    wave: int = DEFAULT_WAVE
    parallel: int = DEFAULT_PARALLEL
    allowed: Allowed = field(default_factory=Allowed)
    adopt: Mapping[str, str] = field(default_factory=dict)
    """URN or name of an interrupted create → the id it has in the cloud."""
    forget: frozenset[str] = frozenset()
    """URNs or names of interrupted creates that came to nothing; ``all`` for every one."""

    def identity(self, urn: str) -> str | None:
        """The id an interrupted create is to be adopted by."""
        return self.adopt.get(urn) or self.adopt.get(name_of(urn))

    def forgets(self, urn: str) -> bool:
        """Whether an interrupted create is to be forgotten."""
        return bool(self.forget & {urn, name_of(urn), EVERY})

    def resume(self, command: str, stacks: Sequence[str]) -> str:
        """The command that goes on with ``stacks``. What was settled, adopted or forgotten, is not said again."""
        words = ["fleet", command, *stacks]
        if self.canary in stacks:
            words += ["--canary-shard", self.canary]
        for option, value, default in (
            ("--wave", self.wave, DEFAULT_WAVE),
            ("--parallel", self.parallel, DEFAULT_PARALLEL),
            ("--allow-destroy", self.allowed.share, DEFAULT_SHARE),
        ):
            words += [option, str(value)] if value != default else []
        for name in sorted(self.allowed.protected):
            words += ["--allow-protected", name]
        words += ["--allow-checkout"] if self.allowed.checkout or self.allowed.written else []
        words += ["--yes"] if self.yes else []
        return shlex.join(words)


@dataclass(frozen=True)
class Asked:
    """Stacks to work on."""

    specs: Mapping[str, PlatformSpec]
    nodes: Mapping[str, Node]
    """They and all they read."""
    waves: tuple[Wave, ...]

    @property
    def stacks(self) -> tuple[str, ...]:
        """In the order they are worked on."""
        return tuple(stack for wave in self.waves for stack in wave.stacks)

    @property
    def production(self) -> tuple[str, ...]:
        """Those that are production."""
        return tuple(stack for stack in self.stacks if self.specs[stack].environment == "prod")

    @property
    def services_beside(self) -> tuple[str, ...]:
        """Stacks that serve those asked for and were not asked for: where control has its catalog from."""
        read = (order.reads(self.nodes[stack]).get("services") for stack in self.stacks)
        return tuple(sorted({name for name in read if name is not None} - set(self.specs)))

    def upstream(self, stack: str) -> dict[str, str]:
        """Layer → stack, of what it reads from others that were asked for."""
        return {layer: name for layer, name in order.reads(self.nodes[stack]).items() if name in self.specs}


def ask(patterns: Sequence[str], options: Options, *, down: bool = False) -> Asked:
    """The stacks that names and patterns mean, validated and in order. Raises CommandError (usage) with every problem."""
    specs: dict[str, PlatformSpec] = {}
    problems = []
    for stack in chosen(list(patterns)):
        try:
            specs[stack] = stack_settings(stack)
        except CommandError as error:
            problems.append(str(error))
    if problems:
        raise CommandError("\n".join(problems), Exit.USAGE)
    nodes = _with_all_they_read(specs)
    try:
        waves = (
            order.reversed_waves(list(specs), nodes, size=options.wave)
            if down
            else order.waves(list(specs), nodes, canary=options.canary, size=options.wave)
        )
    except OrderError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    return Asked(specs, nodes, tuple(waves))


def require_deployable(asked: Asked) -> None:
    """Raises CommandError where a stack still has what only an example may have; the program would refuse it later."""
    problems = [
        f"{stack}: {PROJECT}:{key}: {message}"
        for stack in asked.stacks
        for key, message in rules.deployable(asked.specs[stack])
    ]
    if problems:
        raise CommandError("\n".join([*problems, "what they would be is shown by: fleet preview"]), Exit.USAGE)


def _with_all_they_read(specs: Mapping[str, PlatformSpec]) -> dict[str, Node]:
    nodes = {stack: order.node(spec) for stack, spec in specs.items()}
    there = set(config.stacks(config.project()))
    waiting = list(nodes.values())
    while waiting:
        for name in order.reads(waiting.pop()).values():
            # One that has no file stays out: the order says so.
            if name not in nodes and name in there:
                nodes[name] = order.node(stack_settings(name))
                waiting.append(nodes[name])
    return nodes


def readers(stacks: Iterable[str]) -> dict[str, list[str]]:
    """Stack → those of other files that read it, however invalid the rest of those files may be."""
    found: dict[str, list[str]] = {stack: [] for stack in stacks}
    project = config.project()
    for other in config.stacks(project):
        if other in found:
            continue
        try:
            values = dict(config.own_values(config.stack_config(project, other), project.name))
        except ConfigError:
            continue  # No engine could run it either.
        named = values.get("stacks")
        for reference in named.values() if isinstance(named, dict) else ():
            name = order.own_name(str(reference))
            if name in found:
                found[name].append(other)
    return found


def parse_adopt(values: Iterable[str]) -> dict[str, str]:
    """``URN=ID`` options as a mapping. Raises CommandError for one without an id."""
    pairs = {}
    for value in values:
        urn, found, identity = value.partition("=")
        if not (urn and found and identity):
            raise CommandError(f"--adopt {value}: write URN=ID, the id that the resource has in the cloud", Exit.USAGE)
        pairs[urn] = identity
    return pairs


def undecided(stack: str, urns: Sequence[str]) -> str:
    """The refusal of going on while nobody said what became of interrupted creates."""
    return (
        f"{stack}: was interrupted while creating, and whether these exist only their cloud can say:\n"
        + "\n".join(f"    {urn}" for urn in urns)
        + f"\n  look there. One that exists: --adopt {name_of(urns[0])}=ID, with the id the cloud gave it. "
        f"One that does not: --forget {name_of(urns[0])}, or --forget {EVERY}"
    )
