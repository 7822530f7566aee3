"""The platform of the end-to-end tests: one for all tests that leave it running, folders for those that do not."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import Platform, shared_folder, started


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    """A state folder that does not exist yet, removed with everything of it after the block."""
    parent = Path(tempfile.mkdtemp(prefix="fleet e2e "))
    folder = parent / "state"
    try:
        yield folder
    finally:
        shared = shared_folder(folder) if folder.exists() else None
        if shared is not None:
            shutil.rmtree(shared, ignore_errors=True)
        shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """A platform that answers with the offline model, started once."""
    with fresh_folder() as folder, started(folder) as running:
        yield running


@pytest.fixture
def state_folder() -> Iterator[Path]:
    """A state folder that does not exist yet, removed with everything of it afterwards."""
    with fresh_folder() as folder:
        yield folder
