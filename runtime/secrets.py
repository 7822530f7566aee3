"""Owns where secrets come from: environment, files or Vault, behind one protocol. Never logs a value.

A secret's name is its place in Vault, ``<path>/<field>``: ``agents/anthropic/api_key``. The other sources map
the same names to what they hold. The Vault client (hvac) is blocking, so it runs in threads, and is only
imported where Vault is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from pydantic import SecretStr

from catalog.contract import VAULT_ANTHROPIC, VAULT_DATABASE, VAULT_MOUNT
from runtime.consul import backoff
from runtime.settings import AgentSettings, ProcessSettings

ANTHROPIC_API_KEY: Final = f"{VAULT_ANTHROPIC}/api_key"
DATABASE_PASSWORD: Final = f"{VAULT_DATABASE}/password"
SERVICE_ACCOUNT_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
REFRESH_SECONDS: Final = 60.0
"""How often secrets are read again: KV v2 has no lease, so a rotated value is only seen by reading."""
VAULT_TIMEOUT_SECONDS: Final = 5

log = structlog.get_logger()


class SecretError(Exception):
    """A secret that is not to be had; the message names it and its source, never a value."""


class SecretSource(Protocol):
    """Something that knows secrets by name."""

    async def get(self, name: str) -> SecretStr:
        """The secret's value now; cheap enough to call for every request. Raises SecretError."""
        ...


class EnvironmentSecrets:
    """Secrets that were given when the process started."""

    def __init__(self, values: Mapping[str, SecretStr]) -> None:
        self._values = dict(values)

    async def get(self, name: str) -> SecretStr:
        """The value. Raises SecretError where there is none."""
        try:
            return self._values[name]
        except KeyError:
            raise SecretError(f"secret {name} is not set") from None


class FileSecrets:
    """Secrets in files, one each, read again when a file changes; the last good value is kept while one is unreadable."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._read: dict[str, tuple[tuple[int, int, int], SecretStr]] = {}

    async def get(self, name: str) -> SecretStr:
        """The file's text without surrounding white space. Raises SecretError where it never could be read or is empty."""
        path = self._files.get(name)
        if path is None:
            raise SecretError(f"secret {name} has no file")
        known = self._read.get(name)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if known is not None and known[0] == stamp:
                return known[1]
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if known is not None:
                return known[1]
            raise SecretError(f"secret {name}: {path} cannot be read ({type(error).__name__})") from None
        if not text:
            if known is not None:
                return known[1]
            raise SecretError(f"secret {name}: {path} is empty")
        self._read[name] = (stamp, SecretStr(text))
        return self._read[name][1]


