"""A gateway's pod as a folder: serve.sh as its process, mounts that change the way the kubelet changes them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.local import certificate, nginx
from cli.local.part import free_ports, http_status
from infra.gateway import config
from infra.gateway.config import Certificate, GatewaySettings, Listener, render
from infra.gateway.routes import Route, render_routes
from tests.infra.gateway.conftest import folder, settings_for, stubs
from tests.infra.gateway.stubs import Stub

__all__ = ["folder", "stubs"]

SERVE = Path(config.__file__).with_name("serve.sh")
_versions = itertools.count()


class Mount:
    """A volume of files as the kubelet makes it: all of them change together, behind one link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def put(self, files: Mapping[str, str | bytes]) -> None:
        """Replace everything with ``files``; none at all where the object is gone."""
        version = self.folder / f"..{next(_versions)}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        before = (self.folder / "..data").resolve() if (self.folder / "..data").exists() else None
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for entry in self.folder.iterdir():
            if not entry.name.startswith("..") and entry.name not in files:
                entry.unlink()
        if before is not None:
            shutil.rmtree(before)

    def routes(self, fleet: str, *routes: Route) -> None:
        """The fleet's ConfigMap as the fleet layer renders it."""
        self.put(render_routes(fleet, routes))


@dataclasses.dataclass
class Pod:
    """A pod of the gateway: ``start`` its container, again too."""

    folder: Path
    settings: GatewaySettings
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self.settings.listeners[0].port

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def mount(self, unit: str) -> Mount:
        return Mount(self.folder / "source" / unit)

    def start(self, *, nameservers: str = "") -> None:
        (self.folder / "resolv.conf").write_text(nameservers)
        wrapper = self.folder / "nginx"
        wrapper.write_text(f'#!/bin/sh\nexec "{nginx.binary()}" -p "{self.folder}" "$@"\n')
        wrapper.chmod(0o755)
        environment = {
            "PATH": os.environ["PATH"], "TZ": "UTC", "GATEWAY_SOURCE": str(self.folder / "source"), "GATEWAY_LIVE": str(self.folder / "live"),
            "GATEWAY_NGINX": str(wrapper), "GATEWAY_RESOLV": str(self.folder / "resolv.conf"), "GATEWAY_SECONDS": "0.1",
        }  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", str(SERVE)], env=environment, stdout=log, stderr=log, process_group=0
            )
        self.until(lambda: http_status(self.port, "/health") in (200, 400), "the gateway answers")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def until(self, done: Callable[[], Any], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert self.process is None or self.process.poll() is None, f"serve.sh ended:\n{self.log}"
            assert time.monotonic() < end, f"not: {what}\n{self.log}"
            time.sleep(0.02)

    def said(self, text: str) -> int:
        whole = self.log.rpartition("\n")[0].splitlines()
        return sum(text in json.loads(line)["message"] for line in whole if line.startswith("{"))


@pytest.fixture
def pod(folder: Path, stubs: tuple[Stub, Stub, Stub, Stub]) -> Iterator[Pod]:
    """A pod with TLS and nothing mounted but nginx.conf and a certificate."""
    control = stubs[0]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    plain, secure = free_ports(2)
    live = folder / "live" / "tls"
    listeners = (
        Listener(plain, "127.0.0.1"),
        Listener(secure, "127.0.0.1", Certificate(str(live / "tls.crt"), str(live / "tls.key"))),
    )
    settings = settings_for(folder, control.address, routes=str(folder / "live" / "routes" / "*"), listeners=listeners)
    (folder / "temporary").mkdir()
    (folder / "source" / "routes").mkdir(parents=True)
    (folder / "source" / "nginx.conf").write_text(render(settings))
    made = Pod(folder, settings)
    made.mount("tls").put(pair(folder / "first"))
    try:
        yield made
    finally:
        made.kill()


def pair(folder: Path) -> dict[str, bytes]:
    """A certificate and key as cert-manager's secret holds them."""
    made = certificate.ensure(folder, datetime.datetime.now(datetime.UTC))
    return {
        "tls.crt": made.chain.read_bytes(),
        "tls.key": made.key.read_bytes(),
        "ca.crt": made.authority.read_bytes(),
    }
