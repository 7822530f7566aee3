"""A stack's whole resource graph without cloud, cluster or engine: recorded, compared, priced, checked, drawn.

``infra.plan.record(stack_or_values, mode)`` gives a Plan; the modules explain themselves. Importing this
package imports nothing else, so that the recorder can be loaded next to another commit's program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.plan.plan import Plan, Resource
    from infra.plan.recording import PlanError, record

__all__ = ["Plan", "PlanError", "Resource", "record"]

_HOMES = {"Plan": "plan", "Resource": "plan", "PlanError": "recording", "record": "recording"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
