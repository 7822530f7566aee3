"""Owns calls to AWS: Signature Version 4, the pod's credentials, Secrets Manager and S3.

Sources: "Create a signed AWS API request" (IAM user guide) for the signature; EKS Pod Identity hands
credentials out by the container credentials endpoint (AWS SDKs and Tools reference guide).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from .web import CallError, call, call_json, download

EMPTY_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Credentials:
    """What a request is signed with."""

    key: str
    secret: str
    token: str = ""


def credentials() -> Credentials:
    """The pod's credentials, of EKS Pod Identity; else of the environment. Raises CallError, KeyError."""
    url = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url:
        return Credentials(
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ.get("AWS_SESSION_TOKEN", ""),
        )
    token = Path(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text("ascii").strip()
    found = call_json("GET", url, headers={"Authorization": token})
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token", ""))


def signed(
    method: str,
    url: str,
    *,
    service: str,
    region: str,
    who: Credentials,
    payload_hash: str,
    headers: Mapping[str, str],
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers of a request, signed; ``url`` must already be percent-encoded."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url)
    sent = {**headers, "Host": parts.netloc, "X-Amz-Date": moment}
    if service == "s3":
        sent["X-Amz-Content-Sha256"] = payload_hash
    if who.token:
        sent["X-Amz-Security-Token"] = who.token
    names = sorted(name.lower() for name in sent)
    values = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    # Every service but S3 encodes the path once more.
    path = parts.path or "/"
    canonical = "\n".join(
        [
            method,
            path if service == "s3" else quote(path, safe="/-_.~"),
            "&".join(sorted(parts.query.split("&"))) if parts.query else "",
            *(f"{name}:{values[name]}" for name in names),
            "",
            ";".join(names),
            payload_hash,
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{who.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who.key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent


@dataclass(frozen=True)
class SecretsManager:
    """One secret of Secrets Manager, by name or ARN."""

    name: str
    region: str
    endpoint: str = ""

    def read(self) -> str | None:
        """Its current value, None where it has none yet. Raises CallError."""
        try:
            return str(self._call("GetSecretValue", {"SecretId": self.name})["SecretString"])
        except CallError as error:
            # A secret without a version answers as one that is not there; writing tells the two apart.
            if "ResourceNotFoundException" in error.reason:
                return None
            raise

    def write(self, value: str) -> None:
        """Give it a new version. Raises CallError."""
        self._call("PutSecretValue", {"SecretId": self.name, "SecretString": value})

    def _call(self, action: str, arguments: Mapping[str, str]) -> Any:
        url = (self.endpoint or f"https://secretsmanager.{self.region}.amazonaws.com").rstrip("/") + "/"
        body = json.dumps(dict(arguments)).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"secretsmanager.{action}"}
        sent = signed(
            "POST",
            url,
            service="secretsmanager",
            region=self.region,
            who=credentials(),
            payload_hash=hashlib.sha256(body).hexdigest(),
            headers=headers,
        )
        return call_json("POST", url, headers=sent, body=body)


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket."""

    name: str
    region: str
    endpoint: str = ""

    def put(self, key: str, file: Path) -> None:
        """Upload a file of at most 5 GiB. Raises CallError."""
        digest, size = hashlib.sha256(), file.stat().st_size
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        headers = self._headers("PUT", self._url(key), digest.hexdigest(), {"Content-Length": str(size)})
        with file.open("rb") as stream:
            call("PUT", self._url(key), headers=headers, body=stream)

    def get(self, key: str, file: Path) -> None:
        """Download an object into a file. Raises CallError."""
        download(file, "GET", self._url(key), headers=self._headers("GET", self._url(key), EMPTY_HASH, {}))

    def keys(self, prefix: str) -> list[str]:
        """Names that start with ``prefix``, in order. Raises CallError."""
        found: list[str] = []
        while True:
            start = f"&start-after={quote(found[-1], safe='')}" if found else ""
            url = f"{self._url('')}?list-type=2&prefix={quote(prefix, safe='')}{start}"
            answer = call("GET", url, headers=self._headers("GET", url, EMPTY_HASH, {}))
            page = ElementTree.fromstring(answer)  # noqa: S314 (S3's own answer over TLS)
            found += [item.text or "" for item in page.iterfind("{*}Contents/{*}Key")]
            if page.findtext("{*}IsTruncated") != "true":
                return sorted(found)

    def _url(self, key: str) -> str:
        base = self.endpoint.rstrip("/") or f"https://s3.{self.region}.amazonaws.com"
        return f"{base}/{self.name}/{quote(key, safe='/')}" if key else f"{base}/{self.name}"

    def _headers(self, method: str, url: str, payload_hash: str, headers: Mapping[str, str]) -> dict[str, str]:
        return signed(
            method,
            url,
            service="s3",
            region=self.region,
            who=credentials(),
            payload_hash=payload_hash,
            headers=headers,
        )
