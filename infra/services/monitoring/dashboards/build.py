"""Owns turning dashboards into Grafana's JSON, with grafana-foundation-sdk, and the list of panels for people.

Only ``python -m infra.services.monitoring.dashboards`` and the tests import this: the SDK is a development
dependency, the program deploys the committed JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    logs,
    loki,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement, VizOrientation
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from infra.services.monitoring.dashboards.agent import DETAIL
from infra.services.monitoring.dashboards.model import Dashboard, Panel, Query, Variable
from infra.services.monitoring.dashboards.overview import OVERVIEW
from infra.services.monitoring.dashboards.stores import STORES

DASHBOARDS: Final[Sequence[Dashboard]] = (OVERVIEW, DETAIL, STORES)


def text(source: Dashboard) -> str:
    """The dashboard as Grafana's JSON."""
    made = (
        dashboard.Dashboard(source.title)
        .uid(source.name)
        .description(source.description)
        .tags(["ai-agents"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
    )
    for variable in source.variables:
        made.with_variable(_variable(variable))
    number = count(1)
    for title, panels in source.rows:
        made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made.with_panel(_panel(panel).id(next(number)))
    data = json.loads(JSONEncoder(sort_keys=True).encode(made.build()))
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> Any:
    hide = models.VariableHide.HIDE_VARIABLE if variable.hidden else models.VariableHide.DONT_HIDE
    return (
        dashboard.QueryVariable(variable.name)
        .query(variable.query)
        .datasource(_source("prometheus"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .hide(hide)
    )


def _source(name: str) -> models.DataSourceRef:
    return models.DataSourceRef(type_val=name, uid=name)


def _panel(panel: Panel) -> Any:
    made = _kind(panel).title(panel.title).datasource(_source(panel.source)).span(panel.width).height(panel.height)
    if panel.description:
        made.description(panel.description)
    if panel.kind != "logs":
        made.unit(panel.unit)
    if panel.limits is not None:
        orange, red = panel.limits
        steps = [
            models.Threshold(value=None, color="green"),
            models.Threshold(value=orange, color="orange"),
            models.Threshold(value=red, color="red"),
        ]
        made.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    for index, query in enumerate(panel.queries):
        made.with_target(_target(panel, query, chr(ord("A") + index)))
    return made


def _kind(panel: Panel) -> Any:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    if panel.kind == "stat":
        return stat.Panel().reduce_options(newest).graph_mode(BigValueGraphMode.NONE)
    if panel.kind == "bars":
        return bargauge.Panel().reduce_options(newest).orientation(VizOrientation.HORIZONTAL)
    if panel.kind == "table":
        return table.Panel()
    if panel.kind == "heatmap":
        return heatmap.Panel().calculate(False)
    if panel.kind == "logs":
        return logs.Panel().enable_log_details(True).prettify_log_message(True).show_time(True)
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    return timeseries.Panel().legend(legend).fill_opacity(10).min(0)


def _target(panel: Panel, query: Query, reference: str) -> Any:
    if panel.source == "loki":
        kind = "instant" if panel.instant else "range"
        return loki.Dataquery().expr(query.expr).legend_format(query.legend).query_type(kind).ref_id(reference)
    made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(reference)
    if panel.kind in ("heatmap", "table"):
        made.format(PromQueryFormat.HEATMAP if panel.kind == "heatmap" else PromQueryFormat.TABLE)
    return made.instant() if panel.instant else made.range()


def listing() -> str:
    """All panels and their queries, for people (PANELS.md)."""
    lines = [
        "# Panels and their queries",
        "",
        "Written by `python -m infra.services.monitoring.dashboards`; a test keeps it true.",
        "",
    ]
    for source in DASHBOARDS:
        lines += [f"## {source.title}", "", source.description, ""]
        for title, panels in source.rows:
            lines += [f"### {title}", "", "| Panel | Data | Query |", "| --- | --- | --- |"]
            for panel in panels:
                for query in panel.queries:
                    # A bar inside code still ends a table's cell.
                    shown = " ".join(query.expr.split()).replace("|", "\\|")
                    lines.append(f"| {panel.title} | {panel.source} | `` {shown} `` |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"
