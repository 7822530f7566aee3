"""Owns the shapes of request bodies of control's API, and how rows look in answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from catalog.contract import DEFAULT_RATE_LIMIT
from runtime.control.passwords import MAX_LENGTH, MIN_LENGTH
from runtime.control.store.users import ApiKey, Role, User
from runtime.dynamic import DynamicSource

MOST_PER_MINUTE = 1_000_000
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


def _username(value: str) -> str:
    name = value.lower()
    if not _USERNAME.fullmatch(name):
        raise ValueError("1 to 64 of letters, digits and . _ @ + -, beginning with a letter or digit")
    return name


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value.strip()


def _long_enough(value: SecretStr) -> SecretStr:
    if not MIN_LENGTH <= len(value.get_secret_value()) <= MAX_LENGTH:
        raise ValueError(f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    return value


Username = Annotated[str, AfterValidator(_username)]
NewPassword = Annotated[SecretStr, AfterValidator(_long_enough)]
PerMinute = Annotated[int, Field(ge=1, le=MOST_PER_MINUTE)]


class Body(BaseModel):
    """Base of request bodies: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_unicode(cls, data: Any) -> Any:
        # JSON may hold half a surrogate pair ("\\ud800"), which neither a database nor an answer can.
        if isinstance(data, dict):
            for text in (*data.keys(), *data.values()):
                if isinstance(text, str) and not text.isascii():
                    try:
                        text.encode()
                    except UnicodeEncodeError:
                        raise ValueError("must be valid Unicode") from None
        return data


class Login(Body):
    """POST /auth/login."""

    username: str = Field(min_length=1, max_length=256)
    password: SecretStr = Field(max_length=MAX_LENGTH)


class Refresh(Body):
    """POST /auth/refresh."""

    refresh_token: SecretStr = Field(min_length=1, max_length=512)


class PasswordChange(Body):
    """POST /auth/password."""

    current_password: SecretStr = Field(max_length=MAX_LENGTH)
    new_password: NewPassword


class NewUser(Body):
    """POST /api/v1/users."""

    username: Username
    password: NewPassword | None = Field(default=None, description="Default: a random one, returned once.")
    role: Role = "user"
    requests_per_minute: PerMinute | None = Field(default=None, description="Default: the platform's.")


class PasswordReset(Body):
    """POST /api/v1/users/{user}/password."""

    password: NewPassword | None = Field(default=None, description="Default: a random one, returned once.")


class RoleChange(Body):
    """PUT /api/v1/users/{user}/role."""

    role: Role


class LimitChange(Body):
    """PUT /api/v1/users/{user}/limit."""

    requests_per_minute: PerMinute


class NewKey(Body):
    """POST /api/v1/keys."""

    name: Annotated[str, Field(max_length=100), AfterValidator(_printable)] = ""
    expires_in_days: int | None = Field(
        default=None, ge=1, le=3650, description="Days until it expires; default: never."
    )
    user: str | None = Field(
        default=None, max_length=64, description="For whom (administrators only): id or username; default: yourself."
    )


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, as the specification writes it: 2025-01-15T10:30:00Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def limit_of(user: User, dynamic: DynamicSource) -> dict[str, Any]:
    """The limit in force and where it is from: user (set for them), settings (the operator's dynamic settings) or default."""
    override = dynamic.current.rate_limits.get(user.username)
    if override is not None:
        return {"requests_per_minute": override, "source": "settings"}
    if user.requests_per_minute is not None:
        return {"requests_per_minute": user.requests_per_minute, "source": "user"}
    return {"requests_per_minute": DEFAULT_RATE_LIMIT, "source": "default"}


def user_body(user: User, dynamic: DynamicSource) -> dict[str, Any]:
    """A user in an answer."""
    return {
        "id": str(user.id),
        "username": user.username,
        "role": user.role,
        "enabled": user.enabled,
        "limit": limit_of(user, dynamic),
        "created_at": timestamp(user.created_at),
    }


def key_body(key: ApiKey) -> dict[str, Any]:
    """An API key in an answer: never the key itself."""
    return {
        "id": str(key.id),
        "username": key.username,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": timestamp(key.created_at),
        "expires_at": timestamp(key.expires_at),
        "revoked_at": timestamp(key.revoked_at),
    }
