"""Owns `fleet rollback`: the catalog's files as they were in a version before, and applied.

What is restored is edited files like any other change, to be committed: the next `fleet up` does not revert it.
"""

from __future__ import annotations

import datetime
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandError, Exit
from cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from cli.rollouts.past import Difference, Version

app = typer.Typer(add_completion=False)
_SHOWN = 20


@app.command()
def rollback(
    stacks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STACK", help="Cloud stacks to apply to, by name or pattern; default: the platform on this machine."
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", metavar="DIGEST|COMMIT", help="The version to return to; default: the one before this."),
    ] = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Show the versions there are, newest first, and change nothing.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --list: how many versions.")] = _SHOWN,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="Go on where the catalog has uncommitted changes; they are kept as a patch."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_apply: Annotated[bool, typer.Option("--no-apply", help="Change the files alone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change of the files and make none.")] = False,
    allow_checkout: Annotated[
        bool, typer.Option("--allow-checkout", help="Change production from a checkout that is not what main has.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Return the catalog to the version before (or to the one named), and apply it.

    A version is the content of all agents, by its digest; a rollout under way is no version of its own, and ends.
    """
    from cli.rollouts import agents, apply, change, history, past

    folder = _folder()
    history.resolve(folder, "HEAD")
    if listed:
        _list(folder, limit, as_json)
        return
    present = agents.load(folder)
    dirty = history.uncommitted(folder)
    if dirty and not discard and not dry_run:
        raise CommandError(
            f"the catalog has uncommitted changes ({_some(dirty)}), which would be lost: commit them, or say --discard: "
            "they are then kept as a patch"
        )
    version = past.named(folder, to) if to else past.before(folder, present)
    assert version.registry is not None
    changes = past.restoring(folder, version.commit)
    if not changes:
        print(f"The catalog is that of {version.commit.short} already ({version.digest[:12]}).")
        return
    if dry_run:
        print(change.unified(changes, Path.cwd()), end="")
        return
    _show(present.digest(), version, past.difference(present, version.registry))
    if not yes:
        _confirm()
    if dirty:
        print(f"The uncommitted changes are kept: git apply {_keep(history.patch(folder))} brings them back.")
    code = apply.carry_out(
        changes,
        stacks or [],
        no_apply=no_apply,
        yes=yes,
        allow_checkout=allow_checkout,
        returns=history.is_past(folder, version.commit.identity),
    )
    print(f"Commit it, so that others apply the same: git add {folder} && git commit")
    raise typer.Exit(code)


def _list(folder: Path, limit: int, as_json: bool) -> None:
    from cli.rollouts import agents, past

    present = agents.load(folder)
    found = list(islice(past.versions(folder), limit + 1))
    rows = []
    for position, version in enumerate(found[:limit]):
        after = next((one.registry for one in found[position + 1 :] if one.registry), None)
        counted = past.difference(after, version.registry).count if after and version.registry else None
        rows.append(
            {
                "digest": version.digest,
                "commit": version.commit.identity,
                "date": version.commit.date,
                "subject": version.commit.subject,
                "agents": len(version.registry) if version.registry else None,
                "changed": counted,
                "present": version.digest == present.digest(),
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        ("", "DIGEST", "COMMIT", "DATE", "AGENTS", "CHANGED", "SUBJECT"),
        (
            (
                "now" if row["present"] else "",
                str(row["digest"])[:12] or "cannot be loaded",
                str(row["commit"])[:10],
                row["date"],
                row["agents"],
                row["changed"],
                row["subject"],
            )
            for row in rows
        ),
        empty="The catalog has no history yet: it is not committed.",
    )


def _show(now: str, version: Version, difference: Difference) -> None:
    commit = version.commit
    print(f"From {now[:12]} to {version.digest[:12]} ({commit.short}, {commit.date}: {commit.subject})")
    for what, ids in (("change", difference.changed), ("come", difference.added), ("go", difference.removed)):
        if ids:
            print(
                f"  {len(ids)} agent{'s' if len(ids) != 1 else ''} {what}{'s' if len(ids) == 1 else ''}: {_some(list(ids))}"
            )
    if not difference.count:
        print("  No agent's content changes: rollouts under way, or settings of pools.")


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm: run it in a terminal, or add --yes", Exit.USAGE)
    if not typer.confirm("Return to it?"):
        raise CommandError("not confirmed: nothing was changed")


def _keep(patch: bytes) -> Path:
    """Write a patch into the state folder; its path."""
    from cli.local.state import default_folder, open_state, write_private

    state = open_state(default_folder())
    assert state is not None
    folder = state.folder / "patches"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"catalog-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%fZ}.patch"
    write_private(path, patch)
    return path


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _folder() -> Path:
    from catalog.contract import Env
    from catalog.registry import POOLS_FOLDER

    return Path(os.environ.get(Env.CATALOG_PATH) or POOLS_FOLDER)
