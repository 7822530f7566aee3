"""Owns what happens to files that a rollout or rollback changes: shown, or replaced and applied where they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.errors import CommandError, Exit
from cli.local.state import State, default_folder, open_state
from cli.rollouts import change
from cli.rollouts.change import Changes

_PARALLEL = 2


def running() -> State | None:
    """The platform on this machine, where it runs."""
    state = open_state(default_folder(), create=False)
    return state if state is not None and state.is_locked else None


def carry_out(changes: Changes, stacks: Sequence[str], *, no_apply: bool, yes: bool, allow_checkout: bool) -> int:
    """Replace the files and apply them: to ``stacks``, else to the platform on this machine; the exit code.

    Where that platform does not take them the files are put back, so that they say what runs. Cloud stacks are gone
    on with: the same command, or fleet up, does.
    """
    if stacks and not no_apply:
        _require_ready(stacks, yes=yes, allow_checkout=allow_checkout)
    change.write(changes)
    print(f"Changed {', '.join(_shown(path) for path in changes)}.")
    if no_apply:
        print(f"Nothing is applied. {_how(stacks)}")
        return Exit.OK
    if stacks:
        return _to_stacks(stacks, yes=yes, allow_checkout=allow_checkout)
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
        change.write({path: (after, before) for path, (before, after) in changes.items()})
        raise CommandError(f"{error}\nThe files are as they were.", error.exit_code) from None
    parts = [f"started {', '.join(applied.started)}"] if applied.started else []
    parts += [f"stopped {', '.join(applied.stopped)}"] if applied.stopped else []
    print(f"Applied here in {applied.seconds:.1f} s: {'; '.join(parts) or 'only how requests are shared changed'}.")
    return Exit.OK


def _require_ready(stacks: Sequence[str], *, yes: bool, allow_checkout: bool) -> None:
    """Raises CommandError for what `fleet up` would refuse anyway, before a file is changed."""
    from cli.deploy import asked, command, installed

    found = asked.ask(list(stacks), command.options(yes=yes, as_json=False, parallel=_PARALLEL))
    asked.require_deployable(found)
    if found.production and not allow_checkout:
        raise CommandError(
            f"{', '.join(found.production)}: production is changed from what main has: say --no-apply, commit and merge "
            f"the changed file, and then fleet up applies it; --allow-checkout applies it from here"
        )
    installed.require_cli()


def _to_stacks(stacks: Sequence[str], *, yes: bool, allow_checkout: bool) -> int:
    from cli.deploy import command

    try:
        return command.start(
            "up", list(stacks), command.options(yes=yes, as_json=False, parallel=2, checkout=allow_checkout)
        )
    except CommandError as error:
        raise CommandError(f"{error}\nThe files are changed and not applied. {_how(stacks)}", error.exit_code) from None


def _how(stacks: Sequence[str]) -> str:
    named = " ".join(stacks) if stacks else "STACK"
    return (
        f"fleet up {named} applies them." if stacks else f"fleet up applies them here, fleet up {named} to a cloud's."
    )


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
