"""The first administrator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from runtime.control import bootstrap
from runtime.settings import ControlSettings
from tests.runtime.control.conftest import Control


async def test_the_first_administrator_can_log_in_and_has_an_api_key(control: Control) -> None:
    assert control.admin["username"] == "admin"
    assert (await control.login("admin", control.admin["password"])).status_code == 200
    assert (await control.ask("GET", "/auth/me")).json()["role"] == "admin"
    assert control.rows("action = 'user.create'")[0]["target"] == "admin"


def test_there_is_one_first_administrator_however_many_processes_try(settings: ControlSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: bootstrap.create_admin(settings), range(4)))
    assert sum(one is not None for one in made) == 1
    assert bootstrap.create_admin(settings) is None
