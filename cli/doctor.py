"""Owns `fleet doctor STACK`: is everything there that `pulumi up` needs, and what to do about what is not."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import Exit
from cli.output import Json, print_json, print_table
from cli.planning import stack_settings

app = typer.Typer(add_completion=False)

_MARKS = {"ok": "ok", "warning": "!", "problem": "✗"}


@app.command()
def doctor(stack: Annotated[str, typer.Argument(help="The stack to bring up.")], as_json: Json = False) -> None:
    """Look at tools, sign-ins, account, quotas and reachability. Changes nothing.

    Exit code 1 where something would stop `pulumi up`.
    """
    from infra.doctor import examine

    findings = examine(stack_settings(stack))
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [(_MARKS[f.verdict], f.subject, f.message, f.remedy) for f in findings]
        print_table(("", "What", "Found", "What to do"), rows, empty="Nothing to look at.")
    raise typer.Exit(Exit.FAILED if any(finding.verdict == "problem" for finding in findings) else Exit.OK)
