"""Owns where jobs keep a secret or a snapshot: one small protocol each, and which of them the environment asks for.

``SecretStore`` holds one text; ``ObjectStore`` holds files by name. The clouds' own are in aws, gcp and azure;
here are the ones of a cluster without a cloud: a Kubernetes Secret and a folder.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from . import aws, azure, gcp
from .web import call_json

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class SettingError(Exception):
    """The job's environment is not right; the message names the variable."""


class SecretStore(Protocol):
    """One secret text that survives the job."""

    def read(self) -> str | None:
        """The text, None where there is none yet."""
        ...

    def write(self, value: str) -> None:
        """Replace the text."""
        ...


class ObjectStore(Protocol):
    """Files by name."""

    def put(self, key: str, file: Path) -> None:
        """Keep a file under ``key``."""
        ...

    def get(self, key: str, file: Path) -> None:
        """Write what is kept under ``key`` into ``file``."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Names that start with ``prefix``, in order."""
        ...


@dataclass(frozen=True)
class KubernetesSecret:
    """One key of a Kubernetes Secret that is already there, ``<namespace>/<name>/<key>``; read and patched as the pod's account."""

    name: str
    server: str = "https://kubernetes.default.svc"
    account: Path = SERVICE_ACCOUNT

    def read(self) -> str | None:
        """Its value, None where it has none yet. Raises CallError."""
        found = (self._call("GET").get("data") or {}).get(self._key)
        return base64.b64decode(found).decode() if found else None

    def write(self, value: str) -> None:
        """Replace its value. Raises CallError."""
        data = {self._key: base64.b64encode(value.encode()).decode()}
        self._call("PATCH", json.dumps({"data": data}).encode())

    @property
    def _key(self) -> str:
        return self.name.split("/")[2]

    def _call(self, method: str, body: bytes | None = None) -> Any:
        namespace, name, _ = self.name.split("/")
        headers = {"Authorization": f"Bearer {(self.account / 'token').read_text('ascii').strip()}"}
        if body:
            headers["Content-Type"] = "application/merge-patch+json"
        url = f"{self.server}/api/v1/namespaces/{namespace}/secrets/{name}"
        ca = self.account / "ca.crt"
        return call_json(method, url, headers=headers, body=body, ca=ca if ca.exists() else None)


@dataclass(frozen=True)
class SecretFile:
    """A private file, replaced in one step."""

    path: Path

    def read(self) -> str | None:
        """Its text, None where there is no file."""
        return self.path.read_text("utf-8") if self.path.exists() else None

    def write(self, value: str) -> None:
        """Replace the text; on disk when this returns."""
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)


@dataclass(frozen=True)
class Folder:
    """A folder, say a mounted volume."""

    path: Path

    def put(self, key: str, file: Path) -> None:
        """Copy a file in; its name appears once it is whole."""
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(file, partial)
        partial.replace(target)

    def get(self, key: str, file: Path) -> None:
        """Copy a file out. Raises FileNotFoundError."""
        shutil.copyfile(self.path / key, file)

    def keys(self, prefix: str) -> list[str]:
        """Names that start with ``prefix``, in order."""
        names = (str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())
        return sorted(name for name in names if name.startswith(prefix) and not Path(name).name.startswith("."))


def secret_store(prefix: str, environment: Mapping[str, str]) -> SecretStore:
    """The store that ``<prefix>_KIND`` (aws, gcp, azure, kubernetes or file) and ``<prefix>_ID`` name. Raises SettingError."""
    kind, name = required(environment, f"{prefix}_KIND"), required(environment, f"{prefix}_ID")
    match kind:
        case "aws":
            return aws.SecretsManager(name, required(environment, "AWS_REGION"))
        case "gcp":
            return gcp.SecretManager(name)
        case "azure":
            return azure.KeyVaultSecret(name.rstrip("/"))
        case "kubernetes":
            return KubernetesSecret(name)
        case "file":
            return SecretFile(Path(name))
    raise SettingError(f"{prefix}_KIND is {kind!r}: set it to aws, gcp, azure, kubernetes or file")


def object_store(environment: Mapping[str, str]) -> ObjectStore:
    """The store that STORAGE_KIND (s3, gcs, azure or filesystem) and STORAGE_ID name. Raises SettingError."""
    kind, name = required(environment, "STORAGE_KIND"), required(environment, "STORAGE_ID")
    match kind:
        case "s3":
            return aws.Bucket(name, required(environment, "AWS_REGION"))
        case "gcs":
            return gcp.Bucket(name)
        case "azure":
            return azure.Container(name)
        case "filesystem":
            return Folder(Path(name))
    raise SettingError(f"STORAGE_KIND is {kind!r}: set it to s3, gcs, azure or filesystem")


def required(environment: Mapping[str, str], name: str) -> str:
    """A variable's value. Raises SettingError where it is missing or empty."""
    value = environment.get(name, "")
    if not value:
        raise SettingError(f"{name} is not set")
    return value
