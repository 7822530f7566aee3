"""Owns /api/v1/keys: API keys, one's own for users, everybody's for administrators."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from catalog.contract import ErrorCode
from runtime.control import answers, bodies
from runtime.control.acts import act, required_user
from runtime.control.principals import key_name
from runtime.control.routes import KNOWN, answer
from runtime.control.services import Who, forbidden, services
from runtime.control.store import users
from runtime.errors import PlatformError
from runtime.openapi import WITH_BODY, refusals

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], responses=KNOWN)

KEYS_PER_USER = 100
"""Most living API keys of one user."""


@router.post(
    "",
    status_code=201,
    response_model=answers.CreatedKey,
    responses=refusals(*WITH_BODY, ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
)
async def create(request: Request, who: Who, body: bodies.NewKey) -> Response:
    """A new API key. The answer's ``key`` is shown this once; only its digest is kept."""
    control = services(request.scope)
    if body.user is not None and not who.admin and body.user.lower() not in (who.username, who.user_id):
        raise forbidden("Only administrators may create API keys for others")
    secret, prefix, digest = control.pepper.new_key()
    expires = datetime.now(UTC) + timedelta(days=body.expires_in_days) if body.expires_in_days else None
    async with act(control, request, who, "key.create", "", status=201) as change:
        user = await required_user(change.connection, body.user or who.user_id)
        living = [key for key in await users.keys(change.connection, user.id) if _lives(key)]
        if len(living) >= KEYS_PER_USER:
            raise PlatformError(ErrorCode.CONFLICT, f"{user.username} has {KEYS_PER_USER} API keys; revoke one first")
        key = await users.create_key(change.connection, user, body.name, prefix, digest, expires)
        change.target, change.details = str(key.id), {"for": user.username, "name": key.name}
    return answer({**bodies.key_body(key), "key": secret}, 201)


@router.get(
    "",
    response_model=answers.Keys,
    responses=refusals(ErrorCode.INVALID_REQUEST, ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND),
)
async def listing(request: Request, who: Who, user: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """API keys, newest first, revoked ones too: one's own; for administrators ``?user=`` (id or name, or * for all)."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        if user is None or user.lower() in (who.username, who.user_id):
            chosen: uuid.UUID | None = uuid.UUID(who.user_id)
        elif not who.admin:
            raise forbidden("Only administrators may see API keys of others")
        else:
            chosen = None if user == "*" else (await required_user(connection, user)).id
        found = await users.keys(connection, chosen)
    return answer({"items": [bodies.key_body(key) for key in found], "total": len(found)})


@router.delete("/{key_id}", status_code=204, responses=refusals(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND))
async def revoke(request: Request, who: Who, key_id: uuid.UUID) -> Response:
    """End an API key: it is refused from this answer on. Ending it again is fine."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        key = await users.find_key(connection, key_id)
    # Somebody else's key is as good as none: whether it exists is not theirs to know.
    if key is None or not (who.admin or str(key.user_id) == who.user_id):
        raise PlatformError(
            ErrorCode.NOT_FOUND, "There is no such API key", details={"field": "key_id", "issue": "not_found"}
        )
    async with act(
        control, request, who, "key.revoke", str(key.id), stale=[key_name(key.digest)], status=204
    ) as change:
        await users.revoke_key(change.connection, key.id)
        change.details = {"for": key.username, "name": key.name}
    return Response(status_code=204)


def _lives(key: users.ApiKey) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > datetime.now(UTC))
