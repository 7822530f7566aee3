"""Owns `fleet refresh STACK…`: taking over into the state what the cloud really has."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.deploy import command

app = typer.Typer(add_completion=False)


@app.command()
def refresh(
    stacks: Annotated[list[str], typer.Argument(metavar="STACK…", help=command.STACKS)],
    yes: command.Yes = False,
    as_json: command.JsonLines = False,
    parallel: command.Parallel = 2,
    allow_destroy: command.AllowDestroy = 10,
    adopt: command.Adopt = None,
    forget: command.Forget = None,
) -> None:
    """Take over into a stack's state what its cloud really has: previewed, confirmed, then written. Changes no cloud.

    Refused where more than the allowed share would be found gone: a wrong account makes everything look gone.
    """
    given = command.options(
        yes=yes, as_json=as_json, parallel=parallel, share=allow_destroy, adopt=adopt, forget=forget
    )
    raise typer.Exit(command.start("refresh", stacks, given))
