"""Owns what a person may choose about the embedded target, and what of their environment reaches its parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from catalog.contract import GATEWAY_HTTP_PORT, GATEWAY_TLS_PORT, Env

_EVERYWHERE: Final = (
    "PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "AUDIT_TEXTS",
    Env.LOG_LEVEL, Env.VAULT_ADDR, Env.VAULT_TOKEN_FILE, Env.VAULT_ROLE, Env.VAULT_CACERT, Env.CONSUL_HTTP_ADDR, Env.CONSUL_HTTP_TOKEN_FILE,
    Env.CONSUL_CACERT, Env.CATALOG_PATH, Env.DYNAMIC_SETTINGS_FILE, Env.OTEL_EXPORTER_OTLP_ENDPOINT,
)  # fmt: skip
_AGENTS_ONLY: Final = (
    Env.ANTHROPIC_API_KEY, "ANTHROPIC_API_KEY_FILE", Env.ANTHROPIC_BASE_URL, Env.CLAUDE_MODEL, Env.MAX_TOKENS, Env.TEMPERATURE, Env.MODEL,
    Env.EXECUTION_TIMEOUT_SECONDS, Env.MAX_CONCURRENCY, Env.QUARANTINE_STRIKES, Env.QUARANTINE_WINDOW_SECONDS, Env.QUARANTINE_SECONDS,
)  # fmt: skip


@dataclass(frozen=True)
class LocalSettings:
    """Ports of the gateway on loopback, and its limit of requests a second from one address (None: no limit).

    All clients of a laptop share one address, so the limit is far above a cluster's default.
    """

    http_port: int = GATEWAY_HTTP_PORT
    tls_port: int = GATEWAY_TLS_PORT
    address_rate: int | None = 2000
    address_burst: int = 4000


def inherited(environment: Mapping[str, str] | None = None, *, agent: bool = False) -> dict[str, str]:
    """The part of the environment a process of the platform gets: nothing it has no use for, the model's key for agents alone."""
    source = os.environ if environment is None else environment
    names = (*_EVERYWHERE, *(_AGENTS_ONLY if agent else ()))
    return {str(name): source[name] for name in names if source.get(name)}


def answers_offline(environment: Mapping[str, str] | None = None) -> bool:
    """Whether agents will answer with the offline model."""
    source = os.environ if environment is None else environment
    chosen = source.get(Env.MODEL, "auto")
    has_key = any(source.get(name) for name in (Env.ANTHROPIC_API_KEY, "ANTHROPIC_API_KEY_FILE", Env.VAULT_ADDR))
    return chosen == "offline" or (chosen == "auto" and not has_key)
