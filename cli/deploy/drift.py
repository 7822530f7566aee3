"""Owns what drift is and how it is told: what a stack's cloud has that its state does not know. Pure.

Property names only, never values: they may be secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.deploy.changes import Changes, Message, Step, short
from cli.deploy.show import faults_text
from cli.errors import Exit
from infra.plan.markdown import fenced

_SIZE = 60_000
"""Characters an issue's text may have, with room to spare (GitHub refuses more than 65,536)."""


@dataclass(frozen=True)
class Drift:
    """What was found out about one stack."""

    stack: str
    changes: Changes | None
    """None: the stack is not in the backend, so nothing of it can drift."""
    problem: str = ""
    """Why it could not be checked."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """What drifted: each resource changed or gone."""
        return self.changes.steps if self.changes is not None and not self.failed else ()

    @property
    def failed(self) -> bool:
        """Whether nothing is known because the check itself failed."""
        return bool(self.problem or (self.changes is not None and self.changes.faults))

    @property
    def faults(self) -> tuple[Message, ...]:
        """What the engine said where the check failed."""
        return self.changes.faults if self.changes is not None else ()


def exit_code(found: Sequence[Drift]) -> Exit:
    """3 where a stack could not be checked (whatever else was found), 1 where one drifted, 0 otherwise."""
    if any(drift.failed for drift in found):
        return Exit.UNREACHABLE
    return Exit.FAILED if any(drift.steps for drift in found) else Exit.OK


def _verdict(drift: Drift) -> str:
    if drift.failed:
        return "could not be checked"
    if drift.changes is None:
        return "not in the backend"
    return f"{len(drift.steps)} resources drifted" if drift.steps else "no drift"


def _what(step: Step) -> str:
    if step.op == "delete":
        return "gone"
    named = ", ".join(f"{one.path} ({_PAST[one.kind]})" for one in step.properties)
    return f"changed: {named}" if named else "changed"


_PAST = {"add": "added", "delete": "removed", "update": "changed"}


def text(found: Sequence[Drift]) -> str:
    """For people."""
    blocks = []
    for drift in found:
        lines = [f"{drift.stack}: {_verdict(drift)}"]
        lines += [f"  {short(step.urn)}: {_what(step)}" for step in drift.steps]
        lines += filter(None, [faults_text(drift.faults), f"  {drift.problem}" if drift.problem else ""])
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def markdown(found: Sequence[Drift]) -> str:
    """For an issue that CI opens; "" where there is nothing to tell. Cut to what an issue takes, saying so."""
    lines = []
    for drift in found:
        if not (drift.steps or drift.failed):
            continue
        lines += [f"### {drift.stack}: {_verdict(drift)}", ""]
        if drift.failed:
            told = "\n".join(filter(None, [faults_text(drift.faults), drift.problem]))
            lines += [fenced(told.splitlines()), ""]
            continue
        lines += ["| Resource | What changed |", "|---|---|"]
        lines += [f"| {_cell(short(step.urn))} | {_cell(_what(step))} |" for step in drift.steps]
        lines += [
            "",
            f"Wanted: change the program to say so, or `fleet refresh {drift.stack}` to take it over. "
            f"Not wanted: `fleet refresh {drift.stack}`, then `fleet up {drift.stack}` puts it back.",
            "",
        ]
    whole = "\n".join(lines)
    if len(whole) <= _SIZE:
        return whole
    kept = whole[:_SIZE].rpartition("\n")[0]
    left = len(whole.splitlines()) - len(kept.splitlines())
    return f"{kept}\n\n{left} lines more: `fleet drift {' '.join(drift.stack for drift in found)}`\n"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def data(found: Sequence[Drift]) -> list[Mapping[str, Any]]:
    """For scripts."""
    return [
        {
            "stack": drift.stack,
            "state": "failed"
            if drift.failed
            else "absent"
            if drift.changes is None
            else "drifted"
            if drift.steps
            else "same",
            "resources": [
                {
                    "urn": step.urn,
                    "type": step.type,
                    "change": "gone" if step.op == "delete" else "changed",
                    "properties": {one.path: one.kind for one in step.properties},
                }
                for step in drift.steps
            ],
            "faults": [{"urn": fault.urn, "message": fault.text} for fault in drift.faults],
            "problem": drift.problem,
        }
        for drift in found
    ]
