"""Owns how a change of cloud stacks goes: look, refuse, show, ask, then wave after wave, stopping where one fails.

What may be done is guards', in which order is order's, how it is seen progress's. Everything that can be refused
before anything is touched is refused before; a stack whose plan cannot be known yet is shown when its turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cli.deploy import checkout, endings, guards, show
from cli.deploy.asked import Asked, Options, readers
from cli.deploy.changes import Holding, Outcome
from cli.deploy.engine import Engine, Kind
from cli.deploy.progress import Board
from cli.deploy.prompt import asked_for
from cli.deploy.settle import settle
from cli.deploy.show import Result
from cli.deploy.workers import Workers
from cli.errors import CommandError, Exit
from infra.plan.config import ROOT

T = TypeVar("T")
_VERBS = {"up": "bringing up", "destroy": "taking down", "refresh": "reading from its cloud"}
_WHAT = {"up": "bring up", "destroy": "take down", "refresh": "refresh"}
_COMMANDS = {"up": "up", "destroy": "down", "refresh": "refresh"}


@dataclass(frozen=True)
class Look:
    """What a preview of one stack said."""

    outcome: Outcome
    refusals: tuple[str, ...] = ()

    def confirmed_by(self, before: Look | None) -> bool:
        """Whether whoever confirmed the plan ``before`` has seen this one: the same counts, and the same that goes."""
        if before is None or self.refusals or self.outcome.failed:
            return False
        one, other = before.outcome.changes, self.outcome.changes
        goes = [set(changes.having("delete", "replace")) for changes in (one, other)]
        return dict(one.counts) == dict(other.counts) and goes[0] == goes[1]


class Run:
    """One command on cloud stacks. ``held`` is what each stack held when it was last looked at; None: it is not there."""

    def __init__(self, kind: Kind, asked: Asked, options: Options, engine: Engine, board: Board) -> None:
        self.kind: Kind = kind
        self.asked = asked
        self.options = options
        self.engine = engine
        self.board = board
        self.workers = Workers(engine.cli, board, options.parallel)
        self.held: dict[str, Holding | None] = {}
        self.looks: dict[str, Look] = {}
        self.lifted: dict[str, frozenset[str]] = {}
        self.results: dict[str, Result] = {}
        self.interrupted = False

    def execute(self) -> int:
        """Do it all; the exit code. Raises CommandError for what is refused before anything was changed."""
        self._refuse_checkout()
        self.held = self._each(self.asked.stacks, self.engine.holding)
        self._require_present()
        self.held |= settle(self.held, self.options, self.engine, self.workers, self.board)
        try:
            self._look(stack for stack in self.asked.stacks if self._can_look(stack))
            self._show(self.asked.stacks)
            self.board.say(show.waves_text(self.asked.waves))
            self._confirm(self.asked.stacks)
            for wave in self.asked.waves:
                if not self._go_on(wave.stacks):
                    break
        except KeyboardInterrupt:
            if not self.results:
                raise
            self.interrupted = True
        finally:
            self._put_protection_back()
        return self._end()

    # Before anything is touched

    def _refuse_checkout(self) -> None:
        if self.kind != "refresh" and self.asked.production:
            found = guards.from_elsewhere(self.asked.production, checkout.read(ROOT), self.options.allowed)
            self._refuse(found)

    def _require_present(self) -> None:
        absent = [stack for stack in self.asked.stacks if self.held[stack] is None]
        if self.kind == "up" or not absent:
            return
        if self.kind == "refresh" or len(absent) == len(self.held):
            raise CommandError(f"{', '.join(absent)}: not in the backend, so there is nothing to {_WHAT[self.kind]}")
        for stack in absent:
            self._ended(Result(stack, "unchanged"))

    # Looking

    def _can_look(self, stack: str) -> bool:
        """Whether a preview would be true now: the stack is there, and so is what it reads from others of this run."""
        if self.held[stack] is None:
            return False
        if self.kind != "up":
            return True
        return all(
            layer in (self.held[name] or Holding()).outputs for layer, name in self.asked.upstream(stack).items()
        )

    def _look(self, stacks: Iterable[str]) -> None:
        wanted = list(stacks)
        if self.kind == "destroy":
            self._refuse(self._standing(wanted))
        if wanted:
            self.board.say(f"Previewing {', '.join(wanted)} …")
        self.looks |= self._each(wanted, self._previewed)

    def _previewed(self, stack: str) -> Look:
        held = self.held[stack] or Holding()
        outcome = self.engine.preview(stack, self.kind)
        if self.kind == "destroy":
            return Look(outcome)
        if self.kind == "refresh":
            # What is gone already cannot be protected; but a wrong account would make everything look gone.
            return Look(outcome, tuple(guards.destruction(stack, held, outcome.changes, self.options.allowed)))
        endangered = guards.endangered(held, outcome.changes)
        refusals = guards.protection(stack, endangered, self.options.allowed)
        faults = outcome.changes.faults
        if not refusals and faults and all(guards.about_protection(fault) for fault in faults):
            # The engine plans nothing against protection, so it is lifted, by name as allowed, and put back where
            # the run does not come to that.
            self.lifted[stack] = self.lifted.get(stack, frozenset()) | endangered
            self.engine.protect(stack, sorted(endangered), lift=True)
            outcome = self.engine.preview(stack, self.kind)
        ended = endings.of_stack(held, self.asked.specs[stack])
        refusals += guards.destruction(stack, held, outcome.changes, self.options.allowed, ended)
        return Look(outcome, tuple(refusals))

    def _standing(self, stacks: Sequence[str]) -> list[str]:
        found = [text for stack in stacks for text in guards.standing(stack, self.held[stack] or Holding())]
        for stack, others in readers(stacks).items():
            alive = [name for name in others if (self.engine.holding(name) or Holding()).resources]
            if alive:
                command = self.options.resume("down", [*alive, stack])
                found.append(f"{stack}: {', '.join(alive)} stand on it. Take them down with it, or before: {command}")
        return found

    def _show(self, stacks: Iterable[str]) -> None:
        """Show the plans; raises CommandError where one is refused or could not be made."""
        problems: list[str] = []
        for stack in stacks:
            look, held = self.looks.get(stack), self.held[stack] or Holding()
            if look is None:
                if stack not in self.results:
                    self.board.say(f"{stack}: {self._why_not_yet(stack)}")
                continue
            changes = look.outcome.changes
            problems += look.refusals
            if look.outcome.failed and not look.refusals:
                problems.append(f"{stack}: the preview failed:\n{show.why(look.outcome)}")
            elif not look.outcome.failed:
                self.board.say(show.plan_text(stack, held, changes))
                self.board.emit("plan", show.plan_data(stack, held, changes))
        self._refuse(problems)

    def _why_not_yet(self, stack: str) -> str:
        if self.held[stack] is None:
            return "does not exist yet; it is made, and its plan shown, when its turn comes"
        missing = ", ".join(self.asked.upstream(stack).values())
        return f"its plan needs what {missing} will hand over; it is shown when its turn comes"

    # Asking

    def _confirm(self, stacks: Sequence[str]) -> None:
        """Raises CommandError where the person does not want it."""
        wanted = [stack for stack in stacks if stack not in self.results]
        if self.options.yes:
            return
        production = [stack for stack in wanted if stack in self.asked.production]
        if self.kind == "destroy" and production:
            for stack in production:
                if asked_for(f"Everything in {stack} goes. Type its name to go on: ") != stack:
                    raise CommandError("not confirmed: nothing was changed")
        elif asked_for(f"{_WHAT[self.kind].capitalize()} {', '.join(wanted)}? Type yes to go on: ") != "yes":
            raise CommandError(
                "not confirmed: " + ("nothing more was changed" if self.results else "nothing was changed")
            )

    # Doing

    def _go_on(self, stacks: Sequence[str]) -> bool:
        """One wave; whether the next may begin."""
        turn = [stack for stack in stacks if stack not in self.results]
        moved = {stack for stack, result in self.results.items() if result.state == "done"}
        late = [stack for stack in turn if stack not in self.looks or moved & set(self.asked.upstream(stack).values())]
        try:
            self._look_late(late)
        except CommandError as error:
            for stack in late:
                self._ended(Result(stack, "refused", problem=str(error) if stack == late[0] else ""))
            return False
        with self.board.working():
            self.workers.each(turn, self._apply, stop=lambda: any(one.stops for one in self.results.values()))
        return not self.workers.interrupted and not any(result.stops for result in self.results.values())

    def _look_late(self, stacks: list[str]) -> None:
        if not stacks:
            return
        before = {stack: self.looks[stack] for stack in stacks if stack in self.looks}
        for stack in stacks:
            if self.held[stack] is None:
                self.board.say(f"{stack}: making it in the backend …")
                self.engine.create(stack)
                self.held[stack] = self.engine.holding(stack)
        self._look(stacks)
        other = [stack for stack in stacks if not self.looks[stack].confirmed_by(before.get(stack))]
        self._show(other)
        if other:
            self._confirm(other)

    def _apply(self, stack: str) -> None:
        began = time.monotonic()
        self.board.began(stack, _VERBS[self.kind], self.looks[stack].outcome.changes)
        outcome = self.engine.apply(stack, self.kind, lambda event: self.board.event(stack, event))
        state: show.State = "done" if outcome.changes.total else "unchanged"
        if outcome.failed:
            state = "cancelled" if outcome.cancelled else "failed"
        self._ended(Result(stack, state, outcome.changes, outcome.problem, time.monotonic() - began))

    # Afterwards

    def _put_protection_back(self) -> None:
        for stack, urns in self.lifted.items():
            if stack in self.results and not self.results[stack].stops:
                continue
            still = (self.engine.holding(stack) or Holding()).resources & urns
            self.engine.protect(stack, sorted(still), lift=False)

    def _end(self) -> int:
        ordered = [self.results.get(stack) or Result(stack, "not started") for stack in self.asked.stacks]
        left = [result.stack for result in ordered if result.stops or result.state == "not started"]
        resume = self.options.resume(_COMMANDS[self.kind], left) if left else ""
        self.board.say(show.summary_text(ordered, resume))
        self.board.emit("summary", {"stacks": [show.result_data(result) for result in ordered], "resume": resume})
        if self.workers.interrupted or self.interrupted:
            return Exit.INTERRUPTED
        return Exit.FAILED if left else Exit.OK

    def _ended(self, result: Result) -> None:
        self.results[result.stack] = result
        self.board.ended(result)

    def _each(self, stacks: Iterable[str], work: Callable[[str], T]) -> dict[str, T]:
        return self.workers.gather(list(stacks), work)

    def _refuse(self, refusals: Sequence[str]) -> None:
        if refusals:
            raise CommandError("\n".join(refusals))
