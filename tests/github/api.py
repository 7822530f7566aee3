"""A stand-in for GitHub's REST API, as far as `fleet ci` asks it: one repository in memory behind a real HTTP server.

Pages of at most 100 with Link headers, 401 for a wrong token, 422 for a body that is too long, numbers shared by
issues and pull requests, as docs.github.com/rest describes them. ``faults`` are answered first, one a request;
``LOST`` does what is asked and drops the connection before it answers.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_standInTokenThatIsNeverShown"
NAME = "your-org/platform"
BOT = "github-actions[bot]"
LIMIT = 65_536
LOST = -1


@dataclass
class GitHub:
    """What the server holds, and what it was asked."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    dispatched: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    numbers: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What Actions sets for a step that is given the token."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_RUN_ID": "77",
            "GITHUB_SHA": "c0ffee" * 6 + "c0ff",
        }

    def add_comment(self, body: str, author: str = BOT, pull_request: int = 5) -> dict[str, Any]:
        """As somebody would have written it."""
        self.numbers += 1
        made = {
            "id": self.numbers,
            "body": body,
            "user": {"login": author},
            "html_url": f"https://github.com/{NAME}/pull/{pull_request}#issuecomment-{self.numbers}",
            "pull_request": pull_request,
        }
        self.comments.append(made)
        return made

    def add(self, kind: list[dict[str, Any]], author: str = BOT, **fields: Any) -> dict[str, Any]:
        """An issue or a pull request."""
        self.numbers += 1
        where = "pull" if kind is self.pulls else "issues"
        made = {"number": self.numbers, "state": "open", "user": {"login": author}} | fields
        kind.append(made | {"html_url": f"https://github.com/{NAME}/{where}/{self.numbers}"})
        return kind[-1]

    def answer(self, method: str, path: str, query: dict[str, str], data: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of a request; a list is paged by the server."""
        if len(data.get("body") or "") > LIMIT:
            return 422, {"message": "Validation Failed"}
        match method, path.removeprefix(f"/repos/{NAME}").strip("/").split("/"):
            case "GET", [""]:
                return 200, {"default_branch": "main"}
            case "GET", ["issues", number, "comments"]:
                return 200, [each for each in self.comments if each["pull_request"] == int(number)]
            case "POST", ["issues", number, "comments"]:
                return 201, self.add_comment(data["body"], pull_request=int(number))
            case "PATCH", ["issues", "comments", number]:
                return _changed(self.comments, "id", number, data)
            case "GET", ["issues"]:
                pulls = [each | {"pull_request": {}} for each in self.pulls]
                return 200, [each for each in (*pulls, *self.issues) if each["state"] == query["state"]]
            case "POST", ["issues"]:
                return 201, self.add(self.issues, **data)
            case "PATCH", ["issues", number]:
                return _changed(self.issues, "number", number, data)
            case "GET", ["pulls"]:
                branch = query["head"].partition(":")[2]
                return 200, [each for each in self.pulls if each["state"] == query["state"] and each["head"] == branch]
            case "POST", ["pulls"]:
                return 201, self.add(self.pulls, **data)
            case "PATCH", ["pulls", number]:
                return _changed(self.pulls, "number", number, data)
            case "POST", ["actions", "workflows", workflow, "dispatches"]:
                self.dispatched.append((workflow, data))
                return 204, None
        return 404, {"message": "Not Found"}


def _changed(items: list[dict[str, Any]], key: str, value: str, data: dict[str, Any]) -> tuple[int, Any]:
    for item in items:
        if item[key] == int(value):
            item.update(data)
            return 200, item
    return 404, {"message": "Not Found"}


@contextmanager
def serving() -> Iterator[GitHub]:
    """The API on a free loopback port, in threads of this process."""
    github = GitHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            where = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            data = json.loads(self.rfile.read(length)) if length else {}
            query = {name: values[0] for name, values in parse_qs(where.query).items()}
            github.requests.append(f"{self.command} {self.path}")
            fault = github.faults.pop(0) if github.faults else None
            if fault is not None and fault != LOST:
                status, headers = fault if isinstance(fault, tuple) else (fault, {})
                self._reply(status, {"message": "Server Error" if status >= 500 else "Forbidden"}, headers)
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._reply(401, {"message": "Bad credentials"}, {})
                return
            status, found = github.answer(self.command, where.path, query, data)
            if fault == LOST:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            headers = {}
            if isinstance(found, list):
                page, size = int(query.get("page", 1)), min(int(query.get("per_page", 30)), 100)
                if page * size < len(found):
                    rest = re.sub(r"[?&]page=\d+", "", self.path)
                    headers["Link"] = (
                        f'<{github.url}{rest}&page={page + 1}>; rel="next", <{github.url}{rest}>; rel="last"'
                    )
                found = found[(page - 1) * size : page * size]
            self._reply(status, found, headers)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815  # http.server's names

        def _reply(self, status: int, found: Any, headers: dict[str, str]) -> None:
            body = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        github.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield github
        finally:
            server.shutdown()
