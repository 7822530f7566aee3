"""Owns how a plan and an end are put into words. Pure: text and plain data, no console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cli.deploy.changes import PAST, Changes, Holding, Message, Outcome, counted, kind_of, short
from cli.deploy.guards import listed
from cli.deploy.order import Wave

State = Literal["done", "unchanged", "failed", "cancelled", "refused", "not started"]
_KINDS = 6


@dataclass(frozen=True)
class Result:
    """How one stack came out of a run."""

    stack: str
    state: State
    changes: Changes = field(default_factory=Changes)
    problem: str = ""
    seconds: float = 0.0

    @property
    def stops(self) -> bool:
        """Whether nothing may be begun after it."""
        return self.state in ("failed", "cancelled", "refused")


def plan_text(stack: str, held: Holding, changes: Changes) -> str:
    """What a run would do to one stack: counts, which kinds, and by name whatever goes."""
    lines = [f"{stack}: {future(changes)} ({len(held.resources):,} resources now)"]
    for op in ("create", "update"):
        kinds = Counter(kind_of(step.urn) for step in changes.steps if step.op == op)
        if kinds:
            more = f", {len(kinds) - _KINDS} kinds more" if len(kinds) > _KINDS else ""
            lines.append(f"  {op}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(_KINDS)) + more)
    for op in ("replace", "delete"):
        urns = changes.having(op)
        if urns:
            lines += [f"  {op}:", listed(urns)]
    lines += [f"  warning: {_said(warning)}" for warning in changes.warnings]
    return "\n".join(lines)


def future(changes: Changes) -> str:
    """Counts as a plan says them: 12 to create · 3 to update; "no changes"."""
    order = [*PAST, *sorted(set(changes.counts) - set(PAST))]
    return " · ".join(f"{changes.counts[op]:,} to {op}" for op in order if changes.counts.get(op)) or "no changes"


def plan_data(stack: str, held: Holding, changes: Changes) -> dict[str, Any]:
    """A plan for scripts."""
    return {
        "stack": stack,
        "resources": len(held.resources),
        "counts": dict(changes.counts),
        "delete": list(changes.having("delete")),
        "replace": list(changes.having("replace")),
    }


def waves_text(waves: Sequence[Wave]) -> str:
    """The order in which stacks will be worked on; "" where there is only one step."""
    if len(waves) == 1 and len(waves[0].stacks) == 1:
        return ""
    return "\n".join(f"  {number}. {wave.name}: {', '.join(wave.stacks)}" for number, wave in enumerate(waves, 1))


def why(outcome: Outcome) -> str:
    """Why a run of the engine failed: what the events said, else the CLI's words."""
    return "\n".join(filter(None, [faults_text(outcome.changes.faults), outcome.problem]))


def faults_text(faults: Iterable[Message]) -> str:
    """Failures in the words of whoever failed, each with its resource."""
    return "\n".join(f"  {_said(fault)}" for fault in faults)


def _said(message: Message) -> str:
    text = message.text.replace("\n", "\n    ")
    return f"{short(message.urn)}: {text}\n    {message.urn}" if message.urn else text


def result_text(result: Result, width: int = 0) -> str:
    """One stack's line at the end."""
    what = {"done": counted(result.changes.counts), "unchanged": "no changes"}.get(result.state, result.state)
    if result.state in ("failed", "cancelled") and result.changes.counts:
        what += f" after {counted(result.changes.counts)}"
    took = f" ({result.seconds:.0f} s)" if result.seconds else ""
    return f"{result.stack:<{width}}  {what}{took}"


def summary_text(results: Sequence[Result], resume: str) -> str:
    """All stacks at the end where there are several, and where something is left, the command that goes on."""
    width = max(len(result.stack) for result in results)
    lines = ["", *(result_text(result, width) for result in results)] if len(results) > 1 else []
    if resume:
        lines += ["", f"Go on with: {resume}"]
    return "\n".join(lines)


def result_data(result: Result) -> dict[str, Any]:
    """One stack's end for scripts."""
    return {
        "stack": result.stack,
        "state": result.state,
        "counts": dict(result.changes.counts),
        "seconds": round(result.seconds, 1),
        "faults": [{"urn": fault.urn, "message": fault.text} for fault in result.changes.faults],
        "problem": result.problem,
    }
