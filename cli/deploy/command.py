"""Owns what the commands on cloud stacks have in common at the edge: their options, and starting a run."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandError, Exit

if TYPE_CHECKING:
    from cli.deploy.asked import Options
    from cli.deploy.engine import Kind

PANEL = "With STACK: cloud stacks"
STACKS = "Cloud stacks by name or pattern (aws-dedicated-*)."

Yes = Annotated[
    bool, typer.Option("--yes", "-y", rich_help_panel=PANEL, help="Do not ask: for CI. What is refused stays refused.")
]
JsonLines = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=PANEL, help="Print events as JSON, one object a line; needs --yes."),
]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, max=16, rich_help_panel=PANEL, help="Stacks worked on at a time.")
]
WaveSize = Annotated[
    int, typer.Option("--wave", min=1, rich_help_panel=PANEL, help="Shards of a wave, after the canary shard.")
]
Canary = Annotated[
    str,
    typer.Option(
        "--canary-shard",
        metavar="SHARD",
        rich_help_panel=PANEL,
        help="Stack or shard that goes first, alone; else the first shard by name.",
    ),
]
AllowDestroy = Annotated[
    int,
    typer.Option(
        "--allow-destroy",
        metavar="PERCENT",
        min=0,
        max=100,
        rich_help_panel=PANEL,
        help="Share of a stack's resources that may be deleted or replaced.",
    ),
]
AllowProtected = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-protected",
        metavar="NAME|URN",
        rich_help_panel=PANEL,
        help="A protected resource that may be deleted or replaced.",
    ),
]
AllowCheckout = Annotated[
    bool,
    typer.Option(
        "--allow-checkout", rich_help_panel=PANEL, help="Change production from a checkout that is not what main has."
    ),
]
Adopt = Annotated[
    list[str] | None,
    typer.Option(
        "--adopt",
        metavar="URN=ID",
        rich_help_panel=PANEL,
        help="An interrupted create that exists in the cloud, with its id there.",
    ),
]
Forget = Annotated[
    list[str] | None,
    typer.Option(
        "--forget", metavar="URN|all", rich_help_panel=PANEL, help="An interrupted create that came to nothing."
    ),
]


def require_fitting(context: typer.Context, in_clouds: bool, *, local: tuple[str, ...] = ()) -> None:
    """Raises CommandError (usage) for an option of this machine's platform beside STACK, or of cloud stacks without."""
    sources = {each.name: context.get_parameter_source(each.name or "") for each in context.command.params}
    given = [
        each
        for each in context.command.params
        if each.name != "stacks" and (source := sources[each.name]) is not None and source.name == "COMMANDLINE"
    ]
    wrong = [each.opts[0] for each in given if (each.name in local) == in_clouds]
    if wrong:
        where = "the platform on this machine, so not with STACK" if in_clouds else "cloud stacks: name a STACK"
        raise CommandError(f"{', '.join(wrong)}: for {where}", Exit.USAGE)


def options(
    *,
    yes: bool,
    as_json: bool,
    parallel: int,
    wave: int = 0,
    canary: str = "",
    share: int | None = None,
    protected: list[str] | None = None,
    checkout: bool = False,
    adopt: list[str] | None = None,
    forget: list[str] | None = None,
) -> Options:
    """The options of a run. Raises CommandError (usage) where they do not fit."""
    from cli.deploy.asked import Options, parse_adopt
    from cli.deploy.guards import DEFAULT_SHARE, Allowed
    from cli.deploy.order import DEFAULT_WAVE

    if as_json and not yes:
        raise CommandError("--json is for scripts, which cannot confirm: add --yes", Exit.USAGE)
    allowed = Allowed(DEFAULT_SHARE if share is None else share, frozenset(protected or ()), checkout)
    return Options(
        yes, as_json, canary, wave or DEFAULT_WAVE, parallel, allowed, parse_adopt(adopt or ()), frozenset(forget or ())
    )


def require_able(given: Options) -> None:
    """Raises CommandError where Pulumi's CLI is missing, or nobody is there to confirm what it would do."""
    from cli.deploy.installed import require_cli

    require_cli()
    if not given.yes and not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm the plan: run it in a terminal, or add --yes", Exit.USAGE)


def start(kind: Kind, patterns: list[str], given: Options) -> int:
    """Run one command on cloud stacks, each locked on this machine; its exit code."""
    from cli.deploy import asked, lock
    from cli.local.state import default_folder, open_state

    found = asked.ask(patterns, given, down=kind == "destroy")
    if kind == "up":
        asked.require_deployable(found)
    require_able(given)
    # The Automation API takes a second to import; what is wrong above is said before.
    from cli.deploy.engine import Engine
    from cli.deploy.progress import Board
    from cli.deploy.run import Run
    from infra.plan.config import ROOT

    state = open_state(default_folder())
    assert state is not None
    engine = Engine(ROOT)
    with lock.locked(state, found.stacks, shlex.join(["fleet", *sys.argv[1:]])) as held:
        engine.cli.locks = held
        return Run(kind, found, given, engine, Board(as_json=given.as_json)).execute()
