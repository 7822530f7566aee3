"""Owns the names infra and runtime must agree on, so that neither imports the other.

Environment variables, headers, ports, paths, metrics, Redis keys and Vault and Consul paths. A name that
only one side uses stays with that side.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

# ── limits of a request (issue: unknown context keys reach the model within limits) ──
TASK_LIMIT: Final = 5000
"""Most characters of a task_description (specification section 3)."""
CONTEXT_KEYS: Final = 50
"""Most keys of a context."""
CONTEXT_KEY_LENGTH: Final = 64
"""Most characters of a context key."""
CONTEXT_VALUE_BYTES: Final = 4 * 1024
"""Most UTF-8 bytes of one context value."""
CONTEXT_BYTES: Final = 64 * 1024
"""Most UTF-8 bytes of all context values and keys together."""
BODY_BYTES: Final = 1024 * 1024
"""Most bytes of a request body, in nginx and in each application."""
DEFAULT_RATE_LIMIT: Final = 100
"""Requests a minute per user (specification section 3, Rate Limits)."""
RATE_WINDOW_SECONDS: Final = 60

# ── ports ──
AGENT_PORT_BASE: Final = 8200
"""A dedicated agent listens on this plus its number (specification section 4: 8209)."""
POOL_PORT: Final = 8080
"""Port of a pool's processes in a cluster (specification section 5, example policy)."""
CONTROL_PORT: Final = 8090
GATEWAY_HTTP_PORT: Final = 8000
GATEWAY_TLS_PORT: Final = 8800
PORT_NAME: Final = "http"
"""Name of the port in every Deployment and Service; NetworkPolicies use it, since numbers differ."""


class Env(StrEnum):
    """Environment variables of the runtime. The first six are the specification's (section 2)."""

    ANTHROPIC_API_KEY = "ANTHROPIC_API_KEY"
    CLAUDE_MODEL = "CLAUDE_MODEL"
    MAX_TOKENS = "MAX_TOKENS"
    TEMPERATURE = "TEMPERATURE"
    PORT = "PORT"
    LOG_LEVEL = "LOG_LEVEL"
    HOST = "HOST"
    SERVICE_NAME = "SERVICE_NAME"
    """The name a process answers /health and logs under: its pool's, or its one agent's id."""
    SERVE_POOL = "SERVE_POOL"
    """Serve every pooled agent of this pool."""
    SERVE_AGENTS = "SERVE_AGENTS"
    """Serve exactly these agents, comma separated ids; overrides SERVE_POOL."""
    CATALOG_PATH = "CATALOG_PATH"
    """Folder with pools/<pool>/<domain>.yaml or one <agent id>.json each (a mounted ConfigMap); default: the package's own."""
    REDIS_STATE_URL = "REDIS_STATE_URL"
    """Limits, sessions, audit stream: must not be evicted."""
    REDIS_CACHE_URL = "REDIS_CACHE_URL"
    """Cached answers: may be evicted."""
    DATABASE_URL = "DATABASE_URL"
    IDENTITY_PUBLIC_KEYS = "IDENTITY_PUBLIC_KEYS"
    """Path of a PEM file with one or two Ed25519 public keys that identity tokens may be signed with."""
    SIGNING_KEYS = "SIGNING_KEYS"
    """Path of a PEM file with Ed25519 private keys; the first signs, all verify."""
    API_KEY_PEPPER = "API_KEY_PEPPER"
    """Path of a file with the pepper of API key digests."""
    MODEL = "MODEL"
    """auto (Claude with a key, else offline), claude or offline."""
    ANTHROPIC_BASE_URL = "ANTHROPIC_BASE_URL"
    EXECUTION_TIMEOUT_SECONDS = "EXECUTION_TIMEOUT_SECONDS"
    MAX_CONCURRENCY = "MAX_CONCURRENCY"
    VAULT_ADDR = "VAULT_ADDR"
    VAULT_TOKEN_FILE = "VAULT_TOKEN_FILE"
    VAULT_ROLE = "VAULT_ROLE"
    VAULT_CACERT = "VAULT_CACERT"
    CONSUL_HTTP_ADDR = "CONSUL_HTTP_ADDR"
    CONSUL_HTTP_TOKEN_FILE = "CONSUL_HTTP_TOKEN_FILE"
    CONSUL_CACERT = "CONSUL_CACERT"
    DYNAMIC_SETTINGS_FILE = "DYNAMIC_SETTINGS_FILE"
    ADVERTISE_ADDRESS = "ADVERTISE_ADDRESS"
    OTEL_EXPORTER_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
    DRAIN_SECONDS = "DRAIN_SECONDS"
    SHUTDOWN_SECONDS = "SHUTDOWN_SECONDS"
    AUDIT_TEXTS = "AUDIT_TEXTS"
    CRASH_JOURNAL = "CRASH_JOURNAL"
    """File, outliving the process, that says which agents were executing when it died."""
    RUNTIME_IMAGE = "RUNTIME_IMAGE"
    """The image that the process runs: crashes are held against an agent in this image."""
    QUARANTINE_STRIKES = "QUARANTINE_STRIKES"
    QUARANTINE_WINDOW_SECONDS = "QUARANTINE_WINDOW_SECONDS"
    QUARANTINE_SECONDS = "QUARANTINE_SECONDS"


