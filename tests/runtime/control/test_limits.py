"""The rate limit under concurrency, from several processes, at Redis' own clock."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from redis import Redis

from runtime.control.limits import TAKE, Rate, network
from runtime.redis import connect
from tests.runtime.control.conftest import Control, ControlProcess

# One worker: takes places through the script as fast as it can for a while, and says when (Redis' clock, microseconds) it got one.
_WORKER = """
import json, sys, time, uuid
from redis import Redis
from runtime.control.limits import TAKE
script = TAKE + '''
local count, reset = look(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if count >= tonumber(ARGV[1]) then return 0 end
put(KEYS[1], tonumber(ARGV[2]), ARGV[3])
return string.format('%.0f', now)
'''
url, limit, span, seconds = sys.argv[1], *sys.argv[2:]
take = Redis.from_url(url).register_script(script)
until, admitted = time.monotonic() + float(seconds), []
while time.monotonic() < until:
    at = take(keys=['limit:test'], args=[limit, span, uuid.uuid4().bytes])
    if at:
        admitted.append(int(at))
print(json.dumps(admitted))
"""


def test_never_more_than_the_limit_in_any_window_from_four_processes(redis_url: str) -> None:
    limit, span = 100, 400_000
    command = [sys.executable, "-c", _WORKER, redis_url, str(limit), str(span), "2.5"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) for _ in range(4)]
    admitted = sorted(at for worker in workers for at in json.loads(worker.communicate(timeout=60)[0]))
    # Several windows' worth was admitted, so windows did slide; and of any 101 in a row the last came after the first had left.
    assert len(admitted) >= 4 * limit
    assert all(later - earlier > span for earlier, later in zip(admitted, admitted[limit:], strict=False))


async def test_of_a_burst_over_two_control_processes_exactly_the_limit_is_admitted(
    control: Control, control_process: Callable[..., ControlProcess]
) -> None:
    user = await control.user("ada")
    ports = [control_process().port for _ in range(2)]
    headers = {
        "Authorization": f"Bearer {user['api_key']}",
        "X-Original-Method": "POST",
        "X-Original-URI": "/agents/business_plan_agent_009/api/v1/execute",
    }
    async with httpx2.AsyncClient(timeout=60) as http:
        answers = await asyncio.gather(
            *(
                http.get(f"http://127.0.0.1:{ports[number % 2]}/internal/authorize", headers=headers)
                for number in range(150)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 100 + [403] * 50
    assert {answer.headers["X-Refusal"] for answer in answers if answer.status_code == 403} == {"RATE_LIMIT_EXCEEDED"}
    # Each place was given once.
    assert sorted(
        int(answer.headers["X-RateLimit-Remaining"]) for answer in answers if answer.status_code == 200
    ) == list(range(100))
    assert len(control.rows("kind = 'execution'")) == 100
    assert len(control.rows("kind = 'refusal' AND error_code = 'RATE_LIMIT_EXCEEDED'")) == 50


async def test_a_cold_burst_waits_its_turn_instead_of_being_refused(control: Control) -> None:
    user = await control.user("ada", requests_per_minute=10_000)
    answers = await asyncio.gather(*(control.authorize(user["api_key"]) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}


async def test_one_user_s_limit_is_not_another_s(control: Control) -> None:
    ada, bob = await control.user("ada", requests_per_minute=1), await control.user("bob", requests_per_minute=1)
    assert [(await control.authorize(key)).status_code for key in (ada["api_key"], ada["api_key"], bob["api_key"])] == [
        200,
        403,
        200,
    ]


async def test_every_key_of_the_limits_expires(control: Control) -> None:
    await control.authorize()
    await control.login("nobody", "wrong")
    with Redis.from_url(control.settings.redis_state_url.get_secret_value()) as redis:
        names = [
            *redis.scan_iter("limit:*"),
            *redis.scan_iter("login:*"),
            *redis.scan_iter("user:*"),
            *redis.scan_iter("key:*"),
        ]
        assert len(names) >= 5
        assert all(redis.pttl(name) > 0 for name in names)


async def test_a_place_is_free_again_when_the_window_has_passed_it(redis_url: str) -> None:
    redis = connect(SecretStr(redis_url), timeout=20)
    script = redis.register_script(
        TAKE
        + "local count, reset = look(KEYS[1], 2, 4000000) if count < 2 then put(KEYS[1], 4000000, ARGV[1]) end return {count, string.format('%.0f', reset - now)}"
    )

    async def take() -> tuple[int, int]:
        count, wait = await script(keys=["limit:x"], args=[uuid.uuid4().bytes])
        return count, int(wait)

    try:
        assert (await take())[0] == 0
        await asyncio.sleep(2)
        assert (await take())[0] == 1
        count, wait = await take()
        assert count == 2
        assert 0 < wait <= 2_000_000  # the first leaves at most two seconds after the second came
        await asyncio.sleep(wait / 1e6)
        assert (await take())[0] == 1
    finally:
        await redis.aclose()


def test_headers_round_up_so_that_who_waits_as_told_gets_in() -> None:
    rate = Rate.of(allowed=False, limit=100, count=100, reset_us=1_700_000_041_000_001, now_us=1_700_000_000_000_000)
    assert (rate.remaining, rate.reset, rate.retry_after) == (0, 1_700_000_042, 42)
    assert rate.refusal().message == "Rate limit exceeded. Retry after 42 seconds"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("garbage\n*", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_ipv6_subscriber_counts_as_one_address(address: str, counted: str) -> None:
    assert network(address) == counted
