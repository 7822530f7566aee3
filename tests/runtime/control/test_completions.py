"""Completions: each counts once, none is lost, whoever is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from runtime.audit import Completion
from runtime.control.completions import ASIDE
from runtime.redis import connect
from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control, ControlProcess, serving


def completion(event_id: str, **values: Any) -> Completion:
    """A completion of an answered execution."""
    own: dict[str, Any] = {
        "event_id": event_id, "status": 200, "error_code": "", "model": "claude-sonnet-5-5", "input_tokens": 100, "output_tokens": 50,
        "cost_dollars": "0.00105", "duration_ms": 1234.5, "completed_at": datetime.now(UTC).isoformat(), **values,
    }  # fmt: skip
    return Completion(**own)


async def admitted(control: Control, count: int = 1) -> list[str]:
    """Event ids of new admitted executions."""
    user = await control.user(f"user{uuid.uuid4().hex[:8]}", requests_per_minute=100_000)
    for _ in range(count):
        assert (await control.authorize(user["api_key"])).status_code == 200
    return [str(row["event_id"]) for row in control.rows("kind = 'execution' AND user_id = %s", user["id"])]


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for ``condition``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def send(control: Control, *completions: Completion) -> None:
    """As an agent does."""
    for each in completions:
        await control.services.redis.xadd("audit", each.fields())


async def test_a_completion_completes_the_admitted_row(control: Control) -> None:
    (event_id,) = await admitted(control)
    await send(control, completion(event_id, task="the task", answer="the answer"))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    (row,) = control.rows("kind = 'execution'")
    assert (row["status"], row["error_code"], row["model"], row["input_tokens"], row["output_tokens"]) == (
        200,
        None,
        "claude-sonnet-5-5",
        100,
        50,
    )
    assert (row["cost_dollars"], row["duration_ms"], row["cached"], row["agent_id"]) == (
        Decimal("0.001050000"),
        1234.5,
        False,
        "business_plan_agent_009",
    )
    assert (row["task"], row["answer"]) == (None, None)


async def test_texts_are_kept_where_the_operator_switched_them_on(settings: ControlSettings) -> None:
    async with serving(settings.model_copy(update={"audit_texts": True})) as control:
        (event_id,) = await admitted(control)
        await send(control, completion(event_id, task="the\x00 task", answer="the answer"))
        await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
        (row,) = control.rows("kind = 'execution'")
        assert (row["task"], row["answer"]) == ("the task", "the answer")
        assert (await control.ask("GET", "/api/v1/audit?kind=execution")).json()["items"][0]["answer"] == "the answer"


async def test_a_completion_delivered_again_changes_nothing(control: Control) -> None:
    (event_id,) = await admitted(control)
    await send(control, completion(event_id), completion(event_id, status=500, input_tokens=999))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    await send(control, completion(event_id, status=503, input_tokens=7))
    (other,) = await admitted(control)
    await send(control, completion(other))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    (row,) = control.rows("event_id = %s", event_id)
    assert (row["status"], row["input_tokens"]) == (200, 100)


async def test_applied_entries_leave_the_stream(control: Control) -> None:
    ids = await admitted(control, 5)
    await send(control, *(completion(event_id) for event_id in ids))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    async with asyncio.timeout(60):
        while await control.services.redis.xlen("audit"):
            await asyncio.sleep(0.02)
    assert (await control.services.redis.xpending("audit", "control"))["pending"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"something": b"else"},
        {"completion": b"not json"},
        {"completion": b"[]"},
        {"completion": b'{"event_id": "x"}'},
        completion("not-a-uuid").fields(),
        completion(str(uuid.uuid4())).fields(),
        completion(str(uuid.uuid4()), status="200").fields(),
        completion(str(uuid.uuid4()), cost_dollars="NaN").fields(),
        completion(str(uuid.uuid4()), cost_dollars="1e400").fields(),
        completion(str(uuid.uuid4()), input_tokens=2**63).fields(),
        completion(str(uuid.uuid4()), completed_at="yesterday").fields(),
        completion(str(uuid.uuid4()), model=None).fields(),
        completion(str(uuid.uuid4()), duration_ms="1").fields(),
        completion(str(uuid.uuid4()), cached="maybe").fields(),
    ],
)
async def test_a_poisoned_entry_is_set_aside_and_holds_up_nobody(control: Control, fields: dict[str, bytes]) -> None:
    (event_id,) = await admitted(control)
    await control.services.redis.xadd("audit", fields)
    await send(control, completion(event_id))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    async with asyncio.timeout(60):
        while not (aside := await control.services.redis.xrange(ASIDE)):
            await asyncio.sleep(0.02)
    ((_, kept),) = aside
    assert kept.pop(b"reason")
    assert {key.decode(): value for key, value in kept.items()} == fields


async def test_what_a_killed_process_had_taken_is_taken_over(control: Control) -> None:
    """A consumer that took entries and died with them unacknowledged."""
    (event_id,) = await admitted(control)
    redis = control.services.redis
    # Taken by a process that is dead by now; the running one never sees it as new.
    while True:
        await redis.xadd("audit", completion(event_id).fields())
        taken: Any = await redis.xreadgroup("control", "dead-process", {"audit": ">"}, count=10)
        if taken:
            break
    async with asyncio.timeout(60):
        while (await redis.xpending("audit", "control"))["pending"]:
            await asyncio.sleep(0.05)
    assert await redis.xlen("audit") == 0
    assert control.rows("kind = 'execution'")[0]["status"] == 200


async def test_no_completion_is_lost_or_counted_twice_when_consumers_are_killed(
    control_process: Callable[..., ControlProcess], settings: ControlSettings
) -> None:
    """kill -9 of consuming processes, again and again, while completions arrive."""
    async with serving(settings) as control:
        ids = await admitted(control, 600)
    # From here on only processes of their own drain.
    async with Feeder(settings) as feeder:
        for part in range(3):
            victim = await asyncio.to_thread(control_process)
            await feeder.send(completion(event_id) for event_id in ids[part * 200 : part * 200 + 200])
            await asyncio.sleep(0.03 * part)
            os.kill(victim.process.pid, signal.SIGKILL)
            victim.process.wait(10)
        await asyncio.to_thread(control_process)
        rows = feeder.control.rows
        await until(lambda: not rows("kind = 'execution' AND completed_at IS NULL"))
        done = rows("kind = 'execution'")
        assert len(done) == 600
        assert sum(row["input_tokens"] for row in done) == 600 * 100


class Feeder:
    """Adds completions as an agent would, without a control application of its own."""

    def __init__(self, settings: ControlSettings) -> None:
        self.redis = connect(settings.redis_state_url)
        self.control = Control(None, None, {}, settings)  # type: ignore[arg-type]

    async def __aenter__(self) -> Feeder:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.redis.aclose()

    async def send(self, completions: Any) -> None:
        for each in completions:
            await self.redis.xadd("audit", each.fields())


async def test_lag_and_pending_are_exported(control: Control) -> None:
    text = (await control.ask("GET", "/metrics", "")).text
    assert "control_audit_pending_events 0.0" in text
    assert "control_audit_lag_seconds 0.0" in text


async def test_a_stream_that_vanished_is_made_again(control: Control) -> None:
    (event_id,) = await admitted(control)
    await control.services.redis.delete("audit")
    await send(control, completion(event_id))
    await until(lambda: not control.rows("kind = 'execution' AND completed_at IS NULL"))
    assert control.rows("kind = 'execution'")[0]["status"] == 200
