"""Owns /api/v1/audit and /api/v1/usage: one's own for users, everybody's for administrators."""

from __future__ import annotations

import base64
import binascii
import contextlib
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response

from catalog.contract import ErrorCode
from runtime.control import answers
from runtime.control.bodies import timestamp
from runtime.control.principals import Principal
from runtime.control.routes import KNOWN, STORABLE, answer
from runtime.control.services import Who, forbidden, services
from runtime.control.store import audit
from runtime.control.store.audit import Filter, UsageBy
from runtime.control.store.events import Kind
from runtime.errors import invalid
from runtime.openapi import refusals

router = APIRouter(
    prefix="/api/v1",
    tags=["audit"],
    responses={**KNOWN, **refusals(ErrorCode.INVALID_REQUEST, ErrorCode.FORBIDDEN)},
)

Name = Annotated[str | None, Query(max_length=64, pattern=STORABLE)]
Moment = Annotated[AwareDatetime | None, Query()]
Status = Annotated[str | None, Query(max_length=16, description="An HTTP status, or unfinished.")]

_TIMES = ("occurred_at", "completed_at")
_HIDDEN = ("id", "task", "answer")


@router.get("/audit", response_model=answers.Audit)
async def listing(
    request: Request,
    who: Who,
    agent: Name = None,
    user: Name = None,
    status: Status = None,
    kind: Annotated[Kind | None, Query()] = None,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Audit events, newest first. ``state`` is unfinished for an execution whose completion never came.

    ``cursor`` is the last answer's next_cursor: pages stay true while new events arrive.
    """
    chosen = _filter(who, agent, user, since, until, status, kind)
    control = services(request.scope)
    async with control.engine.connect() as connection:
        rows = await audit.page(connection, chosen, _decoded(cursor), limit)
    following = _encoded(rows[-1]) if len(rows) == limit else None
    return answer(
        {"items": [_event(row, texts=control.settings.audit_texts) for row in rows], "next_cursor": following}
    )


@router.get("/usage", response_model=answers.Usage)
async def usage(
    request: Request,
    who: Who,
    by: UsageBy = "agent",
    agent: Name = None,
    user: Name = None,
    since: Moment = None,
    until: Moment = None,
) -> Response:
    """Executions summed up by agent, user, owner team or UTC day, with totals. Costs are US dollars."""
    chosen = _filter(who, agent, user, since, until)
    async with services(request.scope).engine.connect() as connection:
        rows = await audit.usage(connection, by, chosen)
    items = [{by: row["key"], **_sums(row)} for row in rows]
    totals = {name: sum(row[name] for row in rows) for name in rows[0] if name != "key"} if rows else None
    return answer({"by": by, "items": items, "totals": _sums(totals) if totals else None})


def _filter(
    who: Principal,
    agent: str | None,
    user: str | None,
    since: datetime | None,
    until: datetime | None,
    status: str | None = None,
    kind: Kind | None = None,
) -> Filter:
    named = user.lower() if user else None
    own = named in (None, who.username, who.user_id)
    if not who.admin and not own:
        raise forbidden("Only administrators may see what others did")
    user_id = uuid.UUID(who.user_id) if not who.admin else None
    username = named if who.admin else None
    if username is not None:
        with contextlib.suppress(ValueError):
            user_id, username = uuid.UUID(username), None
    code = None
    if status is not None and status != "unfinished":
        if not (status.isascii() and status.isdigit() and 100 <= int(status) <= 599):
            raise invalid("status", "not_a_status", "Status: must be an HTTP status such as 200, or unfinished")
        code = int(status)
    return Filter(
        user_id=user_id,
        username=username,
        agent_id=agent,
        kind=kind,
        status=code,
        unfinished=status == "unfinished",
        since=since,
        until=until,
    )


def _event(row: dict[str, Any], *, texts: bool) -> dict[str, Any]:
    body = {name: value for name, value in row.items() if name not in _HIDDEN}
    for name in _TIMES:
        body[name] = timestamp(row[name])
    body["cost_dollars"] = _dollars(row["cost_dollars"])
    body["state"] = "finished" if row["completed_at"] is not None else "unfinished"
    if texts:
        body.update({name: row[name] for name in ("task", "answer")})
    return body


def _sums(row: dict[str, Any]) -> dict[str, Any]:
    body = {name: int(value) for name, value in row.items() if name not in ("key", "cost_dollars")}
    return {
        **body,
        "tokens": body["input_tokens"] + body["output_tokens"],
        "cost_dollars": _dollars(Decimal(row["cost_dollars"])),
    }


def _dollars(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _encoded(row: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(f"{row['occurred_at'].isoformat()}|{row['id']}".encode()).decode()


def _decoded(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    try:
        moment, _, number = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        after = datetime.fromisoformat(moment), int(number)
        if after[0].tzinfo is None or not 0 <= after[1] < 2**63:
            raise ValueError("out of range")
    except (ValueError, binascii.Error):
        raise invalid("cursor", "malformed", "Cursor: must be the next_cursor of an earlier answer") from None
    return after
