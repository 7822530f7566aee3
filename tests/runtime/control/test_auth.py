"""Login, refresh, logout and passwords."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control, error_of, serving


async def test_a_login_gives_an_access_token_for_an_hour_and_a_refresh_token(control: Control) -> None:
    user = await control.user("ada")
    answer = await control.login("Ada", user["password"])
    body = answer.json()
    assert answer.status_code == 200
    assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
    claims = control.keys.claims(body["access_token"], "control")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (user["id"], 3600)
    me = await control.ask("GET", "/auth/me", body["access_token"])
    assert (me.json()["username"], me.json()["limit"], me.json()["credential"]["kind"]) == (
        "ada",
        {"requests_per_minute": 100, "source": "default"},
        "session",
    )
    (row,) = control.rows("kind = 'login'")
    assert (row["status"], row["username"], row["target"]) == (200, "ada", "ada")


@pytest.mark.parametrize("who", ["ada", "nobody", "disabled"])
async def test_wrong_password_unknown_user_and_disabled_user_are_the_same_401(control: Control, who: str) -> None:
    await control.user("ada")
    disabled = await control.user("disabled")
    await control.ask("POST", "/api/v1/users/disabled/disable")
    answer = await control.login(who, disabled["password"])
    assert (answer.status_code, error_of(answer)) == (
        401,
        {"code": "UNAUTHENTICATED", "message": "The username or password is wrong"},
    )
    (row,) = control.rows("kind = 'login'")
    assert (row["status"], row["target"]) == (401, who if who != "nobody" else None)


async def test_an_unknown_user_costs_one_hash_like_a_known_one(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    await control.user("ada")
    seen: list[str] = []
    hasher = control.services.passwords._hasher
    verify = type(hasher).verify

    def counted(self: object, encoded: str, password: str) -> bool:
        seen.append(encoded.rsplit("$", 2)[0])
        return bool(verify(self, encoded, password))  # type: ignore[arg-type]

    monkeypatch.setattr(type(hasher), "verify", counted)
    await control.login("ada", "wrong")
    await control.login("nobody", "wrong")
    assert len(seen) == 2
    assert seen[0] == seen[1]  # the same parameters, so the same time


async def test_hashing_leaves_the_event_loop_alone_and_is_bounded(control: Control) -> None:
    await asyncio.gather(*(control.services.passwords.hash("x") for _ in range(10)))
    limiter = control.services.passwords._limiter
    assert limiter is not None
    assert limiter.total_tokens == control.settings.password_concurrency
    answers = await asyncio.gather(*(control.services.passwords.hash("x") for _ in range(100)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert refused
    assert all("OVERLOADED" in str(answer) for answer in refused)


async def test_a_hash_of_old_parameters_is_renewed_at_login(settings: ControlSettings, control: Control) -> None:
    user = await control.user("ada")

    def encoded() -> str:
        with psycopg.connect(settings.database_url.get_secret_value().replace("+psycopg", "")) as connection:
            row = connection.execute("SELECT password_hash FROM users WHERE username = 'ada'").fetchone()
            assert row is not None
            return str(row[0])

    before = encoded()
    async with serving(settings.model_copy(update={"password_time_cost": 2})) as newer:
        assert (await newer.login("ada", user["password"])).status_code == 200
        after = encoded()
        assert "t=1," in before
        assert "t=2," in after
        assert (await newer.login("ada", user["password"])).status_code == 200
        assert encoded() == after


async def test_failed_logins_are_limited_per_user(control: Control) -> None:
    user = await control.user("ada")
    for number in range(10):
        assert (await control.login("ada", "wrong", **{"X-Real-IP": f"198.51.100.{number}"})).status_code == 401
    answer = await control.login("ada", user["password"], **{"X-Real-IP": "198.51.100.99"})
    assert answer.status_code == 429
    assert 200 <= error_of(answer)["retry_after"] <= 300
    assert answer.headers["Retry-After"] == str(error_of(answer)["retry_after"])
    assert control.rows("kind = 'login'")[-1]["status"] == 429


async def test_failed_logins_are_limited_per_address(control: Control) -> None:
    user = await control.user("ada")
    for number in range(10):
        assert (await control.login(f"guess{number}", "wrong")).status_code == 401
    assert (await control.login("ada", user["password"])).status_code == 429
    assert (await control.login("ada", user["password"], **{"X-Real-IP": "198.51.100.1"})).status_code == 200


async def test_right_logins_do_not_use_up_the_attempts(control: Control) -> None:
    user = await control.user("ada")
    for _ in range(12):
        assert (await control.login("ada", user["password"])).status_code == 200


async def test_attempts_at_once_cannot_try_more_passwords_than_the_limit(control: Control) -> None:
    await control.user("ada")
    answers = await asyncio.gather(*(control.login("ada", f"guess {number}") for number in range(25)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 15


async def test_a_refresh_token_is_traded_for_new_tokens(control: Control) -> None:
    user = await control.user("ada")
    first = (await control.login("ada", user["password"])).json()
    answer = await control.ask("POST", "/auth/refresh", "", json={"refresh_token": first["refresh_token"]})
    second = answer.json()
    assert answer.status_code == 200
    assert second["refresh_token"] != first["refresh_token"]
    for tokens in (first, second):
        assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 200
    assert [row["status"] for row in control.rows("action = 'refresh'")] == [200]


async def test_a_refresh_token_used_twice_revokes_the_family_and_is_audited(control: Control) -> None:
    user = await control.user("ada")
    first = (await control.login("ada", user["password"])).json()
    other = (await control.login("ada", user["password"])).json()
    second = (await control.ask("POST", "/auth/refresh", "", json={"refresh_token": first["refresh_token"]})).json()
    again = await control.ask("POST", "/auth/refresh", "", json={"refresh_token": first["refresh_token"]})
    assert (again.status_code, error_of(again)["code"]) == (401, "UNAUTHENTICATED")
    # The thief's and the owner's tokens are both dead; the user's other session lives.
    assert (
        await control.ask("POST", "/auth/refresh", "", json={"refresh_token": second["refresh_token"]})
    ).status_code == 401
    assert (await control.ask("GET", "/auth/me", second["access_token"])).status_code == 401
    assert (await control.ask("GET", "/auth/me", other["access_token"])).status_code == 200
    (row,) = control.rows("action = 'refresh.reuse'")
    assert (row["status"], row["username"]) == (401, "ada")


async def test_of_two_refreshes_at_once_one_wins_and_the_family_is_revoked(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    answers = await asyncio.gather(
        *(control.ask("POST", "/auth/refresh", "", json={"refresh_token": tokens["refresh_token"]}) for _ in range(2))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    winner = next(answer for answer in answers if answer.status_code == 200).json()
    assert (await control.ask("GET", "/auth/me", winner["access_token"])).status_code == 401


async def test_a_made_up_refresh_token_revokes_nothing(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    session, _, secret = tokens["refresh_token"].partition(".")
    for made_up in (
        f"{session}.{'A' * 64}",
        f"{session}.{secret[:-4]}AAAA",
        f"{session.upper()}.{secret}",
        session,
        "x",
        f"{session}.{secret}=",
    ):
        assert (await control.ask("POST", "/auth/refresh", "", json={"refresh_token": made_up})).status_code == 401
    assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 200
    assert (
        await control.ask("POST", "/auth/refresh", "", json={"refresh_token": tokens["refresh_token"]})
    ).status_code == 200


async def test_refresh_tokens_are_not_stored(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    stored = [await control.services.redis.get(name) async for name in control.services.redis.scan_iter("session:*")]
    assert len(stored) == 1
    assert tokens["refresh_token"].partition(".")[2].encode() not in stored[0]


async def test_logout_ends_the_session_and_its_refresh_token(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    assert (await control.ask("POST", "/auth/logout", tokens["access_token"])).status_code == 204
    assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 401
    assert (await control.authorize(tokens["access_token"])).status_code == 401
    assert (
        await control.ask("POST", "/auth/refresh", "", json={"refresh_token": tokens["refresh_token"]})
    ).status_code == 401
    assert control.rows("path = '/auth/logout'")[0]["status"] == 204


async def test_an_api_key_has_no_session_to_end(control: Control) -> None:
    assert (await control.ask("POST", "/auth/logout")).status_code == 422


async def test_changing_the_password_ends_every_session_and_needs_the_old_one(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    change = {"current_password": "wrong", "new_password": "correct horse battery"}
    assert (await control.ask("POST", "/auth/password", tokens["access_token"], json=change)).status_code == 401
    change["current_password"] = user["password"]
    assert (await control.ask("POST", "/auth/password", tokens["access_token"], json=change)).status_code == 204
    assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 401
    assert (
        await control.ask("POST", "/auth/refresh", "", json={"refresh_token": tokens["refresh_token"]})
    ).status_code == 401
    assert (await control.login("ada", user["password"])).status_code == 401
    assert (await control.login("ada", "correct horse battery")).status_code == 200
    assert [row["status"] for row in control.rows("action = 'password.change' AND kind = 'administration'")] == [204]


async def test_sessions_live_in_redis_and_die_with_it(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    await control.services.redis.flushall()
    assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 401
    assert (await control.authorize(user["api_key"])).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ada"},
        {"username": "a", "password": "x" * 300},
        {"username": "", "password": "x"},
        [],
        {"username": 1, "password": "x"},
    ],
)
async def test_a_malformed_login_is_a_422(control: Control, body: object) -> None:
    answer = await control.ask("POST", "/auth/login", "", json=body)
    assert (answer.status_code, error_of(answer)["code"]) == (422, "INVALID_REQUEST")
