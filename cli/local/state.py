"""Owns the state folder (.fleet/): its checks, secrets, lock and the record of what runs.

Everything in it is the user's alone (0700, files 0600). It never starts or stops anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CommandError

_FORMAT = 1
_MARKER = "fleet.json"


class StateError(CommandError):
    """The state folder cannot be used; the message says what is wrong with it and what to do."""


class LockedError(Exception):
    """Another process has the state folder's platform running (or is starting or stopping it)."""


@dataclass(frozen=True)
class State:
    """An opened state folder; ``identity`` (12 hexadecimal digits) tells it from any other, wherever it is moved."""

    folder: Path
    identity: str

    @property
    def logs(self) -> Path:
        """Folder of <part>.log files."""
        return self.folder / "logs"

    def log(self, part: str) -> Path:
        """A part's log file."""
        return self.logs / f"{part}.log"

    @property
    def secrets(self) -> Path:
        """Folder of the platform's own secrets."""
        return self.folder / "secrets"

    def secret(self, name: str, make: Callable[[], bytes] = lambda: secrets.token_urlsafe(32).encode()) -> Path:
        """Path of a secret file, made on first use. Raises StateError where it is empty or others may read it."""
        path = self.secrets / name
        if not path.exists():
            _write_new(path, make())
        require_private(path)
        if path.stat().st_size == 0:
            raise StateError(
                f"{path} is empty: put its content back, or remove the whole folder {self.folder} to start anew"
            )
        return path

    def password(self, name: str) -> str:
        """A generated password, made on first use."""
        return self.secret(name).read_text("ascii")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock for a with block. Raises LockedError at once where another process holds it."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise LockedError from None
            yield
        finally:
            os.close(descriptor)

    @property
    def is_locked(self) -> bool:
        """Whether a process holds the lock now."""
        try:
            with self.locked():
                return False
        except LockedError:
            return True

    def wait_unlocked(self, seconds: float) -> bool:
        """Wait until nobody holds the lock: false where somebody still does after ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.is_locked:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    @property
    def run(self) -> dict[str, Any]:
        """The record of the running platform, or of the last one; {} where there is none."""
        return read_json(self.folder / "run.json") or {}

    def record_run(self, run: Mapping[str, Any]) -> None:
        """Replace the record in one step."""
        write_private(self.folder / "run.json", json.dumps(run, indent=1).encode())

    @property
    def operator(self) -> dict[str, Any]:
        """The operator's credential {"username", "api_key"} that CLI commands use; {} before the first start."""
        return read_json(self.secrets / "operator.json") or {}

    def forget_operator(self) -> None:
        """The operator's credential is worth nothing any more."""
        (self.secrets / "operator.json").unlink(missing_ok=True)

    def record_operator(self, username: str, api_key: str) -> None:
        """Keep the operator's credential."""
        write_private(self.secrets / "operator.json", json.dumps({"username": username, "api_key": api_key}).encode())


def default_folder() -> Path:
    """FLEET_STATE, or .fleet/ beside the packages."""
    given = os.environ.get("FLEET_STATE")
    return Path(given).absolute() if given else Path(__file__).parents[2] / ".fleet"


def open_state(folder: Path, *, create: bool = True) -> State | None:
    """The state folder, made where there is none (None with ``create`` False). Raises StateError for one that is not ours or not private."""
    try:
        return _opened(folder, create=create)
    except OSError as error:
        raise StateError(
            f"{error.filename or folder}: {error.strerror}. The platform keeps its state there; FLEET_STATE names another folder"
        ) from None


def _opened(folder: Path, *, create: bool) -> State | None:
    if not folder.exists() and not folder.is_symlink():
        if not create:
            return None
        folder.mkdir(mode=0o700, parents=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(
            f"{folder} is not a folder, and the platform keeps its state there: move it away, or name another folder with FLEET_STATE"
        )
    require_private(folder)
    marker = folder / _MARKER
    if not marker.exists():
        if any(folder.iterdir()):
            raise StateError(
                f"{folder} holds files but no {_MARKER}, so it is not the platform's: move it away, or name another folder with FLEET_STATE"
            )
        if not create:
            return None
        write_private(
            marker, json.dumps({"format": _FORMAT, "id": secrets.token_hex(6), "folder": str(folder)}).encode()
        )
    known = read_json(marker)
    if known is None or known.get("format") != _FORMAT or not isinstance(known.get("id"), str):
        raise StateError(
            f"{marker} is not readable as the platform's (format {_FORMAT}): restore it, or remove {folder} to start anew (this deletes users, keys and audit)"
        )
    _refuse_copy(folder, known)
    for name in ("logs", "secrets"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        require_private(folder / name)
    return State(folder, known["id"])


def _refuse_copy(folder: Path, known: Mapping[str, Any]) -> None:
    original = Path(known["folder"])
    if original == folder:
        return
    if (
        original.exists()
        and not original.samefile(folder)
        and (read_json(original / _MARKER) or {}).get("id") == known["id"]
    ):
        raise StateError(
            f"{folder} is a copy of {original}, and both would use one database: remove {folder} to start a new one there"
        )
    write_private(folder / _MARKER, json.dumps({**known, "folder": str(folder)}).encode())


def require_private(path: Path) -> None:
    """Raise StateError where ``path`` belongs to somebody else or others may read or change it."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise StateError(
            f"{path} belongs to user {status.st_uid} and this is user {os.geteuid()}: run as that user, or name another folder with FLEET_STATE"
        )
    if status.st_mode & 0o077:
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise StateError(
            f"{path} can be used by others (mode {stat.S_IMODE(status.st_mode):o}), and secrets are kept there: chmod {wanted} {path}"
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read (0600), whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _write_new(path: Path, content: bytes) -> None:
    """As write_private, but where two threads make the file at once, the first one's content stays."""
    made = path.with_name(f".{path.name}.new.{secrets.token_hex(4)}")
    write_private(made, content)
    with contextlib.suppress(FileExistsError):
        os.link(made, path)
    made.unlink()


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where the file is missing or holds something else."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
