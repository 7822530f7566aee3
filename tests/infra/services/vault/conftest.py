"""The bootstrap as its pod runs it: the rendered package in a folder, a process of its own, files for tokens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.services import scripts
from tests.infra.services import kubernetes
from tests.infra.services.kubernetes import Kubernetes
from tests.infra.services.vault.cluster import Cluster

REPOSITORY = Path(__file__).parents[4]
DRIVER = Path(__file__).parent / "driver.py"


@dataclass
class Pod:
    """Runs the jobs' modules as pods do; ``folder`` holds its volumes."""

    folder: Path
    kubernetes: Kubernetes
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Where the recovery keys are kept."""
        return self.folder / "recovery.json"

    def recovery(self) -> list[dict[str, Any]]:
        """The kept generations of recovery keys."""
        return list(json.loads(self.store.read_text())["generations"])

    def bootstrap(self, url: str, die_before: int = -1) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap against the Vault at ``url``, or kill it before a step."""
        account = self._file("bootstrap-token", self.kubernetes.token("vault", "vault-bootstrap"))
        environment = {
            "VAULT_ADDR": url,
            "SERVICE_ACCOUNT_TOKEN": account,
            "RECOVERY_KIND": "file",
            "RECOVERY_ID": str(self.store),
            "SPOOL": str(self.folder),
            "AUDIT_FILE": str(self.folder / "audit.log"),
            "KUBERNETES_HOST": self.kubernetes.host,
            "KUBERNETES_CACERT": self._file("kubernetes-ca", self.kubernetes.ca),
            "TOKEN_REVIEWER": self._file("reviewer", self.kubernetes.reviewer),
        }
        return self._run([str(DRIVER), str(die_before)], environment)

    def run(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one module of the package."""
        return self._run(["-m", f"jobs.{module}", *arguments], environment)

    def account(self, namespace: str, name: str, audience: str = "vault") -> str:
        """Path of a file with a service account's token."""
        return self._file(f"{name}-{audience}", self.kubernetes.token(namespace, name, audience))

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        # Only what a pod has: the package, and the runtime image's own `catalog`.
        path = f"{self.folder / 'package'}:{self.folder / 'app'}"
        inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": str(self.folder)}
        return subprocess.run(
            [sys.executable, *command],
            env={**inherited, **self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


def admin(vault: Cluster, pod: Pod) -> Any:
    """A client with a root token made of the kept recovery (or unseal) keys, which proves those too."""
    client = vault.client()
    started = client.sys.start_root_token_generation()
    generation = pod.recovery()[0]
    for key in generation["keys"][: generation["threshold"]]:
        answer = client.sys.generate_root(key=key, nonce=started["nonce"])
    assert answer["complete"]
    encoded = base64.b64decode(answer["encoded_token"] + "==")
    token = bytes(a ^ b for a, b in zip(encoded, started["otp"].encode(), strict=True)).decode()
    return vault.client(token)


@pytest.fixture(scope="session")
def api() -> Iterator[Kubernetes]:
    with kubernetes.running() as found:
        yield found


@pytest.fixture
def pod(tmp_path: Path, api: Kubernetes) -> Pod:
    return make_pod(tmp_path, api)


def make_pod(folder: Path, api: Kubernetes) -> Pod:
    """A pod with its volumes in ``folder``."""
    package = folder / "package" / scripts.PACKAGE
    package.mkdir(parents=True)
    for name, text in scripts.config_map("vault")["data"].items():
        (package / name).write_text(text)
    (folder / "app").mkdir()
    (folder / "app" / "catalog").symlink_to(REPOSITORY / "catalog")
    return Pod(folder, api)
