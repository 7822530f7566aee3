"""Holds answers of the real applications against their own OpenAPI documents.

``Described`` is a response hook of a client: every answer a test gets is one the document says the route can give,
its body and headers of the shape it says. What a test provokes on purpose beyond that fails here first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx2
from fastapi import FastAPI
from jsonschema import Draft202012Validator, FormatChecker

from runtime.openapi import resolved

Document = dict[str, Any]

OWN = {"/openapi.json", "/api/v1/openapi.json"}
"""The documents themselves, which no document describes."""
NOWHERE = {401, 404, 405, 413, 429, 500, 503}
"""What a path or method that is in no document may be answered with."""
_DOCUMENTS: dict[str, Described] = {}


def described(app: FastAPI) -> Described:
    """The hook for ``app``; one for every kind of application, since the document does not depend on settings."""
    if app.title not in _DOCUMENTS:
        _DOCUMENTS[app.title] = Described(app.openapi())
    return _DOCUMENTS[app.title]


class Described:
    """The hook; ``seen`` are the (method, path, status) that were checked."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[tuple[str, str, str]] = set()
        self._validators: dict[str, Draft202012Validator] = {}
        # A path without parameters is meant before one with: /users/me before /users/{user}.
        self._paths = [
            (re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    async def __call__(self, response: httpx2.Response) -> None:
        await response.aread()
        method, path = response.request.method, response.request.url.path
        if path in OWN and response.status_code == 200:
            return
        template = next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if operation is None:
            assert response.status_code in NOWHERE, f"{method} {path} is not in the document: {response.status_code}"
            if method != "HEAD":
                self._validate({"$ref": "#/components/schemas/ErrorEnvelope"}, response, f"{method} {path}")
            return
        status = str(response.status_code)
        where = f"{method} {template}: {status}"
        assert status in operation["responses"], f"{where} is not in the document: {response.text[:300]}"
        self.check(resolved(self.document, operation["responses"][status]), response, where)
        self.seen.add((method, str(template), status))

    def check(self, answer: Mapping[str, Any], response: httpx2.Response, where: str) -> None:
        """Whether ``response`` is of the shape of ``answer``, a response object."""
        for name, header in answer.get("headers", {}).items():
            given = response.headers.get(name)
            assert given is not None or not header.get("required"), f"{where} lacks the header {name}"
            if given is not None and header["schema"].get("type") == "integer":
                assert given.lstrip("-").isdigit(), f"{where}: {name}: {given}"
        limits = {name for name in response.headers if name.lower().startswith(("x-ratelimit", "retry-after"))}
        assert limits <= {name.lower() for name in answer.get("headers", {})}, f"{where}: undocumented {limits}"
        content = answer.get("content", {})
        if not content:
            assert not response.content, f"{where} has a body that is not in the document"
            return
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in content, f"{where}: {kind} is not in the document"
        if kind == "application/json":
            media = content[kind]
            self._validate(media["schema"], response, where)
            if "error" in response.json() and "examples" in media:
                code = response.json()["error"]["code"]
                assert code in media["examples"], f"{where}: {code} is not in the document"

    def _validate(self, schema: Document, response: httpx2.Response, where: str) -> None:
        problems = [error.message for error in self.validator(schema).iter_errors(response.json())]
        assert not problems, f"{where}: {problems[:3]}: {response.text[:500]}"

    def validator(self, schema: Document) -> Draft202012Validator:
        """Of a schema that may refer to the document's components."""
        key = repr(schema)
        if key not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[key] = Draft202012Validator(whole, format_checker=FormatChecker())
        return self._validators[key]
