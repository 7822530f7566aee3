"""`fleet backup` and `fleet restore`: what is destroyed comes back as it was, and what cannot be taken back changes nothing."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.local.state import open_state
from tests.e2e.platform import AGENT, Platform, fleet, shared_folder, started, wait

EXECUTE = f"/agents/{AGENT}/api/v1/execute"


@pytest.fixture
def folder() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="fleet backup "))
    try:
        yield parent / "state"
    finally:
        for each in parent.glob("state*"):
            if each.is_dir() and (shared := shared_folder(each)) is not None:
                shutil.rmtree(shared, ignore_errors=True)
        shutil.rmtree(parent, ignore_errors=True)


def everything(platform: Platform, keys: dict[str, str]) -> dict[str, Any]:
    """What a person would miss: users, keys, limits, audit, settings, and that credentials still work."""
    with platform.client() as admin:
        users = admin.get("/api/v1/users", params={"limit": "100"}).json()["items"]
        listed = {name: admin.get("/api/v1/keys", params={"user": name}).json()["items"] for name in keys}
    working = {}
    for name, key in keys.items():
        with platform.client(key) as client:
            working[name] = client.get("/api/v1/agents", params={"limit": "1"}).status_code
    for entries in listed.values():
        for entry in entries:
            entry.pop("last_used_at", None)
    return {
        "users": sorted(({k: v for k, v in user.items() if k != "last_login_at"} for user in users), key=str),
        "keys": listed,
        "works": working,
        "limits": {name: limit(platform, name) for name in keys},
        "audit": {entry["event_id"]: entry for entry in platform.audit() if entry["status"] is not None},
        "settings": json.loads((platform.folder / "settings.json").read_text()),
        "authority": (platform.folder / "tls").is_dir() and sorted(p.name for p in (platform.folder / "tls").iterdir()),
    }


def limit(platform: Platform, user: str) -> Any:
    answer = fleet(platform.folder, "limits", "get", user, "--json", environment={"FLEET_PORT": str(platform.port)})
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def executed(platform: Platform, key: str, times: int) -> None:
    with platform.client(key) as client:
        for _ in range(times):
            assert client.post(EXECUTE, json={"task_description": "x"}).status_code == 200


def settled(platform: Platform) -> bool:
    """Whether every admitted execution is completed in the audit."""
    return all(entry.get("status") is not None for entry in platform.audit())


def remaining(state_folder: Path) -> dict[str, Any]:
    """Valkey's keys with a life of their own: limits and sessions."""
    state = open_state(state_folder, create=False)
    assert state is not None
    port = state.run["parts"]["valkey-state"]["port"]
    with redis.Redis("127.0.0.1", port, password=state.password("valkey-state-password")) as client:
        return {key.decode(): client.type(key) for key in client.scan_iter("*") if not key.startswith(b"login")}


def destroy(folder: Path) -> None:
    shared = shared_folder(folder)
    shutil.rmtree(folder)
    if shared is not None:
        shutil.rmtree(shared)


def test_what_was_destroyed_comes_back_as_it_was(folder: Path) -> None:
    file = folder.with_name("kept.tar.gz")
    with started(folder) as platform:
        keys = {"ada": platform.new_user("ada", per_minute=7), "brook": platform.new_user("brook")}
        (folder / "settings.json").write_text('{"disabled_agents": []}')
        for key in keys.values():
            executed(platform, key, 3)
        wait("the audit is complete", lambda: settled(platform))
        before, stored = everything(platform, keys), remaining(folder)
        made = fleet(folder, "backup", str(file), "--json")
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["running"] is True
        assert not (folder / "valkey-state" / "dump.rdb").exists()
        # What comes after the backup is not in it.
        platform.new_user("late")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    destroy(folder)
    back = fleet(folder, "restore", str(file))
    assert back.returncode == 0, back.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with started(folder) as again:
        assert "password:" not in again.said
        assert set(stored) - set(remaining(folder)) <= {key for key in stored if key.startswith("limit:")}
        assert "audit" in remaining(folder)
        after = everything(again, keys)
        # Reading is audited too: what was there is there still, and unchanged.
        assert len(before["audit"]) > 6
        assert {event: after["audit"].get(event) for event in before["audit"]} == before["audit"]
        for part in before.keys() - {"audit"}:
            assert after[part] == before[part], part
        assert [user for user in after["users"] if user["username"] == "ada"]
        # It goes on working: new rows, and the limit still bites.
        executed(again, keys["brook"], 1)
        wait("the new row", lambda: len(again.audit()) > len(before["audit"]))
        with again.client(keys["ada"]) as client:
            answers = [client.post(EXECUTE, json={"task_description": "x"}).status_code for _ in range(9)]
        assert 429 in answers


