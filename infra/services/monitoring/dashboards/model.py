"""Owns what a dashboard is before it is JSON: panels with their queries, as plain data. No SDK here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["timeseries", "stat", "bars", "table", "heatmap", "logs"]
Source = Literal["prometheus", "loki"]


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    expr: str
    legend: str = ""
    """Grafana's legend format: ``{{app}}``."""


@dataclass(frozen=True)
class Panel:
    """One panel; several on a row share 24 columns."""

    title: str
    kind: Kind
    queries: Sequence[Query]
    unit: str = "short"
    """Grafana's unit id: reqps, percentunit, s, bytes, currencyUSD …"""
    source: Source = "prometheus"
    width: int = 8
    height: int = 8
    description: str = ""
    limits: tuple[float, float] | None = None
    """Values from which it turns orange and red."""

    @property
    def instant(self) -> bool:
        """Whether it shows the newest value and not a course."""
        return self.kind in ("stat", "bars", "table")


@dataclass(frozen=True)
class Variable:
    """A choice above the dashboard, filled by a Prometheus query."""

    name: str
    query: str
    hidden: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: rows of panels."""

    name: str
    """File name and uid."""
    title: str
    description: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[Variable] = field(default_factory=tuple)

    @property
    def panels(self) -> list[Panel]:
        """Its panels, in order."""
        return [panel for _, panels in self.rows for panel in panels]
