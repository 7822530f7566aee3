"""API keys: shown once, revoked at once, never known again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re

import psycopg
import pytest
from psycopg.rows import dict_row

from runtime.control.principals import Pepper, Records, key_name
from runtime.control.store import users
from tests.runtime.control.conftest import Control, error_of


async def test_a_key_is_shown_once_and_kept_as_a_peppered_digest(control: Control) -> None:
    answer = await control.ask("POST", "/api/v1/keys", json={"name": "laptop"})
    made = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", made["key"])
    assert made["key"].startswith(made["prefix"])
    listed = await control.ask("GET", "/api/v1/keys")
    assert made["key"] not in listed.text
    assert {key["name"] for key in listed.json()["items"]} == {"first", "laptop"}
    with psycopg.connect(
        control.settings.database_url.get_secret_value().replace("+psycopg", ""), row_factory=dict_row
    ) as connection:
        row = connection.execute("SELECT * FROM api_keys WHERE name = 'laptop'").fetchone()
    assert row is not None
    assert row["digest"] == hmac.new(b"p" * 40, made["key"].encode(), hashlib.sha256).digest()
    assert made["key"] not in str(row)
    assert [event["target"] for event in control.rows("action = 'key.create'")] == [made["id"]]


async def test_a_revoked_key_is_refused_from_the_answer_on(control: Control) -> None:
    user = await control.user("ada")
    assert (await control.authorize(user["api_key"])).status_code == 200
    assert (await control.ask("DELETE", f"/api/v1/keys/{user['key_id']}", user["api_key"])).status_code == 204
    assert (await control.authorize(user["api_key"])).status_code == 401
    assert (await control.ask("DELETE", f"/api/v1/keys/{user['key_id']}")).status_code == 204
    assert control.rows("action = 'key.revoke'")[0]["target"] == user["key_id"]


async def test_a_copy_read_before_a_revocation_cannot_be_stored_after_it(control: Control) -> None:
    """The race of the cache: read, revoke, fill. However long the reader sleeps in between, its lease is gone."""
    user = await control.user("ada")
    digest = control.services.pepper.digest(user["api_key"])
    records, name = control.services.records, key_name(digest)
    lease = await records.lease([name])
    async with control.services.engine.connect() as connection:
        found = await users.find_by_digest(connection, digest)
    assert found is not None
    await control.ask("DELETE", f"/api/v1/keys/{user['key_id']}")
    await records.fill(name, lease, b'{"id": "stale"}')
    assert await control.services.redis.get(name) is None
    assert (await control.authorize(user["api_key"])).status_code == 401


async def test_no_copy_is_made_while_a_change_is_under_way(control: Control) -> None:
    records, redis = control.services.records, control.services.redis
    async with records.changing(["key:x"]):
        lease = await records.lease(["key:x"])
        await records.fill("key:x", lease, b'{"id": "old"}')
        assert (await redis.get("key:x"))[:1] == b"!"
    assert await redis.get("key:x") is None
    lease = await records.lease(["key:x"])
    await records.fill("key:x", lease, b'{"id": "new"}')
    assert await redis.get("key:x") == b'{"id": "new"}'


async def test_requests_during_a_change_are_judged_by_the_database(control: Control) -> None:
    user = await control.user("ada")
    await control.authorize(user["api_key"])
    async with Records(control.services.redis).changing([key_name(control.services.pepper.digest(user["api_key"]))]):
        assert (await control.authorize(user["api_key"])).status_code == 200


async def test_a_key_under_load_stops_at_its_revocation(control: Control) -> None:
    user = await control.user("ada", requests_per_minute=100_000)
    done = asyncio.Event()
    late: list[int] = []

    async def call() -> None:
        while True:
            after = done.is_set()
            status = (await control.authorize(user["api_key"])).status_code
            if after:
                late.append(status)
                return

    callers = [asyncio.create_task(call()) for _ in range(8)]
    await asyncio.sleep(0.2)
    await control.ask("DELETE", f"/api/v1/keys/{user['key_id']}")
    done.set()
    await asyncio.gather(*callers)
    assert late == [401] * 8


async def test_a_key_expires(control: Control) -> None:
    made = (await control.ask("POST", "/api/v1/keys", json={"expires_in_days": 1})).json()
    assert (await control.authorize(made["key"])).status_code == 200
    with psycopg.connect(control.settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", (made["id"],))
    await control.services.redis.flushall()
    assert (await control.authorize(made["key"])).status_code == 401
    assert control.rows("kind = 'refusal'")[-1]["details"] == {"reason": "key: expired"}


async def test_users_see_and_revoke_their_own_keys_only(control: Control) -> None:
    ada, bob = await control.user("ada"), await control.user("bob")
    own = (await control.ask("GET", "/api/v1/keys", ada["api_key"])).json()
    assert [key["id"] for key in own["items"]] == [ada["key_id"]]
    refused = await control.ask("GET", "/api/v1/keys?user=bob", ada["api_key"])
    assert (refused.status_code, error_of(refused)["code"]) == (403, "FORBIDDEN")
    assert (await control.ask("POST", "/api/v1/keys", ada["api_key"], json={"user": "bob"})).status_code == 403
    # Somebody else's key is as good as none.
    assert (await control.ask("DELETE", f"/api/v1/keys/{bob['key_id']}", ada["api_key"])).status_code == 404
    assert (await control.authorize(bob["api_key"])).status_code == 200


async def test_administrators_see_everybody_s_keys(control: Control) -> None:
    await control.user("ada")
    assert {key["username"] for key in (await control.ask("GET", "/api/v1/keys?user=*")).json()["items"]} == {
        "admin",
        "ada",
    }
    assert {key["username"] for key in (await control.ask("GET", "/api/v1/keys?user=ada")).json()["items"]} == {"ada"}
    assert {key["username"] for key in (await control.ask("GET", "/api/v1/keys")).json()["items"]} == {"admin"}


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ValueError, match="32 or more"):
        Pepper(b"short")
    assert "p" * 32 not in repr(Pepper(b"p" * 32))
