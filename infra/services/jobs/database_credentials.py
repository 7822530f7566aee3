"""Owns handing the database's credentials from the cloud's secret manager to Vault: ``python -m jobs.database_credentials``.

Run again and again: the cloud rotates the password by its own calendar (RDS every seven days), and control
reads it from Vault within a minute. Nothing is written where nothing changed.

Environment: CREDENTIALS_KIND and CREDENTIALS_ID (stores.secret_store), VAULT_ADDR, VAULT_CACERT.
The secret is a JSON object with ``username`` and ``password``, as RDS writes it and our foundations do.
"""

from __future__ import annotations

import json
import os
import sys

from hvac.exceptions import InvalidPath

from catalog.contract import VAULT_DATABASE, VAULT_MOUNT

from .stores import SecretStore, SettingError, secret_store
from .vault import AWAY, Connection, JobError
from .web import CallError

ROLE = "database-credentials"
FIELDS = ("username", "password")


def hand_over(source: SecretStore, connection: Connection) -> bool:
    """Bring Vault's copy up to date; whether it changed. Raises JobError, hvac's errors, CallError."""
    text = source.read()
    try:
        found = json.loads(text or "")
        wanted = {field: str(found[field]) for field in FIELDS}
    except (ValueError, KeyError, TypeError):
        raise JobError("the cloud's secret is no JSON object with username and password") from None
    client = connection.login(ROLE)
    kv = client.secrets.kv.v2
    try:
        answer = kv.read_secret_version(path=VAULT_DATABASE, mount_point=VAULT_MOUNT, raise_on_deleted_version=True)
        known = answer["data"]["data"]
    except InvalidPath:
        known = None
    if known == wanted:
        return False
    kv.create_or_update_secret(path=VAULT_DATABASE, secret=wanted, mount_point=VAULT_MOUNT)
    return True


def main() -> int:
    """The job; 1 where it failed, with the reason."""
    try:
        changed = hand_over(secret_store("CREDENTIALS", os.environ), Connection.from_environment(os.environ))
    except (JobError, SettingError, CallError, *AWAY, OSError) as error:
        print(f"database-credentials: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"database-credentials: {'changed' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
