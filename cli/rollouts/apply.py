"""Owns what happens to files that a rollout or rollback changes: shown, or replaced and applied where they run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import CommandError, Exit
from cli.local.state import State, default_folder, open_state
from cli.rollouts import change
from cli.rollouts.change import Changes

if TYPE_CHECKING:
    from cli.deploy.asked import Options

_PARALLEL = 2


def running() -> State | None:
    """The platform on this machine, where it runs."""
    state = open_state(default_folder(), create=False)
    return state if state is not None and state.is_locked else None


def carry_out(
    changes: Changes, stacks: Sequence[str], *, no_apply: bool, yes: bool, allow_checkout: bool, returns: bool = False
) -> int:
    """Replace the files and apply them: to ``stacks``, else to the platform on this machine; the exit code.

    ``returns``: back to what main's history has, and not on to what nobody has reviewed. Where that platform does not
    take the files they are put back, so that they say what runs. Cloud stacks are gone on with, by
    fleet up.
    """
    ready = None
    if stacks and not no_apply:
        ready = _ready(changes, stacks, yes=yes, allow_checkout=allow_checkout, returns=returns)
    change.write(changes)
    print(f"Changed {', '.join(_shown(path) for path in changes)}.")
    if no_apply:
        print(f"Nothing is applied. {_how(stacks)}")
        return Exit.OK
    if ready is not None:
        return _to_stacks(stacks, *ready)
    state = running()
    if state is None:
        print(f"The platform does not run here, so nothing is applied. {_how(stacks)}")
        return Exit.OK
    return _here(state, changes)


def _here(state: State, changes: Changes) -> int:
    from cli.local.apply import apply

    try:
        applied = apply(state, lambda line: print(line, flush=True))
    except CommandError as error:
        raise CommandError(f"{error}\n{_put_back(changes)}", error.exit_code) from None
    print(applied.words)
    return Exit.OK


def _put_back(changes: Changes) -> str:
    """Undo the change of the files; what became of that."""
    try:
        change.write({path: (after, before) for path, (before, after) in changes.items()})
    except CommandError as error:
        return f"The files could not be put back, so they are not what runs: {error}"
    return "The files are as they were."


def _ready(
    changes: Changes, stacks: Sequence[str], *, yes: bool, allow_checkout: bool, returns: bool
) -> tuple[Options, tuple[str, ...]]:
    """The options to bring the stacks up with, and the stacks that serve them and are not among them. Raises CommandError for what that would refuse, before a file changes.

    Production is changed from what main has. What returns to it from a clean checkout of main needs no leave beside
    the confirmation: both versions have been main's, and whoever reads main finds what runs. Files that differ for
    another reason, and any step forward, do.
    """
    from cli.deploy import asked, checkout, command, guards
    from infra.plan.config import ROOT

    given = command.options(yes=yes, as_json=False, parallel=_PARALLEL, checkout=allow_checkout)
    found = asked.ask(list(stacks), given)
    asked.require_deployable(found)
    if found.production and not allow_checkout:
        if not returns:
            raise CommandError(
                f"{', '.join(found.production)}: production is changed from what main has: say --no-apply, commit and "
                f"merge the changed file, and then fleet up applies it; --allow-checkout applies it from here"
            )
        refused = guards.from_elsewhere(found.production, checkout.read(ROOT), given.allowed)
        if refused:
            raise CommandError("\n".join(refused))
        written = frozenset(os.path.relpath(path, ROOT) for path in changes)
        given = replace(given, allowed=replace(given.allowed, written=written))
    command.require_able(given)
    return given, found.services_beside


def _to_stacks(stacks: Sequence[str], given: Options, beside: Sequence[str]) -> int:
    from cli.deploy import command

    from_here = given.allowed.checkout or bool(given.allowed.written)
    try:
        code = command.start("up", list(stacks), given)
    except CommandError as error:
        how = _how([*stacks, "--allow-checkout"] if from_here else stacks)
        raise CommandError(f"{error}\nThe files are changed and not applied. {how}", error.exit_code) from None
    if beside:
        print(f"Control has its catalog from {', '.join(beside)}: fleet up brings it there too.")
    print("Commit and merge it: until main has it, the next deployment from main brings back what was before.")
    return code


def _how(stacks: Sequence[str]) -> str:
    if stacks:
        return f"fleet up {' '.join(stacks)} applies them."
    return "fleet up applies them here, fleet up STACK to a cloud's."


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
