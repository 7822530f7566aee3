"""Owns /api/v1/users (administrators only) and /api/v1/limits (one's own)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from catalog.contract import ErrorCode
from runtime.control import answers, bodies
from runtime.control.acts import act, required_user
from runtime.control.passwords import generate
from runtime.control.principals import Principal, user_name
from runtime.control.routes import KNOWN, STORABLE, answer
from runtime.control.services import Admin, Who, services
from runtime.control.store import users
from runtime.errors import PlatformError
from runtime.openapi import WITH_BODY, refusals

router = APIRouter(prefix="/api/v1", tags=["users"], responses=KNOWN)
_NAMED = (ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND)

Name = Annotated[str, Query(max_length=64, pattern=STORABLE)]
Page = Annotated[int, Query(ge=1, le=200)]


@router.get("/limits", response_model=answers.Limit, responses=refusals(ErrorCode.NOT_FOUND))
async def own_limit(request: Request, who: Who) -> Response:
    """One's own limit; what is left of it is in the X-RateLimit headers, as of this request."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        return answer(bodies.limit_of(await required_user(connection, who.user_id), control.dynamic))


@router.post(
    "/users",
    status_code=201,
    response_model=answers.UserWithPassword,
    responses=refusals(*WITH_BODY, ErrorCode.FORBIDDEN, ErrorCode.CONFLICT),
)
async def create(request: Request, who: Admin, body: bodies.NewUser) -> Response:
    """A new user. A password that was not given is made up and shown this once."""
    control = services(request.scope)
    password = body.password.get_secret_value() if body.password else generate()
    encoded = await control.passwords.hash(password)
    try:
        async with act(control, request, who, "user.create", body.username, status=201) as change:
            user = await users.create(change.connection, body.username, encoded, body.role, body.requests_per_minute)
            change.details = {"role": user.role}
    except users.UsernameTakenError:
        raise PlatformError(
            ErrorCode.CONFLICT, "There is already a user of that name", details={"field": "username", "issue": "taken"}
        ) from None
    shown = {} if body.password else {"password": password}
    return answer({**bodies.user_body(user, control.dynamic), **shown}, 201)


@router.get("/users", response_model=answers.Users, responses=refusals(ErrorCode.INVALID_REQUEST, ErrorCode.FORBIDDEN))
async def listing(request: Request, _: Admin, q: Name = "", limit: Page = 50, cursor: Name = "") -> Response:
    """Users in order of name; ``cursor`` is the last answer's next_cursor."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        found, total = await users.page(connection, q, cursor, limit)
    following = found[-1].username if len(found) == limit else None
    return answer(
        {"items": [bodies.user_body(user, control.dynamic) for user in found], "total": total, "next_cursor": following}
    )


@router.get("/users/{user}", response_model=answers.User, responses=refusals(*_NAMED))
async def get(request: Request, _: Admin, user: str) -> Response:
    """One user, by id or name."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        return answer(bodies.user_body(await required_user(connection, user), control.dynamic))


@router.post("/users/{user}/disable", response_model=answers.User, responses=refusals(*_NAMED, ErrorCode.CONFLICT))
async def disable(request: Request, who: Admin, user: str) -> Response:
    """Turn a user off: their sessions end, their API keys stop working from this answer on."""
    return await _change(request, who, user, "user.disable", {"enabled": False}, end_sessions=True)


@router.post("/users/{user}/enable", response_model=answers.User, responses=refusals(*_NAMED))
async def enable(request: Request, who: Admin, user: str) -> Response:
    """Turn a user on again; API keys that were not revoked work again."""
    return await _change(request, who, user, "user.enable", {"enabled": True})


@router.put(
    "/users/{user}/role", response_model=answers.User, responses=refusals(*WITH_BODY, *_NAMED, ErrorCode.CONFLICT)
)
async def role(request: Request, who: Admin, user: str, body: bodies.RoleChange) -> Response:
    """Make somebody an administrator, or no longer one."""
    return await _change(request, who, user, "user.role", {"role": body.role}, {"role": body.role})


@router.get("/users/{user}/limit", response_model=answers.Limit, responses=refusals(*_NAMED))
async def limit(request: Request, _: Admin, user: str) -> Response:
    """A user's limit and where it is from."""
    control = services(request.scope)
    async with control.engine.connect() as connection:
        return answer(bodies.limit_of(await required_user(connection, user), control.dynamic))


@router.put("/users/{user}/limit", response_model=answers.User, responses=refusals(*WITH_BODY, *_NAMED))
async def set_limit(request: Request, who: Admin, user: str, body: bodies.LimitChange) -> Response:
    """Give a user a limit of their own (the specification's custom limits); in force from this answer on."""
    values = {"requests_per_minute": body.requests_per_minute}
    return await _change(request, who, user, "user.limit", values, values)


@router.delete("/users/{user}/limit", response_model=answers.User, responses=refusals(*_NAMED))
async def clear_limit(request: Request, who: Admin, user: str) -> Response:
    """Back to the platform's default limit."""
    return await _change(request, who, user, "user.limit", {"requests_per_minute": None}, {"requests_per_minute": None})


@router.post("/users/{user}/password", response_model=answers.UserWithPassword, responses=refusals(*WITH_BODY, *_NAMED))
async def reset_password(request: Request, who: Admin, user: str, body: bodies.PasswordReset | None = None) -> Response:
    """Give a user another password and end their sessions. One that was not given is made up and shown this once."""
    given = body.password if body else None
    password = given.get_secret_value() if given else generate()
    encoded = await services(request.scope).passwords.hash(password)
    return await _change(
        request,
        who,
        user,
        "user.password",
        {"password_hash": encoded},
        end_sessions=True,
        shown={} if given else {"password": password},
    )


async def _change(
    request: Request,
    who: Principal,
    name: str,
    action: str,
    values: dict[str, Any],
    details: dict[str, Any] | None = None,
    *,
    end_sessions: bool = False,
    shown: dict[str, str] | None = None,
) -> Response:
    control = services(request.scope)
    async with control.engine.connect() as connection:
        user = await required_user(connection, name)
    try:
        async with act(control, request, who, action, user.username, stale=[user_name(user.id)]) as change:
            # Read again in the transaction, with its role of now.
            user = await users.change(
                change.connection,
                await required_user(change.connection, str(user.id)),
                end_sessions=end_sessions,
                **values,
            )
            change.details = details
    except users.LastAdminError:
        raise PlatformError(
            ErrorCode.CONFLICT,
            f"{user.username} is the last administrator; make somebody else one first",
            details={"field": "user", "issue": "last_admin"},
        ) from None
    return answer({**bodies.user_body(user, control.dynamic), **(shown or {})})
