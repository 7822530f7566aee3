from __future__ import annotations

import pytest

from catalog import registry
from catalog.registry import Registry


@pytest.fixture(scope="session")
def shipped() -> Registry:
    """The catalog that ships with the platform."""
    return registry.load()
