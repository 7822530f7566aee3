"""Secrets come from environment, files or a real Vault, change without a restart, and are never shown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import hvac
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from runtime.secrets import ANTHROPIC_API_KEY, EnvironmentSecrets, FileSecrets, SecretError, VaultSecrets, for_agent
from runtime.settings import AgentSettings
from tests.runtime.servers import ROOT_TOKEN, Server, vault

AUDIENCE = "https://kubernetes.default.svc"
POLICY = 'path "secret/data/agents/anthropic" { capabilities = ["read"] }'


async def value(source: Any, name: str = ANTHROPIC_API_KEY) -> str:
    secret = await source.get(name)
    assert secret.get_secret_value() not in repr(secret)
    return str(secret.get_secret_value())


async def test_the_environment_knows_what_it_was_given() -> None:
    source = EnvironmentSecrets({ANTHROPIC_API_KEY: SecretStr("sk-1")})
    assert await value(source) == "sk-1"
    with pytest.raises(SecretError, match="other/name is not set"):
        await source.get("other/name")


async def test_a_file_is_read_again_when_it_changes_and_kept_when_it_is_gone_or_empty(tmp_path: Path) -> None:
    file = tmp_path / "key"
    source = FileSecrets({ANTHROPIC_API_KEY: file})
    with pytest.raises(SecretError, match="cannot be read"):
        await source.get(ANTHROPIC_API_KEY)
    file.write_text("\n")
    with pytest.raises(SecretError, match="is empty"):
        await source.get(ANTHROPIC_API_KEY)
    file.write_text("sk-1\n")
    assert await value(source) == "sk-1"
    replacement = tmp_path / "new"
    replacement.write_text("sk-2\n")
    replacement.rename(file)
    assert await value(source) == "sk-2"
    file.write_text("")
    assert await value(source) == "sk-2"
    file.unlink()
    assert await value(source) == "sk-2"


def test_the_agents_key_comes_from_vault_before_a_file_before_the_environment(tmp_path: Path) -> None:
    def source(**settings: Any) -> object:
        return for_agent(AgentSettings(identity_public_keys=tmp_path / "keys.pem", **settings))

    key, file = {"anthropic_api_key": SecretStr("sk-1")}, {"anthropic_api_key_file": tmp_path / "key"}
    assert source() is None
    assert source(anthropic_api_key=SecretStr("")) is None
    assert isinstance(source(**key), EnvironmentSecrets)
    assert isinstance(source(**key, **file), FileSecrets)
    assert isinstance(source(**key, **file, vault_addr="http://127.0.0.1:1", vault_role="agent"), VaultSecrets)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with vault(tmp_path_factory.mktemp("vault")) as running:
        admin(running).sys.create_or_update_policy("agent", POLICY)
        yield running


def admin(server: Server) -> Any:
    return hvac.Client(url=server.url, token=ROOT_TOKEN)


def store(server: Server, **fields: str) -> None:
    admin(server).secrets.kv.v2.create_or_update_secret(path="agents/anthropic", secret=fields)


def token_file(server: Server, folder: Path, **options: Any) -> Path:
    created = admin(server).auth.token.create(policies=["agent"], no_parent=True, **options)
    file = folder / "token"
    file.write_text(created["auth"]["client_token"] + "\n")
    return file


@asynccontextmanager
async def following(source: VaultSecrets) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def eventually(source: VaultSecrets, expected: str) -> None:
    async with asyncio.timeout(60):
        while await value(source) != expected:
            await asyncio.sleep(0.05)


async def test_a_key_in_vault_is_read_and_a_rotated_one_is_seen(server: Server, tmp_path: Path) -> None:
    store(server, api_key="sk-ant-one")
    source = VaultSecrets(server.url, token_file=token_file(server, tmp_path, ttl="1h"), refresh_seconds=0.1)
    assert await value(source) == "sk-ant-one"
    async with following(source):
        store(server, api_key="sk-ant-two")
        await eventually(source, "sk-ant-two")


async def test_a_login_is_renewed_before_it_ends(server: Server, tmp_path: Path) -> None:
    store(server, api_key="sk-ant-one")
    source = VaultSecrets(server.url, token_file=token_file(server, tmp_path, ttl="6s", renewable=True))
    await value(source)
    async with following(source):
        # Longer than the token lives without a renewal.
        await asyncio.sleep(8)
        await source.refresh()
    assert source.reachable


async def test_a_secret_without_the_field_and_a_token_without_the_right_are_refused_without_showing_them(
    server: Server, tmp_path: Path
) -> None:
    store(server, other="x")
    file = token_file(server, tmp_path)
    with pytest.raises(SecretError, match="secret/agents/anthropic has no text under api_key"):
        await VaultSecrets(server.url, token_file=file).get(ANTHROPIC_API_KEY)
    with pytest.raises(SecretError, match="platform/control/signing_keys cannot be read from Vault \\(Forbidden"):
        await VaultSecrets(server.url, token_file=file).get("platform/control/signing_keys")
    file.write_text("hvs.wrong-token")
    with pytest.raises(SecretError, match="Vault login failed") as caught:
        await VaultSecrets(server.url, token_file=file).get(ANTHROPIC_API_KEY)
    assert "hvs." not in str(caught.value)


async def test_while_vault_is_away_the_last_good_value_stays(tmp_path: Path) -> None:
    with vault(tmp_path) as running:
        store(running, api_key="sk-ant-one")
        file = tmp_path / "root"
        file.write_text(ROOT_TOKEN)
        source = VaultSecrets(running.url, token_file=file)
        assert await value(source) == "sk-ant-one"
        running.stop()
        with pytest.raises(SecretError):
            await source.refresh()
        assert await value(source) == "sk-ant-one"
        assert not source.reachable


class _TokenReviews(BaseHTTPRequestHandler):
    """The one endpoint of a Kubernetes API that Vault's Kubernetes auth asks."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        user = {
            "username": "system:serviceaccount:ai-agents:agent",
            "uid": "uid-1",
            "groups": ["system:serviceaccounts"],
        }
        body = orjson.dumps(
            {
                "kind": "TokenReview",
                "apiVersion": "authentication.k8s.io/v1",
                "status": {"authenticated": True, "user": user, "audiences": [AUDIENCE]},
            }
        )
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


