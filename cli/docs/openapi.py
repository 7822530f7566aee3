"""Owns the API's documents: OpenAPI of both applications as JSON, and one reference page made from them.

The applications are built as a process would build them, with keys that are thrown away; nothing is connected.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from cli.docs.markdown import code, kind, made_by, table
from runtime.openapi import resolved
from runtime.settings import AgentSettings, ControlSettings

_EXAMPLE = "business_plan_agent_009"
_METHODS = ("get", "post", "put", "patch", "delete")


def control_document() -> str:
    """docs/api/openapi-control.json."""
    return _text(documents()[0])


def agent_document() -> str:
    """docs/api/openapi-agent.json."""
    return _text(documents()[1])


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


@cache
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenAPI of control and of an agent process."""
    from runtime.agent.app import create_app as agent_app
    from runtime.agent.models.offline import OfflineModel
    from runtime.control.app import create_app as control_app

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        private, public, pepper = _secrets(folder)
        control = control_app(
            ControlSettings(
                database_url=SecretStr("postgresql+psycopg://nobody@127.0.0.1/none"),
                signing_keys=private,
                api_key_pepper=pepper,
            )
        )
        agent = agent_app(
            AgentSettings(identity_public_keys=public, serve_agents=(_EXAMPLE,), model="offline"), model=OfflineModel()
        )
        return control.openapi(), agent.openapi()


def _secrets(folder: Path) -> tuple[Path, Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public, pepper = folder / "signing.pem", folder / "public.pem", folder / "pepper"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    pepper.write_bytes(b"\0" * 32)
    return private, public, pepper


def page() -> str:
    """docs/api/reference.md."""
    control, agent = documents()
    return "\n".join(
        (
            made_by("the OpenAPI documents of runtime/control and runtime/agent"),
            "# API reference\n",
            "Generated from [openapi-control.json](openapi-control.json) and [openapi-agent.json](openapi-agent.json). "
            "[The guide](index.md) says how to authenticate and what limits there are; "
            "[Errors](../reference/errors.md) says what each code means. Tests hold every answer of both applications "
            "against these documents.\n",
            "Every answer carries `X-Request-Id`; of a request whose sender is known, also the three `X-RateLimit` "
            "headers.\n",
            "## Control\n",
            "Users, keys, limits, the catalog, audit and usage. Through the gateway, except `/health`, `/ready` and "
            "`/metrics`, which control answers on its own port alone.\n",
            *_operations(control),
            "## Agents\n",
            "The gateway passes on the executions and the health of one agent. It sets `X-Identity-Token` itself: a "
            "client sends `Authorization` instead. The other paths are answered on the process's own port alone, and "
            "the gateway answers `/health` for itself.\n",
            *_operations(agent),
        )
    )


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every operation: method in capitals, path, description."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def _operations(document: dict[str, Any]) -> Iterator[str]:
    named = document.get("components", {}).get("schemas", {})
    for method, path, operation in operations(document):
        yield f"### {method} {path}\n"
        text = " ".join((operation.get("description") or operation.get("summary", "")).replace("``", "`").split())
        yield f"{text if text.endswith('.') else text + '.'}{_credential(operation)}\n"
        parameters = [
            (
                code(each["name"]),
                each["in"],
                kind(each["schema"], named),
                "required" if each.get("required") else "",
                each.get("description", ""),
            )
            for each in operation.get("parameters", ())
        ]
        if parameters:
            yield table(("Parameter", "In", "Type", "", "Meaning"), parameters)
        body = operation.get("requestBody")
        if body:
            yield "Body:\n"
            yield _shape(body["content"]["application/json"]["schema"], named)
        yield from _answers(document, operation, named)


def _credential(operation: Mapping[str, Any]) -> str:
    return " Needs no credential." if operation.get("security") == [] else ""


def _answers(document: dict[str, Any], operation: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    errors = []
    for status, described in operation["responses"].items():
        response = resolved(document, described)
        content = response.get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if not status.startswith("2"):
            codes = content.get("application/json", {}).get("examples", {})
            errors.append((status, ", ".join(map(code, codes)) or response["description"]))
        elif _resolved(schema, named).get("properties"):
            yield f"Answer {status}:\n"
            yield _shape(schema, named)
        else:
            yield f"Answer {status}: {', '.join(map(code, content)) or 'without a body'}.\n"
    yield "Errors:\n"
    yield table(("Status", "Codes"), errors)


def _resolved(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            found: Mapping[str, Any] = named[option["$ref"].rpartition("/")[2]]
            return found
    return schema


def _shape(schema: Mapping[str, Any], named: Mapping[str, Any], prefix: str = "") -> str:
    return table(("Field", "Type", "", "Meaning"), _fields(schema, named, prefix))


def _fields(schema: Mapping[str, Any], named: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    found = _resolved(schema, named)
    for name, field in found.get("properties", {}).items():
        yield (
            code(f"{prefix}{name}"),
            kind(field, named),
            "required" if name in found.get("required", ()) else "",
            field.get("description", ""),
        )
        if "properties" in _resolved(field, named):
            yield from _fields(field, named, f"{prefix}{name}.")
        elif "properties" in _resolved(field.get("items", {}), named):
            yield from _fields(field["items"], named, f"{prefix}{name}[].")
