"""The OpenAPI documents are whole: valid themselves, every route with its answers and errors, examples that fit.

That they are true is held elsewhere: every answer that any test of the applications gets is checked (described.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from catalog.contract import STATUS, ErrorCode, Header
from cli.docs.openapi import documents, operations
from runtime.agent import schemas
from runtime.openapi import refusals, resolved
from tests.runtime.described import Described

CONTROL, AGENT = documents()
OPERATIONS = [
    pytest.param(document, operation, id=f"{method} {path}")
    for document in (CONTROL, AGENT)
    for method, path, operation in operations(document)
]
EACH = pytest.mark.parametrize(("document", "operation"), OPERATIONS)


@EACH
def test_an_operation_says_what_it_is_for_who_may_and_what_it_answers(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    assert operation["summary"]
    assert operation["summary"] != operation["operationId"].replace("_", " ").title()
    assert set(operation["tags"]) <= {tag["name"] for tag in document["tags"]}
    answers = [response for status, response in operation["responses"].items() if status.startswith("2")]
    assert len(answers) == 1
    # An operation that anybody may ask says so; every other takes the document's credentials, and can refuse them.
    assert operation.get("security", document["security"]) == [] or "401" in operation["responses"]
    for status, response in operation["responses"].items():
        response = resolved(document, response)
        assert response["description"]
        assert Header.REQUEST_ID in response["headers"], status


@EACH
def test_every_json_answer_has_a_shape_and_an_example_that_fits(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    hook = Described(document)
    for status, response in operation["responses"].items():
        media = resolved(document, response).get("content", {}).get("application/json")
        if media is None:
            continue
        assert media["schema"], status
        examples = list(_examples(document, media))
        assert examples, status
        for example in examples:
            assert not list(hook.validator(media["schema"]).iter_errors(example)), status


def _examples(document: dict[str, Any], media: dict[str, Any]) -> Iterator[Any]:
    yield from (each["value"] for each in media.get("examples", {}).values())
    named = media["schema"].get("$ref", "").rpartition("/")[2]
    yield from document["components"]["schemas"].get(named, {}).get("examples", ())


@EACH
def test_the_example_of_a_request_fits(document: dict[str, Any], operation: dict[str, Any]) -> None:
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in media:
        assert not list(Described(document).validator(media["schema"]).iter_errors(media["example"]))


@pytest.mark.parametrize("document", [CONTROL, AGENT], ids=["control", "agent"])
def test_a_document_is_consistent(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert "ValidationError" not in str(document)
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert not name.endswith(("-Input", "-Output")), "two shapes of one name"


def test_errors_are_grouped_by_status_with_an_example_of_each_code() -> None:
    everything = refusals(*ErrorCode)
    assert set(everything) == set(STATUS.values())
    for code in ErrorCode:
        example = everything[STATUS[code]]["content"]["application/json"]["examples"][code]["value"]["error"]
        assert example["code"] == code
    assert Header.RETRY_AFTER in everything[429]["headers"]


def test_every_error_code_is_in_some_operation() -> None:
    found = {
        code
        for document in (CONTROL, AGENT)
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        for code in resolved(document, response).get("content", {}).get("application/json", {}).get("examples", {})
    }
    # What no operation answers with: paths and methods that are none.
    assert set(ErrorCode) - found == {ErrorCode.METHOD_NOT_ALLOWED}


def test_a_route_that_answers_what_it_does_not_say_is_noticed() -> None:
    hook = Described(AGENT)

    def answer(status: int, body: Any, path: str = "/health") -> httpx2.Response:
        request = httpx2.Request("GET", f"http://agent{path}")
        return httpx2.Response(status, json=body, headers={Header.REQUEST_ID: "r"}, request=request)

    async def check(response: httpx2.Response) -> None:
        await hook(response)

    import asyncio

    fine = {"status": "healthy", "agent_id": "a", "version": "1", "timestamp": "2026-11-23T10:30:00Z"}
    asyncio.run(check(answer(200, fine)))
    refused = {"error": {"code": "TIMEOUT", "message": "no"}}
    for wrong in (
        answer(200, {**fine, "more": 1}),
        answer(200, {}),
        answer(201, fine),
        answer(500, refused),
        answer(200, fine, "/elsewhere"),
        answer(404, {"detail": "Not Found"}, "/elsewhere"),
    ):
        with pytest.raises(AssertionError):
            asyncio.run(check(wrong))


def test_the_described_errors_of_an_execution_name_what_control_and_the_gateway_add() -> None:
    assert {401, 403, 404, 429, 502, 503} <= set(schemas.EXECUTION_ERRORS)
