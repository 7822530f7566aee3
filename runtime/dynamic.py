"""Owns the settings an operator changes while processes run, and how a process learns of a change.

One JSON document, at catalog.contract.CONSUL_SETTINGS in Consul's KV store or in a local file. What a
change means is decided by who subscribes; nothing here knows of agents, limits or logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from catalog import models
from catalog.contract import CONSUL_SETTINGS
from runtime.consul import Consul, ConsulError, backoff
from runtime.settings import LogLevel, ProcessSettings

WAIT_SECONDS = 60
"""How long one blocking query waits for a change."""
POLL_SECONDS = 0.5
"""How often the local file's modification time is looked at."""

log = structlog.get_logger()
Subscriber = Callable[["DynamicSettings"], None]


class DynamicSettings(BaseModel):
    """What can change without a deployment. The empty document is all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_level: LogLevel | None = Field(
        default=None, description="Lowest level logged; default: the process's LOG_LEVEL."
    )
    agent_log_levels: Mapping[str, LogLevel] = Field(
        default={}, description="Lowest level logged for single agents, by id."
    )
    disabled_agents: frozenset[str] = Field(
        default=frozenset(), description="Ids of agents that are turned off (503 AGENT_DISABLED)."
    )
    quarantine_exempt: frozenset[str] = Field(
        default=frozenset(),
        description="Ids of agents that are executed although crashes of their process are held against them.",
    )
    model: str | None = Field(
        default=None,
        description="Claude model for every agent, whatever it or CLAUDE_MODEL says; default: no override.",
    )
    rate_limits: Mapping[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        default={}, description="Requests a minute of single users, by username."
    )

    @field_validator("model")
    @classmethod
    def _model_is_served(cls, value: str | None) -> str | None:
        if value is not None:
            models.require_model(value)
        return value


def parse(document: bytes) -> DynamicSettings:
    """The settings of a JSON document; blank means none. Raises ValueError saying which fields are wrong, without their values."""
    try:
        return DynamicSettings.model_validate_json(document) if document.strip() else DynamicSettings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)
        )
        raise ValueError(problems) from None


class DynamicSource:
    """The dynamic settings in force. ``run`` keeps them current until it is cancelled.

    A document that does not parse is logged and the last good one stays in force; so does it while Consul is
    away. A document or file that is removed means defaults.
    """

    def __init__(
        self, *, consul: Consul | None = None, file: Path | None = None, initial: DynamicSettings | None = None
    ) -> None:
        self.current = initial or DynamicSettings()
        self.source = "consul" if consul else "file" if file else "constant"
        self._consul = consul
        self._file = file
        self._subscribers: list[Subscriber] = []

    @classmethod
    def from_settings(cls, settings: ProcessSettings) -> DynamicSource:
        """Consul where consul_http_addr is set, else the file of dynamic_settings_file, else constant defaults."""
        consul = Consul.from_settings(settings)
        return cls(consul=consul, file=None if consul else settings.dynamic_settings_file)

    def subscribe(self, callback: Subscriber) -> None:
        """Call ``callback`` with the settings now and after every change, on the event loop's thread."""
        self._subscribers.append(callback)
        callback(self.current)

    async def run(self) -> None:
        """Follow the source until cancelled; returns at once where there is none."""
        try:
            if self._consul is not None:
                await self._follow_consul(self._consul)
            elif self._file is not None:
                await self._follow_file(self._file)
        finally:
            if self._consul is not None:
                await self._consul.close()

    def apply(self, document: bytes) -> None:
        """Put ``document`` in force, or log what is wrong with it."""
        try:
            settings = parse(document)
        except ValueError as error:
            log.error(
                "Dynamic settings are malformed; the last good ones stay in force",
                source=self.source,
                problem=str(error),
            )
            return
        if settings == self.current:
            return
        self.current = settings
        log.info("Dynamic settings changed", source=self.source, fields=sorted(settings.model_fields_set))
        for callback in self._subscribers:
            callback(settings)

    async def _follow_consul(self, consul: Consul) -> None:
        index = failures = 0
        while True:
            try:
                params = {"raw": "", "index": str(index), "wait": f"{WAIT_SECONDS}s"}
                # Consul adds up to a sixteenth of the wait as jitter.
                response = await consul.request(
                    "GET", f"/v1/kv/{CONSUL_SETTINGS}", params=params, seconds=WAIT_SECONDS * 17 / 16 + 5
                )
            except ConsulError as error:
                failures += 1
                if failures == 1:
                    log.warning("Consul is away; the dynamic settings stay as they are", problem=str(error))
                await asyncio.sleep(backoff(failures))
                # Another Consul may answer next, or one that lost its data: ask for what is, not for what is newer.
                index = 0
                continue
            if failures:
                log.info("Consul is back")
            failures = 0
            seen = int(response.headers.get("X-Consul-Index", "0") or 0)
            # An index that goes backwards (a restored Consul) must restart from 0 (Consul's blocking query rules).
            changed, index = seen != index, (seen if seen >= index else 0)
            if changed:
                self.apply(b"" if response.status_code == 404 else response.content)
            elif index == 0:
                await asyncio.sleep(POLL_SECONDS)

    async def _follow_file(self, file: Path) -> None:
        seen: tuple[int, int, int] | None = (0, 0, 0)
        while True:
            now = _stamp(file)
            if now != seen:
                seen = now
                try:
                    self.apply(b"" if now is None else await asyncio.to_thread(file.read_bytes))
                except OSError as error:
                    log.error("Dynamic settings cannot be read", file=str(file), problem=error.strerror)
            await asyncio.sleep(POLL_SECONDS)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
