"""Writes the dashboards' JSON and PANELS.md: ``python -m infra.services.monitoring.dashboards``."""

from __future__ import annotations

from infra.services.monitoring.dashboards import FOLDER, build

for source in build.DASHBOARDS:
    (FOLDER / f"{source.name}.json").write_text(build.text(source), "utf-8")
(FOLDER / "PANELS.md").write_text(build.listing(), "utf-8")
