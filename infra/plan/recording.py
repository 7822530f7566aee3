"""Owns making a Plan: a program run under the recorder in a subprocess of its own, several side by side.

``record`` takes a stack's name or plain values and answers with a Plan or raises PlanError with every
problem. It remembers what it recorded for the life of the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from infra.plan.config import ROOT
from infra.plan.plan import Plan

Mode = Literal["known", "unknown"]
PROGRAM = "infra.program:main"
WORKERS = 2
"""Stacks recorded at once: recording is bound by the processor, and small machines have two."""

_remembered: dict[str, Plan] = {}


class PlanError(Exception):
    """A program that gave no plan. ``problems`` are (key, message) pairs where the stack was refused."""

    def __init__(
        self, message: str, *, kind: str = "program", problems: Iterable[tuple[str, str]] = (), where: str = ""
    ) -> None:
        self.kind = kind
        self.problems = tuple(problems)
        self.where = where
        super().__init__(message)


@dataclass(frozen=True)
class Job:
    """What to record."""

    stack: str
    mode: Mode = "unknown"
    values: Mapping[str, Any] | None = None
    """Configuration as plain data, instead of the stack's file."""
    program: str = PROGRAM
    root: Path = ROOT
    """Repository whose program and catalog run."""
    references: Mapping[str, Any] = field(default_factory=dict)
    """Outputs of other stacks by stack name; what is missing is made from the contracts."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What this stack exported the last time it was brought up."""
    reveal_outputs: bool = False

    def as_json(self) -> bytes:
        """The job as the subprocess reads it."""
        data = {**vars(self), "root": str(self.root)}
        return json.dumps(data, sort_keys=True, default=str).encode()


def record(
    stack: str | Mapping[str, Any],
    mode: Mode = "known",
    *,
    program: str = PROGRAM,
    root: Path = ROOT,
    references: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> Plan:
    """The plan of a stack (by name) or of a configuration (plain values, keys without the project).

    ``mode``: *known* fills computed outputs with plausible values, *unknown* is a first real preview.
    ``program``: ``module:function``, by default the platform's. ``references`` and ``state``: see Job.
    ``fresh``: record again even if this process has already done so.
    Raises PlanError: refused settings with every problem, or where the program failed.
    """
    name, values = (stack, None) if isinstance(stack, str) else ("test", stack)
    job = Job(name, mode, values, program, root, references or {}, state or {})
    key = job.as_json().decode()
    if fresh or key not in _remembered:
        _remembered[key] = run(job)
    return _remembered[key]


def outputs(stack: str, *, root: Path = ROOT, program: str = PROGRAM) -> dict[str, Any]:
    """What a stack exports under the recorder, as ``references`` of another: mock values, secrets in clear.

    Raises PlanError.
    """
    data = _run(Job(stack, "known", program=program, root=root, reveal_outputs=True))
    return dict(data.get("revealed") or {})


def run(job: Job) -> Plan:
    """Record one job. Raises PlanError."""
    return Plan.from_dict(_run(job))


def run_all(jobs: Iterable[Job], *, done: Callable[[Job], None] | None = None) -> list[Plan | PlanError]:
    """Record jobs side by side, in the given order; ``done`` is called as each ends."""
    listed = list(jobs)
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = {pool.submit(_caught, job): index for index, job in enumerate(listed)}
        results: dict[int, Plan | PlanError] = {}
        for future in as_completed(futures):
            index = futures[future]
            results[index] = future.result()
            if done is not None:
                done(listed[index])
    return [results[index] for index in range(len(listed))]


def _caught(job: Job) -> Plan | PlanError:
    try:
        return run(job)
    except PlanError as error:
        return error


def _run(job: Job) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("run.py"))]
    finished = subprocess.run(command, input=job.as_json(), capture_output=True, cwd=job.root, check=False)
    try:
        data: dict[str, Any] = orjson.loads(finished.stdout)
    except orjson.JSONDecodeError:
        told = finished.stderr.decode(errors="replace").strip()
        raise PlanError(f"recording {job.stack} ended with exit code {finished.returncode}:\n{told[-4000:]}") from None
    if "error" in data:
        error = data["error"]
        problems = [(key, message) for key, message in error["problems"]]
        raise PlanError(error["message"], kind=error["kind"], problems=problems, where=error.get("where", ""))
    return data
