"""The error envelope is the specification's, and says nothing it should not."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.contract import STATUS, ErrorCode
from runtime.errors import PlatformError, envelope, from_validation, invalid


def test_the_specifications_error_example_is_reproduced() -> None:
    error = invalid("task_description", "missing_required_field", "Task description is required")
    assert envelope(error.code, error.message, details=error.details) == {
        "error": {
            "code": "INVALID_REQUEST",
            "message": "Task description is required",
            "details": {"field": "task_description", "issue": "missing_required_field"},
        }
    }


def test_the_specifications_rate_limit_example_is_reproduced_with_the_header() -> None:
    response = PlatformError(
        ErrorCode.RATE_LIMIT_EXCEEDED, "Rate limit exceeded. Retry after 42 seconds", retry_after=42
    ).response()
    assert (response.status_code, response.headers["retry-after"], response.headers["content-type"]) == (
        429,
        "42",
        "application/json",
    )
    assert (
        bytes(response.body)
        == b'{"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Rate limit exceeded. Retry after 42 seconds","retry_after":42}}'
    )


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_status_of_an_error(code: ErrorCode) -> None:
    assert 400 <= STATUS[code] < 600


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_name: str
    password: str


def test_validation_errors_name_fields_and_issues_but_never_values() -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"password": ["hunter2"], "extra": "hunter2"})
    error = from_validation(caught.value.errors())
    assert error.details is not None
    assert {(entry["field"], entry["issue"]) for entry in error.details["errors"]} == {
        ("user_name", "missing_required_field"), ("password", "string_type"), ("extra", "unknown_field"),
    }  # fmt: skip
    assert b"hunter2" not in bytes(error.response().body)
