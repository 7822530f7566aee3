"""Costs come from the installed price table, without network."""

from __future__ import annotations

import socket
from decimal import Decimal

import pytest

from catalog import models
from runtime import pricing

UNPRICED = {"claude-mythos-5", "claude-mythos-5-1"}
"""Not in the price table of the installed genai-prices; their calls are audited with tokens and without a cost."""


@pytest.mark.parametrize("model", sorted(models.CURRENT))
def test_every_model_the_catalog_may_name_has_a_price_but_for_the_known_ones(model: str) -> None:
    cost = pricing.cost(model, 1_000_000, 0)
    if model in UNPRICED:
        assert cost is None
    else:
        assert cost is not None
        assert Decimal("0.05") < cost < 100


def test_output_costs_more_than_input_and_cost_adds_up() -> None:
    whole = pricing.cost(models.DEFAULT_MODEL, 2_000, 1_000)
    read, written = pricing.cost(models.DEFAULT_MODEL, 1_000, 0), pricing.cost(models.DEFAULT_MODEL, 0, 1_000)
    assert whole is not None
    assert read is not None
    assert written is not None
    assert written > read
    assert whole == 2 * read + written


def test_an_unknown_model_has_no_price_but_nothing_costs_nothing() -> None:
    assert pricing.cost("claude-unheard-of-9", 10, 10) is None
    assert pricing.cost("offline", 0, 0) == 0


def test_pricing_never_uses_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pricing used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pricing._per_token.cache_clear()
    assert pricing.cost(models.DEFAULT_MODEL, 1, 1)
