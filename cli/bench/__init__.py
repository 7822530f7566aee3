"""`fleet bench`: measurements whose numbers are meant to be believed, each beside what it is compared with."""

from __future__ import annotations

import typer

from cli.bench.render import render
from cli.bench.runtime import runtime

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure.")
app.command("runtime")(runtime)
app.command("render")(render)


@app.callback()
def _group() -> None:
    """Measure."""


__all__ = ["app"]
