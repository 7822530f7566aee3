"""A local server that speaks Anthropic's Messages API: what tests and benchmarks of the model client talk to.

``python -m tests.messages_api --port N --delay 0.02`` serves in a process of its own (``GET /seen`` counts);
``serving()`` serves in a thread, and its ``MessagesApi`` tells a test what arrived. What a request gets is
named in it: ``behave:<name>`` anywhere in the body, or the model ``claude-test-<name>``; BEHAVIOURS lists the
names. An asyncio protocol over httptools with ready-made bodies, since benchmarks ask it 1,000 times a second
on the cores they measure.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httptools
import orjson
import uvloop

TEXT = "A plan in three steps: understand the market, size the opportunity, commit the budget."
INPUT_TOKENS, OUTPUT_TOKENS = 412, 58
SLOW_SECONDS = 30.0
RETRY_AFTER = 7
_CUT_HERE = b'"content":'
_BEHAVIOUR = re.compile(rb"(?:behave:|claude-test-)([a-z0-9]+(?:-[a-z0-9]+)*)")
_MODEL = re.compile(rb'"model":\s*"([^"]{1,100})"')


def message(model: str, *, text: str | None = TEXT, stop_reason: str = "end_turn", thinking: bool = False) -> bytes:
    """The body of a message."""
    content: list[dict[str, str]] = (
        [{"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}] if thinking else []
    )
    if text is not None:
        content.append({"type": "text", "text": text})
    usage = {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    return orjson.dumps(
        {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }
    )


def _error(kind: str, text: str) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_01"})


_ONCE = {"x-should-retry": "false"}
"""Tells the SDK not to retry, so that tests of an error do not wait for its back-off."""

ERRORS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "bad-request": (400, {}, _error("invalid_request_error", "prompt is too long")),
    "unauthorized": (401, {}, _error("authentication_error", "invalid x-api-key")),
    "unpaid": (402, {}, _error("billing_error", "credit balance is too low")),
    "forbidden": (403, {}, _error("permission_error", "not allowed")),
    "not-found": (404, {}, _error("not_found_error", "model: claude-none")),
    "too-large": (413, {}, _error("request_too_large", "too large")),
    "rate-limited": (429, {"retry-after": str(RETRY_AFTER)}, _error("rate_limit_error", "slow down")),
    "error": (500, _ONCE, _error("api_error", "internal server error")),
    "overloaded": (529, _ONCE, _error("overloaded_error", "overloaded")),
    "malformed": (200, {}, b'{"id": "msg_01", "content": [{"type": "te'),
    "incomplete": (200, {}, b'{"id": "msg_01", "type": "message"}'),
}
BEHAVIOURS = frozenset(
    {*ERRORS, "normal", "slow", "cut", "cut-midway", "flaky", "refusal", "max-tokens", "thinking", "no-text"}
)


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    key: str
    body: dict[str, Any]
    behaviour: str
    headers: dict[str, str]


@dataclass
class MessagesApi:
    """The server's state: how it answers and what it saw. Attributes may be changed while it runs."""

    delay: float = 0.0
    """Seconds before an answer."""
    keys: set[str] | None = None
    """API keys that are accepted; None: all."""
    record: bool = True
    """Whether requests are kept in ``requests``; off in benchmarks."""
    url: str = ""
    requests: deque[Seen] = field(default_factory=lambda: deque(maxlen=500))
    counts: Counter[str] = field(default_factory=Counter)
    """Requests to /v1/messages by behaviour."""
    cancelled: int = 0
    """Requests whose connection the client closed before the answer."""
    running: int = 0
    on_arrival: dict[str, Callable[[], object]] = field(default_factory=dict)
    """Called when a request with that behaviour arrives, before it is answered."""

    def respond(self, path: bytes, headers: dict[bytes, bytes], body: bytes) -> tuple[float, bytes | None]:
        """Seconds to wait and the response, or None to cut the connection."""
        key = headers.get(b"x-api-key", b"").decode("latin-1")
        if path.startswith(b"/v1/models/"):
            if self.keys is not None and key not in self.keys:
                return 0.0, _response(*ERRORS["unauthorized"])
            return 0.0, _response(
                200,
                {},
                orjson.dumps(
                    {
                        "type": "model",
                        "id": path[11:].decode(),
                        "display_name": "Claude",
                        "created_at": "2026-01-01T00:00:00Z",
                    }
                ),
            )
        if path == b"/seen":
            return 0.0, _response(
                200,
                {},
                orjson.dumps({"counts": dict(self.counts), "cancelled": self.cancelled, "running": self.running}),
            )
        if path.split(b"?")[0] != b"/v1/messages":
            return 0.0, _response(404, {}, _error("not_found_error", "no such path"))
        match = _BEHAVIOUR.search(body)
        behaviour = match.group(1).decode() if match else "normal"
        if self.record:
            seen = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            self.requests.append(Seen(path.decode(), key, orjson.loads(body), behaviour, seen))
        if self.keys is not None and key not in self.keys:
            behaviour = "unauthorized"
        self.counts[behaviour] += 1
        self.on_arrival.get(behaviour, lambda: None)()
        return self._behave(behaviour, body)

    def _behave(self, behaviour: str, body: bytes) -> tuple[float, bytes | None]:
        found = _MODEL.search(body)
        model = found.group(1).decode() if found else "claude-sonnet-5-5"
        if behaviour in ERRORS:
            return self.delay, _response(*ERRORS[behaviour])
        match behaviour:
            case "cut":
                return self.delay, None
            case "cut-midway":
                return self.delay, _normal(model).split(_CUT_HERE)[0] + _CUT_HERE
            case "flaky" if self.counts["flaky"] % 2 == 1:
                return self.delay, _response(500, {"retry-after": "0.01"}, ERRORS["error"][2])
            case "slow":
                return SLOW_SECONDS, _normal(model)
            case "refusal":
                return self.delay, _response(200, {}, message(model, text=None, stop_reason="refusal"))
            case "max-tokens":
                return self.delay, _response(200, {}, message(model, text=TEXT[:20], stop_reason="max_tokens"))
            case "thinking":
                return self.delay, _response(200, {}, message(model, thinking=True))
            case "no-text":
                return self.delay, _response(200, {}, message(model, text=None))
        return self.delay, _normal(model)


