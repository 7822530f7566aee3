"""Request ids, body limits and the last-resort 500 of both applications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, StreamingResponse

from catalog.contract import Header
from runtime import errors
from runtime.http import Envelope

Ask = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(docs_url=None)
    errors.install(app)
    app.add_middleware(Envelope, body_bytes=10)

    @app.post("/echo")
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse({"bytes": len(await request.body()), "id": request.state.request_id})

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("password=hunter2")

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as opened:
        yield opened


async def test_a_sane_request_id_is_kept_and_echoed(client: httpx2.AsyncClient) -> None:
    response = await client.post("/echo", content=b"x", headers={Header.REQUEST_ID: "abc-1"})
    assert response.json()["id"] == response.headers[Header.REQUEST_ID] == "abc-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "../../etc", '"}{'])
async def test_a_request_id_of_another_form_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    response = await client.post("/echo", content=b"x", headers={Header.REQUEST_ID: given})
    assert len(response.headers[Header.REQUEST_ID]) == 32


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(client: httpx2.AsyncClient) -> None:
    response = await client.post("/echo", content=b"x" * 11)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_a_body_that_grows_too_large_without_saying_so_is_refused(client: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"xxxx"

    response = await client.post("/echo", content=chunks())
    assert (response.status_code, response.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE")
    assert response.headers[Header.REQUEST_ID]


async def test_an_exception_nobody_foresaw_is_a_500_with_an_id_and_without_its_text(client: httpx2.AsyncClient) -> None:
    response = await client.get("/boom")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "hunter2" not in response.text
    assert response.headers[Header.REQUEST_ID]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/none", 404, "NOT_FOUND"), ("GET", "/echo", 405, "METHOD_NOT_ALLOWED")],
)
async def test_unknown_paths_and_methods_get_the_envelope(
    client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_an_answer_that_breaks_off_is_not_followed_by_a_second_one() -> None:
    app = FastAPI()
    app.add_middleware(Envelope)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("broken")

        return StreamingResponse(parts())

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as opened:
        with pytest.raises(RuntimeError, match="broken"):
            await opened.get("/stream")