def test_a_stopped_platform_is_copied_too_and_a_restore_keeps_what_it_replaces(folder: Path) -> None:
    file = folder.with_name("stopped.tar.gz")
    with started(folder) as platform:
        platform.new_user("ada")
        first_key = platform.api_key
    assert fleet(folder, "backup", str(file)).returncode == 0
    with started(folder) as platform:
        running = fleet(folder, "restore", str(file), "--replace")
        assert running.returncode == 1
        assert "the platform runs" in running.stderr
        platform.new_user("later")
    refused = fleet(folder, "restore", str(file))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    done = fleet(folder, "restore", str(file), "--replace", "--json")
    assert done.returncode == 0, done.stderr
    kept = Path(json.loads(done.stdout)["kept"])
    assert kept.is_dir()
    with started(folder) as platform:
        assert platform.api_key == first_key
        with platform.client() as admin:
            names = {user["username"] for user in admin.get("/api/v1/users").json()["items"]}
        assert "ada" in names
        assert "later" not in names


def archive(path: Path, members: dict[str, bytes], manifest: dict[str, Any] | None = None) -> Path:
    import hashlib

    about = {"format": 1, "made": "now", "postgres": 18, "files": {n: hashlib.sha256(b).hexdigest() for n, b in members.items()}}  # fmt: skip
    with tarfile.open(path, "w:gz") as made:
        for name, content in {"manifest.json": json.dumps({**about, **(manifest or {})}).encode(), **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return path


WHOLE = {"database.dump": b"x", "state.rdb": b"y"}


@pytest.mark.parametrize(
    ("members", "manifest", "said"),
    [
        ({**WHOLE, "../escaped": b"z"}, {}, "unknown"),
        ({**WHOLE, "secrets/../../escaped": b"z"}, {}, "unknown"),
        ({"state.rdb": b"y"}, {}, "missing"),
        (WHOLE, {"format": 2}, "has format 2"),
        (WHOLE, {"postgres": 99}, "was made with PostgreSQL 99"),
        (WHOLE, {"files": {"database.dump": "0" * 64, "state.rdb": "0" * 64}}, "damaged"),
        (WHOLE, {"files": {**dict.fromkeys(WHOLE, "0" * 64), "secrets/a": "0" * 64}}, "damaged"),
        ({**WHOLE, "secrets/extra": b"z"}, {"files": {"database.dump": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "state.rdb": "a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa"}}, "does not name"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_whole_backup_changes_nothing(
    tmp_path: Path, members: dict[str, bytes], manifest: dict[str, Any], said: str
) -> None:
    file = archive(tmp_path / "bad.tar.gz", members, manifest)
    answer = fleet(tmp_path / "state", "restore", str(file))
    assert answer.returncode == 1
    assert said in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_a_file_cut_short_changes_nothing(tmp_path: Path) -> None:
    import os

    whole = archive(tmp_path / "whole.tar.gz", {**WHOLE, "secrets/a": os.urandom(50_000)})
    short = tmp_path / "short.tar.gz"
    short.write_bytes(whole.read_bytes()[:-20_000])
    answer = fleet(tmp_path / "state", "restore", str(short))
    assert answer.returncode == 1
    assert "cannot be read as a backup" in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.tar.gz", "whole.tar.gz"]


def test_there_is_nothing_to_copy_before_the_first_start(tmp_path: Path) -> None:
    answer = fleet(tmp_path / "state", "backup", str(tmp_path / "x.tar.gz"))
    assert (answer.returncode, answer.stdout) == (5, "")
    assert not (tmp_path / "state").exists()
