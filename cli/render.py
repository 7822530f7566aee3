"""Owns `fleet render`: stacks' Kubernetes objects and Helm releases as YAML files."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandError, Exit
from cli.planning import Stacks, chosen, stack_settings

if TYPE_CHECKING:
    from catalog.registry import Registry
    from infra.plan.render import Rendered

app = typer.Typer(add_completion=False)


@app.command()
def render(
    stacks: Stacks,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write to; several stacks get a folder each."),
    ],
) -> None:
    """Write every Kubernetes object that the program itself defines, and each Helm release as chart, version and values.

    Order and file names are the same every time. Secrets are written as [secret]; DECIDED-AT-UP.txt names the
    values that only `pulumi up` knows.
    """
    from infra.plan import render as rendering

    started = time.monotonic()
    rendering.keep_garbage()
    names = chosen(stacks)
    _refuse_foreign(output)
    objects = releases = 0
    for name in names:
        rendered = _rendered(name)
        rendering.write(rendered, output / name if len(names) > 1 else output)
        objects, releases = objects + rendered.objects, releases + rendered.releases
    print(
        f"{objects:,} objects and {releases:,} releases of {len(names)} stack{'s' * (len(names) > 1)} in {output} ({time.monotonic() - started:.1f} s)"
    )


def _refuse_foreign(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise CommandError(f"{output} is not a folder", Exit.USAGE)
    foreign = (
        next(
            (
                path
                for path in output.rglob("*")
                if path.is_file() and path.suffix != ".yaml" and path.name != "DECIDED-AT-UP.txt"
            ),
            None,
        )
        if output.is_dir()
        else None
    )
    if foreign is not None:
        raise CommandError(
            f"{output} holds {foreign.relative_to(output)}, which is not a rendering: choose an empty folder",
            Exit.USAGE,
        )


def _rendered(name: str) -> Rendered:
    from catalog.registry import CatalogError
    from infra.plan import render as rendering

    spec = stack_settings(name)
    if spec.layers != ("fleet",):
        return _recorded(name)
    try:
        return rendering.fleet(spec, _registry())
    except CatalogError as error:
        raise CommandError(f"{name}: {error}") from None


@cache
def _registry() -> Registry:
    """The catalog, read once however many shards are rendered."""
    from catalog import registry

    return registry.load()


def _recorded(name: str) -> Rendered:
    from infra.plan import render as rendering
    from infra.plan.recording import Job, PlanError, run_all

    known, unknown = run_all([Job(name, "known"), Job(name, "unknown")])
    for result in (known, unknown):
        if isinstance(result, PlanError):
            raise CommandError(f"{name}: {result}")
    assert not isinstance(known, PlanError)
    assert not isinstance(unknown, PlanError)
    return rendering.plan(known, unknown)
