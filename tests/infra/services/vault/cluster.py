"""Three real Vaults that share their data by Raft and are unsealed by a fourth's transit key, as a cloud's KMS would."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import requests

from cli.local.part import free_ports
from tests.runtime.servers import ROOT_TOKEN, binary, vault


@dataclass
class Node:
    """One Vault server."""

    name: str
    folder: Path
    ports: tuple[int, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def client(self, token: str | None = None) -> Any:
        return hvac.Client(url=self.url, token=token)

    def start(self) -> None:
        with (self.folder / "vault.log").open("ab") as log:
            command = [binary("vault"), "server", f"-config={self.folder / 'vault.hcl'}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(self.folder)})
        self.wait(lambda: requests.get(f"{self.url}/v1/sys/seal-status", timeout=5).ok)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait(self, ready: Any, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if ready():
                    return
            except (requests.RequestException, hvac.exceptions.VaultError):
                pass
            text = (self.folder / "vault.log").read_text(errors="replace")
            assert self.process is None or self.process.poll() is None, text[-2000:]
            assert time.monotonic() < end, text[-2000:]
            time.sleep(0.1)


@dataclass
class Cluster:
    """Vault servers of one Raft."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def client(self, token: str | None = None) -> Any:
        return self.nodes[0].client(token)

    def peers(self, token: str) -> list[dict[str, Any]]:
        """Members of the Raft."""
        found = self.client(token).sys.read_raft_config()["data"]["config"]["servers"]
        return list(found)


@contextmanager
def raft(folder: Path, nodes: int = 3, *, auto_unseal: bool = True, transit: str | None = None) -> Iterator[Cluster]:
    """A Vault that was never initialized; ``transit``: URL of the unsealing Vault, by default one of its own."""
    with ExitStack() as stack:
        if auto_unseal and transit is None:
            (folder / "transit").mkdir(parents=True)
            transit = stack.enter_context(transit_vault(folder / "transit"))
        ports = free_ports(nodes * 2)
        made = [Node(f"node-{n}", folder / f"node-{n}", (ports[2 * n], ports[2 * n + 1])) for n in range(nodes)]
        for node in made:
            (node.folder / "data").mkdir(parents=True)
            (node.folder / "vault.hcl").write_text(_configuration(node, made, transit if auto_unseal else None))
            stack.callback(node.stop)
            node.start()
        yield Cluster(made)


@contextmanager
def transit_vault(folder: Path) -> Iterator[str]:
    """A Vault with a transit key to unseal others by; its URL."""
    with vault(folder) as server:
        client = hvac.Client(url=server.url, token=ROOT_TOKEN)
        client.sys.enable_secrets_engine("transit")
        client.secrets.transit.create_key("unseal")
        yield server.url


def _configuration(node: Node, nodes: list[Node], transit: str | None) -> str:
    join = "".join(f'  retry_join {{ leader_api_addr = "{other.url}" }}\n' for other in nodes if other is not node)
    seal = (
        f'seal "transit" {{\n  address = "{transit}"\n  token = "{ROOT_TOKEN}"\n  key_name = "unseal"\n'
        '  mount_path = "transit/"\n  disable_renewal = "true"\n}\n'
        if transit
        else ""
    )
    return f"""
disable_mlock = true
api_addr = "{node.url}"
cluster_addr = "https://127.0.0.1:{node.ports[1]}"
listener "tcp" {{
  address = "127.0.0.1:{node.ports[0]}"
  cluster_address = "127.0.0.1:{node.ports[1]}"
  tls_disable = true
}}
storage "raft" {{
  path = "{node.folder}/data"
  node_id = "{node.name}"
{join}}}
{seal}"""
