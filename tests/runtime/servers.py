"""Real Vault and Consul servers for tests: a binary on PATH, or one that a build script makes; else a skip with the reason.

The script is named by the environment variable BUILD_SERVER and called as ``$BUILD_SERVER vault``: it prints the
binary's path on its last line. Its first run may take minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx2
import pytest

from cli.local.part import free_ports

ROOT_TOKEN = "root-token-of-the-test"
_BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared/tools/build-server"


@cache
def binary(name: str) -> str:
    """Path of the server's binary; skips the test where there is none."""
    found = shutil.which(name)
    if found is not None:
        return found
    script = os.environ.get("BUILD_SERVER") or (
        str(_BESIDE_THE_REPOSITORY) if _BESIDE_THE_REPOSITORY.is_file() else None
    )
    if script is None:
        pytest.skip(f"no {name} on PATH and no BUILD_SERVER script to build one")
    built = subprocess.run([script, name], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(f"{script} {name} failed: {built.stderr.strip()[-200:]}")
    return built.stdout.strip().splitlines()[-1]


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def vault(folder: Path, port: int | None = None) -> Iterator[Server]:
    """A Vault in development mode: unsealed, in memory, KV v2 at secret/, ROOT_TOKEN as its root token."""
    port = port or free_ports(1)[0]
    command = [
        binary("vault"),
        "server",
        "-dev",
        f"-dev-listen-address=127.0.0.1:{port}",
        f"-dev-root-token-id={ROOT_TOKEN}",
        "-dev-no-store-token",
    ]
    with _running(
        command,
        folder / "vault.log",
        f"http://127.0.0.1:{port}",
        lambda url: httpx2.get(f"{url}/v1/sys/health").status_code == 200,
    ) as server:
        yield server


@contextmanager
def consul(folder: Path, port: int | None = None) -> Iterator[Server]:
    """A Consul agent in development mode: one server, in memory."""
    http, serf, wan, rpc = free_ports(4, but=() if port is None else (port,))
    http = port or http
    command = [
        binary("consul"), "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", f"-http-port={http}", "-grpc-port=-1", "-grpc-tls-port=-1", "-dns-port=-1",
        f"-serf-lan-port={serf}", f"-serf-wan-port={wan}", f"-server-port={rpc}", "-disable-host-node-id", f"-node=test-{http}",
    ]  # fmt: skip
    with _running(command, folder / "consul.log", f"http://127.0.0.1:{http}", _has_a_leader) as server:
        yield server


def _has_a_leader(url: str) -> bool:
    # The catalog is only written once the node registered itself.
    return len(httpx2.get(f"{url}/v1/status/leader").json()) > 2 and bool(httpx2.get(f"{url}/v1/catalog/nodes").json())


@contextmanager
def _running(command: list[str], log: Path, url: str, ready: Callable[[str], bool]) -> Iterator[Server]:
    with log.open("wb") as stream:
        environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent)}
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, cwd=log.parent)
    server = Server(url, process)
    try:
        until = time.monotonic() + 120
        while not _asked(ready, url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{Path(command[0]).name} did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield server
    finally:
        server.stop()


def _asked(ready: Callable[[str], bool], url: str) -> bool:
    try:
        return ready(url)
    except (httpx2.HTTPError, ValueError):
        return False
