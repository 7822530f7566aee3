"""The tests' catalog: three agents of one pool, as the end-to-end tests of rollouts have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.rollouts import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Written below the test's folder."""
    made = Catalog(tmp_path / "pools")
    made.write()
    return made
