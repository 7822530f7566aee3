"""Owns the JSON Schemas of the catalog's YAML, which editors complete and check by.

``python -m catalog.jsonschema`` writes ``domain.schema.json`` and ``pool.schema.json``; a test keeps them true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from catalog.schema import DomainSpec, PoolSpec

FOLDER = Path(__file__).parent
IMPLIED = {"AgentSpec": ("pool", "domain", "owner"), "PoolSpec": ("name",)}
"""Fields the file's place or the domain states, so that its author need not."""


def schemas() -> dict[str, bytes]:
    """The schema files' contents by name."""
    return {
        "domain.schema.json": _file(DomainSpec, "One domain of the catalog: pools/<pool>/<domain>.yaml"),
        "pool.schema.json": _file(PoolSpec, "One pool of the catalog: pools/<pool>/pool.yaml"),
    }


def _file(model: type[DomainSpec] | type[PoolSpec], title: str) -> bytes:
    schema: dict[str, Any] = model.model_json_schema()
    for name, fields in IMPLIED.items():
        definition = schema if schema["title"] == name else schema.get("$defs", {}).get(name)
        if definition:
            definition["required"] = [field for field in definition["required"] if field not in fields]
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


if __name__ == "__main__":
    for file, content in schemas().items():
        (FOLDER / file).write_bytes(content)
