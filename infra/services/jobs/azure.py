"""Owns calls to Azure: the pod's access token by workload identity, Key Vault secrets and Blob storage, by their REST APIs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from .web import CallError, call, call_json, download

_KEY_VAULT_VERSION = "7.4"
_BLOB_VERSION = "2023-11-03"


def authorization(scope: str) -> dict[str, str]:
    """The header with an access token for ``scope``, for the pod's federated token. Raises CallError, KeyError.

    The AZURE_ variables and the token file are put into the pod by the workload identity webhook.
    """
    host = os.environ.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com").rstrip("/")
    form = {
        "client_id": os.environ["AZURE_CLIENT_ID"],
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text("ascii").strip(),
    }
    url = f"{host}/{os.environ['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found = call_json("POST", url, headers=headers, body=urlencode(form).encode())
    return {"Authorization": f"Bearer {found['access_token']}"}


@dataclass(frozen=True)
class KeyVaultSecret:
    """One secret of a Key Vault, ``https://<vault>.vault.azure.net/secrets/<name>``."""

    url: str
    scope: str = "https://vault.azure.net/.default"

    def read(self) -> str | None:
        """Its latest value, None where it has none yet. Raises CallError."""
        try:
            return str(call_json("GET", self._address, headers=authorization(self.scope))["value"])
        except CallError as error:
            if error.status == 404:
                return None
            raise

    def write(self, value: str) -> None:
        """Give it a new version. Raises CallError."""
        headers = {**authorization(self.scope), "Content-Type": "application/json"}
        call("PUT", self._address, headers=headers, body=json.dumps({"value": value}).encode())

    @property
    def _address(self) -> str:
        return f"{self.url}?api-version={_KEY_VAULT_VERSION}"


@dataclass(frozen=True)
class Container:
    """A container of Blob storage, ``<account>/<container>``."""

    name: str
    endpoint: str = ""
    scope: str = "https://storage.azure.com/.default"

    def put(self, key: str, file: Path) -> None:
        """Upload a file of at most 5,000 MiB. Raises CallError."""
        extra = {"x-ms-blob-type": "BlockBlob", "Content-Length": str(file.stat().st_size)}
        with file.open("rb") as stream:
            call("PUT", self._url(key), headers={**self._headers(), **extra}, body=stream)

    def get(self, key: str, file: Path) -> None:
        """Download a blob into a file. Raises CallError."""
        download(file, "GET", self._url(key), headers=self._headers())

    def keys(self, prefix: str) -> list[str]:
        """Names that start with ``prefix``, in order. Raises CallError."""
        found: list[str] = []
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix, **({"marker": marker} if marker else {})}
            answer = call("GET", f"{self._url('')}?{urlencode(query)}", headers=self._headers())
            page = ElementTree.fromstring(answer)  # noqa: S314 (the service's own answer over TLS)
            found += [item.text or "" for item in page.iterfind("Blobs/Blob/Name")]
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return sorted(found)

    def _headers(self) -> dict[str, str]:
        return {**authorization(self.scope), "x-ms-version": _BLOB_VERSION}

    def _url(self, key: str) -> str:
        account, _, container = self.name.partition("/")
        base = self.endpoint.rstrip("/") or f"https://{account}.blob.core.windows.net"
        return f"{base}/{container}" + (f"/{quote(key, safe='/')}" if key else "")
