"""Owns the tables as SQLAlchemy Core metadata; migrations must produce exactly these (a test compares).

Three tables: users, api_keys, audit_events. Audit rows name users by id and name without a foreign key, so that
recording never waits for, or fails on, another table.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", Text, nullable=False, unique=True, comment="lower case, never changes"),
    Column("password_hash", Text, nullable=False, comment="argon2id, encoded with its parameters"),
    Column("role", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("requests_per_minute", Integer, comment="null: the platform's default"),
    Column(
        "generation",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="sessions of an older generation are dead",
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("role IN ('user', 'admin')", name="role"),
    CheckConstraint("username = lower(username) AND username <> ''", name="username"),
    CheckConstraint("requests_per_minute > 0", name="requests_per_minute"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, comment="first characters, for display"),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="HMAC-SHA-256 of the key with the pepper"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("length(digest) = 32", name="digest"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False, comment="execution, refusal, request, login, session or administration"),
    Column("request_id", Text, nullable=False),
    Column("user_id", Uuid),
    Column("username", Text),
    Column("credential", Text, comment="session, key or password"),
    Column("credential_id", Uuid, comment="id of the session or API key"),
    Column("address", Text, comment="client address as the gateway saw it"),
    Column("method", Text),
    Column("path", Text),
    Column("agent_id", Text),
    Column("owner", Text, comment="team that owned the agent at the time"),
    Column("action", Text, comment="what an administrative act did: user.disable, key.create, …"),
    Column("target", Text, comment="whom or what it was done to"),
    Column("status", SmallInteger, comment="HTTP status; null: not finished"),
    Column("error_code", Text),
    Column("model", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_dollars", Numeric(18, 9), comment="null: the model has no known price"),
    Column("duration_ms", Double),
    Column("cached", Boolean),
    Column("completed_at", DateTime(timezone=True), comment="null: never completed, shown as unfinished"),
    Column("details", JSONB),
    Column("task", Text, comment="only where the operator switched texts on"),
    Column("answer", Text, comment="only where the operator switched texts on"),
    Index("ix_audit_events_time", text("occurred_at DESC"), text("id DESC")),
    Index("ix_audit_events_user", "user_id", text("occurred_at DESC"), text("id DESC")),
    Index("ix_audit_events_agent", "agent_id", text("occurred_at DESC"), text("id DESC")),
    Index("ix_audit_events_unfinished", text("occurred_at DESC"), postgresql_where=text("completed_at IS NULL")),
)
