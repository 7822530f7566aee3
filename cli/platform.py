"""Owns `fleet down`, `fleet status` and `fleet logs`: looking at and stopping the embedded target."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.deploy import command
from cli.errors import CommandError, Exit
from cli.local.state import State, default_folder, open_state
from cli.output import Json, print_json, print_table

down_app, status_app, logs_app = (
    typer.Typer(add_completion=False),
    typer.Typer(add_completion=False),
    typer.Typer(add_completion=False),
)
_DOWN_SECONDS = 240.0


@down_app.command()
def down(
    context: typer.Context,
    stacks: Annotated[
        list[str] | None,
        typer.Argument(metavar="STACK", help=f"{command.STACKS} Without one, the platform on this machine stops."),
    ] = None,
    yes: command.Yes = False,
    as_json: command.JsonLines = False,
    wave: command.WaveSize = 4,
    parallel: command.Parallel = 2,
    allow_checkout: command.AllowCheckout = False,
    adopt: command.Adopt = None,
    forget: command.Forget = None,
) -> None:
    """Stop the platform on this machine, or with STACK take cloud stacks down.

    On this machine requests in progress end: nginx first, then agents, control and the stores.

    In clouds readers go before what they read. What would go is shown and confirmed, in production by typing each
    stack's name. Refused while a stack holds protected resources or another stack stands on it. The stack itself, its
    history and its file stay.
    """
    command.require_fitting(context, bool(stacks))
    if stacks:
        given = command.options(
            yes=yes, as_json=as_json, parallel=parallel, wave=wave, checkout=allow_checkout, adopt=adopt, forget=forget
        )
        raise typer.Exit(command.start("destroy", stacks, given))
    state = open_state(default_folder(), create=False)
    if state is None or not state.is_locked:
        if state is not None and _stop_leftovers(state):
            print("The platform is stopped.")
            return
        print("The platform does not run.")
        return
    pid = state.run.get("pid")
    if not isinstance(pid, int):
        raise CommandError(
            f"{state.folder} is in use, but its run.json does not say by which process: try again in a moment"
        )
    os.kill(pid, signal.SIGTERM)
    print("Stopping: requests in progress may end …", flush=True)
    if not state.wait_unlocked(_DOWN_SECONDS):
        raise CommandError(
            f"process {pid} still runs after {_DOWN_SECONDS:.0f} s; {state.log('supervisor')} and fleet status say what it waits for"
        )
    print("The platform is stopped.")


def _stop_leftovers(state: State) -> int:
    from cli.local import leftovers

    with state.locked():
        return leftovers.stop(state, print)


@status_app.command()
def status(as_json: Json = False) -> None:
    """What runs, and whether it is well. Exit code 3 where the platform does not run, 1 where a part is not ready."""
    state = open_state(default_folder(), create=False)
    described = describe(state)
    if as_json:
        print_json(described)
    elif not described["running"]:
        print("The platform does not run. fleet up starts it.")
    else:
        print(
            f"{described['url']} · {described['tls_url']} · process {described['pid']} · up {_duration(time.time() - described['started'])}"
        )
        print_table(
            ("PART", "STATE", "FOR", "PORT", "PROCESS", "MEMORY", "VERSION", "RESTARTS", ""),
            (
                (
                    p["name"],
                    p["state"],
                    _duration(time.time() - p["since"]),
                    p["port"],
                    p["pid"],
                    f"{p['resident_mib']:.0f} MiB" if p["resident_mib"] else "",
                    f"{p['role']} {p['digest']}" if "role" in p else "",
                    p["restarts"],
                    p["last_ending"],
                )
                for p in described["parts"]
            ),
            empty="No part has started yet.",
        )
    if not described["running"]:
        raise typer.Exit(Exit.UNREACHABLE)
    if not described["ready"]:
        raise typer.Exit(Exit.FAILED)


def describe(state: State | None) -> dict[str, Any]:
    """The running platform: {"running", "ready", "url", "tls_url", "pid", "started", "parts": [{"name", "state", "resident_mib", …}]}."""
    if state is None or not state.is_locked:
        return {"running": False, "ready": False, "parts": []}
    run = state.run
    parts = [
        {"name": name, **part, "resident_mib": _resident_mib(part["pid"])}
        for name, part in run.get("parts", {}).items()
    ]
    ready = bool(run.get("ready")) and all(part["state"] == "ready" for part in parts)
    known = {key: run.get(key) for key in ("url", "tls_url", "pid", "started")}
    return {"running": True, "ready": ready, **known, "parts": parts}


def _resident_mib(pid: int | None) -> float | None:
    """Resident memory of a process and its children, MiB."""
    import psutil

    try:
        process = psutil.Process(pid) if pid else None
        return (
            sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20
            if process
            else None
        )
    except psutil.Error:
        return None


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


@logs_app.command()
def logs(
    part: Annotated[
        str | None, typer.Argument(help="A part that fleet status names, or supervisor; default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines arrive; Ctrl-C ends.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Lines of each part to begin with.")] = 20,
) -> None:
    """What the parts say, from .fleet/logs/."""
    state = open_state(default_folder(), create=False)
    found = sorted(state.logs.glob("*.log")) if state else []
    if state is None or not found:
        raise CommandError("there are no logs: the platform has not run here yet", Exit.UNREACHABLE)
    if part is not None:
        names = [path.stem for path in found]
        found = [state.log(part)] if part in names else [path for path in found if path.stem == f"pool-{part}"]
        if not found:
            raise CommandError(f"there is no log of {part!r}; there are {', '.join(names)}", Exit.NOT_FOUND)
    width = max(len(path.stem) for path in found) if len(found) > 1 else 0
    places = {path: _print_last(path, lines, width) for path in found}
    while follow:
        time.sleep(0.25)
        for path in found if part else sorted(state.logs.glob("*.log")):
            places[path] = _print_new(path, places.get(path, 0), width)


def _print_last(path: Path, count: int, width: int) -> int:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = file.seek(max(0, size - 2000 * count))
        kept = file.read(size - begin).splitlines(keepends=True)
    _print(path, kept[-count:] if count else [], width)
    return size


def _print_new(path: Path, place: int, width: int) -> int:
    size = path.stat().st_size if path.exists() else 0
    if size < place:
        place = 0  # a new log was begun
    if size == place:
        return place
    with path.open("rb") as file:
        file.seek(place)
        text = file.read(size - place)
    whole = text[: text.rfind(b"\n") + 1]
    _print(path, whole.splitlines(keepends=True), width)
    return place + len(whole)


def _print(path: Path, lines: list[bytes], width: int) -> None:
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\n")
        print(f"{path.stem:<{width}}  {text}" if width else text, flush=True)
