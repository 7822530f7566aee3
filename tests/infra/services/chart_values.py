"""Checks a release's values against the chart's own: its JSON Schema where it has one, and the values it knows.

A misspelt value is taken by Helm without a word; here it is found, since it stands in no default. The charts'
defaults are not kept here: CHART_VALUES names a folder with ``<chart>-<version>.yaml`` of each (``helm show values``)
and, where the chart has one, its ``<chart>-<version>.schema.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(os.environ.get("CHART_VALUES", "chart-values"))


def needs(name: str, version: str) -> pytest.MarkDecorator:
    """Skips a test where the chart's defaults are not at hand."""
    missing = not (FOLDER / f"{name}-{version}.yaml").exists()
    return pytest.mark.skipif(
        missing, reason=f"CHART_VALUES names no folder with {name}-{version}.yaml (helm show values)"
    )


def problems(name: str, version: str, values: dict[str, Any], free: tuple[str, ...] = ()) -> list[str]:
    """What the chart would not understand; ``free`` are paths that take anything though their default is no empty map."""
    schema = FOLDER / f"{name}-{version}.schema.json"
    if schema.exists():
        validator = jsonschema.Draft7Validator(json.loads(schema.read_text()))
        found = [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(values)]
    else:
        found = []
    defaults = yaml.safe_load((FOLDER / f"{name}-{version}.yaml").read_text())
    return found + list(_unknown(values, defaults, "", free))


def _unknown(values: Any, defaults: Any, path: str, free: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(values, dict) or path in free:
        return
    # Null, an empty map and text (a template) say nothing of what may stand there.
    if not isinstance(defaults, dict) or not defaults:
        if defaults not in (None, {}, [], "") and not isinstance(defaults, str):
            yield f"{path}: the default is {defaults!r}, no map"
        return
    for key, value in values.items():
        where = f"{path}.{key}".removeprefix(".")
        if key not in defaults:
            yield f"{where}: the chart knows no such value"
        else:
            yield from _unknown(value, defaults[key], where, free)