_NORMAL: dict[str, bytes] = {}


def _normal(model: str) -> bytes:
    if model not in _NORMAL:
        _NORMAL[model] = _response(200, {}, message(model))
    return _NORMAL[model]


def _response(status: int, headers: dict[str, str], body: bytes) -> bytes:
    all_headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "request-id": "req_01",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body


class _Protocol(asyncio.Protocol):
    def __init__(self, api: MessagesApi) -> None:
        self._api = api
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: asyncio.TimerHandle | None = None
        self._path = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self._api.cancelled += 1
            self._api.running -= 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, []

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        delay, response = self._api.respond(self._path, self._headers, b"".join(self._body))
        self._api.running += 1
        if delay:
            self._waiting = asyncio.get_running_loop().call_later(delay, self._answer, response)
        else:
            self._answer(response)

    def _answer(self, response: bytes | None) -> None:
        self._waiting = None
        self._api.running -= 1
        if response is None:
            self._transport.abort()
            return
        self._transport.write(response)
        if response.endswith(_CUT_HERE):
            self._transport.close()


async def _serve(api: MessagesApi, port: int, started: threading.Event, stop: asyncio.Event) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Protocol(api), "127.0.0.1", port, backlog=1024)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    started.set()
    await stop.wait()
    server.close()


@contextmanager
def serving(*, delay: float = 0.0) -> Iterator[MessagesApi]:
    """The server in a thread, on a free port."""
    api, started, stop = MessagesApi(delay), threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(api, 0, started, stop)), daemon=True)
    thread.start()
    assert started.wait(60), "the Messages API server did not start"
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A local server that speaks the Messages API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before an answer; default 0.02")
    options = parser.parse_args()

    async def run() -> None:
        api, started = MessagesApi(options.delay, record=False), threading.Event()
        task = asyncio.create_task(_serve(api, options.port, started, asyncio.Event()))
        while not started.is_set():
            await asyncio.sleep(0.01)
            if task.done():
                task.result()
        print(api.url, flush=True)
        await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(run())


if __name__ == "__main__":
    main()
