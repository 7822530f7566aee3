"""Owns asking GitHub's REST API for one repository: authentication, pages, and what an answer means.

A passing fault is ``PassingError``, for the caller to look again before it writes again: a write that got no answer
may have happened. The token is sent to the API's own address alone and is in no message.
Source: docs.github.com/rest, API version 2022-11-28.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import httpx2

from cli.errors import CommandError, Exit

PAGE = 100
"""Items of a page, the most there are."""
ATTEMPTS = 5
_LONGEST = 60.0
"""Seconds waited at most before another attempt."""
_Answer = TypeVar("_Answer")


class PassingError(CommandError):
    """GitHub did not answer, is overloaded, or asks to come back later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, Exit.UNREACHABLE)
        self.retry_after = retry_after


class Repository:
    """One repository's API, as a context manager."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.name = name
        self._root = url.rstrip("/")
        self._client = httpx2.Client(
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "ai-agents-platform",
            },
            timeout=30,
        )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The repository of a workflow's variables. Raises CommandError naming the one that is missing."""
        for variable in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
            if not environment.get(variable):
                raise CommandError(
                    f"{variable} is not set: a workflow sets GITHUB_REPOSITORY, and its step must set "
                    "GITHUB_TOKEN to ${{ github.token }}",
                    Exit.USAGE,
                )
        url = environment.get("GITHUB_API_URL") or "https://api.github.com"
        return cls(url, environment["GITHUB_REPOSITORY"], environment["GITHUB_TOKEN"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, data: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to one request below the repository, None where it is empty. Raises CommandError, PassingError."""
        answer = self._send(method, f"{self._root}/repos/{self.name}{path}", data)
        return answer.json() if answer.content else None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All items of a list, page after page. Raises as ``ask``."""
        url = f"{self._root}/repos/{self.name}{path}{'&' if '?' in path else '?'}per_page={PAGE}"
        while url:
            answer = self._send("GET", url)
            yield from answer.json()
            url = answer.links.get("next", {}).get("url", "")
            if url and not url.startswith(f"{self._root}/"):
                raise CommandError(f"GitHub's next page is not at {self._root}: the token is not sent elsewhere")

    def _send(self, method: str, url: str, data: Mapping[str, Any] | None = None) -> httpx2.Response:
        where = f"{method} {url.removeprefix(self._root)}"
        try:
            answer = self._client.request(method, url, json=data)
        except httpx2.TransportError as error:
            raise PassingError(f"GitHub does not answer {where}: {type(error).__name__}") from None
        if answer.is_success:
            return answer
        said = _message(answer)
        wait = answer.headers.get("Retry-After", "")
        # A rate limit comes as 403 or 429, and says when to come back; any other 403 stays one.
        if answer.status_code >= 500 or answer.status_code == 429 or (answer.status_code == 403 and wait):
            raise PassingError(
                f"GitHub answers {where} with {answer.status_code}: {said}", float(wait) if wait.isdigit() else None
            )
        advice = {
            401: ": GITHUB_TOKEN is wrong or has expired",
            403: ": the job needs this right under `permissions:`, and a fork's pull request never has it",
            404: ": there is no such thing, or the token may not see it",
        }.get(answer.status_code, "")
        code = Exit.REFUSED if answer.status_code in (401, 403) else Exit.FAILED
        raise CommandError(f"GitHub answers {where} with {answer.status_code} ({said}){advice}", code)


def retrying(
    action: Callable[[], _Answer], *, pause: float = 1.0, sleep: Callable[[float], None] = time.sleep
) -> _Answer:
    """What ``action`` returns, tried again after a PassingError, each time later. Raises the last one, CommandError."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return action()
        except PassingError as error:
            sleep(min(pause * 2**attempt if error.retry_after is None else error.retry_after, _LONGEST))
    return action()


def _message(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return "no message"
