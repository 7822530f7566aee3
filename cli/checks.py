"""Owns `fleet test` (lint, types, tests) and `fleet lock` (the hash-pinned requirement files)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError, Exit

ROOT = Path(__file__).parents[1]
GROUPS = ("dev", "infra", "local", "runtime")
"""Largest first: the others are constrained to its versions."""

test_app, lock_app = typer.Typer(add_completion=False), typer.Typer(add_completion=False)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@test_app.command(context_settings=_PASS_ON)
def test(ctx: typer.Context) -> None:
    """ruff, mypy and pytest, in that order; arguments go to pytest (--no-lint: pytest alone).

    All three run even where one fails; pytest's closing line is the last line printed.
    """
    arguments = list(ctx.args)
    if arguments[:1] in (["--help"], ["-h"]):
        print(ctx.get_help())
        return
    checks = [] if "--no-lint" in arguments else _checks()
    arguments = [argument for argument in arguments if argument != "--no-lint"]
    failed = [name for name, command in checks if not _passes(name, command)]
    code, closing = _pytest(arguments)
    if failed:
        print(f"failed before the tests: {', '.join(failed)}")
    print(closing, flush=True)
    raise typer.Exit(Exit.FAILED if failed or code else Exit.OK)


def _checks() -> list[tuple[str, list[str]]]:
    run = [sys.executable, "-m"]
    return [
        ("ruff check", [*run, "ruff", "check", "."]),
        ("ruff format", [*run, "ruff", "format", "--check", "."]),
        ("mypy", [*run, "mypy"]),
    ]


def _passes(name: str, command: list[str]) -> bool:
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{name}: {'passed' if done.returncode == 0 else 'failed'} in {time.monotonic() - began:.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def _pytest(arguments: list[str]) -> tuple[int, str]:
    """Run pytest, its output as it comes except for the closing line: (exit code, closing line)."""
    # Settings of the person's own platform must not change what tests start.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        bufsize=1,
    )
    assert process.stdout is not None
    held = ""
    for line in process.stdout:
        if held:
            print(held, flush=True)
        held = line.rstrip("\n")
    return process.wait(), held


@lock_app.command()
def lock(
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take the newest versions instead of those locked now.")
    ] = False,
) -> None:
    """Resolve pyproject's groups into requirements/<group>.txt, with hashes and without index addresses. Needs uv."""
    uv = shutil.which("uv")
    if uv is None:
        raise CommandError("uv is not on PATH, and it resolves for all platforms at once: install it (pip install uv)")
    for group in GROUPS:
        target = ROOT / "requirements" / f"{group}.txt"
        command = [
            uv, "pip", "compile", "pyproject.toml", "--group", group, "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header",
            "--quiet", "--output-file", str(target), *(["--upgrade"] if upgrade and group == "dev" else []),
            *([] if group == "dev" else ["--constraint", "requirements/dev.txt"]),
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "UV_NO_PROGRESS": "1"}
        )
        if done.returncode != 0:
            raise CommandError(f"uv could not resolve group {group}: {done.stderr.strip()[-1500:]}")
        _without_addresses(target)
        print(f"{target.relative_to(ROOT)}: {sum('==' in line for line in target.read_text().splitlines())} packages")


def _without_addresses(path: Path) -> None:
    """Drop what names an index: where packages come from is the installing machine's business."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text(
        "".join(
            line
            for line in lines
            if not line.startswith(("--index-url", "--extra-index-url", "--find-links", "--trusted-host"))
        ),
        "utf-8",
    )
