"""The state folder's promises that a whole start does not show: one secret for all threads, one holder of the lock, moved and copied folders."""

from __future__ import annotations

import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.local.state import LockedError, State, StateError, open_state


def opened(folder: Path) -> State:
    state = open_state(folder)
    assert state is not None
    return state


def test_threads_that_need_a_new_secret_at_once_get_the_same(tmp_path: Path) -> None:
    state = opened(tmp_path / "state")
    barrier = threading.Barrier(8)

    def read() -> str:
        barrier.wait()
        return state.password("shared")

    with ThreadPoolExecutor(8) as pool:
        read_by_all = {future.result() for future in [pool.submit(read) for _ in range(8)]}
    assert len(read_by_all) == 1
    assert {path.name for path in state.secrets.iterdir()} == {"shared"}
    assert stat.S_IMODE((state.secrets / "shared").stat().st_mode) == 0o600


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    state = opened(tmp_path / "state")
    assert not state.is_locked
    with state.locked():
        assert state.is_locked
        with pytest.raises(LockedError), opened(tmp_path / "state").locked():
            pass
    assert not state.is_locked


def test_a_moved_folder_stays_itself_and_a_copied_one_is_refused(tmp_path: Path) -> None:
    first = opened(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    assert opened(tmp_path / "moved").identity == first.identity
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    (tmp_path / "copy").chmod(0o700)
    with pytest.raises(StateError, match="is a copy of"):
        open_state(tmp_path / "copy")


def test_a_folder_is_not_made_for_a_question(tmp_path: Path) -> None:
    assert open_state(tmp_path / "none", create=False) is None
    assert not (tmp_path / "none").exists()
