"""Owns `fleet up`: starting the embedded target in the foreground, or with --detach in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from catalog.contract import GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT
from cli.deploy import command
from cli.errors import CommandError, Exit
from cli.local.settings import LocalSettings, answers_offline
from cli.local.state import LockedError, State, default_folder, open_state

app = typer.Typer(add_completion=False)
_PIPE = "FLEET_PROGRESS_FD"
_LOCAL = ("port", "tls_port", "detach", "address_rate")
_EXAMPLE_AGENT = "business_plan_agent_009"

HttpPort = Annotated[
    int, typer.Option("--port", min=1, max=65535, envvar="FLEET_PORT", help="Port for HTTP on 127.0.0.1.")
]
TlsPort = Annotated[
    int, typer.Option("--tls-port", min=1, max=65535, envvar="FLEET_TLS_PORT", help="Port for HTTPS on 127.0.0.1.")
]
_RATE = LocalSettings().address_rate or 0
Rate = Annotated[
    int, typer.Option("--address-rate", min=0, help="Requests a second taken from one address; 0: no limit.")
]


@app.command()
def up(
    context: typer.Context,
    stacks: Annotated[
        list[str] | None,
        typer.Argument(metavar="STACK", help=f"{command.STACKS} Without one, the platform starts on this machine."),
    ] = None,
    port: HttpPort = GATEWAY_HTTP_PORT,
    tls_port: TlsPort = GATEWAY_TLS_PORT,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything is ready and leave it running.")
    ] = False,
    address_rate: Rate = _RATE,
    yes: command.Yes = False,
    as_json: command.JsonLines = False,
    canary_shard: command.Canary = "",
    wave: command.WaveSize = 4,
    parallel: command.Parallel = 2,
    allow_destroy: command.AllowDestroy = 10,
    allow_protected: command.AllowProtected = None,
    allow_checkout: command.AllowCheckout = False,
    adopt: command.Adopt = None,
    forget: command.Forget = None,
) -> None:
    """Start the whole platform on this machine, or with STACK bring cloud stacks up.

    On this machine: nginx, control, the agents, PostgreSQL and Valkey, on loopback. State is in .fleet/ (FLEET_STATE
    names another folder). Ctrl-C drains and stops everything. With ANTHROPIC_API_KEY set, Claude answers; without, a
    labelled offline model does. Where it runs already, it takes over the catalog as it is now, without a failed request.

    In clouds, through Pulumi's CLI: each stack's plan is shown and confirmed, then layers go in order and shards in
    waves, the first alone. A failure stops what has not begun; the same command goes on. Ctrl-C lets operations
    under way end.
    """
    command.require_fitting(context, bool(stacks), local=_LOCAL)
    if stacks:
        given = command.options(
            yes=yes, as_json=as_json, parallel=parallel, wave=wave, canary=canary_shard, share=allow_destroy,
            protected=allow_protected, checkout=allow_checkout, adopt=adopt, forget=forget,
        )  # fmt: skip
        raise typer.Exit(command.start("up", stacks, given))
    state = open_state(default_folder())
    assert state is not None
    settings = LocalSettings(http_port=port, tls_port=tls_port, address_rate=address_rate or None)
    if detach:
        raise typer.Exit(
            _detached(state, ["--port", str(port), "--tls-port", str(tls_port), "--address-rate", str(address_rate)])
        )
    raise typer.Exit(_foreground(state, settings))


def _foreground(state: State, settings: LocalSettings) -> int:
    from cli.local.up import Started, serve

    tell = _teller()

    def started(what: Started) -> None:
        tell({"ready": _ready_text(state, what)})

    def say(line: str) -> None:
        tell({"line": line})

    try:
        try:
            with state.locked():
                return serve(state, settings, say, started)
        except LockedError:
            tell({"ready": _brought_up_to_date(state, say)})
            return Exit.OK
    except (CommandError, ValueError) as error:
        # Of ValueErrors, CatalogError and GatewayError: what is wrong in files, each said with its place.
        if not isinstance(error, CommandError) and type(error).__module__.split(".")[0] not in ("catalog", "infra"):
            raise
        if _PIPE not in os.environ:
            raise error if isinstance(error, CommandError) else CommandError(str(error)) from None
        tell({"failed": str(error)})
        return Exit.FAILED


def _teller() -> Callable[[dict[str, Any]], None]:
    """Where lines for people go: standard output, or in the background the process that started us, while it listens."""
    if _PIPE not in os.environ:
        return lambda message: print(next(iter(message.values())), flush=True)
    pipe = os.fdopen(int(os.environ[_PIPE]), "w")

    def tell(message: dict[str, Any]) -> None:
        # The password of the first administrator goes to that process alone, never into a log.
        if "ready" not in message:
            print(next(iter(message.values())), flush=True)
        try:
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):
            return
        if "line" not in message:
            pipe.close()

    return tell


def _detached(state: State, options: list[str]) -> int:
    from cli.local.tasks import ROOT

    if state.is_locked:
        print(_brought_up_to_date(state, lambda line: print(line, flush=True)))
        return Exit.OK
    reading, writing = os.pipe()
    log = os.open(state.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    subprocess.Popen(
        [sys.executable, "-m", "cli", "up", *options],
        cwd=ROOT, env={**os.environ, _PIPE: str(writing), "FLEET_STATE": str(state.folder)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        pass_fds=[writing], start_new_session=True,
    )  # fmt: skip
    os.close(writing)
    os.close(log)
    with os.fdopen(reading) as pipe:
        for line in pipe:
            message = json.loads(line)
            if "failed" in message:
                raise CommandError(message["failed"])
            print(next(iter(message.values())), flush=True)
            if "ready" in message:
                return Exit.OK
    raise CommandError(f"the platform did not start; {state.log('supervisor')} says why")


def _brought_up_to_date(state: State, say: Callable[[str], None]) -> str:
    """Have the platform that runs take over the catalog as it is now; what came of it.

    Raises CommandError where it does not: it then goes on with what it served.
    """
    from cli.local.apply import apply

    # One that still starts reads the catalog by itself, and says so when it is ready.
    if state.run.get("ready"):
        try:
            applied = apply(state, say)
        except CommandError as error:
            if error.exit_code != Exit.UNREACHABLE or not state.is_locked:
                raise
        else:
            if applied.is_change:
                return applied.words
    return _running_text(state)


def _running_text(state: State) -> str:
    run = state.run
    ready = sum(part["state"] == "ready" for part in run.get("parts", {}).values())
    return (
        f"The platform already runs (process {run.get('pid', '?')}): {run.get('url', '?')} and {run.get('tls_url', '?')}, "
        f"{ready} of {len(run.get('parts', {}))} parts ready. fleet status shows them, fleet down stops it."
    )


def _ready_text(state: State, what: Any) -> str:
    login, key = "admin", "sk-…"
    lines = [
        "",
        f"Ready after {what.seconds:.1f} s: {what.agents:,} agents at {what.url} and {what.tls_url} (trust {what.authority} for HTTPS)",
        "",
    ]
    if what.administrator:
        login = what.administrator["username"]
        lines += [
            f"  First administrator: {login}   password: {what.administrator['password']}   (shown once: keep it)",
            "",
        ]
    key_file = state.secrets / "operator.json"
    if state.operator:
        login, key = state.operator["username"], f'$(sed \'s/.*"api_key": "\\([^"]*\\)".*/\\1/\' \'{key_file}\')'
    password = what.administrator["password"] if what.administrator else "<password>"
    execute = f"{what.url}/agents/{_EXAMPLE_AGENT}/api/v1/execute -H 'Content-Type: application/json' -d '{{\"task_description\": \"Plan a bakery with two employees\"}}'"
    credentials = json.dumps({"username": login, "password": password}).replace("'", "'\\''")
    lines += [
        "  Log in and execute:",
        f"    TOKEN=$(curl -s {what.url}/auth/login -H 'Content-Type: application/json' -d '{credentials}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        f'    curl -s {execute} -H "Authorization: Bearer $TOKEN"',
        "  With the operator's API key:",
        f'    curl -s {execute} -H "Authorization: Bearer {key}"',
        "",
    ]
    if answers_offline():
        lines += [
            "  No ANTHROPIC_API_KEY is set: the offline model answers, and says so in every response. Set it and start again for Claude.",
            "",
        ]
    lines += [
        "  fleet status, fleet logs -f and fleet run AGENT TASK work in another terminal. "
        + ("fleet down stops it." if _PIPE in os.environ else "Ctrl-C stops it.")
    ]
    return "\n".join(lines)
