"""Log lines have the specification's keys, hide credentials, and follow the level an operator sets."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from runtime import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield io.StringIO()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_specifications_keys_in_order_and_the_request_id(stream: io.StringIO) -> None:
    logs.configure("business", "INFO", stream)
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.get_logger().info(
        "Request completed", agent_id="business_plan_agent_009", duration_ms=3456.78, tokens_used=2847
    )
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "agent_id", "message", "duration_ms", "tokens_used", "request_id"] or set(line) == {
        "timestamp", "level", "agent_id", "message", "duration_ms", "tokens_used", "request_id",
    }  # fmt: skip
    assert (line["level"], line["agent_id"], line["message"]) == (
        "INFO",
        "business_plan_agent_009",
        "Request completed",
    )


def test_a_line_of_no_agent_has_the_processs_name_and_libraries_lines_have_the_same_form(stream: io.StringIO) -> None:
    logs.configure("business", "INFO", stream)
    logging.getLogger("uvicorn.error").warning("Something %s", "happened")
    (line,) = lines(stream)
    assert (line["agent_id"], line["level"], line["message"]) == ("business", "WARNING", "Something happened")


def test_levels_change_while_the_process_runs_for_all_and_for_one_agent(stream: io.StringIO) -> None:
    levels = logs.configure("business", "WARNING", stream)
    log = structlog.get_logger()
    log.info("hidden")
    levels.set("WARNING", {"a_agent_001": "DEBUG"})
    log.debug("shown", agent_id="a_agent_001")
    log.debug("hidden", agent_id="b_agent_002")
    levels.set("INFO")
    log.info("shown", agent_id="b_agent_002")
    assert [line["message"] for line in lines(stream)] == ["shown", "shown"]


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcdefghijklmnop",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
        "hvs.CAESIJabcdefgh",
        "redis://:hunter2hunter2@host:6379/0",
        "postgresql://u:hunter2hunter2@db/x",
    ],
)
def test_credentials_in_values_and_exceptions_are_masked(stream: io.StringIO, secret: str) -> None:
    logs.configure("business", "INFO", stream)
    log = structlog.get_logger()
    log.info(f"message {secret}", url=secret, password="hunter2hunter2", api_key=secret)
    try:
        raise RuntimeError(f"failed with {secret}")
    except RuntimeError:
        log.exception("failed")
    text = stream.getvalue()
    assert secret not in text
    assert "hunter2hunter2" not in text
    assert len(lines(stream)) == 2
