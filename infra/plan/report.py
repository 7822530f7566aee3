"""Owns what a preview looks like: one structure, shown as text for a terminal, JSON or Markdown for a pull request.

Secrets are redacted before anything arrives here (``diff``, ``plan.redacted``). Markdown is cut to what a
pull-request comment takes, and says what was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.plan import agents, impact
from infra.plan.agents import AgentChange
from infra.plan.cost import Costs, costs
from infra.plan.diff import ACTIONS, Change, Diff
from infra.plan.plan import Plan
from infra.policies.model import SEVERITIES, Finding

COMMENT_LIMIT = 60_000
"""Characters of a comment: GitHub takes 65,536, and a workflow adds its own."""
_SIGNS = {"created": "+", "changed": "~", "replaced": "±", "moved": "→", "deleted": "-"}
_PROPERTIES = 8
"""Properties shown of one changed resource."""
_VALUE = 100
"""Characters shown of a value."""


@dataclass(frozen=True)
class Preview:
    """Everything known of one stack's plan."""

    plan: Plan
    costs: Costs
    findings: tuple[Finding, ...]
    diff: Diff | None = None
    base: str = ""
    """What the diff is against: a commit or a file."""
    base_costs: Costs | None = None
    agents: tuple[AgentChange, ...] = ()
    effects: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def cost_difference(self) -> float | None:
        """US dollars a month more or less than the base; None without one."""
        return None if self.base_costs is None else self.costs.total - self.base_costs.total


def preview(plan: Plan, diff: Diff | None = None, base: str = "", notes: Iterable[str] = ()) -> Preview:
    """A plan with its costs and findings, and what differs from ``diff.base``."""
    from infra.plan.check import findings

    found = tuple(findings(plan))
    if diff is None:
        return Preview(plan, costs(plan), found, notes=tuple(notes))
    return Preview(
        plan,
        costs(plan),
        found,
        diff,
        base,
        costs(diff.base) if diff.base.resources else None,
        tuple(agents.changes(diff.base, plan)),
        tuple(impact.blast_radius(diff)),
        tuple(impact.refusals(diff)),
        tuple(notes),
    )


def as_dict(shown: Preview) -> dict[str, Any]:
    """The preview as JSON data."""
    plan = shown.plan
    answer: dict[str, Any] = {
        "stack": plan.stack,
        "mode": plan.mode,
        "seconds": plan.seconds,
        "resources": {
            "total": len(plan.managed),
            "layers": {layer: dict(sorted(plan.by_kind(items).items())) for layer, items in plan.by_layer().items()},
        },
        "agents": len(agents.documents(plan)),
        "cost": shown.costs.as_dict(),
        "findings": [item.as_dict() for item in shown.findings],
        "notes": list(shown.notes),
    }
    if shown.diff is not None:
        answer["against"] = {
            "base": shown.base,
            "counts": shown.diff.counts,
            "changes": [_change(item) for item in shown.diff.changes],
            "agents": [{"agent": item.agent, "action": item.action, "text": item.text} for item in shown.agents],
            "blast_radius": list(shown.effects),
            "refused": list(shown.refusals),
            "cost_difference": None if shown.cost_difference is None else round(shown.cost_difference, 2),
        }
    return answer


def _change(item: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "action": item.action,
        "urn": item.resource.urn,
        "kind": item.resource.label,
        "name": item.resource.name,
    }
    if item.properties:
        found["properties"] = [entry.path for entry in item.properties]
    if item.why:
        found["why"] = item.why
    if item.advice:
        found["advice"] = item.advice
    return found


def text(shown: Preview) -> str:
    """The preview for a terminal, plain text (the caller styles nothing: it is read in pipes and logs too)."""
    return "\n".join(_text(shown)) + "\n"


