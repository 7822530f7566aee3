"""The prober as a real blackbox exporter, in front of TLS servers whose certificates end soon, late, or long ago."""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.local.part import free_ports
from infra.services.consul import settings as consul
from infra.services.monitoring import alerts, prober
from infra.services.vault import settings as vault
from infra.settings import parse
from tests.infra.services.monitoring.servers import running, tool

EXISTING = {"cloud": "existing", "environment": "dev", "data": "in-cluster"}


def _pair(folder: Path, days: int) -> tuple[Path, int]:
    """A certificate with its key, signed by itself, and when it ends, seconds since the epoch."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), end - dt.timedelta(days=730), end
    )
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{days}.pem"
    file.write_bytes(pem + secret)
    return file, int(end.timestamp())


@contextmanager
def _server(pair: Path) -> Iterator[str]:
    """A server that shows a certificate and says nothing; its host and port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A blackbox exporter with the configuration and the arguments of the Deployment; its URL."""
    folder = tmp_path_factory.mktemp("prober")
    configuration, deployment, _ = prober.manifests()
    for name, text in configuration["data"].items():
        (folder / name).write_text(text)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    arguments = [argument.replace(mount["mountPath"], str(folder)) for argument in container["args"]]
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [tool("prometheus-blackbox-exporter"), *arguments, f"--web.listen-address=127.0.0.1:{port}"]
    healthy = container["readinessProbe"]["httpGet"]["path"]
    with running(command, folder / "log", lambda: httpx.get(url + healthy).status_code == 200):
        yield url


def _probed(exporter: str, target: str) -> dict[str, float]:
    """What a probe says, asked as the operator makes Prometheus ask for it."""
    module = prober.probe(parse(EXISTING))["spec"]["module"]
    text = httpx.get(f"{exporter}/probe", params={"module": module, "target": target}, timeout=60).text
    return {name: float(value) for name, value in re.findall(r"^(probe_\w+) (\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("days", [400, 10, -3])
def test_a_probe_says_when_the_certificate_that_a_server_shows_ends_even_after_that(
    exporter: str, tmp_path: Path, days: int
) -> None:
    pair, end = _pair(tmp_path, days)
    with _server(pair) as target:
        found = _probed(exporter, target)
    assert found["probe_success"] == 1
    assert found["probe_ssl_earliest_cert_expiry"] == end


def test_a_server_that_is_away_says_nothing_of_its_certificate(exporter: str) -> None:
    (port,) = free_ports(1)
    found = _probed(exporter, f"127.0.0.1:{port}")
    assert found["probe_success"] == 0
    # Zero would read as ended in 1970.
    assert "probe_ssl_earliest_cert_expiry" not in found


def test_every_server_of_vault_and_consul_is_probed_and_none_that_is_not_there() -> None:
    existing, cloud = parse(EXISTING), parse({**EXISTING, "environment": "staging"})
    assert prober.servers(existing) == (
        "vault-0.vault-internal.vault.svc.cluster.local:8200",
        "consul-server-0.consul-server.consul.svc.cluster.local:8501",
    )
    assert len(prober.servers(cloud)) == vault.replicas(cloud) + consul.replicas(cloud) == 4
    without = parse({**EXISTING, "components": {"vault": False, "consul": True}})
    assert prober.servers(without) == consul.servers(without)
    assert prober.servers(parse({**EXISTING, "components": {"vault": False, "consul": False}})) == ()


def test_the_alert_reads_what_the_prober_reports() -> None:
    (alert,) = (alert for alert in alerts.ALERTS if alert.name == "ServerCertificateExpiry")
    assert f'probe_ssl_earliest_cert_expiry{{job="{prober.JOB}"}}' in alert.expr
