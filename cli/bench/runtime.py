"""Owns `fleet bench runtime`: the whole path against a local Messages API, beside services without our features.

Every subject is started first and idle while another is measured; the model takes 20 ms, since a service that
blocks on it looks fine at 0 and collapses there.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer

from catalog.contract import Env
from cli.bench import litellm, subjects
from cli.bench.load import Plan, Result
from cli.bench.subjects import Starter, Subject
from cli.errors import CommandError
from cli.local.part import free_ports
from cli.local.tasks import ROOT
from cli.output import Json, print_json, print_table

_WARM_SECONDS = 2.0
Connections = Annotated[int, typer.Option(min=1, max=1000, help="Connections that ask again once they are answered.")]
Seconds = Annotated[float, typer.Option(min=1, help="Seconds measured of each subject, after 2 of warming.")]
Delay = Annotated[float, typer.Option(min=0.001, help="Seconds the model takes.")]
WithLiteLLM = Annotated[
    bool, typer.Option("--with-litellm", help="Also install LiteLLM's proxy into an environment of its own.")
]


@dataclass(frozen=True)
class Row:
    """One subject's measurements, milliseconds and MiB; ``alone_ms`` is p50 with one connection, ``added_ms`` that less the model's.

    ``cpu_ms`` is processor time of the subject's own processes for one request: unlike the others, it is the
    same on a busy machine.
    """

    name: str
    load: Result
    alone_ms: float
    added_ms: float
    cpu_ms: float
    resident_mib: float


def runtime(
    connections: Connections = 64,
    seconds: Seconds = 8.0,
    delay: Delay = 0.02,
    with_litellm: WithLiteLLM = False,
    as_json: Json = False,
) -> None:
    """Requests a second, p50, p99, added latency and memory: the whole path, one agent process, a minimal service."""
    say = _silent if as_json else functools.partial(print, flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-bench-")))
        start = Starter(stack, folder)
        (model_port,) = free_ports(1)
        environment = {
            Env.ANTHROPIC_BASE_URL.value: f"http://127.0.0.1:{model_port}",
            Env.ANTHROPIC_API_KEY.value: "bench",
            "PATH": os.environ.get("PATH", ""),
        }
        say("Starting the model, two minimal services and the platform …")
        measured = [subjects.model(start, model_port, delay)]
        measured += [subjects.minimal(start, transport, environment) for transport in ("httpx", "aiohttp")]
        platform = subjects.platform(start, environment)
        measured += [subjects.agent(start, platform, environment), subjects.whole_path(platform)]
        if with_litellm:
            measured.append(litellm.subject(start, environment, say))
        cores = os.cpu_count()
        say(f"Measuring {len(measured)} subjects: {connections} connections, model {delay * 1000:g} ms, {cores} cores")
        rows: list[Row] = []
        for subject in measured:
            rows.append(_measured(subject, connections, seconds, rows[0].alone_ms if rows else None))
            say(f"  {subject.name}: {rows[-1].load.per_second:.0f} a second")
    ratios = _ratios(rows)
    if as_json:
        about = {"connections": connections, "delay_ms": delay * 1000, "cores": cores}
        print_json({**about, "subjects": [asdict(row) for row in rows], "ratios": ratios})
    else:
        _print(rows, ratios)


def _silent(*_: object) -> None:
    pass


def _measured(subject: Subject, connections: int, seconds: float, model_ms: float | None) -> Row:
    alone = _load(Plan(subject.port, subject.requests, connections=1, warm_seconds=0.5, seconds=2.0))
    before = _processor_seconds(subject.pids)
    load = _load(Plan(subject.port, subject.requests, connections, _WARM_SECONDS, seconds))
    cpu_ms = (_processor_seconds(subject.pids) - before) * 1000 / load.in_all
    added = alone.p50_ms - (alone.p50_ms if model_ms is None else model_ms)
    return Row(subject.name, load, alone.p50_ms, added, cpu_ms, _resident(subject.pids))


def _load(plan: Plan) -> Result:
    command = [sys.executable, "-m", "cli.bench.load"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(asdict(plan)), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(f"the load generator failed: {done.stderr.strip()[-500:]}")
    result = Result(**json.loads(done.stdout))
    if not result.answered:
        reason = result.others or done.stderr.strip()[-500:]
        raise CommandError(f"nothing on port {plan.port} was answered with 200: {reason}")
    return result


def _processes(pids: list[int]) -> list[psutil.Process]:
    return [each for pid in pids for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]


def _processor_seconds(pids: list[int]) -> float:
    times = [process.cpu_times() for process in _processes(pids)]
    return float(sum(each.user + each.system for each in times))


def _resident(pids: list[int]) -> float:
    return float(sum(process.memory_info().rss for process in _processes(pids)) / 2**20)


def _ratios(rows: list[Row]) -> dict[str, float]:
    ours = [row for row in rows if row.name.startswith(("one agent process", "whole path"))]
    theirs = [row for row in rows if row.name.startswith(("minimal", "LiteLLM"))]
    return {
        f"{mine.name.split(' (')[0]} ÷ {other.name}": mine.load.per_second / other.load.per_second
        for mine in ours
        for other in theirs
    }


def _print(rows: list[Row], ratios: dict[str, float]) -> None:
    print()
    print_table(
        ("SUBJECT", "A SECOND", "P50 ms", "P99 ms", "ALONE ms", "ADDED ms", "CPU ms", "RESIDENT MiB", "NOT 200"),
        (
            (
                row.name,
                f"{row.load.per_second:.0f}",
                f"{row.load.p50_ms:.1f}",
                f"{row.load.p99_ms:.1f}",
                f"{row.alone_ms:.1f}",
                f"{row.added_ms:.1f}",
                f"{row.cpu_ms:.2f}",
                f"{row.resident_mib:.0f}",
                row.load.others or "",
            )
            for row in rows
        ),
        empty="",
    )
    print("\nALONE: p50 with one connection. ADDED: that less the model's own. CPU: processor time for one request.")
    print("The generator's own ceiling is at or above “model alone”.")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}×")
