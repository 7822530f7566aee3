"""Owns calls to Google Cloud: the pod's access token, Secret Manager and Cloud Storage, by their REST APIs."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .web import CallError, call, call_json, download


def authorization() -> dict[str, str]:
    """The header with an access token of the pod's service account (Workload Identity's metadata server). Raises CallError."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    found = call_json("GET", url, headers={"Metadata-Flavor": "Google"})
    return {"Authorization": f"Bearer {found['access_token']}"}


@dataclass(frozen=True)
class SecretManager:
    """One secret of Secret Manager, ``projects/<project>/secrets/<secret>``."""

    name: str
    endpoint: str = "https://secretmanager.googleapis.com"

    def read(self) -> str | None:
        """Its latest value, None where it has none yet. Raises CallError."""
        try:
            found = self._call("GET", "/versions/latest:access")
        except CallError as error:
            if error.status == 404:
                return None
            raise
        return base64.b64decode(found["payload"]["data"]).decode()

    def write(self, value: str) -> None:
        """Give it a new version. Raises CallError."""
        payload = {"payload": {"data": base64.b64encode(value.encode()).decode()}}
        self._call("POST", ":addVersion", json.dumps(payload).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {**authorization(), "Content-Type": "application/json"}
        return call_json(method, f"{self.endpoint}/v1/{self.name}{path}", headers=headers, body=body)


@dataclass(frozen=True)
class Bucket:
    """A Cloud Storage bucket."""

    name: str
    endpoint: str = "https://storage.googleapis.com"

    def put(self, key: str, file: Path) -> None:
        """Upload a file. Raises CallError."""
        url = f"{self.endpoint}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(key, safe='')}"
        size = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        with file.open("rb") as stream:
            call("POST", url, headers={**authorization(), **size}, body=stream)

    def get(self, key: str, file: Path) -> None:
        """Download an object into a file. Raises CallError."""
        url = f"{self.endpoint}/storage/v1/b/{self.name}/o/{quote(key, safe='')}?alt=media"
        download(file, "GET", url, headers=authorization())

    def keys(self, prefix: str) -> list[str]:
        """Names that start with ``prefix``, in order. Raises CallError."""
        found: list[str] = []
        page = ""
        while True:
            url = f"{self.endpoint}/storage/v1/b/{self.name}/o?prefix={quote(prefix, safe='')}{page}"
            answer = call_json("GET", url, headers=authorization())
            found += [item["name"] for item in answer.get("items", ())]
            if not answer.get("nextPageToken"):
                return sorted(found)
            page = f"&pageToken={quote(answer['nextPageToken'], safe='')}"