def _text(shown: Preview) -> Iterator[str]:
    plan = shown.plan
    yield f"{plan.stack}: {len(plan.managed):,} resources, {len(agents.documents(plan)):,} agents ({plan.seconds:.1f} s)"
    for note in shown.notes:
        yield f"  note: {note}"
    for layer, items in plan.by_layer().items():
        yield f"\n{layer} ({len(items):,})"
        yield from _wrapped(f"{count:,} {kind}" for kind, count in plan.by_kind(items).most_common())
    yield from ("", *cost_lines(shown.costs))
    yield from ("", *finding_lines(shown.findings))
    if shown.diff is not None:
        yield from ("", *_diff_lines(shown))


def _wrapped(words: Iterable[str], width: int = 110) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + len(word) + 2 > width:
            yield f"  {line},"
            line = ""
        line = f"{line}, {word}" if line else word
    if line:
        yield f"  {line}"


def cost_lines(found: Costs) -> Iterator[str]:
    """Costs as lines of text."""
    if found.as_of:
        yield f"cost a month: ${found.total:,.0f} (list prices of {found.as_of}, {found.region})"
    else:
        yield "cost a month: not estimated"
    for line in found.lines[:12]:
        note = f"   {line.note}" if line.note else ""
        yield f"  {line.monthly:>10,.2f}  {line.count} × {line.kind}{note}"
    if len(found.lines) > 12:
        rest = found.lines[12:]
        yield f"  {sum(line.monthly for line in rest):>10,.2f}  {len(rest)} smaller kinds"
    for item in found.compute:
        here = "  ← this stack" if item.isolation == found.isolation else ""
        yield f"  {item.monthly:>10,.2f}  compute {item.isolation}: {item.nodes:,} × {item.node} for {item.pods:,} pods, {item.cpu:,.1f} vCPU, {item.memory:,.1f} GiB{here}"
    if found.by_use:
        yield "  charged by use, not estimated: " + _listed(found.by_use)
    if found.not_priced:
        yield "  not priced: " + _listed(found.not_priced)
    if found.model is not None:
        model = found.model
        monthly = (
            f", ${model.monthly:,.0f} a month at {model.requests_per_day:,} executions a day"
            if model.monthly is not None
            else " (set fleet.requestsPerDay for a month)"
        )
        yield f"  model: ${model.average:.4f} an execution on average ({model.model}){monthly}"
        if model.unknown:
            yield f"  model not priced: {', '.join(model.unknown)}"
    yield from (f"  {remark}" for remark in found.remarks)


def _listed(counted: Any) -> str:
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in sorted(counted.items()))


def finding_lines(found: Sequence[Finding]) -> Iterator[str]:
    """Findings as lines of text, the same finding of several resources on one."""
    if not found:
        yield "policies: no findings"
        return
    counted = {severity: sum(item.policy.severity == severity for item in found) for severity in SEVERITIES}
    yield "policies: " + ", ".join(f"{count} {severity}" for severity, count in counted.items() if count)
    for (policy, message), names in _grouped(found).items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"  {policy.severity:<6}  {policy.id}: {', '.join(names[:3])}{more}: {message}"
        yield f"          {policy.remedy}"


def _grouped(found: Iterable[Finding]) -> dict[tuple[Any, str], list[str]]:
    grouped: dict[tuple[Any, str], list[str]] = {}
    for item in found:
        grouped.setdefault((item.policy, item.message), []).append(item.name or "(stack)")
    return grouped


def _diff_lines(shown: Preview) -> Iterator[str]:
    diff = shown.diff
    assert diff is not None
    counted = ", ".join(f"{count:,} {action}" for action, count in diff.counts.items()) or "nothing differs"
    yield f"against {shown.base}: {counted}"
    yield from (f"  {word}" for word in shown.effects)
    if shown.cost_difference is not None:
        yield f"  cost: {shown.cost_difference:+,.0f} dollars a month"
    yield from (f"  REFUSED: {word}" for word in shown.refusals)
    for action in ACTIONS:
        for change in diff.of(action):
            yield f"  {_SIGNS[action]} {change.resource.label} {change.resource.name}" + (
                f"   replaced because of {change.why}" if change.why else ""
            )
            if change.advice:
                yield f"      keep it: {change.advice}"
            yield from (f"      {line}" for line in _property_lines(change))
    if shown.agents:
        yield ""
        yield "agents:"
        for item in shown.agents:
            yield f"  {item.agent}: {item.action}" + (f" {item.text}" if item.action == "moved" else "")
            if item.action == "changed":
                yield from (f"    {line}" for line in item.text.split("\n"))


