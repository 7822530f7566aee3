"""Owns what the commands on plans share: which stacks are meant, recording them with progress, errors as one message."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandError, Exit
from infra.plan import config
from infra.plan.config import ConfigError

if TYPE_CHECKING:
    from infra.plan.plan import Plan
    from infra.plan.recording import Job, Mode, PlanError
    from infra.settings import PlatformSpec

Stacks = Annotated[list[str], typer.Argument(metavar="STACK…", help="Stacks by name or pattern (aws-dedicated-*).")]
Known = Annotated[
    bool,
    typer.Option(
        "--known",
        help="Fill computed values with plausible ones, instead of leaving them unknown as a first preview does.",
    ),
]


def chosen(patterns: list[str]) -> list[str]:
    """The stacks that names and patterns mean. Raises CommandError listing the stacks there are."""
    try:
        return config.matching(config.project(), patterns)
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def stack_settings(stack: str) -> PlatformSpec:
    """The validated settings of a stack's file. Raises CommandError with every problem of it."""
    from infra import settings

    try:
        project = config.project()
        return settings.parse(dict(config.own_values(config.stack_config(project, stack), project.name)))
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    except settings.SettingsError as error:
        raise CommandError(f"{stack}: {error}", Exit.USAGE) from None


def attempted(stacks: Iterable[str], *, known: bool = False) -> dict[str, Plan | PlanError]:
    """Stack → its plan, or why there is none; recorded side by side with progress on standard error."""
    from infra.plan.recording import Job, run_all

    mode: Mode = "known" if known else "unknown"
    jobs = [Job(stack, mode) for stack in stacks]
    with Progress(len(jobs)) as progress:
        results = run_all(jobs, done=progress.done)
    return {job.stack: result for job, result in zip(jobs, results, strict=True)}


def recorded(stacks: Iterable[str], *, known: bool = False) -> list[Plan]:
    """The plans of stacks. Raises CommandError with every problem of all."""
    return succeeded(attempted(stacks, known=known))


def succeeded(results: Mapping[str, Plan | PlanError]) -> list[Plan]:
    """The plans, if none failed. Raises CommandError with every problem of all."""
    from infra.plan.plan import Plan

    problems = [f"{stack}: {told(result)}" for stack, result in results.items() if not isinstance(result, Plan)]
    if problems:
        raise CommandError("\n".join(problems))
    return [result for result in results.values() if isinstance(result, Plan)]


def told(error: PlanError) -> str:
    """What an error says, and where it was."""
    return f"{error}" + (f"\n{error.where.rstrip()}" if error.where else "")


class Progress:
    """One line on standard error that says what has been recorded; nothing where nobody watches."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended = 0
        self._started = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        self._tell("recording")
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def done(self, job: Job) -> None:
        """One stack is recorded, or failed."""
        self._ended += 1
        self._tell(f"recorded {job.stack}")

    def _tell(self, what: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{what} ({self._ended}/{self._total}, {time.monotonic() - self._started:.0f} s)")
            sys.stderr.flush()
