"""A real Prometheus and a real Loki that watch the embedded platform at work, and the replayed cluster around it.

Prometheus scrapes the platform's own processes and the replay every few seconds and evaluates our rules; Loki takes
the platform's own logs, labelled as the collector labels them, and its ruler writes what it counts in the
gateway's log to Prometheus. Labels the operator and the collector would set are set here by hand.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

from catalog import registry
from cli.local.part import free_ports
from infra.services.monitoring import log_rules
from infra.services.monitoring.alerts import alert_groups
from infra.services.monitoring.rules import recording_groups
from tests.e2e.platform import AGENT, Platform
from tests.infra.services.monitoring import replay
from tests.infra.services.monitoring.servers import loki_server, prometheus

POOLS = ("business", "technology", "knowledge")
_SECONDS = 3
"""Between scrapes, and the longest one: a scrape of 500 agents that takes longer reads as 500 agents down."""


@dataclass
class Stage:
    """Both servers, by URL, and the platform they watch."""

    prometheus: str
    loki: str
    platform: Platform
    settled: float = 0.0
    """When every recorded number had arrived, seconds since the epoch. The platform idles from then on: what looks back
    over a minute is asked as of then, however long the tests take."""

    def query(self, expr: str, at: float | None = None) -> list[Any]:
        """PromQL's answer now or as of ``at``; raises AssertionError with the server's own words for a query it refuses."""
        parameters = {"query": expr} if at is None else {"query": expr, "time": f"{at}"}
        return _data(httpx.get(f"{self.prometheus}/api/v1/query", params=parameters, timeout=60))

    def query_range(self, expr: str, seconds: int = 60) -> list[Any]:
        """PromQL's answer over the last ``seconds`` before the stage was settled."""
        parameters = {"query": expr, "start": f"{self.settled - seconds}", "end": f"{self.settled}", "step": "5"}
        return _data(httpx.get(f"{self.prometheus}/api/v1/query_range", params=parameters, timeout=60))

    def logs(self, expr: str, *, instant: bool = False, seconds: int = 600) -> list[Any]:
        """LogQL's answer as of when the stage was settled, or over the ``seconds`` before."""
        if instant:
            parameters = {"query": expr, "time": f"{self.settled}"}
            return _data(httpx.get(f"{self.loki}/loki/api/v1/query", params=parameters, timeout=60))
        parameters = {
            "query": expr,
            "start": f"{self.settled - seconds:.0f}",
            "end": f"{self.settled + 1:.0f}",
            "step": "15",
            "limit": "1000",
        }
        return _data(httpx.get(f"{self.loki}/loki/api/v1/query_range", params=parameters, timeout=60))  # fmt: skip

    def rules(self, server: str) -> list[dict[str, Any]]:
        """Every rule of the server with its health and last error."""
        path = "/api/v1/rules" if server == self.prometheus else "/prometheus/api/v1/rules"
        groups = httpx.get(server + path, timeout=60).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def _data(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    result: list[Any] = answer.json()["data"]["result"]
    return result


def scraping(platform: Platform, replayed: int, rules: Path) -> dict[str, Any]:
    """Prometheus' configuration: targets with the labels that monitors.py gives them in a cluster."""

    def job(name: str, port: int, path: str = "/metrics", **labels: str) -> dict[str, Any]:
        return {
            "job_name": f"{name}-{labels.get('app', '')}{labels.get('store', '')}",
            "metrics_path": path,
            "honor_labels": name in ("cadvisor", "kube-state-metrics", "cert-manager"),
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"job": name, **labels}}],
        }

    def pod(name: str) -> dict[str, str]:
        return {"namespace": "ai-agents", "pod": f"{name}-0", "app": name}

    jobs = [job("agent", platform.part(f"pool-{pool}")["port"], pool=pool, **pod(f"pool-{pool}")) for pool in POOLS]
    jobs.append(job("control", platform.part("control")["port"], **pod("control")))
    jobs += [job(name, replayed, f"/{name}") for name in ("cadvisor", "kube-state-metrics", "cert-manager")]
    jobs.append(job("vault", replayed, "/vault", namespace="vault", pod="vault-0"))
    jobs.append(job("exporter", replayed, "/postgres", store="database"))
    jobs += [job("exporter", replayed, f"/redis-{store}", store=store) for store in ("state", "cache")]
    return {
        "global": {
            "scrape_interval": f"{_SECONDS}s",
            "evaluation_interval": f"{_SECONDS}s",
            "scrape_timeout": f"{_SECONDS}s",
        },
        "rule_files": [str(rules)],
        "scrape_configs": jobs,
    }