def _property_lines(change: Change) -> Iterator[str]:
    # An agent's text is shown as text further down, and its digest says nothing to a reader.
    listed = [
        item for item in change.properties if not item.path.startswith("data.") and "catalog-digest" not in item.path
    ]
    for item in listed[:_PROPERTIES]:
        yield f"{item.path}: {_short(item.before)} → {_short(item.after)}"
    if len(listed) > _PROPERTIES:
        yield f"… and {len(listed) - _PROPERTIES} more properties"


def _short(value: Any) -> str:
    told = value if isinstance(value, str) else repr(value)
    told = told.replace("\n", "⏎")
    return told if len(told) <= _VALUE else f"{told[:_VALUE]}…"


def markdown(shown: Iterable[Preview], limit: int = COMMENT_LIMIT) -> str:
    """Previews as one pull-request comment of at most ``limit`` characters; what was cut is named at its end."""
    sections: list[tuple[str, str]] = []
    for item in shown:
        sections += _sections(item)
    kept: list[str] = []
    cut: list[str] = []
    size = 0
    for title, body in sections:
        # Room for the note that says what was cut.
        if size + len(body) + 2 > limit - 1_500:
            cut.append(title)
            continue
        kept.append(body)
        size += len(body) + 2
    if cut:
        listed = ", ".join(cut[:10]) + (f" and {len(cut) - 10} more" if len(cut) > 10 else "")
        kept.append(
            f"> **Cut to fit a comment** ({limit:,} characters): {listed}. The whole of it: `fleet preview STACK --against REF`."
        )
    return "\n\n".join(kept) + "\n"


def _sections(shown: Preview) -> Iterator[tuple[str, str]]:
    plan, diff = shown.plan, shown.diff
    head = [f"### {plan.stack}"]
    if diff is not None:
        counted = ", ".join(f"**{count:,}** {action}" for action, count in diff.counts.items()) or "nothing differs"
        head.append(f"Against `{shown.base}`: {counted}.")
        head += [f"- {word}" for word in shown.effects]
        if shown.cost_difference is not None:
            head.append(f"- cost: {shown.cost_difference:+,.0f} dollars a month")
        head += [f"- :no_entry: **refused**: {word}" for word in shown.refusals]
    else:
        head.append(f"{len(plan.managed):,} resources, {len(agents.documents(plan)):,} agents.")
    yield plan.stack, "\n".join(head)
    if shown.findings:
        yield (
            f"policies of {plan.stack}",
            _details(f"Policies: {len(shown.findings)} findings", finding_lines(shown.findings)),
        )
    if diff is not None and diff.changes:
        yield f"changed resources of {plan.stack}", _details("Resources", _resource_lines(diff))
        for agent in shown.agents:
            if agent.action == "changed":
                yield f"agent {agent.agent}", _details(f"Agent {agent.agent}", agent.text.split("\n"), language="diff")
        others = [
            f"{item.agent}: {item.action} {item.text}".rstrip() for item in shown.agents if item.action != "changed"
        ]
        if others:
            yield f"other agents of {plan.stack}", _details(f"Agents: {len(others)} more", others)
    yield f"cost of {plan.stack}", _details("Cost", cost_lines(shown.costs))


def _resource_lines(diff: Diff) -> Iterator[str]:
    for action in ACTIONS:
        for change in diff.of(action):
            yield f"{_SIGNS[action]} {change.resource.label} {change.resource.name}" + (
                f" ({change.why})" if change.why else ""
            )
            yield from (f"    {line}" for line in _property_lines(change))
            if change.advice:
                yield f"    keep it: {change.advice}"


def _details(title: str, lines: Iterable[str], *, language: str = "text") -> str:
    # Four backticks: an agent's text may hold three.
    body = "\n".join(lines)
    return f"<details><summary>{title}</summary>\n\n````{language}\n{body}\n````\n\n</details>"
