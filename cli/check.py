"""Owns `fleet check`: the policies over stacks' plans; exit code 1 where a finding is high."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import Exit
from cli.output import Json, print_json, print_table
from cli.planning import Known, chosen, recorded

app = typer.Typer(add_completion=False)


@app.command()
def check(
    stacks: Annotated[list[str] | None, typer.Argument(metavar="STACK…", help="Stacks by name or pattern.")] = None,
    as_json: Json = False,
    known: Known = False,
    policies: Annotated[bool, typer.Option("--policies", help="List the policies instead.")] = False,
) -> None:
    """Check stacks against the policies, without an engine. Exit code 1 where a finding is high."""
    from infra.plan import report
    from infra.policies import POLICIES

    if policies or not stacks:
        print_table(
            ("ID", "SEVERITY", "POLICY", "SOURCE"),
            [(item.id, item.severity, item.title, item.source) for item in POLICIES],
            empty="",
        )
        raise typer.Exit(Exit.OK if policies else Exit.USAGE)
    from infra.plan.check import findings

    found = {plan.stack: findings(plan) for plan in recorded(chosen(stacks), known=known)}
    if as_json:
        print_json({stack: [item.as_dict() for item in items] for stack, items in found.items()})
    else:
        for stack, items in found.items():
            print(f"{stack}: " + "\n".join(report.finding_lines(items)))
    raise typer.Exit(
        Exit.FAILED if any(item.policy.severity == "high" for items in found.values() for item in items) else Exit.OK
    )
