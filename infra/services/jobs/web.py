"""Owns HTTPS calls to the clouds' APIs: one call, its answer or an error that names the service and never a body sent."""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

TIMEOUT_SECONDS = 30


class CallError(Exception):
    """A call that failed; ``status`` is the HTTP status, 0 where there was no answer."""

    def __init__(self, method: str, url: str, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"{method} {url.partition('?')[0]}: {f'HTTP {status}' if status else 'no answer'}: {reason}")


@contextmanager
def opened(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | IO[bytes] | None = None,
    ca: Path | None = None,
) -> Iterator[IO[bytes]]:
    """The answer's body as a stream. Raises CallError."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 (our own URLs)
    context = ssl.create_default_context(cafile=str(ca) if ca else None) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            reason = " ".join(error.read(500).decode(errors="replace").split())
        raise CallError(method, url, error.code, reason or str(error.reason)) from None
    except (OSError, HTTPException) as error:
        raise CallError(method, url, 0, str(error)) from None


def call(method: str, url: str, **options: Any) -> bytes:
    """The answer's body. Raises CallError."""
    with opened(method, url, **options) as answer:
        return answer.read()


def call_json(method: str, url: str, **options: Any) -> Any:
    """The answer's JSON. Raises CallError."""
    return json.loads(call(method, url, **options) or b"null")


def download(target: Path, method: str, url: str, **options: Any) -> None:
    """The answer's body, into a file. Raises CallError."""
    with opened(method, url, **options) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file)
