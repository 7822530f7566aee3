"""Owns what is done once before parts start: the database and its role, migrations, the first administrator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cli.local import postgres
from cli.local.part import LOOPBACK, Part, PartError
from cli.local.state import State

ROOT = Path(__file__).parents[2]
"""The repository: the runtime's processes are started as modules of it."""

DATABASE = "platform"
"""The platform's database and the role that owns it."""

_MAKE_DATABASE = r"""
SELECT 'CREATE ROLE platform LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform') \gexec
ALTER ROLE platform PASSWORD :'password';
SELECT 'CREATE DATABASE platform OWNER platform'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'platform') \gexec
"""


def module(command: str) -> tuple[str, ...]:
    """The command line of one of the runtime's processes."""
    return (sys.executable, "-m", "runtime", command)


def ensure_database(state: State, where: postgres.Places, port: int) -> None:
    """The platform's own role and database, where they are not there yet: control is never the superuser.

    Raises PartError where the server refuses.
    """
    password = state.password("database-password").replace("'", "''")
    command = [str(where.binaries / "bin" / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", LOOPBACK]
    done = subprocess.run(
        [*command, "-p", str(port), "-U", postgres.SUPERUSER, "-d", postgres.SUPERUSER],
        input=f"\\set password '{password}'\n{_MAKE_DATABASE}",
        env={"PATH": "/usr/bin:/bin", "PGPASSWORD": state.password("postgres-password")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PartError(f"the database was not made: {done.stderr.strip()[-400:]}")


def run_module(configured: Part, command: str, log: Path) -> bytes:
    """Run ``python -m runtime <command>`` as ``configured`` is, to its end; its standard output. Raises PartError."""
    done = subprocess.run(
        module(command),
        env=dict(configured.environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    with open(log, "ab", opener=_private) as file:
        file.write(done.stderr)
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-8:]
        ending = "\n".join(f"  {line[:400]}" for line in last)
        raise PartError(f"{command} failed with exit code {done.returncode}; its log {log} ends:\n{ending}")
    return done.stdout


def first_administrator(configured: Part, state: State) -> None:
    """Create the first administrator where there is none, and keep the operator's key. Raises PartError."""
    shown: dict[str, Any] | None = json.loads(run_module(configured, "create-admin", state.log("administrator")))
    if shown is None:
        return
    # Where the start is cut short after this, the password would be lost with it: kept until it was shown.
    state.secret("first-administrator.json", lambda: json.dumps(shown).encode())
    state.record_operator(shown["username"], shown["api_key"])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
