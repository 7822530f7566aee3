"""Owns `fleet drift STACK…`: what changed in the cloud without the program, for people, scripts and nightly CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.deploy import command
from cli.errors import CommandError, Exit
from cli.output import Json, print_json
from cli.planning import chosen
from infra.plan.config import ROOT

if TYPE_CHECKING:
    from cli.deploy.drift import Drift
    from cli.deploy.engine import Engine

app = typer.Typer(add_completion=False)


@app.command()
def drift(
    stacks: Annotated[list[str], typer.Argument(metavar="STACK…", help=command.STACKS)],
    as_json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown for an issue; empty without drift.")
    ] = False,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=16, help="Stacks checked at a time.")] = 2,
) -> None:
    """Compare stacks with what their cloud really has. Changes nothing, neither cloud nor state.

    Names resources and properties, never values. Exit code 0: no drift; 1: drift; 3: a stack could not be checked.
    """
    from cli.deploy import drift as told
    from cli.deploy.installed import require_cli

    if as_json and markdown:
        raise CommandError("--json and --markdown exclude each other", Exit.USAGE)
    names = chosen(stacks)
    try:
        require_cli()
        from cli.deploy.engine import Engine

        engine = Engine(ROOT)
    except CommandError as error:
        raise CommandError(str(error), Exit.UNREACHABLE) from None
    from cli.deploy.progress import Board
    from cli.deploy.workers import Workers

    # What is printed is the report alone: progress has no place in an issue or a script's input.
    workers = Workers(engine.cli, Board(as_json=True), parallel)
    by_stack = workers.gather(names, lambda stack: _checked(engine, stack))
    found = [by_stack[stack] for stack in names]
    if as_json:
        print_json(told.data(found))
    else:
        print(told.markdown(found) if markdown else told.text(found))
    raise typer.Exit(told.exit_code(found))


def _checked(engine: Engine, stack: str) -> Drift:
    from cli.deploy.drift import Drift

    try:
        if engine.holding(stack) is None:
            return Drift(stack, None)
    except CommandError as error:
        return Drift(stack, None, problem=str(error).removeprefix(f"{stack}: "))
    outcome = engine.preview(stack, "refresh")
    return Drift(stack, outcome.changes, problem=outcome.problem)
