"""Owns the database's password where DATABASE_URL holds none: read from Vault, and current for every new connection.

A cloud rotates it by its own calendar, and open connections outlive that; so it is asked for when a connection
is made, and a wrong one is only wrong until Vault has been read again (runtime.secrets.REFRESH_SECONDS).
"""

from __future__ import annotations

import asyncio

import structlog
from pydantic import SecretStr

from runtime.consul import backoff
from runtime.control.store.database import database_url
from runtime.secrets import DATABASE_PASSWORD, SecretError, VaultSecrets
from runtime.settings import ControlSettings, StartError

log = structlog.get_logger()


class DatabasePassword:
    """The password now: call it. ``run`` keeps it current."""

    def __init__(self, secrets: VaultSecrets) -> None:
        self._secrets = secrets

    @classmethod
    def from_settings(cls, settings: ControlSettings) -> DatabasePassword | None:
        """Where Vault is set and DATABASE_URL has no password, else None. Raises ValueError where there is no way to log in."""
        if settings.vault_addr is None or database_url(settings).password:
            return None
        secrets = VaultSecrets.from_settings(settings)
        return None if secrets is None else cls(secrets)

    def __call__(self) -> str | None:
        """The last one read; None before the first."""
        known = self._secrets.known(DATABASE_PASSWORD)
        return None if known is None else known.get_secret_value()

    async def read(self) -> str:
        """The last one read, or one read now. Raises SecretError."""
        return (await self._secrets.get(DATABASE_PASSWORD)).get_secret_value()

    async def run(self) -> None:
        """Read it until there is one, then keep it current, until cancelled."""
        failures = 0
        while self() is None:
            try:
                await self.read()
            except SecretError as error:
                failures += 1
                if failures == 1:
                    log.error("The database's password is not to be had; trying again", problem=str(error))
                await asyncio.sleep(backoff(failures))
        await self._secrets.run()


def with_password(settings: ControlSettings) -> ControlSettings:
    """Settings whose DATABASE_URL holds the password, for commands that connect once. Raises StartError."""
    source = DatabasePassword.from_settings(settings)
    if source is None:
        return settings
    try:
        password = asyncio.run(source.read())
    except SecretError as error:
        raise StartError(
            f"DATABASE_URL has no password, and {error}; VAULT_ADDR and VAULT_ROLE say where it is read from"
        ) from None
    url = database_url(settings).set(password=password)
    return settings.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))})
