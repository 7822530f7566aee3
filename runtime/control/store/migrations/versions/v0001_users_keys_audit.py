"""Users, API keys and audit events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NEWEST: tuple[sa.ColumnClause[Any], ...] = (sa.literal_column("occurred_at DESC"), sa.literal_column("id DESC"))


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False, comment="lower case, never changes"),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id, encoded with its parameters"),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), comment="null: the platform's default"),
        sa.Column(
            "generation",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="sessions of an older generation are dead",
        ),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('user', 'admin')", name="ck_users_role"),
        sa.CheckConstraint("username = lower(username) AND username <> ''", name="ck_users_username"),
        sa.CheckConstraint("requests_per_minute > 0", name="ck_users_requests_per_minute"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False, comment="first characters, for display"),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="HMAC-SHA-256 of the key with the pepper"),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.CheckConstraint("length(digest) = 32", name="ck_api_keys_digest"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="execution, refusal, request, login, session or administration"
        ),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("username", sa.Text()),
        sa.Column("credential", sa.Text(), comment="session, key or password"),
        sa.Column("credential_id", sa.Uuid(), comment="id of the session or API key"),
        sa.Column("address", sa.Text(), comment="client address as the gateway saw it"),
        sa.Column("method", sa.Text()),
        sa.Column("path", sa.Text()),
        sa.Column("agent_id", sa.Text()),
        sa.Column("owner", sa.Text(), comment="team that owned the agent at the time"),
        sa.Column("action", sa.Text(), comment="what an administrative act did: user.disable, key.create, …"),
        sa.Column("target", sa.Text(), comment="whom or what it was done to"),
        sa.Column("status", sa.SmallInteger(), comment="HTTP status; null: not finished"),
        sa.Column("error_code", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("cost_dollars", sa.Numeric(precision=18, scale=9), comment="null: the model has no known price"),
        sa.Column("duration_ms", sa.Double()),
        sa.Column("cached", sa.Boolean()),
        sa.Column("completed_at", _TIME, comment="null: never completed, shown as unfinished"),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("task", sa.Text(), comment="only where the operator switched texts on"),
        sa.Column("answer", sa.Text(), comment="only where the operator switched texts on"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
        sa.UniqueConstraint("event_id", name="uq_audit_events_event_id"),
    )
    op.create_index("ix_audit_events_time", "audit_events", [*_NEWEST])
    op.create_index("ix_audit_events_user", "audit_events", ["user_id", *_NEWEST])
    op.create_index("ix_audit_events_agent", "audit_events", ["agent_id", *_NEWEST])
    op.create_index(
        "ix_audit_events_unfinished", "audit_events", [_NEWEST[0]], postgresql_where=sa.text("completed_at IS NULL")
    )


def downgrade() -> None:
    """Drop the three tables and all they hold."""
    op.drop_table("audit_events")
    op.drop_table("api_keys")
    op.drop_table("users")
