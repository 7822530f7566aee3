"""Owns this process's entry in Consul's service catalog: registered at start, kept there, removed at stop.

Consul calls /health itself; a process that dies without a word is removed by Consul after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from runtime import __version__
from runtime.consul import Consul, ConsulError, backoff
from runtime.settings import ProcessSettings

CHECK_SECONDS = 15.0
"""How often the entry is looked for, to register again where Consul forgot it."""

log = structlog.get_logger()


class Registration:
    """One process's entry: ``run`` until cancelled, which removes it again."""

    def __init__(
        self,
        consul: Consul,
        *,
        service: str,
        address: str,
        port: int,
        tags: Sequence[str] = (),
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self.service_id = f"{service}-{address}-{port}"
        self._consul = consul
        self._check_seconds = check_seconds
        host = f"[{address}]" if ":" in address else address
        self._entry = {
            "ID": self.service_id,
            "Name": service,
            "Address": address,
            "Port": port,
            "Tags": list(tags),
            "Meta": {"version": __version__},
            "Check": {
                "Name": "health",
                "HTTP": f"http://{host}:{port}/health",
                "Interval": "10s",
                "Timeout": "2s",
                # So that the entry is usable at once: the process registers when it already listens.
                "Status": "passing",
                # One minute is the least Consul takes.
                "DeregisterCriticalServiceAfter": "1m",
            },
        }

    @classmethod
    def from_settings(cls, settings: ProcessSettings, *, service: str, tags: Sequence[str] = ()) -> Registration | None:
        """The entry of a process of ``settings`` named ``service``, or None without Consul or a fixed port."""
        consul = Consul.from_settings(settings)
        if consul is None:
            return None
        if settings.port == 0:
            log.warning("Not registered in Consul: PORT is 0, so the port is not known beforehand")
            return None
        return cls(
            consul, service=service, address=settings.advertise_address or settings.host, port=settings.port, tags=tags
        )

    async def run(self) -> None:
        """Register, register again whenever Consul has no such entry, and deregister when cancelled."""
        failures = 0
        try:
            while True:
                try:
                    found = await self._consul.request("GET", f"/v1/agent/service/{self.service_id}")
                    if found.status_code == 404:
                        await self._consul.request(
                            "PUT",
                            "/v1/agent/service/register",
                            params={"replace-existing-checks": "true"},
                            json=self._entry,
                        )
                        log.info("Registered in Consul", service_id=self.service_id)
                    failures = 0
                except ConsulError as error:
                    failures += 1
                    if failures == 1:
                        log.warning("Not registered in Consul; trying again", problem=str(error))
                await asyncio.sleep(backoff(failures) if failures else self._check_seconds)
        finally:
            await self._deregister()

    async def _deregister(self) -> None:
        try:
            await self._consul.request("PUT", f"/v1/agent/service/deregister/{self.service_id}", seconds=2.0)
        except ConsulError as error:
            log.warning("Not removed from Consul; it does so itself after a minute", problem=str(error))
        finally:
            await self._consul.close()
