"""Owns the dashboards as the cluster gets them: the committed JSON, as ConfigMaps that Grafana's sidecar finds.

The JSON is written by ``python -m infra.services.monitoring.dashboards`` from the panels in this package (with
grafana-foundation-sdk, which only that needs); a test keeps it true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from infra.naming import labels
from infra.pods import Manifest
from infra.services.monitoring.names import MONITORING

FOLDER: Final = Path(__file__).parent
NAMES: Final = ("platform-overview", "agent-detail", "gateway-and-stores")


def text(name: str) -> str:
    """The committed JSON of a dashboard."""
    return (FOLDER / f"{name}.json").read_text("utf-8")


def config_maps() -> list[Manifest]:
    """One ConfigMap a dashboard."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"dashboard-{name}",
                "namespace": MONITORING,
                "labels": {**labels(f"dashboard-{name}", "monitoring"), "grafana_dashboard": "1"},
            },
            "data": {f"{name}.json": text(name)},
        }
        for name in NAMES
    ]
