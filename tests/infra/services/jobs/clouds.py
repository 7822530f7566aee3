"""Stand-ins of the clouds' APIs: what they document of secrets and objects, over HTTP on loopback. No credential is real."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Cloud:
    """What a stand-in holds, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.secret: str | None = None
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.page = 2
        """Names in one page of a listing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        cloud: Cloud = self.server.cloud  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        cloud.calls.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        status, answer = _route(cloud, self.command, unquote(parts.path), query, body, self.headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


def _route(cloud: Cloud, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> tuple[int, bytes]:
    target = headers.get("X-Amz-Target", "")
    if path == "/credentials":
        return 200, json.dumps({"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "session"}).encode()
    if path.endswith("/token"):
        return 200, b'{"access_token": "a-token", "expires_in": 3600}'
    if target.endswith("GetSecretValue"):
        if cloud.secret is None:
            return 400, b'{"__type": "ResourceNotFoundException"}'
        return 200, json.dumps({"SecretString": cloud.secret}).encode()
    if target.endswith("PutSecretValue"):
        cloud.secret = json.loads(body)["SecretString"]
        return 200, b"{}"
    if path.endswith("/versions/latest:access"):
        data = base64.b64encode((cloud.secret or "").encode()).decode()
        return (404, b"{}") if cloud.secret is None else (200, json.dumps({"payload": {"data": data}}).encode())
    if path.endswith(":addVersion"):
        cloud.secret = base64.b64decode(json.loads(body)["payload"]["data"]).decode()
        return 200, b"{}"
    if path.startswith("/secrets/"):
        if method == "PUT":
            cloud.secret = json.loads(body)["value"]
        return (404, b"{}") if cloud.secret is None else (200, json.dumps({"value": cloud.secret}).encode())
    return _objects(cloud, method, path, query, body)


def _objects(cloud: Cloud, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
    if path.startswith("/upload/storage/"):
        cloud.objects[query["name"]] = body
        return 200, b"{}"
    if "prefix" in query:
        after = query.get("start-after") or query.get("pageToken") or query.get("marker") or ""
        names = sorted(name for name in cloud.objects if name.startswith(query["prefix"]) and name > after)
        now, more = names[: cloud.page], len(names) > cloud.page
        if path.startswith("/storage/v1"):
            page: dict[str, Any] = {"items": [{"name": name} for name in now]}
            return 200, json.dumps({**page, **({"nextPageToken": now[-1]} if more else {})}).encode()
        if query.get("comp") == "list":
            blobs = "".join(f"<Blob><Name>{name}</Name></Blob>" for name in now)
            marker = now[-1] if more else ""
            return (
                200,
                f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode(),
            )
        keys = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in now)
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        listing = f"<ListBucketResult {space}>{keys}<IsTruncated>{str(more).lower()}</IsTruncated></ListBucketResult>"
        return 200, listing.encode()
    name = re.sub(r"^/(storage/v1/b/[^/]+/o|[^/]+)/", "", path)
    if method == "PUT":
        cloud.objects[name] = body
        return 201, b""
    return (200, cloud.objects[name]) if name in cloud.objects else (404, b"no such object")


@contextmanager
def running() -> Iterator[Cloud]:
    """A stand-in that holds nothing yet."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        cloud = Cloud(f"http://127.0.0.1:{server.server_port}")
        server.cloud = cloud  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield cloud
        finally:
            server.shutdown()
