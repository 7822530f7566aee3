"""Owns the HTTP client for Consul that dynamic settings and discovery share: address, CA, ACL token, back-off.

Three endpoints of Consul are used in all (KV read, service register and deregister), so this is the HTTP
client the process has anyway and not a Consul library: the maintained one, py-consul, wraps the same calls.
"""

from __future__ import annotations

import random
import ssl
from pathlib import Path

import httpx2

from runtime.settings import ProcessSettings

TIMEOUT_SECONDS = 5.0
_LONGEST_BACKOFF_SECONDS = 30.0


class ConsulError(Exception):
    """Consul could not be reached or refused; the message names the status or the kind of failure."""


class Consul:
    """Requests to one Consul agent. The token file is read at every request, so a rotated token is used."""

    def __init__(self, address: str, *, token_file: Path | None = None, cacert: Path | None = None) -> None:
        base = address if "://" in address else f"http://{address}"
        self._client = httpx2.AsyncClient(
            base_url=base,
            verify=ssl.create_default_context(cafile=cacert) if cacert else True,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        self._token_file = token_file

    @classmethod
    def from_settings(cls, settings: ProcessSettings) -> Consul | None:
        """A client where consul_http_addr is set, else None."""
        if settings.consul_http_addr is None:
            return None
        return cls(settings.consul_http_addr, token_file=settings.consul_http_token_file, cacert=settings.consul_cacert)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: object = None,
        seconds: float = TIMEOUT_SECONDS,
    ) -> httpx2.Response:
        """The response, which may be a 404. Raises ConsulError for a failure to connect and any other status from 400 on."""
        try:
            headers = {"X-Consul-Token": self._token_file.read_text("utf-8").strip()} if self._token_file else {}
            response = await self._client.request(
                method, path, params=params, json=json, headers=headers, timeout=seconds
            )
        except (httpx2.HTTPError, OSError) as error:
            raise ConsulError(type(error).__name__) from None
        if response.status_code >= 400 and response.status_code != 404:
            raise ConsulError(f"HTTP status {response.status_code}")
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def backoff(failures: int) -> float:
    """Seconds to wait after that many failures in a row: 0.5, 1, 2 … 30, with up to a quarter of jitter."""
    return min(0.5 * 2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF_SECONDS) * random.uniform(0.75, 1.0)  # noqa: S311 (spreads load, guards nothing)
