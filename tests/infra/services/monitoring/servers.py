"""Real monitoring servers for tests: Debian's promtool, prometheus and amtool, and a built Loki; else a skip that says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml

from cli.local.part import free_ports
from infra.services.monitoring import loki
from tests.runtime.servers import binary

_PACKAGES = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager", "prometheus-blackbox-exporter": "prometheus-blackbox-exporter"}  # fmt: skip


@cache
def tool(name: str) -> str:
    """Path of a tool of Prometheus; skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH (Debian: apt-get install {_PACKAGES[name]})")
    return found


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool], seconds: float = 120) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """``command`` started and ready for the length of a with block; ended with it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=log.parent, env={"PATH": os.environ["PATH"], "HOME": str(log.parent)})  # fmt: skip
    try:
        until = time.monotonic() + seconds
        while not _asked(ready):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{Path(command[0]).name} did not start: {log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _asked(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except (httpx.HTTPError, ValueError):
        return False


@contextmanager
def prometheus(folder: Path, port: int, configuration: dict[str, Any]) -> Iterator[str]:
    """A Prometheus with ``configuration`` that also takes remote writes; its URL."""
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration, sort_keys=False))
    url = f"http://127.0.0.1:{port}"
    command = [
        tool("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver", "--log.level=warn",
    ]  # fmt: skip
    with running(command, folder / "prometheus.log", lambda: httpx.get(f"{url}/-/ready").status_code == 200):
        yield url


@contextmanager
def loki_server(folder: Path, targets: dict[str, str], groups: list[dict[str, Any]], seconds: int) -> Iterator[str]:
    """A Loki in one process with our limits and ruler, evaluated every ``seconds``; its URL."""
    http, grpc = free_ports(2)
    rules = folder / "rules" / "fake"
    rules.mkdir(parents=True)
    (rules / "gateway.yaml").write_text(
        yaml.safe_dump({"groups": [{**group, "interval": f"{seconds}s"} for group in groups]}, width=1000)
    )
    data = str(folder / "loki")
    configuration = {
        "auth_enabled": False,
        "server": {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": http,
            "grpc_listen_address": "127.0.0.1",
            "grpc_listen_port": grpc,
            "log_level": "warn",
        },
        "common": {
            "path_prefix": data,
            "replication_factor": 1,
            "instance_addr": "127.0.0.1",
            "ring": {"instance_addr": "127.0.0.1", "kvstore": {"store": "inmemory"}},
            "storage": {"filesystem": {"chunks_directory": f"{data}/chunks", "rules_directory": f"{data}/rules"}},
        },
        "schema_config": {
            "configs": [
                {
                    "from": loki.SCHEMA_FROM,
                    "store": "tsdb",
                    "object_store": "filesystem",
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        "limits_config": loki.limits(3),
        "ruler": {**loki.ruler(data, str(folder / "rules"), targets), "evaluation_interval": f"{seconds}s"},
        "analytics": {"reporting_enabled": False},
    }
    file = folder / "loki.yaml"
    file.write_text(yaml.safe_dump(configuration, sort_keys=False))
    url = f"http://127.0.0.1:{http}"
    command = [binary("loki"), f"-config.file={file}", "-target=all"]
    with running(command, folder / "loki.log", lambda: httpx.get(f"{url}/ready").status_code == 200, 240):
        yield url
