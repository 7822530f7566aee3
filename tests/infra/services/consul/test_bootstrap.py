"""Consul's policies on a real Consul that denies by default: the runtime's own code works with them, and no more does."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509

from catalog.contract import CONSUL_SETTINGS
from cli.local.part import free_ports
from infra.services import scripts
from infra.services.consul import settings as consul
from infra.services.jobs.consul_bootstrap import POLICIES, accessor
from infra.services.monitoring import monitors
from infra.settings import parse
from runtime.consul import Consul, ConsulError
from runtime.discovery import Registration
from runtime.dynamic import DynamicSource
from tests.infra.services.monitoring.servers import prometheus
from tests.runtime import servers

REPOSITORY = Path(__file__).parents[4]
CA = "consul-agent-ca.pem"
BOOTSTRAP = "b1bd4a3b-7c0e-4b4b-9a67-3c1b2f4d5e6f"


@dataclass
class Server:
    """A Consul with ACLs, and a pod's folder beside it."""

    url: str
    folder: Path
    names: dict[str, str]

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        """Run the job as its pod does."""
        for role in POLICIES:
            (self.folder / "tokens" / role).write_text(self.names[role] + "\n")
        (self.folder / "bootstrap").write_text(BOOTSTRAP)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.folder / 'package'}:{self.folder / 'app'}",
            "CONSUL_HTTP_ADDR": self.url,
            "CONSUL_CACERT": str(self.folder / CA),
            "BOOTSTRAP_TOKEN_FILE": str(self.folder / "bootstrap"),
            "TOKENS": str(self.folder / "tokens"),
        }
        return subprocess.run(
            [sys.executable, "-m", "jobs.consul_bootstrap"],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def client(self, role: str) -> Consul:
        """The runtime's own client with a role's token."""
        return Consul(self.url, token_file=self.folder / "tokens" / role, cacert=self.folder / CA)

    def ask(self, method: str, path: str, role: str = "", **options: Any) -> httpx2.Response:
        """A request with a role's token; without one, with the bootstrap's."""
        return self.ask_with(self.names[role] if role else BOOTSTRAP, method, path, **options)

    def ask_with(self, token: str, method: str, path: str, **options: Any) -> httpx2.Response:
        """A request with any token, or with none."""
        headers = {"X-Consul-Token": token} if token else {}
        known = ssl.create_default_context(cafile=str(self.folder / CA))
        return httpx2.request(method, f"{self.url}/v1{path}", headers=headers, verify=known, timeout=60, **options)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    https, serf, wan, rpc = free_ports(4)
    settings = {
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "tokens": {"initial_management": BOOTSTRAP, "agent": BOOTSTRAP},
        },
        "server": True,
        "bootstrap_expect": 1,
        "data_dir": str(tmp_path / "data"),
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {
            "http": -1,
            "https": https,
            "dns": -1,
            "grpc": -1,
            "grpc_tls": -1,
            "serf_lan": serf,
            "serf_wan": wan,
            "server": rpc,
        },
        "disable_host_node_id": True,
        "disable_update_check": True,
        "node_name": "server",
        "performance": {"raft_multiplier": 1},
        "telemetry": telemetry(),
        "tls": {"defaults": {**_certificate(tmp_path), "verify_outgoing": True}},
        "encrypt": "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=",
    }
    (tmp_path / "consul.json").write_text(json.dumps(settings))
    package = tmp_path / "package" / scripts.PACKAGE
    package.mkdir(parents=True)
    for name, text in scripts.package().items():
        (package / name).write_text(text)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "catalog").symlink_to(REPOSITORY / "catalog")
    (tmp_path / "tokens").mkdir()
    command = [servers.binary("consul"), "agent", f"-config-file={tmp_path / 'consul.json'}"]
    known = ssl.create_default_context(cafile=str(tmp_path / CA))

    def leads(url: str) -> bool:
        answer = httpx2.get(f"{url}/v1/catalog/nodes", headers={"X-Consul-Token": BOOTSTRAP}, verify=known)
        return answer.status_code == 200 and bool(answer.json())

    with servers._running(command, tmp_path / "consul.log", f"https://127.0.0.1:{https}", leads) as running:
        yield Server(running.url, tmp_path, {role: str(uuid.uuid4()) for role in POLICIES})


