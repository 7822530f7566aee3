"""Schemas of custom resources, as their own definitions state them, so that an object of ours is checked without a server."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

_FOLDER = Path(__file__).parent


@cache
def _known(kind: str) -> dict[str, Any]:
    return dict(json.loads((_FOLDER / f"{kind}.json").read_text("utf-8")))


def kinds() -> set[str]:
    """Kinds there is a schema of."""
    return {path.stem for path in _FOLDER.glob("*.json")}


def validate(manifest: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError for an object its definition would refuse, AssertionError for another version."""
    known = _known(manifest["kind"])
    assert manifest["apiVersion"] == known["apiVersion"]
    jsonschema.validate(manifest, known["schema"])