def work(platform: Platform) -> None:
    """A short mixed load: successes, failures of the model, callers' mistakes, refusals by both limits, logins."""
    limited = platform.new_user("limited", per_minute=2)
    caller = platform.new_user("caller", per_minute=1000)

    def execute(key: str, agent: str, task: str) -> int:
        with platform.client(key) as client:
            return client.post(f"/agents/{agent}/api/v1/execute", json={"task_description": task}).status_code

    cached = next(agent.id for agent in registry.load() if agent.cache_seconds and agent.isolation == "pooled")
    for _ in range(6):
        for agent in (*_agents(platform), cached):
            execute(caller, agent, "Plan a bakery")
        execute(caller, AGENT, "behave:error")
        execute(caller, AGENT, "")
        execute(limited, AGENT, "Plan a bakery")
        with platform.client("") as anonymous:
            anonymous.post("/auth/login", json={"username": "admin", "password": "wrong"})
        time.sleep(1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: execute(caller, AGENT, "Plan a bakery"), range(16)))


def _agents(platform: Platform) -> list[str]:
    with platform.client() as client:
        listed = [agent["id"] for agent in client.get("/api/v1/agents", params={"limit": "12"}).json()["items"]]
    return [AGENT, *listed]


class Shipper(threading.Thread):
    """Sends new lines of the platform's logs to Loki, as the collector would."""

    def __init__(self, platform: Platform, loki: str) -> None:
        super().__init__(daemon=True)
        self._logs = platform.folder / "logs"
        self._url = f"{loki}/loki/api/v1/push"
        self._read: dict[str, int] = {}
        self._over = threading.Event()
        self.sent = 0
        self.failed = ""

    def run(self) -> None:
        """Ship until stopped."""
        while not self._over.wait(0.5):
            try:
                self._ship()
            except httpx.HTTPError as error:
                self.failed = repr(error)

    def stop(self) -> None:
        """End, with everything sent."""
        self._over.set()
        self.join(60)

    def _ship(self) -> None:
        streams = []
        for log in self._logs.glob("*.log"):
            app, role = _app(log.stem)
            with log.open("rb") as file:
                file.seek(self._read.get(log.name, 0))
                text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            self._read[log.name] = self._read.get(log.name, 0) + len(text)
            by_level: dict[str, list[list[str]]] = {}
            for line in text.decode(errors="replace").splitlines():
                by_level.setdefault(_level(line), []).append([str(time.time_ns()), line])
            for level, lines in by_level.items():
                labels = {"namespace": "ai-agents", "app": app, "container": app, "role": role}
                streams.append({"stream": labels | ({"level": level} if level else {}), "values": lines})
                self.sent += len(lines)
        if streams:
            answer = httpx.post(self._url, json={"streams": streams}, timeout=60)
            if answer.status_code != 204:
                self.failed = answer.text


def _app(part: str) -> tuple[str, str]:
    if part.startswith("pool-"):
        return part, "agent"
    return {"nginx": ("gateway", "api-gateway")}.get(part, (part, part))


def _level(line: str) -> str:
    try:
        return str(json.loads(line).get("level", ""))
    except (ValueError, AttributeError):
        return ""


@contextlib.contextmanager
def watched(platform: Platform, folder: Path) -> Iterator[Stage]:
    """Both servers watching ``platform``, which has been at work, until every recorded gateway number has arrived."""
    rules = folder / "rules.yaml"
    groups = [{**group, "interval": f"{_SECONDS}s"} for group in (*recording_groups(), *alert_groups())]
    rules.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
    (port,) = free_ports(1)
    with (
        replay.serving() as replayed,
        prometheus(folder, port, scraping(platform, replayed, rules)) as metrics,
        loki_server(folder, {"prometheus": metrics}, log_rules.groups(), 2) as loki,
    ):
        stage = Stage(metrics, loki, platform)
        shipper = Shipper(platform, loki)
        shipper.start()
        try:
            work(platform)
            _wait_for_everything(stage, shipper)
            stage.settled = time.time()
            yield stage
        finally:
            shipper.stop()


def _wait_for_everything(stage: Stage, shipper: Shipper) -> None:
    wanted = [rule["record"] for group in (*recording_groups(), *log_rules.groups()) for rule in group["rules"]]
    until = time.monotonic() + 300
    while missing := [record for record in wanted if not stage.query(record)]:
        assert time.monotonic() < until, f"never recorded: {missing}; shipped {shipper.sent} lines {shipper.failed}"
        time.sleep(1)
