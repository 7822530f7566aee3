"""Owns how generated pages look: tables, and settings models as tables by way of their JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

ROOT: Final = Path(__file__).resolve().parents[2]


def made_by(source: str) -> str:
    """First line of a generated page."""
    return f"<!-- Written by `fleet docs` from {source}: change it there. -->\n"


def cell(value: object) -> str:
    """A value that cannot end its cell or its row, nor open an element; what is code stays as it is."""
    parts = " ".join(str(value).split()).split("`")
    if len(parts) == 1 and parts[0].startswith("<code>"):
        return parts[0]
    return "`".join(part if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "&#124;")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def code(value: object) -> str:
    """A value as code; empty stays empty. A bar ends a table's cell within backticks too, so such a value is an element."""
    text = str(value)
    if "|" in text or "`" in text:
        return f"<code>{escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else ""


@dataclass(frozen=True)
class Key:
    """One setting of a model."""

    name: str
    kind: str
    default: str
    required: bool
    description: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        """As a row of a table: name, type, default, meaning."""
        return code(self.name), self.kind, "required" if self.required else code(self.default), self.description


ROW: Final = ("Key", "Type", "Default", "Meaning")


def keys(model: type[BaseModel]) -> list[Key]:
    """Every setting of a model, nested ones under dotted names, in the model's order."""
    schema = model.model_json_schema()
    return list(_walk(schema, schema.get("$defs", {}), ""))


def _walk(schema: Mapping[str, Any], named: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    for name, field in schema.get("properties", {}).items():
        inner = _inner(field, named)
        if inner is not None:
            yield from _walk(inner, named, f"{prefix}{name}.")
            continue
        yield Key(
            f"{prefix}{name}",
            kind(field, named),
            _default(field.get("default", "")),
            name in schema.get("required", ()),
            field.get("description", ""),
        )


def _inner(field: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section a field stands for, if it is one."""
    stated = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    reference = stated[0].get("$ref") if len(stated) == 1 else None
    if reference is None:
        return None
    found: Mapping[str, Any] = named[reference.rpartition("/")[2]]
    return found if "properties" in found else None


def kind(field: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """What may be written, in words."""
    if "$ref" in field:
        target = field["$ref"].rpartition("/")[2]
        found = named.get(target, {})
        return target if "properties" in found else kind(found, named)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(kind(each, named) for each in field["anyOf"] if each.get("type") != "null"))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`" if field["const"] else "nothing"
    if field.get("type") == "array":
        return f"list of {kind(field.get('items', {}), named)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
        return f"mapping to {kind(values, named)}" if isinstance(values, Mapping) else "mapping"
    return _simple(field)


def _simple(field: Mapping[str, Any]) -> str:
    if field.get("format") == "password":
        return "secret"
    if field.get("format") == "path":
        return "path"
    name = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}.get(
        field.get("type", ""), "any"
    )
    least = field.get("minimum", field.get("exclusiveMinimum"))
    most = field.get("maximum", field.get("exclusiveMaximum"))
    if least is not None and most is not None:
        return f"{name}, {least:g} to {most:g}"
    if least is not None:
        return f"{name}, {'above' if 'exclusiveMinimum' in field else 'at least'} {least:g}"
    return name


def _default(value: Any) -> str:
    """A default as it would be written; empty for none. Paths of this repository are shown as it names them."""
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(str(each) for each in value) + "]"
    return str(value).removeprefix(f"{ROOT}/")
