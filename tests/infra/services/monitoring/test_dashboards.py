"""The committed dashboards are what the panels say, and have everything the specification lists (section 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.services.monitoring import dashboards
from infra.services.monitoring.dashboards.agent import DETAIL
from infra.services.monitoring.dashboards.model import Dashboard
from infra.services.monitoring.dashboards.overview import OVERVIEW
from infra.services.monitoring.dashboards.stores import STORES

ALL = (OVERVIEW, DETAIL, STORES)
SPECIFIED = {
    "platform-overview": {
        "Total request rate",
        "Global error rate",
        "Response time (P50, P95, P99)",
        "Active agents",
        "Top 10 most-used agents",
        "Cost per day (estimate)",
        "Cost per month (estimate)",
    },
    "agent-detail": {
        "Request rate",
        "Error rate",
        "Response time distribution",
        "Token usage",
        "CPU",
        "Memory",
        "Recent errors",
    },
}


@pytest.mark.parametrize("dashboard", ALL, ids=lambda dashboard: dashboard.name)
def test_the_committed_json_is_what_the_panels_say(dashboard: Dashboard) -> None:
    build = pytest.importorskip("infra.services.monitoring.dashboards.build")
    assert dashboards.text(dashboard.name) == build.text(dashboard), (
        "write it anew: python -m infra.services.monitoring.dashboards"
    )


def test_the_list_of_panels_is_what_the_panels_say() -> None:
    build = pytest.importorskip("infra.services.monitoring.dashboards.build")
    written = (dashboards.FOLDER / "PANELS.md").read_text("utf-8")
    assert written == build.listing(), "write it anew: python -m infra.services.monitoring.dashboards"


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a committed dashboard, rows left out."""
    return [panel for panel in json.loads(dashboards.text(name))["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(("name", "titles"), SPECIFIED.items())
def test_every_panel_of_the_specification_is_there(name: str, titles: set[str]) -> None:
    assert titles <= {panel["title"] for panel in panels(name)}


def test_recent_errors_come_from_loki() -> None:
    (recent,) = (panel for panel in panels("agent-detail") if panel["title"] == "Recent errors")
    assert recent["datasource"] == {"type": "loki", "uid": "loki"}


@pytest.mark.parametrize("name", dashboards.NAMES)
def test_panels_have_ids_of_their_own_queries_and_do_not_overlap(name: str) -> None:
    entries = json.loads(dashboards.text(name))["panels"]
    assert len({entry["id"] for entry in entries}) == len(entries)
    taken: set[tuple[int, int]] = set()
    for entry in entries:
        place = entry["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, entry["title"]
        taken |= cells
    assert all(panel["targets"] for panel in panels(name))


def test_each_dashboard_is_a_configmap_that_grafana_finds() -> None:
    maps = dashboards.config_maps()
    assert len(maps) == len(ALL)
    for manifest in maps:
        (text,) = manifest["data"].values()
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(text.encode()) < 1_000_000
        assert json.loads(text)["uid"] in dashboards.NAMES
