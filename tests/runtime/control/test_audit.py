"""Reading the audit and usage."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tests.runtime.control.conftest import Control, error_of

AGENT = "business_plan_agent_009"
OTHER = "strategic_options_agent_003"


def _execution(control: Control, user: dict[str, Any], **values: Any) -> str:
    row = {
        "event_id": str(uuid.uuid4()), "occurred_at": datetime.now(UTC), "kind": "execution", "request_id": "r", "user_id": user["id"], "username": user["username"],
        "agent_id": AGENT, "owner": "corporate-strategy", "status": 200, "input_tokens": 100, "output_tokens": 50, "cost_dollars": "0.001", "cached": False,
        "completed_at": datetime.now(UTC), **values,
    }  # fmt: skip
    with psycopg.connect(control.settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
        columns = ", ".join(row)
        connection.execute(
            f"INSERT INTO audit_events ({columns}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values())
        )
    return str(row["event_id"])


async def test_an_admitted_row_that_was_never_completed_is_listed_as_unfinished(control: Control) -> None:
    await control.authorize()
    (event,) = (await control.ask("GET", "/api/v1/audit?status=unfinished")).json()["items"]
    assert (event["state"], event["status"], event["completed_at"], event["agent_id"]) == (
        "unfinished",
        None,
        None,
        AGENT,
    )


async def test_events_are_paged_newest_first_without_gaps_while_new_ones_arrive(control: Control) -> None:
    user = await control.user("ada")
    same = datetime.now(UTC) - timedelta(hours=1)
    made = [_execution(control, user, occurred_at=same) for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await control.ask("GET", f"/api/v1/audit?user=ada&kind=execution&limit=3{cursor}")).json()
        seen += [event["event_id"] for event in page["items"]]
        _execution(control, user)
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]


async def test_events_are_filtered(control: Control) -> None:
    user = await control.user("ada")
    old = _execution(control, user, occurred_at=datetime(2026, 1, 1, tzinfo=UTC))
    bad = _execution(control, user, status=502, agent_id=OTHER)

    async def found(query: str) -> set[str]:
        answer = await control.ask("GET", f"/api/v1/audit?kind=execution&{query}")
        assert answer.status_code == 200, answer.text
        return {event["event_id"] for event in answer.json()["items"]}

    assert await found(f"agent={OTHER}") == {bad}
    assert await found("status=502") == {bad}
    assert await found("until=2026-06-01T00:00:00Z") == {old}
    assert await found("since=2026-06-01T00:00:00%2B02:00") == {bad}
    assert await found(f"user={user['id']}") == {old, bad}
    assert await found("user=nobody") == set()


async def test_users_see_their_own_events_only(control: Control) -> None:
    ada, bob = await control.user("ada"), await control.user("bob")
    _execution(control, ada)
    mine = _execution(control, bob)
    events = (await control.ask("GET", "/api/v1/audit?kind=execution", bob["api_key"])).json()["items"]
    assert [event["event_id"] for event in events] == [mine]
    refused = await control.ask("GET", "/api/v1/audit?user=ada", bob["api_key"])
    assert (refused.status_code, error_of(refused)["code"]) == (403, "FORBIDDEN")
    assert (await control.ask("GET", "/api/v1/usage?user=ada", bob["api_key"])).status_code == 403
    usage = (await control.ask("GET", "/api/v1/usage", bob["api_key"])).json()
    assert usage["totals"]["requests"] == 1


async def test_usage_is_summed_by_agent_user_owner_and_day(control: Control) -> None:
    ada, bob = await control.user("ada"), await control.user("bob")
    day = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    _execution(control, ada, occurred_at=day)
    _execution(control, ada, occurred_at=day, status=504, cost_dollars=None, cached=True)
    _execution(
        control,
        bob,
        occurred_at=day + timedelta(hours=1),
        agent_id=OTHER,
        owner="other-team",
        status=None,
        completed_at=None,
        input_tokens=None,
        output_tokens=None,
        cost_dollars=None,
    )

    async def by(what: str) -> dict[str, dict[str, Any]]:
        body = (await control.ask("GET", f"/api/v1/usage?by={what}&until=2026-06-01T00:00:00Z")).json()
        assert body["totals"] == {
            "requests": 3, "errors": 1, "unfinished": 1, "cached": 1, "input_tokens": 200, "output_tokens": 100, "unpriced": 1, "tokens": 300, "cost_dollars": 0.001,
        }  # fmt: skip
        return {item[what]: item for item in body["items"]}

    agents = await by("agent")
    assert (
        agents[AGENT]["requests"],
        agents[AGENT]["errors"],
        agents[AGENT]["tokens"],
        agents[AGENT]["cost_dollars"],
    ) == (2, 1, 300, 0.001)
    assert (agents[OTHER]["requests"], agents[OTHER]["unfinished"], agents[OTHER]["tokens"]) == (1, 1, 0)
    assert {name: item["requests"] for name, item in (await by("user")).items()} == {"ada": 2, "bob": 1}
    assert {name: item["requests"] for name, item in (await by("owner")).items()} == {
        "corporate-strategy": 2,
        "other-team": 1,
    }
    assert {name: item["requests"] for name, item in (await by("day")).items()} == {"2026-03-01": 2, "2026-03-02": 1}


async def test_refusals_and_reads_are_no_usage(control: Control) -> None:
    await control.authorize("")
    await control.ask("GET", "/auth/me")
    assert (await control.ask("GET", "/api/v1/usage")).json() == {"by": "agent", "items": [], "totals": None}


async def test_texts_are_in_no_answer_unless_switched_on(control: Control) -> None:
    _execution(control, await control.user("ada"), task="secret task", answer="secret answer")
    assert "secret" not in (await control.ask("GET", "/api/v1/audit")).text


async def test_the_database_uses_an_index_for_each_way_of_asking(control: Control) -> None:
    with psycopg.connect(control.settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
        connection.execute("SET enable_seqscan = off")
        for where, index in (
            ("true", "time"),
            (f"user_id = '{uuid.uuid4()}'", "user"),
            ("agent_id = 'x'", "agent"),
            ("completed_at IS NULL", "unfinished"),
        ):
            plan = connection.execute(
                f"EXPLAIN SELECT * FROM audit_events WHERE {where} ORDER BY occurred_at DESC, id DESC LIMIT 5"
            ).fetchall()
            assert any(f"ix_audit_events_{index}" in line for (line,) in plan), plan


async def test_a_wrong_status_is_a_422(control: Control) -> None:
    for status in ("soon", "99", "2000", "٢٠٠"):
        answer = await control.ask("GET", f"/api/v1/audit?status={status}")
        assert error_of(answer)["details"]["field"] == "status"
