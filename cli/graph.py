"""Owns `fleet graph`: a stack's resources as a Mermaid diagram."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.planning import chosen, recorded

app = typer.Typer(add_completion=False)


@app.command()
def graph(
    stack: Annotated[str, typer.Argument(help="The stack.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the diagram here.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every resource, not the components alone.")] = False,
) -> None:
    """Draw a stack as a Mermaid diagram: components by layer and what depends on what."""
    from infra.plan.graph import mermaid

    for plan in recorded(chosen([stack])):
        text = mermaid(plan, full=full)
        if output is None:
            print(text, end="")
        else:
            output.write_text(text, "utf-8")
            print(f"wrote {output}")
