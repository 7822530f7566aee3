"""Owns `fleet stacks`: the stacks there are, with layers, size and cost; and their committed lists of logical names."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import CommandError, Exit
from cli.output import Json, print_json, print_table
from cli.planning import recorded
from infra.plan import config
from infra.plan.config import ConfigError

app = typer.Typer(add_completion=False)


@app.command()
def stacks(
    as_json: Json = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="What the files say, without recording plans for size and cost.")
    ] = False,
    write_names: Annotated[
        bool, typer.Option("--write-names", help="Write stacks/names/<stack>.txt: announces changed logical names.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--stack", metavar="STACK", help="These stacks only, by name or pattern.")
    ] = None,
) -> None:
    """List the stacks with their layers, size and monthly cost."""
    try:
        project = config.project()
        found = config.matching(project, only) if only else config.stacks(project)
        rows = [_stated(project, name) for name in found]
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if write_names:
        _write(found)
        return
    if not quick:
        _measure(rows)
    if as_json:
        print_json(rows)
        return
    headings = ("STACK", "CLOUD", "ENVIRONMENT", "LAYERS", "ISOLATION", "RESOURCES", "AGENTS", "$ A MONTH")
    keys = ("stack", "cloud", "environment", "layers", "isolation", "resources", "agents", "monthly")
    shown = headings[:5] if quick else headings
    print_table(shown, [[_cell(row.get(key)) for key in keys[: len(shown)]] for row in rows], empty="No stacks yet.")


def _stated(project: config.Project, name: str) -> dict[str, object]:
    values = dict(config.own_values(config.stack_config(project, name), project.name))
    return {
        "stack": name,
        "cloud": values.get("cloud"),
        "environment": values.get("environment"),
        "layers": values.get("layers") or ["foundation", "services", "fleet"],
        "isolation": (values.get("fleet") or {}).get("isolation", "pooled"),
    }


def _measure(rows: list[dict[str, object]]) -> None:
    from infra.plan import agents
    from infra.plan.cost import costs

    for row, plan in zip(rows, recorded([str(row["stack"]) for row in rows]), strict=True):
        row["resources"] = len(plan.managed)
        row["agents"] = len(agents.documents(plan))
        row["monthly"] = round(costs(plan).total)


def _write(found: list[str]) -> None:
    from infra.plan import names

    for plan in recorded(found):
        changed = names.unannounced(plan)
        path = names.write(plan)
        print(f"{path.relative_to(config.ROOT)}: {'written' if changed else 'unchanged'}")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