def telemetry() -> dict[str, Any]:
    """What the chart makes of its metrics' values (templates/server-config-configmap.yaml)."""
    values = consul.values(parse({"cloud": "existing", "environment": "dev", "data": "in-cluster"}), "")
    metrics = values["global"]["metrics"]
    assert metrics["enabled"]
    assert metrics["enableAgentMetrics"]
    return {
        "prometheus_retention_time": metrics["agentMetricsRetentionTime"],
        "disable_hostname": metrics["disableAgentHostName"],
    }


def _certificate(folder: Path) -> dict[str, str]:
    """A private authority and a server's certificate, as the chart's own job makes them."""
    for command in (["ca", "create"], ["cert", "create", "-server", "-additional-ipaddress=127.0.0.1"]):
        subprocess.run([servers.binary("consul"), "tls", *command], cwd=folder, check=True, capture_output=True)
    server = "dc1-server-consul-0"
    return {
        "ca_file": str(folder / CA),
        "cert_file": str(folder / f"{server}.pem"),
        "key_file": str(folder / f"{server}-key.pem"),
    }


def test_a_second_run_changes_nothing_and_what_somebody_removed_is_put_back(server: Server) -> None:
    first = server.bootstrap()
    assert first.returncode == 0, first.stderr
    assert "make the token of agent" in first.stdout
    second = server.bootstrap()
    assert [line for line in second.stdout.splitlines() if "make" in line or "change" in line] == []
    server.ask("DELETE", f"/acl/token/{accessor('agent')}")
    third = server.bootstrap()
    assert "make the token of agent" in third.stdout
    assert "control" not in third.stdout


def test_a_replaced_token_secret_ends_the_old_one(server: Server) -> None:
    assert server.bootstrap().returncode == 0
    old = server.names["agent"]
    server.names["agent"] = str(uuid.uuid4())
    assert server.bootstrap().returncode == 0
    assert server.ask("GET", "/acl/token/self", "agent").status_code == 200
    assert server.ask_with(old, "GET", "/acl/token/self").status_code == 403


def test_agents_and_control_read_the_settings_and_cannot_write_them_operators_can(server: Server) -> None:
    assert server.bootstrap().returncode == 0
    path = f"/kv/{CONSUL_SETTINGS}"
    assert server.ask("PUT", path, "operator", content=b'{"log_level": "DEBUG"}').status_code == 200
    for role in ("agent", "control"):
        assert server.ask("GET", path, role, params={"raw": ""}).json() == {"log_level": "DEBUG"}
        assert server.ask("PUT", path, role, content=b"{}").status_code == 403
        assert server.ask("DELETE", path, role).status_code == 403
    for role in POLICIES:
        assert server.ask("GET", "/kv/other", role).status_code == 403, role
        assert server.ask("PUT", "/kv/other", role, content=b"x").status_code == 403, role
        assert server.ask("GET", "/acl/tokens", role).status_code == 403, role
    assert server.ask_with("", "GET", path).status_code == 403


@pytest.mark.parametrize(
    ("role", "service", "allowed"),
    [
        ("agent", "pool-business", True),
        ("agent", "business-plan-agent-009", True),
        ("agent", "control", False),
        ("agent", "consul", False),
        ("agent", "k8s-gateway", False),
        ("control", "control", True),
        ("control", "pool-business", False),
        ("operator", "control", False),
    ],
)
def test_a_role_registers_its_own_services_alone(bootstrapped: Server, role: str, service: str, allowed: bool) -> None:
    answer = bootstrapped.ask("PUT", "/agent/service/register", role, json={"Name": service, "Port": 1})
    assert (answer.status_code == 200) is allowed, answer.text


@pytest.fixture
def bootstrapped(server: Server) -> Server:
    assert server.bootstrap().returncode == 0
    return server


