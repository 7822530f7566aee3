"""`fleet docs`: the pages and pictures of the handbook that follow from code, written or compared.

Everything else in docs/ is written by hand; tests/docs holds it to the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.errors import Exit

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"

PAGES: Final[Mapping[str, str]] = {
    "reference/settings.md": "cli.docs.settings:page",
    "reference/cli.md": "cli.docs.commands:page",
    "reference/metrics.md": "cli.docs.measures:page",
    "reference/policies.md": "cli.docs.policies:page",
    "reference/catalog.md": "cli.docs.agents:page",
    "reference/errors.md": "cli.docs.mistakes:page",
    "api/reference.md": "cli.docs.openapi:page",
    "api/openapi-control.json": "cli.docs.openapi:control_document",
    "api/openapi-agent.json": "cli.docs.openapi:agent_document",
    "pictures/architecture.svg": "cli.docs.pictures:architecture",
    "pictures/layers.svg": "cli.docs.pictures:layers",
    "pictures/request-path.svg": "cli.docs.pictures:request_path",
}
"""Generated file below docs/ → what makes its text (module:function)."""

app = typer.Typer(add_completion=False)


@app.command()
def docs(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where a file is not up to date.")
    ] = False,
) -> None:
    """Write the handbook's generated pages and pictures from the code: settings, commands, metrics, policies, API."""
    stale = 0
    for name in PAGES:
        made, target = text(name), DOCS / name
        if target.is_file() and target.read_text("utf-8") == made:
            continue
        stale += 1
        if check:
            print(f"docs/{name} is not what the code says: run fleet docs")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(made, "utf-8")
            print(f"wrote docs/{name}")
    if not stale:
        print(f"{len(PAGES)} generated files are up to date.")
    raise typer.Exit(Exit.FAILED if check and stale else Exit.OK)


def text(name: str) -> str:
    """The text of a generated file, as the code is now."""
    module, function = PAGES[name].split(":")
    make: Callable[[], str] = getattr(import_module(module), function)
    return make()


__all__ = ["DOCS", "PAGES", "ROOT", "app", "text"]
