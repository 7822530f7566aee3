"""Owns the runtime's configuration: environment variables → validated, immutable settings.

Built in ``main`` and handed to ``create_app(settings)``, never read at import. Variable names are the
field names in upper case; catalog.contract.Env lists them for infra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from catalog import models, registry
from catalog.values import PoolName

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class StartError(Exception):
    """Settings that are each valid but do not fit together, or what they point at; the message says which and what to do."""


class ProcessSettings(BaseSettings):
    """What both applications are configured with."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False)

    service_name: str = Field(
        default="",
        description="Name the process answers /health and logs under; default: its pool's or its one agent's.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; default 127.0.0.1.")
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port to listen on; default 8080.")
    log_level: LogLevel = Field(default="INFO", description="Lowest level logged; default INFO.")
    catalog_path: Path = Field(
        default=registry.POOLS_FOLDER, description="Folder of the catalog; default: the one the platform ships."
    )
    redis_state_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis for limits, sessions and the audit stream; never evicts.",
    )
    redis_cache_url: SecretStr | None = Field(
        default=None, description="Redis for cached answers; may evict. Default: no cache."
    )
    vault_addr: str | None = Field(default=None, description="Vault's URL; set: secrets come from Vault.")
    vault_token_file: Path | None = Field(
        default=None, description="File with a Vault token; default: Kubernetes auth with vault_role."
    )
    vault_role: str | None = Field(default=None, description="Role for Vault's Kubernetes auth.")
    vault_cacert: Path | None = Field(default=None, description="CA certificate of Vault.")
    consul_http_addr: str | None = Field(
        default=None, description="Consul's URL; set: dynamic settings and registration go there."
    )
    consul_http_token_file: Path | None = Field(default=None, description="File with a Consul ACL token.")
    consul_cacert: Path | None = Field(default=None, description="CA certificate of Consul.")
    dynamic_settings_file: Path | None = Field(
        default=None, description="JSON file of dynamic settings where there is no Consul."
    )
    advertise_address: str | None = Field(
        default=None, description="Address others reach this process at, for Consul's catalog; default: host."
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP endpoint for traces; default: no tracing."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long /ready answers 503 before the listener closes after SIGTERM, so that balancers notice, seconds; default 0.",
    )
    shutdown_seconds: float = Field(
        default=30.0, ge=0, description="How long running requests may take to end after SIGTERM, seconds; default 30."
    )
    audit_texts: bool = Field(
        default=False, description="Also keep prompt and answer texts in the audit; default false."
    )


class AgentSettings(ProcessSettings):
    """Configuration of an agent process."""

    serve_pool: PoolName | None = Field(default=None, description="Serve every pooled agent of this pool.")
    serve_agents: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Serve exactly these agents (comma separated ids); overrides serve_pool. Default: all."
    )
    identity_public_keys: Path = Field(
        description="PEM file of the public keys that identity tokens may be signed with."
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, description="Claude API key, where it does not come from Vault or a file."
    )
    anthropic_api_key_file: Path | None = Field(
        default=None, description="File with the Claude API key, re-read when it changes."
    )
    anthropic_base_url: str | None = Field(default=None, description="Messages API to call; default: Anthropic's.")
    claude_model: str = Field(default=models.DEFAULT_MODEL, description="Claude model of agents that name none.")
    max_tokens: int = Field(
        default=4096, ge=1, le=64_000, description="Most tokens of an answer where the agent names none; default 4096."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=1, description="Sampling temperature, only for models that take it."
    )
    model: Literal["auto", "claude", "offline"] = Field(
        default="auto", description="auto: Claude with a key, else the offline model."
    )
    execution_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Most seconds one execution may take, retries included; default 120."
    )
    max_concurrency: int = Field(default=256, ge=1, description="Most executions at once in this process; default 256.")
    crash_journal: Path | None = Field(
        default=None,
        description="File, outliving the process, that says which agents were executing when it died; default: none, a crash is traced to no agent.",
    )
    runtime_image: str = Field(
        default="",
        description="The image this process runs. A crash is held against an agent in its image: in another one it begins anew. Default: not told apart.",
    )
    quarantine_strikes: int = Field(
        default=3, ge=1, le=100, description="Crashes an agent is blamed for before it is quarantined; default 3."
    )
    quarantine_window_seconds: float = Field(
        default=600.0, gt=0, description="How long a crash is held against an agent, seconds; default 600."
    )
    quarantine_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Length of an agent's first quarantine, seconds; doubled each time, up to 16 times; default 900.",
    )

    @field_validator("serve_agents", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _model_takes_what_is_asked(self) -> AgentSettings:
        try:
            models.require_settings(self.claude_model, temperature=self.temperature, effort=None)
        except ValueError as error:
            raise ValueError(f"CLAUDE_MODEL, TEMPERATURE: {error}") from None
        return self

    @model_validator(mode="after")
    def _claude_has_a_key(self) -> AgentSettings:
        key = self.anthropic_api_key.get_secret_value() if self.anthropic_api_key else ""
        if self.model == "claude" and not (key or self.anthropic_api_key_file or self.vault_addr):
            raise ValueError("MODEL=claude needs a key: set ANTHROPIC_API_KEY, ANTHROPIC_API_KEY_FILE or VAULT_ADDR")
        return self

    @model_validator(mode="after")
    def _vault_has_a_login(self) -> AgentSettings:
        if self.vault_addr and not (self.vault_token_file or self.vault_role):
            raise ValueError(
                "VAULT_ADDR needs a way to log in: set VAULT_TOKEN_FILE, or VAULT_ROLE for Kubernetes auth"
            )
        return self


class ControlSettings(ProcessSettings):
    """Configuration of a control process."""

    port: int = Field(default=8090, ge=0, le=65535, description="TCP port to listen on; default 8090.")
    database_url: SecretStr = Field(description="postgresql+psycopg://… of users, keys and audit.")
    database_pool: int = Field(
        default=10, ge=1, le=200, description="Most database connections of this process; default 10."
    )
    signing_keys: Path = Field(
        description="PEM file of private keys for access and identity tokens; the first signs, all verify."
    )
    api_key_pepper: Path = Field(description="File with the pepper (32 bytes or more) of API key digests.")
    access_seconds: int = Field(default=3600, ge=60, description="Life of an access token, seconds; default 3600.")
    refresh_seconds: int = Field(
        default=14 * 86_400, ge=600, description="Life of a refresh token, seconds; default 14 days."
    )
    password_concurrency: int = Field(
        default=2, ge=1, le=16, description="Password hashes computed at once (64 MiB each); default 2."
    )
    password_time_cost: int = Field(
        default=3,
        ge=1,
        le=20,
        description="argon2id passes over the memory; default 3 (RFC 9106, second recommendation).",
    )
    password_memory_kib: int = Field(
        default=65_536,
        ge=64,
        description="argon2id memory of one hash, KiB; default 65536 (RFC 9106, second recommendation).",
    )
    audit_claim_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a completion may stay with a control process before another takes it over, seconds; default 30.",
    )
    login_attempts: int = Field(
        default=10,
        ge=1,
        description="Failed logins allowed per user and per address in login_window_seconds; default 10.",
    )
    login_window_seconds: int = Field(default=300, ge=1, description="Window of login_attempts, seconds; default 300.")