async def test_the_runtimes_own_registration_and_settings_work_with_an_agents_token(server: Server) -> None:
    assert server.bootstrap().returncode == 0
    registration = Registration(server.client("agent"), service="pool-business", address="127.0.0.1", port=8080)
    dynamic = DynamicSource(consul=server.client("agent"))
    tasks = [asyncio.create_task(registration.run()), asyncio.create_task(dynamic.run())]
    async with asyncio.timeout(60):
        while not server.ask("GET", "/catalog/service/pool-business", "control").json():
            await asyncio.sleep(0.1)
        server.ask(
            "PUT", f"/kv/{CONSUL_SETTINGS}", "operator", content=b'{"disabled_agents": ["business_plan_agent_009"]}'
        )
        while not dynamic.current.disabled_agents:
            await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert server.ask("GET", "/catalog/service/pool-business").json() == []
    client = server.client("agent")
    with pytest.raises(ConsulError, match="403"):
        await client.request("PUT", f"/v1/kv/{CONSUL_SETTINGS}", json={})
    await client.close()


METRICS = {"format": "prometheus"}


def test_prometheus_reads_a_server_s_metrics_and_no_other_role_does(bootstrapped: Server) -> None:
    metrics = bootstrapped.ask("GET", "/agent/metrics", consul.METRICS_ROLE, params=METRICS)
    assert metrics.status_code == 200
    assert "consul_raft_leader_lastContact" in metrics.text
    for role in sorted(set(POLICIES) - {consul.METRICS_ROLE}):
        assert bootstrapped.ask("GET", "/agent/metrics", role, params=METRICS).status_code == 403, role
    assert bootstrapped.ask_with("", "GET", "/agent/metrics", params=METRICS).status_code == 403


def test_prometheus_token_reads_no_setting_service_or_node_and_changes_nothing(bootstrapped: Server) -> None:
    role = consul.METRICS_ROLE
    assert (
        bootstrapped.ask("PUT", "/agent/service/register", role, json={"Name": "control", "Port": 1}).status_code == 403
    )
    assert bootstrapped.ask("PUT", "/agent/leave", role).status_code == 403
    assert bootstrapped.ask("GET", f"/kv/{CONSUL_SETTINGS}", role).status_code == 403
    assert bootstrapped.ask("GET", "/catalog/services", role).json() == {}
    assert bootstrapped.ask("GET", "/catalog/nodes", role).json() == []


def test_a_real_prometheus_scrapes_consul_as_its_monitor_says(bootstrapped: Server, tmp_path: Path) -> None:
    (endpoint,) = monitors.consul()["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == consul.TOKENS_SECRET
    token = tmp_path / "tokens" / endpoint["authorization"]["credentials"]["key"]
    address = bootstrapped.url.removeprefix("https://")
    scrape = {
        "job_name": "consul",
        "scrape_interval": "1s",
        "scheme": endpoint["scheme"],
        "metrics_path": endpoint["path"],
        "params": endpoint["params"],
        "authorization": {"type": endpoint["authorization"]["type"], "credentials_file": str(token)},
        # The server's certificate here is the test's own, which knows its address alone.
        "tls_config": {"ca_file": str(tmp_path / CA)},
        "static_configs": [{"targets": [address]}],
    }
    (port,) = free_ports(1)
    with prometheus(tmp_path, port, {"scrape_configs": [scrape]}) as url:
        until = time.monotonic() + 60
        # A server counts itself healthy some seconds after it was made the leader.
        while (_value(url, "up"), _value(url, "consul_autopilot_healthy")) != ("1", "1"):
            assert time.monotonic() < until, httpx2.get(f"{url}/api/v1/targets").text
            time.sleep(0.2)


def _value(url: str, query: str) -> str:
    result = httpx2.get(f"{url}/api/v1/query", params={"query": query}).json()["data"]["result"]
    return str(result[0]["value"][1]) if result else ""


def test_a_server_s_certificate_has_every_name_that_consul_itself_would_give_it(tmp_path: Path) -> None:
    pem = Path(_certificate(tmp_path)["cert_file"]).read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) <= set(consul.DNS_NAMES)
