"""Secrets and snapshots in each cloud: the calls each API documents, signed or with the pod's token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.services.jobs import aws, azure, gcp, stores
from infra.services.jobs.stores import ObjectStore, SecretStore, SettingError
from infra.services.jobs.web import CallError
from tests.infra.services.jobs import clouds
from tests.infra.services.jobs.clouds import Cloud


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with clouds.running() as found:
        (tmp_path / "token").write_text("pod-token")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{found.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("GCE_METADATA_HOST", found.url.removeprefix("http://"))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", found.url)
        monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
        monkeypatch.setenv("AZURE_CLIENT_ID", "client")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
        yield found


def secret(kind: str, url: str) -> SecretStore:
    return {
        "aws": aws.SecretsManager("agents-dev/vault-recovery", "eu-central-1", url),
        "gcp": gcp.SecretManager("projects/p/secrets/agents-dev-vault-recovery", url),
        "azure": azure.KeyVaultSecret(f"{url}/secrets/vault-recovery"),
    }[kind]


def objects(kind: str, url: str) -> ObjectStore:
    return {
        "s3": aws.Bucket("snapshots", "eu-central-1", url),
        "gcs": gcp.Bucket("snapshots", url),
        "azure": azure.Container("account/snapshots", url),
    }[kind]


@pytest.mark.parametrize("kind", ["aws", "gcp", "azure"])
def test_a_secret_is_none_before_it_is_written_and_what_was_written_after(cloud: Cloud, kind: str) -> None:
    store = secret(kind, cloud.url)
    assert store.read() is None
    store.write('{"keys": ["ä"]}')
    assert store.read() == '{"keys": ["ä"]}'
    assert all("authorization" in headers for _, path, headers in cloud.calls if "token" not in path)


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_files_come_back_as_they_went_and_are_listed_over_pages(cloud: Cloud, kind: str, tmp_path: Path) -> None:
    store = objects(kind, cloud.url)
    file = tmp_path / "file"
    for number in range(5):
        file.write_bytes(bytes([number]) * 100_000)
        store.put(f"vault/2026110{number}T000000Z.snap", file)
    cloud.objects["other"] = b""
    assert store.keys("vault/") == [f"vault/2026110{number}T000000Z.snap" for number in range(5)]
    store.get("vault/20261103T000000Z.snap", file)
    assert file.read_bytes() == bytes([3]) * 100_000
    with pytest.raises(CallError, match="404"):
        store.get("vault/never.snap", file)


def test_an_s3_request_is_signed_over_its_body_and_the_pods_session(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"snapshot")
    objects("s3", cloud.url).put("vault/a.snap", tmp_path / "file")
    (put,) = [headers for method, _, headers in cloud.calls if method == "PUT"]
    assert put["x-amz-content-sha256"] == hashlib.sha256(b"snapshot").hexdigest()
    assert put["x-amz-security-token"] == "session"
    assert "x-amz-security-token" in put["authorization"]
    assert put["content-length"] == "8"


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ],
)
def test_the_signature_is_the_one_of_awss_own_test_suite(query: str, signature: str) -> None:
    """aws-sig-v4-test-suite: get-vanilla, get-vanilla-query-order-key-case."""
    who = aws.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    headers = aws.signed(
        "GET",
        f"https://example.amazonaws.com/{query}",
        service="service",
        region="us-east-1",
        who=who,
        payload_hash=aws.EMPTY_HASH,
        headers={},
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["Authorization"].endswith(f"Signature={signature}")


def test_a_refused_call_says_which_and_never_what_was_sent(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"the secret")
    store = azure.Container("account/snapshots", f"{cloud.url}/missing")
    with pytest.raises(CallError, match=r"GET .*: HTTP 404") as caught:
        store.get("x", tmp_path / "other")
    assert "a-token" not in str(caught.value)
    with pytest.raises(CallError, match="no answer"):
        gcp.SecretManager("projects/p/secrets/s", "http://127.0.0.1:1").read()


def test_a_file_is_private_and_whole(tmp_path: Path) -> None:
    store = stores.SecretFile(tmp_path / "keys")
    assert store.read() is None
    store.write("one")
    store.write("two")
    assert store.read() == "two"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "RECOVERY_KIND is not set"),
        ({"RECOVERY_KIND": "aws", "RECOVERY_ID": "x"}, "AWS_REGION is not set"),
        ({"RECOVERY_KIND": "paper", "RECOVERY_ID": "x"}, "set it to aws, gcp, azure, kubernetes or file"),
    ],
)
def test_settings_that_are_wrong_name_their_variable(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        stores.secret_store("RECOVERY", environment)
