"""Owns what a model call costs, from the prices that ship with genai-prices.

No network: prices are those of the installed release, so a cost is reproducible and a process without
internet access has them too. Updating prices is updating the package.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

NOTHING = Decimal(0)


@lru_cache(maxsize=256)
def _per_token(model: str) -> tuple[Decimal, Decimal] | None:
    # Imported here: the price table costs 5 MiB and 30 ms, which a process that never prices need not spend.
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(input_tokens=1_000, output_tokens=1_000), model, provider_id="anthropic")
    except LookupError:
        return None
    return price.input_price / 1_000, price.output_price / 1_000


def cost(model: str, input_tokens: int, output_tokens: int) -> Decimal | None:
    """US dollars of one call, or None where the model has no known price.

    Prices are those of short prompts (up to 64 KiB of context here); tiers by prompt length do not apply.
    """
    if not input_tokens and not output_tokens:
        return NOTHING
    prices = _per_token(model)
    return None if prices is None else prices[0] * input_tokens + prices[1] * output_tokens
