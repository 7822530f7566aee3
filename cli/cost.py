"""Owns `fleet cost`: what stacks cost a month, pooled and dedicated side by side, and the model."""

from __future__ import annotations

import typer

from cli.output import Json, print_json
from cli.planning import Stacks, chosen, recorded

app = typer.Typer(add_completion=False)


@app.command()
def cost(stacks: Stacks, as_json: Json = False) -> None:
    """Show what stacks cost a month at list prices; what has no price is listed, never counted as zero."""
    from infra.plan import report
    from infra.plan.cost import costs

    plans = recorded(chosen(stacks))
    found = [costs(plan) for plan in plans]
    if as_json:
        print_json({plan.stack: item.as_dict() for plan, item in zip(plans, found, strict=True)})
        return
    for plan, item in zip(plans, found, strict=True):
        print(f"{plan.stack}")
        print("\n".join(report.cost_lines(item)))
        print("\n".join(f"  source: {page}" for page in item.sources) + "\n")
    if len(plans) > 1:
        print(f"{len(plans)} stacks: ${sum(item.total for item in found):,.0f} a month")