class Header(StrEnum):
    """HTTP headers between client, gateway, control and agent."""

    REQUEST_ID = "X-Request-Id"
    AGENT_ID = "X-Agent-Id"
    IDENTITY = "X-Identity-Token"
    """Set by nginx from control's answer; whatever a client sends under this name is dropped."""
    REFUSAL = "X-Refusal"
    """Control's reason for a 403, an error code that nginx maps to the right status and body."""
    RETRY_AFTER = "Retry-After"
    RATE_LIMIT = "X-RateLimit-Limit"
    RATE_REMAINING = "X-RateLimit-Remaining"
    RATE_RESET = "X-RateLimit-Reset"
    ORIGINAL_METHOD = "X-Original-Method"
    ORIGINAL_URI = "X-Original-URI"
    CLIENT_ADDRESS = "X-Real-IP"
    CANARY = "canary"
    """`canary: true` asks for an agent's new version (specification section 7)."""


class ErrorCode(StrEnum):
    """Codes of the error envelope (specification section 3). Each has one HTTP status, see STATUS."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    AGENT_NOT_FOUND = "AGENT_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    MODEL_ERROR = "MODEL_ERROR"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    AGENT_DISABLED = "AGENT_DISABLED"
    AGENT_QUARANTINED = "AGENT_QUARANTINED"
    AGENT_UNAVAILABLE = "AGENT_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    BAD_GATEWAY = "BAD_GATEWAY"
    TIMEOUT = "TIMEOUT"


STATUS: Final[dict[ErrorCode, int]] = {
    ErrorCode.INVALID_REQUEST: 422,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.AGENT_NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.CONFLICT: 409,
    ErrorCode.REQUEST_TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.RATE_LIMIT_EXCEEDED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.MODEL_ERROR: 502,
    ErrorCode.MODEL_UNAVAILABLE: 502,
    ErrorCode.BAD_GATEWAY: 502,
    ErrorCode.AGENT_DISABLED: 503,
    ErrorCode.AGENT_QUARANTINED: 503,
    ErrorCode.AGENT_UNAVAILABLE: 503,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.SERVICE_UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 504,
}
"""HTTP status of each error code."""


class Metric(StrEnum):
    """Prometheus metric names; the first four are exactly the specification's (section 6)."""

    REQUESTS = "agent_requests_total"
    ERRORS = "agent_errors_total"
    PROCESSING = "agent_processing_seconds"
    TOKENS = "agent_tokens_used_total"
    IN_FLIGHT = "agent_executions_in_flight"
    CONCURRENCY_REFUSALS = "agent_concurrency_refusals_total"
    COST = "agent_cost_dollars_total"
    CACHE_HITS = "agent_cache_hits_total"
    SECONDS = "agent_execution_seconds_total"
    """Seconds spent per agent; the histogram above has no agent label, see runtime.metrics."""
    COMPLETIONS_PENDING = "agent_completions_pending"
    COMPLETIONS_DROPPED = "agent_completions_dropped_total"
    ENABLED = "agent_enabled"
    """1 for each agent the process serves and that is not turned off, else 0."""
    QUARANTINED = "agent_quarantined"
    """1 for an agent that is refused because executing it ends its process, 0 for a suspect; no series for others."""
    CRASH_STRIKES = "agent_crash_strikes"
    """Crashes an agent was blamed for within the window; no series without one."""
    UNAVAILABLE = "agent_unavailable"
    """1 for an agent whose definition this process could not load; no series for others."""
    AUTHORIZATIONS = "control_authorizations_total"
    AUTHORIZATION_SECONDS = "control_authorization_seconds"
    RATE_REFUSALS = "control_rate_limit_refusals_total"
    LOGINS = "control_logins_total"
    AUDIT_LAG = "control_audit_lag_seconds"
    AUDIT_PENDING = "control_audit_pending_events"
    DEPENDENCY_UP = "dependency_up"
    """1 where the process reaches a dependency (label dependency: database, redis, vault, consul, model)."""


# ── Redis (state) ──
REDIS_SESSION: Final = "session:{id}"
REDIS_USER: Final = "user:{id}"
REDIS_API_KEY: Final = "key:{digest}"
REDIS_LIMIT: Final = "limit:{id}"
REDIS_LOGIN: Final = "login:{kind}:{value}"
REDIS_AUDIT_STREAM: Final = "audit"
REDIS_AUDIT_GROUP: Final = "control"
REDIS_CRASHES: Final = "crashes:versions"
"""One JSON document: which versions of agents are suspected or quarantined, and until when.

Not ``crashes``, where processes of before this rule keep agents whatever their version: neither reads the other's.
"""
# ── Redis (cache) ──
REDIS_ANSWER: Final = "answer:{digest}"

# ── Vault and Consul ──
VAULT_MOUNT: Final = "secret"
VAULT_ANTHROPIC: Final = "agents/anthropic"
VAULT_CONTROL: Final = "platform/control"
"""signing_keys, api_key_pepper: read by control alone."""
VAULT_DATABASE: Final = "platform/database"
"""username, password: kept current from the cloud's secret manager, read by control alone."""
CONSUL_SETTINGS: Final = "ai-agents/settings"
"""One JSON document: DynamicSettings of the runtime."""

IDENTITY_ISSUER: Final = "ai-agents-platform"
IDENTITY_AUDIENCE: Final = "agent"
IDENTITY_SECONDS: Final = 60
"""How long an identity token lives, seconds."""
ACCESS_SECONDS: Final = 3600
"""How long an access token lives, seconds (specification section 5: 1 hour)."""
