"""What operators rely on: dynamic settings and registration through a real Consul, the key from a real Vault, traces."""

from __future__ import annotations

import asyncio
import gzip
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import hvac

import runtime
from catalog.contract import CONSUL_SETTINGS, VAULT_ANTHROPIC
from tests.messages_api import MessagesApi
from tests.runtime.agent.conftest import AGENT, StartAgent
from tests.runtime.agent.test_execution import until
from tests.runtime.servers import ROOT_TOKEN, consul, vault


async def test_an_agent_is_turned_off_in_consul_where_its_process_is_registered(
    start_agent: StartAgent, tmp_path: Path
) -> None:
    with consul(tmp_path) as server:
        async with start_agent(
            consul_http_addr=server.url, serve_agents=(AGENT,), port=8209, advertise_address="127.0.0.1"
        ) as agent:
            async with asyncio.timeout(60):
                while not (found := httpx2.get(f"{server.url}/v1/catalog/service/agents").json()):
                    await asyncio.sleep(0.05)
            assert AGENT in found[0]["ServiceTags"]
            httpx2.put(f"{server.url}/v1/kv/{CONSUL_SETTINGS}", content=f'{{"disabled_agents": ["{AGENT}"]}}')
            await until(lambda: AGENT in agent.app.state.dynamic.current.disabled_agents)
            assert (await agent.execute()).json()["error"]["code"] == "AGENT_DISABLED"
        assert httpx2.get(f"{server.url}/v1/catalog/service/agents").json() == []


async def test_the_api_key_comes_from_vault(start_agent: StartAgent, messages_api: MessagesApi, tmp_path: Path) -> None:
    with vault(tmp_path) as server:
        hvac.Client(url=server.url, token=ROOT_TOKEN).secrets.kv.v2.create_or_update_secret(
            path=VAULT_ANTHROPIC, secret={"api_key": "sk-ant-vault"}
        )
        token = tmp_path / "token"
        token.write_text(ROOT_TOKEN)
        async with start_agent(vault_addr=server.url, vault_token_file=token, anthropic_api_key=None) as agent:
            assert (await agent.execute()).status_code == 200
    assert [seen.key for seen in messages_api.requests] == ["sk-ant-vault"]


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP endpoint that keeps what it is sent."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


async def test_a_trace_continues_the_callers_and_holds_no_text(start_agent: StartAgent) -> None:
    with collector() as (endpoint, received):
        async with start_agent(otel_exporter_otlp_endpoint=endpoint) as agent:
            headers = {**agent.headers(), "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
            response = await agent.client.post(
                f"/agents/{AGENT}/api/v1/execute", content=b'{"task_description": "SECRET-TASK"}', headers=headers
            )
            assert response.status_code == 200
            await agent.client.get("/health")
        sent = b"".join(received)
    assert bytes.fromhex("0af7651916cd43dd8448eb211c80319c") in sent
    assert f"/agents/{AGENT}/api/v1/execute".encode() in sent
    assert b"anthropic.messages.create" in sent
    assert b"SECRET-TASK" not in sent
    assert b"GET /health" not in sent


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    assert runtime.__version__ == project["project"]["version"]
