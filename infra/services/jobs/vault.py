"""Owns how a job talks to Vault: its address and CA from the environment, a login as the pod's service account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
from hvac.exceptions import VaultError
from requests import RequestException

from .stores import required

TOKEN = Path("/var/run/secrets/vault/token")
"""Where a job's pod mounts its service-account token with the audience of Vault."""
AWAY = (RequestException, VaultError)
"""What a call to Vault raises."""


class JobError(Exception):
    """The job cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Connection:
    """Where Vault is and how it is known to be Vault."""

    address: str
    ca: Path | None = None
    service_account_token: Path = TOKEN

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Connection:
        """Of VAULT_ADDR, VAULT_CACERT and SERVICE_ACCOUNT_TOKEN. Raises SettingError."""
        ca = environment.get("VAULT_CACERT")
        token = environment.get("SERVICE_ACCOUNT_TOKEN")
        return cls(required(environment, "VAULT_ADDR"), Path(ca) if ca else None, Path(token) if token else TOKEN)

    def client(self, token: str | None = None, timeout: int = 30) -> Any:
        """An hvac client; nothing is called yet."""
        return hvac.Client(url=self.address, token=token, verify=str(self.ca) if self.ca else True, timeout=timeout)

    def login(self, role: str) -> Any:
        """A client logged in as the pod's service account. Raises hvac's errors, OSError."""
        client = self.client()
        jwt = self.service_account_token.read_text("ascii").strip()
        client.auth.kubernetes.login(role=role, jwt=jwt)
        return client


def waiting(what: str, ready: Any, *, seconds: float, pause: float = 1.0) -> Any:
    """The first true answer of ``ready``, whose connection errors count as not yet. Raises JobError after ``seconds``."""
    end = time.monotonic() + seconds
    problem = ""
    while True:
        try:
            found = ready()
        except AWAY as error:
            found, problem = None, f" ({type(error).__name__})"
        if found:
            return found
        if time.monotonic() > end:
            raise JobError(f"not after {seconds:.0f} s: {what}{problem}")
        time.sleep(pause)
