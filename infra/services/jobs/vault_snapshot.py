"""Owns Vault's Raft snapshots in object storage: ``python -m jobs.vault_snapshot save | list | restore [NAME]``.

``save`` takes one, checks that it is whole, keeps it as ``vault/<UTC time>.snap``. ``restore`` puts one back,
the latest unless named: into the Vault it came from, or into a new one that the bootstrap has initialized
(Vault then holds the old one's data, keys and roles; run the bootstrap afterwards). The storage expires old ones.

Environment: VAULT_ADDR, VAULT_CACERT, SERVICE_ACCOUNT_TOKEN, STORAGE_KIND, STORAGE_ID (stores.object_store).
A snapshot is encrypted with Vault's own keys: restoring needs the cloud key (or unseal keys) of its Vault.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import hvac
from requests import RequestException

from .stores import ObjectStore, SettingError, object_store
from .vault import AWAY, Connection, JobError, waiting
from .web import CallError

PREFIX = "vault/"
_SUMS = "SHA256SUMS"
TIMEOUT_SECONDS = 600


def save(connection: Connection, store: ObjectStore, now: datetime | None = None) -> str:
    """Take a snapshot and keep it; its name. Raises JobError for one that is not whole, hvac's errors, CallError."""
    client = connection.login("backup")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "snapshot"
        answer = client.sys.take_raft_snapshot()
        with file.open("wb") as target:
            for block in answer.iter_content(1 << 20):
                target.write(block)
        check(file)
        name = f"{PREFIX}{(now or datetime.now(UTC)).strftime('%Y%m%dT%H%M%SZ')}.snap"
        store.put(name, file)
    return name


def check(file: Path) -> None:
    """Raise JobError unless the file is a whole snapshot: an archive whose parts have the sums it states."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            sums: dict[str, str] = {}
            stated: dict[str, str] = {}
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                if member.name == _SUMS:
                    lines = content.read().decode().splitlines()
                    stated = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
                elif not member.name.endswith(".sealed"):
                    sums[member.name] = _digest(content)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise JobError(f"the snapshot is not whole ({type(error).__name__}); nothing was kept of it") from None
    if not stated or sums != stated:
        raise JobError("the snapshot's parts have other sums than it states; nothing was kept of it")


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def restore(connection: Connection, store: ObjectStore, name: str = "") -> str:
    """Put a snapshot back, the latest unless named; its name. Everything younger in Vault is lost.

    Raises JobError where there is none or it is not whole, hvac's errors, CallError.
    """
    found = store.keys(PREFIX)
    if not found:
        raise JobError(f"there is no snapshot under {PREFIX}")
    name = name or found[-1]
    if name not in found:
        raise JobError(f"there is no snapshot {name}; the latest is {found[-1]}")
    client = connection.login("restore")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "snapshot"
        store.get(name, file)
        check(file)
        with file.open("rb") as snapshot:
            # Forced: a new Vault has other keys than the one the snapshot was taken of.
            client.sys.force_restore_raft_snapshot(snapshot)
    waiting("Vault answers again", lambda: _answers(connection), seconds=120)
    return name


def _answers(connection: Connection) -> bool:
    try:
        connection.client(timeout=5).sys.read_seal_status()
    except (RequestException, hvac.exceptions.VaultError):
        return False
    return True


def main(arguments: list[str]) -> int:
    """The job; 1 where it failed, with the reason."""
    command, *rest = arguments or ["save"]
    try:
        store = object_store(os.environ)
        if command == "list":
            print("\n".join(store.keys(PREFIX)))
        elif command == "save":
            print(f"vault-snapshot: kept {save(Connection.from_environment(os.environ), store)}")
        elif command == "restore":
            name = restore(Connection.from_environment(os.environ), store, *rest[:1])
            print(f"vault-snapshot: restored {name}; run the bootstrap next")
        else:
            raise SettingError(f"{command!r} is not save, list or restore")
    except (JobError, SettingError, CallError, *AWAY, OSError) as error:
        print(f"vault-snapshot: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