class VaultSecrets:
    """Secrets in Vault's KV v2 store under ``mount``.

    Logs in with the token of a file (read again before each renewal: something else may rotate it) or as a
    Kubernetes service account. ``run`` renews the login before it ends and reads known secrets again; while
    Vault is away the last good values stay.
    """

    def __init__(
        self, address: str, *, token_file: Path | None = None, role: str | None = None, cacert: Path | None = None,
        mount: str = VAULT_MOUNT, service_account_token: Path = SERVICE_ACCOUNT_TOKEN, refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:  # fmt: skip
        if token_file is None and role is None:
            raise ValueError("VAULT_ADDR needs VAULT_TOKEN_FILE or VAULT_ROLE (Kubernetes auth)")
        self._address = address
        self._token_file = token_file
        self._role = role
        self._verify: bool | str = str(cacert) if cacert else True
        self._mount = mount
        self._service_account_token = service_account_token
        self._refresh_seconds = refresh_seconds
        self._client: Any = None
        self._lease_seconds = 0
        self._values: dict[str, SecretStr] = {}
        self._lock = asyncio.Lock()
        self.reachable = True
        """Whether the last attempt reached Vault and was let in."""

    @classmethod
    def from_settings(cls, settings: ProcessSettings) -> VaultSecrets | None:
        """Vault where vault_addr is set, else None. Raises ValueError where there is no way to log in."""
        if settings.vault_addr is None:
            return None
        return cls(
            settings.vault_addr,
            token_file=settings.vault_token_file,
            role=settings.vault_role,
            cacert=settings.vault_cacert,
        )

    async def get(self, name: str) -> SecretStr:
        """The last value read, or one read now where there is none yet. Raises SecretError."""
        known = self._values.get(name)
        if known is not None:
            return known
        async with self._lock:
            if name not in self._values:
                self._values[name] = await asyncio.to_thread(self._fetch, name)
        return self._values[name]

    def known(self, name: str) -> SecretStr | None:
        """The last value read, None where there is none yet."""
        return self._values.get(name)

    async def run(self) -> None:
        """Keep the login and the values fresh until cancelled."""
        failures = 0
        while True:
            lease = self._lease_seconds
            pause = min(self._refresh_seconds, lease / 2) if lease else self._refresh_seconds
            await asyncio.sleep(backoff(failures) if failures else pause)
            try:
                await self.refresh()
                failures = 0
            except SecretError as error:
                failures += 1
                if failures == 1:
                    log.warning("Vault is away; the last good secrets stay in use", problem=str(error))

    async def refresh(self) -> None:
        """Renew the login and read every known secret again. Raises SecretError; known values stay."""
        async with self._lock:
            await asyncio.to_thread(self._login)
            for name in list(self._values):
                value = await asyncio.to_thread(self._fetch, name)
                if value != self._values[name]:
                    log.info("Secret changed", name=name)
                self._values[name] = value

    # The rest runs in threads, one at a time (under the lock).

    def _login(self) -> None:
        import hvac
        from hvac.exceptions import VaultError
        from requests import RequestException

        try:
            if self._client is None:
                self._client = hvac.Client(url=self._address, verify=self._verify, timeout=VAULT_TIMEOUT_SECONDS)
            if self._token_file is not None:
                self._client.token = self._token_file.read_text("utf-8").strip()
                self._lease_seconds = self._renew_token()
            else:
                jwt = self._service_account_token.read_text("utf-8").strip()
                self._lease_seconds = int(
                    self._client.auth.kubernetes.login(role=self._role, jwt=jwt)["auth"]["lease_duration"]
                )
            self.reachable = True
        except (VaultError, RequestException, OSError) as error:
            self.reachable = False
            raise SecretError(f"Vault login failed ({_reason(error)})") from None

    def _renew_token(self) -> int:
        # Seconds until the token ends, 0 for one that never does. The ttl is cut to whole seconds and may be 0 for
        # a token about to end, so expire_time says whether it ends at all.
        token = self._client.auth.token.lookup_self()["data"]
        if token.get("expire_time") is None:
            return 0
        if token.get("renewable"):
            token = self._client.auth.token.renew_self()["auth"]
        return max(1, int(token.get("lease_duration", token.get("ttl", 0))))

    def _fetch(self, name: str) -> SecretStr:
        from hvac.exceptions import VaultError
        from requests import RequestException

        if self._client is None:
            self._login()
        path, _, field = name.rpartition("/")
        try:
            answer = self._client.secrets.kv.v2.read_secret_version(
                path=path, mount_point=self._mount, raise_on_deleted_version=True
            )
            self.reachable = True
            value = answer["data"]["data"].get(field)
        except (VaultError, RequestException) as error:
            self.reachable = False
            raise SecretError(f"secret {name} cannot be read from Vault ({_reason(error)})") from None
        if not isinstance(value, str) or not value:
            raise SecretError(f"secret {name}: Vault's {self._mount}/{path} has no text under {field}")
        return SecretStr(value)


def _reason(error: Exception) -> str:
    # Vault's own words ("permission denied") help and never hold a token; a transport error's text may hold anything.
    words = " ".join("; ".join(map(str, getattr(error, "errors", None) or ())).split())[:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def for_agent(settings: AgentSettings) -> SecretSource | None:
    """Where an agent process has its Claude API key from: Vault, a file, the environment, in this order; None: nowhere."""
    vault = VaultSecrets.from_settings(settings)
    if vault is not None:
        return vault
    if settings.anthropic_api_key_file is not None:
        return FileSecrets({ANTHROPIC_API_KEY: settings.anthropic_api_key_file})
    if settings.anthropic_api_key is not None and settings.anthropic_api_key.get_secret_value():
        return EnvironmentSecrets({ANTHROPIC_API_KEY: settings.anthropic_api_key})
    return None