async def test_a_pod_logs_in_with_its_service_accounts_token(server: Server, tmp_path: Path) -> None:
    store(server, api_key="sk-ant-pod")
    with HTTPServer(("127.0.0.1", 0), _TokenReviews) as kubernetes:
        threading.Thread(target=kubernetes.serve_forever, daemon=True).start()
        client = admin(server)
        client.sys.enable_auth_method("kubernetes")
        client.auth.kubernetes.configure(
            kubernetes_host=f"http://127.0.0.1:{kubernetes.server_port}",
            token_reviewer_jwt=_pod_token(),
            disable_local_ca_jwt=True,
        )
        client.auth.kubernetes.create_role(
            "agent",
            bound_service_account_names=["agent"],
            bound_service_account_namespaces=["ai-agents"],
            policies=["agent"],
            ttl="1h",
        )
        token = tmp_path / "service-account"
        token.write_text(_pod_token())
        source = VaultSecrets(server.url, role="agent", service_account_token=token)
        try:
            assert await value(source) == "sk-ant-pod"
            await source.refresh()
        finally:
            kubernetes.shutdown()


def _pod_token() -> str:
    account = {"namespace": "ai-agents", "serviceaccount": {"name": "agent", "uid": "uid-1"}}
    claims = {
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:ai-agents:agent",
        "aud": [AUDIENCE],
        "iat": 1767225600,
        "nbf": 1767225600,
        "exp": 4102444800,
        "kubernetes.io": account,
    }
    return jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256")
