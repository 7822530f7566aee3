"""Users, roles and limits."""

from __future__ import annotations

import asyncio

import pytest

from runtime.dynamic import DynamicSettings
from tests.runtime.control.conftest import Control, error_of


async def test_a_new_user_has_a_random_password_shown_once(control: Control) -> None:
    made = (await control.ask("POST", "/api/v1/users", json={"username": "Ada"})).json()
    assert (made["username"], made["role"], made["enabled"]) == ("ada", "user", True)
    assert len(made["password"]) >= 20
    assert "password" not in (await control.ask("GET", "/api/v1/users/ada")).json()
    given = await control.ask("POST", "/api/v1/users", json={"username": "bob", "password": "correct horse battery"})
    assert "password" not in given.json()
    assert (await control.login("bob", "correct horse battery")).status_code == 200


async def test_users_are_listed_in_pages_and_found_by_name(control: Control) -> None:
    for name in ("carol", "bob", "ada"):
        await control.ask("POST", "/api/v1/users", json={"username": name})
    first = (await control.ask("GET", "/api/v1/users?limit=2")).json()
    second = (await control.ask("GET", f"/api/v1/users?limit=2&cursor={first['next_cursor']}")).json()
    assert [user["username"] for user in first["items"] + second["items"]] == ["ada", "admin", "bob", "carol"]
    assert first["total"] == 4
    assert [user["username"] for user in (await control.ask("GET", "/api/v1/users?q=AD")).json()["items"]] == [
        "ada",
        "admin",
    ]
    assert (await control.ask("GET", "/api/v1/users?q=%25")).json()["total"] == 0


async def test_disabling_a_user_ends_sessions_and_keys_at_once_and_enabling_revives_the_keys(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    assert (await control.authorize(tokens["access_token"])).status_code == 200
    assert (await control.authorize(user["api_key"])).status_code == 200
    assert (await control.ask("POST", f"/api/v1/users/{user['id']}/disable")).json()["enabled"] is False
    for credential in (tokens["access_token"], user["api_key"]):
        assert (await control.authorize(credential)).status_code == 401
    assert (
        await control.ask("POST", "/auth/refresh", "", json={"refresh_token": tokens["refresh_token"]})
    ).status_code == 401
    await control.ask("POST", "/api/v1/users/ada/enable")
    assert (await control.authorize(user["api_key"])).status_code == 200
    assert (await control.authorize(tokens["access_token"])).status_code == 401
    assert [row["action"] for row in control.rows("target = 'ada' AND kind = 'administration'")] == [
        "user.create",
        "user.disable",
        "user.enable",
    ]


async def test_resetting_a_password_ends_the_sessions(control: Control) -> None:
    user = await control.user("ada")
    tokens = (await control.login("ada", user["password"])).json()
    new = (await control.ask("POST", "/api/v1/users/ada/password")).json()["password"]
    assert (await control.ask("GET", "/auth/me", tokens["access_token"])).status_code == 401
    assert (await control.login("ada", new)).status_code == 200


async def test_the_last_administrator_stays(control: Control) -> None:
    for method, path, body in (("POST", "disable", None), ("PUT", "role", {"role": "user"})):
        answer = await control.ask(method, f"/api/v1/users/admin/{path}", json=body)
        assert (answer.status_code, error_of(answer)["details"]["issue"]) == (409, "last_admin")
    await control.ask("POST", "/api/v1/users", json={"username": "root", "role": "admin"})
    assert (await control.ask("PUT", "/api/v1/users/admin/role", json={"role": "user"})).status_code == 200
    assert (await control.ask("GET", "/api/v1/users")).status_code == 403


async def test_two_administrators_who_disable_each_other_leave_one(control: Control) -> None:
    other = await control.user("root", role="admin")
    answers = await asyncio.gather(
        control.ask("POST", "/api/v1/users/root/disable"),
        control.ask("POST", "/api/v1/users/admin/disable", other["api_key"]),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])


async def test_a_limit_of_one_s_own_is_in_force_at_once(control: Control) -> None:
    user = await control.user("ada")
    assert (await control.authorize(user["api_key"])).headers["X-RateLimit-Limit"] == "100"
    body = (await control.ask("PUT", "/api/v1/users/ada/limit", json={"requests_per_minute": 5000})).json()
    assert body["limit"] == {"requests_per_minute": 5000, "source": "user"}
    assert (await control.authorize(user["api_key"])).headers["X-RateLimit-Limit"] == "5000"
    assert (await control.ask("GET", "/api/v1/limits", user["api_key"])).json() == {
        "requests_per_minute": 5000,
        "source": "user",
    }
    await control.ask("DELETE", "/api/v1/users/ada/limit")
    assert (await control.ask("GET", "/api/v1/users/ada/limit")).json() == {
        "requests_per_minute": 100,
        "source": "default",
    }
    control.services.dynamic.current = DynamicSettings(rate_limits={"ada": 7})
    assert (await control.ask("GET", "/api/v1/users/ada/limit")).json() == {
        "requests_per_minute": 7,
        "source": "settings",
    }
    assert [row["details"] for row in control.rows("action = 'user.limit'")] == [
        {"requests_per_minute": 5000},
        {"requests_per_minute": None},
    ]


@pytest.mark.parametrize("limit", [0, -1, 1_000_001, "many", 1.5])
async def test_a_limit_out_of_range_is_refused(control: Control, limit: object) -> None:
    answer = await control.ask("PUT", "/api/v1/users/admin/limit", json={"requests_per_minute": limit})
    assert (answer.status_code, error_of(answer)["details"]["field"]) == (422, "requests_per_minute")


@pytest.mark.parametrize("username", ["", "a b", "ada\n", "../x", "x" * 65, "ünïcode", "-ada"])
async def test_a_name_that_is_none_is_refused(control: Control, username: str) -> None:
    answer = await control.ask("POST", "/api/v1/users", json={"username": username})
    assert (answer.status_code, error_of(answer)["details"]["field"]) == (422, "username")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/admin"),
        ("POST", "/admin/disable"),
        ("POST", "/admin/enable"),
        ("PUT", "/admin/role"),
        ("PUT", "/admin/limit"),
        ("DELETE", "/admin/limit"),
        ("POST", "/admin/password"),
    ],
)
async def test_users_are_for_administrators_only(control: Control, method: str, path: str) -> None:
    user = await control.user("ada")
    body = (
        {"POST": {"username": "eve"}, "PUT": {"role": "admin"}}.get(method)
        if path in ("", "/admin/role")
        else {"requests_per_minute": 5}
        if method == "PUT"
        else None
    )
    answer = await control.ask(method, f"/api/v1/users{path}", user["api_key"], json=body)
    assert (answer.status_code, error_of(answer)["code"]) == (403, "FORBIDDEN")
