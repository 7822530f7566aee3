from __future__ import annotations

from typing import get_args

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types import ModelParam

from catalog import models


def sdk_models() -> set[str]:
    literal = next(arg for arg in get_args(ModelParam) if get_args(arg))
    return set(get_args(literal))


def test_the_default_model_is_one_the_sdk_knows_and_does_not_call_deprecated() -> None:
    assert models.DEFAULT_MODEL in sdk_models()
    assert models.DEFAULT_MODEL not in DEPRECATED_MODELS


def test_the_table_holds_just_the_models_the_sdk_offers_and_does_not_deprecate() -> None:
    assert set(models.CURRENT) == sdk_models() - set(DEPRECATED_MODELS)


@pytest.mark.parametrize("model", sorted(DEPRECATED_MODELS))
def test_what_the_sdk_calls_deprecated_is_refused_with_a_successor_that_is_served(model: str) -> None:
    with pytest.raises(ValueError, match="is retired") as refused:
        models.require_model(model)
    assert str(refused.value).rsplit(" ", 1)[-1] in models.CURRENT


def test_a_model_newer_than_the_table_is_let_through() -> None:
    assert models.require_model("claude-sonnet-9") == models.Model(temperature=True, effort=True)
