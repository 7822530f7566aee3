"""Owns `fleet run`: one task for one agent of the running platform."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import api
from cli.errors import CommandError, Exit
from cli.output import Json, console, print_json

app = typer.Typer(add_completion=False)


@app.command()
def run(
    agent: Annotated[str, typer.Argument(help="The agent's id, such as business_plan_agent_009 (hyphens are fine).")],
    task: Annotated[str, typer.Argument(help='What it should do; "-" reads it from standard input.')],
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            "-c",
            metavar="KEY=VALUE",
            help="A value for one of the agent's inputs, or any other fact; repeat it.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give an agent a task and print its answer."""
    import sys

    values = {}
    for pair in context or []:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise CommandError(f"--context {pair!r}: write KEY=VALUE", Exit.USAGE)
        values[key] = value
    body = {"task_description": sys.stdin.read() if task == "-" else task, **({"context": values} if values else {})}
    answer = api.call("POST", f"/agents/{agent.replace('-', '_')}/api/v1/execute", body=body)
    if as_json:
        print_json(answer)
        return
    print(answer["result"])
    meta = answer["metadata"]
    note = (
        f"{meta['agent_id']} · {meta['model']} · {meta['tokens_used']} tokens · {answer['processing_time_ms']:.0f} ms"
    )
    console(stderr=True).print(f"\n[dim]{note}[/dim]")
    if meta.get("notice"):
        console(stderr=True).print(f"[dim]{meta['notice']}[/dim]")
