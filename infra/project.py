"""Owns Pulumi.yaml: the project, and the configuration schema that follows from infra.settings and infra.sections.

``python -m infra.project`` writes it; a test keeps it true. Keys are property paths, so ``cluster.access`` is
checked by the engine as ``access`` under ``cluster``. Secrets and keys without a default are not declared,
since the engine requires every declared key that has none: infra.rules says when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from infra.sections import Settings
from infra.settings import PROJECT, PlatformSpec

PATH = Path(__file__).resolve().parent.parent / "Pulumi.yaml"
_HEADER = "# Written by `python -m infra.project` from infra/settings.py and infra/sections.py: change it there.\n"


def project() -> dict[str, Any]:
    """Pulumi.yaml as data."""
    return {
        "name": PROJECT,
        "description": "1,500 AI agents on EKS, GKE, AKS or a cluster you have",
        "runtime": {"name": "python", "options": {"toolchain": "pip", "virtualenv": ".venv"}},
        "main": "infra",
        "stackConfigDir": "stacks",
        "config": dict(_keys(PlatformSpec, "")),
    }


def _keys(section: type[Settings], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in section.model_fields.values():
        key = f"{prefix}{field.alias}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from _keys(inner, f"{key}.")
        elif inner is not SecretStr and field.default is not None:
            yield key, _declaration(field)


def _declaration(field: FieldInfo) -> dict[str, Any]:
    kind = _kind(field.annotation)
    declaration: dict[str, Any] = {"type": kind}
    if kind == "array":
        declaration["items"] = {"type": "string"}
    declaration["description"] = field.description
    if field.default is not PydanticUndefined:
        declaration["default"] = list(field.default) if kind == "array" else field.default
    return declaration


def _kind(annotation: Any) -> str:
    """The schema's word for a field's type: string, integer, boolean or array."""
    if get_origin(annotation) is tuple:
        return "array"
    if get_origin(annotation) in (Union, UnionType):
        annotation = get_args(annotation)[0]
    return {bool: "boolean", int: "integer"}.get(annotation, "string")


def text() -> str:
    """Pulumi.yaml as text."""
    return _HEADER + yaml.safe_dump(project(), sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
