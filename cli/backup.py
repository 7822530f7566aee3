"""Owns `fleet backup` and `fleet restore`: the embedded target's state as one file, and back."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError, Exit
from cli.local.state import default_folder, open_state
from cli.output import Json, print_json

backup_app = typer.Typer(add_completion=False)
restore_app = typer.Typer(add_completion=False)


@backup_app.command()
def backup(
    file: Annotated[
        Path | None, typer.Argument(help="File to write; default: fleet-backup-<time>.tar.gz in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy users, keys, limits, audit and the platform's own keys into one file, while it runs or not.

    The file holds keys: only you can read it (0600), and it belongs where secrets belong. fleet restore takes it back.
    """
    from cli.local import backup as copies

    state = open_state(default_folder(), create=False)
    if state is None:
        raise CommandError("there is nothing to copy: the platform has not run here yet", Exit.NOT_FOUND)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    made = copies.save(state, (file or Path(f"fleet-backup-{stamp}.tar.gz")).absolute())
    if as_json:
        print_json({"file": str(made.path), "bytes": made.bytes, "running": made.running})
        return
    print(f"Wrote {made.path} ({made.bytes / 1024:,.0f} KiB). It holds keys: keep it where secrets are kept.")


@restore_app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What fleet backup wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the state there is; it is kept beside the new one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the platform's state what it was when the backup was made: all of it, or nothing is changed."""
    from cli.local import backup as copies

    folder = default_folder()
    if not file.is_file():
        raise CommandError(f"{file}: no such file", Exit.NOT_FOUND)
    if open_state(folder, create=False) is not None and not replace:
        raise CommandError(
            f"{folder} holds a platform's state: --replace puts the backup in its place and keeps it beside"
        )
    kept = copies.load(file, folder, lambda line: print(line, flush=True))
    if as_json:
        print_json({"folder": str(folder), "kept": str(kept) if kept else None})
        return
    print(f"Restored {folder} from {file}. fleet up starts it.")
    if kept is not None:
        print(f"What was there is in {kept}; remove it when it is no longer needed.")
