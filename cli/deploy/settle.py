"""Owns clearing up what an interrupted run left: what a cloud can be asked is asked, interrupted creates are decided.

An operation whose end the engine never heard of is read from the cloud by a refresh. A create has no id to ask for, so
whether it came to something is a person's to say; it is never forgotten unasked.
"""

from __future__ import annotations

from collections.abc import Mapping

from cli.deploy import guards, show
from cli.deploy.asked import Options, undecided
from cli.deploy.changes import Holding, Outcome
from cli.deploy.engine import Engine
from cli.deploy.progress import Board
from cli.deploy.prompt import asked_for
from cli.deploy.workers import Workers
from cli.errors import CommandError

NONE = "none"


def settle(
    held: Mapping[str, Holding | None], options: Options, engine: Engine, workers: Workers, board: Board
) -> dict[str, Holding | None]:
    """Stack → what it holds afterwards, of those where something was pending.

    Raises CommandError while an interrupted create is undecided, or where asking a cloud fails or finds much gone.
    """
    todo = {stack: holds for stack, holds in held.items() if holds is not None and holds.pending}
    adopt = _decided(todo, options, board)
    for stack, holds in todo.items():
        count = len(holds.pending)
        board.say(f"{stack}: {count} interrupted operation{'s' * (count > 1)}; asking its cloud how they ended …")
    if todo and not options.yes and asked_for("The state then says so. Type yes to go on: ") != "yes":
        raise CommandError("not confirmed: nothing was changed")

    def one(stack: str) -> Holding | None:
        # Asking means a refresh of everything, so what a refresh may not do, this may not.
        _require(stack, looked := engine.preview(stack, "refresh"))
        refused = guards.destruction(stack, todo[stack], looked.changes, options.allowed)
        if refused:
            alone = f"  look at it alone first, where that option also is: fleet refresh {stack}"
            raise CommandError("\n".join([*refused, alone]))
        left = set(todo[stack].pending_creates) - set(adopt[stack])
        _require(stack, engine.settle(stack, adopt[stack], forget=bool(left)))
        return engine.holding(stack)

    return workers.gather(list(todo), one)


def _decided(todo: Mapping[str, Holding], options: Options, board: Board) -> dict[str, dict[str, str]]:
    """Stack → URN → id of the interrupted creates that exist; the others came to nothing, as somebody said."""
    adopt: dict[str, dict[str, str]] = {}
    refusals = []
    for stack, holds in todo.items():
        known = {urn: options.identity(urn) for urn in holds.pending_creates}
        undone = [urn for urn, identity in known.items() if not identity and not options.forgets(urn)]
        if undone and not options.yes:
            board.say(undecided(stack, undone))
            known |= {urn: asked_for(f"    id of {urn}, or {NONE} where it does not exist: ") for urn in undone}
            undone = [urn for urn in undone if not known[urn]]
        if undone:
            refusals.append(undecided(stack, undone))
        adopt[stack] = {urn: identity for urn, identity in known.items() if identity and identity != NONE}
    if refusals:
        raise CommandError("\n".join(refusals))
    return adopt


def _require(stack: str, outcome: Outcome) -> None:
    if outcome.failed:
        raise CommandError(f"{stack}: how interrupted operations ended could not be asked:\n{show.why(outcome)}")
