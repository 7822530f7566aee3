"""Owns /auth: login, refresh, logout, who am I, and changing one's own password."""

from __future__ import annotations

import uuid

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from catalog.contract import ErrorCode
from runtime.control import answers, bodies
from runtime.control.acts import act, event
from runtime.control.admission import unauthenticated
from runtime.control.limits import too_many
from runtime.control.principals import Principal, user_name
from runtime.control.routes import KNOWN, answer
from runtime.control.services import Services, Who, address, services
from runtime.control.store import users
from runtime.errors import PlatformError
from runtime.openapi import WITH_BODY, refusals

router = APIRouter(prefix="/auth", tags=["auth"], responses=refusals(ErrorCode.SERVICE_UNAVAILABLE))
_TRIES = (ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMIT_EXCEEDED)
log = structlog.get_logger()


@router.post("/login", response_model=answers.Session, responses=refusals(*WITH_BODY, *_TRIES))
async def login(request: Request, body: bodies.Login) -> Response:
    """A new session for a username and password.

    An unknown user, a disabled one and a wrong password take the same time and get the same answer.
    """
    control = services(request.scope)
    username = body.username.lower()
    user, encoded = await _checked(control, request, username, body.password.get_secret_value(), "login")
    if control.passwords.outdated(encoded):
        new = await control.passwords.hash(body.password.get_secret_value())
        async with control.engine.begin() as connection:
            await users.upgrade_hash(connection, user.id, encoded, new)
    tokens = await control.sessions.begin(user)
    who = Principal(str(user.id), user.username, user.role, "session", tokens.session_id)
    await control.recorder.record(event(request, "login", 200, action="login", target=user.username, who=who))
    control.metrics.logins.labels("success").inc()
    return answer({**tokens.body(), "user": bodies.user_body(user, control.dynamic)})


@router.post("/refresh", response_model=answers.Tokens, responses=refusals(*WITH_BODY, ErrorCode.UNAUTHENTICATED))
async def refresh(request: Request, body: bodies.Refresh) -> Response:
    """New tokens for a refresh token, which is then used up. Using it again ends the session for everybody."""
    control = services(request.scope)
    token = control.sessions.parse(body.refresh_token.get_secret_value())
    owner = await control.sessions.owner(token.session_id) if token else None
    user = None
    if owner is not None:
        async with control.engine.connect() as connection:
            user = await users.find_by_id(connection, uuid.UUID(owner))
    if token is None or user is None or not user.enabled:
        await control.recorder.record(
            event(request, "session", 401, action="refresh", error_code=ErrorCode.UNAUTHENTICATED)
        )
        raise _refresh_refused()
    outcome, tokens = await control.sessions.rotate(token, user)
    who = Principal(str(user.id), user.username, user.role, "session", token.session_id)
    if outcome != "rotated":
        action = "refresh.reuse" if outcome == "reused" else "refresh"
        await control.recorder.record(
            event(
                request,
                "session",
                401,
                action=action,
                target=user.username,
                error_code=ErrorCode.UNAUTHENTICATED,
                who=who,
            )
        )
        if outcome == "reused":
            log.warning(
                "A refresh token was used twice; its session is revoked",
                username=user.username,
                session=token.session_id,
            )
        raise _refresh_refused()
    await control.recorder.record(event(request, "session", 200, action="refresh", target=user.username, who=who))
    return answer(tokens.body())


@router.post("/logout", status_code=204, responses={**KNOWN, **refusals(ErrorCode.INVALID_REQUEST)})
async def logout(request: Request, who: Who) -> Response:
    """End the session of the access token; its refresh token dies with it."""
    if who.credential != "session":
        raise PlatformError(
            ErrorCode.INVALID_REQUEST,
            "An API key has no session to end; revoke the key instead",
            details={"field": "Authorization", "issue": "not_a_session"},
        )
    control = services(request.scope)
    await control.sessions.end(who.credential_id)
    return Response(status_code=204)


@router.get("/me", response_model=answers.Me, responses={**KNOWN, **refusals(ErrorCode.NOT_FOUND)})
async def me(request: Request, who: Who) -> Response:
    """Who the credential stands for, and their limit."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        user = await users.find_by_id(connection, uuid.UUID(who.user_id))
    if user is None:
        raise PlatformError(ErrorCode.NOT_FOUND, "There is no such user")
    return answer(
        {**bodies.user_body(user, control.dynamic), "credential": {"kind": who.credential, "id": who.credential_id}}
    )


@router.post("/password", status_code=204, responses={**KNOWN, **refusals(*WITH_BODY)})
async def change_password(request: Request, body: bodies.PasswordChange, who: Who) -> Response:
    """Change one's own password; ends every session, this one too. API keys stay."""
    control = services(request.scope)
    user, _ = await _checked(
        control, request, who.username, body.current_password.get_secret_value(), "password.change"
    )
    new = await control.passwords.hash(body.new_password.get_secret_value())
    async with act(
        control, request, who, "password.change", user.username, stale=[user_name(user.id)], status=204
    ) as change:
        await users.change(change.connection, user, end_sessions=True, password_hash=new)
    return Response(status_code=204)


async def _checked(
    control: Services, request: Request, username: str, password: str, action: str
) -> tuple[users.User, str]:
    """The user whose password it is, with its hash. Raises PlatformError: 401 where it is not, 429 after too many tries."""
    attempt, client = uuid.uuid4(), address(request.scope)
    # No connection is held while the hash is computed.
    async with control.engine.connect() as connection:
        found = await users.find_for_login(connection, username)
    # A name nobody has may be a password typed into the wrong field: it is not kept.
    target = username if found else None
    wait = await control.logins.begin(username, client, attempt)
    if wait:
        control.metrics.logins.labels("limited").inc()
        await control.recorder.record(
            event(request, "login", 429, action=action, target=target, error_code=ErrorCode.RATE_LIMIT_EXCEEDED)
        )
        raise too_many("Too many failed logins. Retry after", wait)
    right = await control.passwords.verify(password, found[1] if found else None)
    if found is None or not right or not found[0].enabled:
        control.metrics.logins.labels("failure").inc()
        await control.recorder.record(
            event(request, "login", 401, action=action, target=target, error_code=ErrorCode.UNAUTHENTICATED)
        )
        raise unauthenticated("The username or password is wrong")
    await control.logins.succeeded(username, client, attempt)
    return found


def _refresh_refused() -> PlatformError:
    return unauthenticated("The refresh token is not valid any more; log in again")
