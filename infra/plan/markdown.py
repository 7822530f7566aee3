"""Owns what previews look like in a pull request: Markdown of a bounded size in which nothing that they show acts.

What comes from a catalog, a stack file or an error stands in code alone, where Markdown, HTML, mentions and issue
references are inert, with a fence longer than any inside it. Stacks without a difference are one line; an agent's
text is shown once, however many stacks run it. What they say is ``report``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.plan import agents
from infra.plan.agents import AgentChange
from infra.plan.cost import Model
from infra.plan.diff import ACTIONS, Diff
from infra.plan.report import SIGNS, Preview, cost_lines, cost_words, finding_lines, property_lines

COMMENT_LIMIT = 60_000
"""Characters of a report: GitHub takes 65,536 of a comment, and what posts it adds its own."""
_ROOM = 1_500
"""Characters kept for the note that says what was cut."""
_FAILURE = 6_000
"""Characters shown of one error."""
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control, zero-width and direction characters: they make a reviewer read something else than what is there."""


@dataclass(frozen=True)
class _Section:
    name: str
    body: str
    rank: int = 0
    """What is cut last has the lowest."""


def markdown(
    shown: Sequence[Preview],
    *,
    failures: Mapping[str, str] | None = None,
    moves: Sequence[str] = (),
    gone: Sequence[str] = (),
    limit: int | None = COMMENT_LIMIT,
) -> str:
    """Previews as one comment of at most ``limit`` characters (None: all of it); what was cut is named at its end.

    ``failures``: stack → why it has no plan. ``moves``: commands that keep resources which change their stack.
    ``gone``: stacks that the base describes and the head does not.
    """
    changed = [item for item in shown if not item.is_unchanged]
    unchanged = [item.plan.stack for item in shown if item.is_unchanged]
    sections = [
        _Section("headline", _headline(shown, changed, failures or {})),
        *_failed(failures or {}),
        *_gone(gone),
        *_agents(changed),
        *(section for item in changed for section in _stack(item)),
    ]
    if moves:
        why = "Resources that move between stacks. These keep them instead of replacing them:"
        sections.append(_Section("moves between stacks", f"{why}\n\n{fenced(moves)}", 1))
    if unchanged:
        sections.append(_Section("unchanged stacks", f"Unchanged ({len(unchanged):,}): {_codes(unchanged)}"))
    return _fitting(sections, limit) + "\n"


def _fitting(sections: Sequence[_Section], limit: int | None) -> str:
    kept, cut = set(range(len(sections))), []
    if limit is not None and sum(len(section.body) + 2 for section in sections) > limit:
        left = limit - _ROOM
        for index, section in sorted(enumerate(sections), key=lambda item: item[1].rank):
            if len(section.body) + 2 <= left:
                left -= len(section.body) + 2
            else:
                kept.discard(index)
        cut = [section.name for index, section in enumerate(sections) if index not in kept]
    bodies = [section.body for index, section in enumerate(sections) if index in kept]
    if cut:
        listed = ", ".join(cut[:10]) + (f" and {len(cut) - 10:,} more" if len(cut) > 10 else "")
        bodies.append(
            f"> **Cut to fit a comment** ({limit:,} characters): {_code(listed[: _ROOM - 300])}. "
            "The whole of it: the summary of the run that made this, or `fleet preview STACK --against REF`."
        )
    return "\n\n".join(bodies)


def _headline(shown: Sequence[Preview], changed: Sequence[Preview], failures: Mapping[str, str]) -> str:
    bases = sorted({item.base for item in shown if item.base})
    words = [f"**{len(failures):,}** cannot be planned"] if failures else []
    if bases:
        words += [f"**{len(changed):,}** of {len(shown):,} stacks differ" if changed else "no stack differs"]
    elif shown:
        words += [f"{len(shown):,} stacks"]
    against = f" against {_codes(bases)}" if bases else ""
    return f"### Preview{against}: {', '.join(words)}"


def _failed(failures: Mapping[str, str]) -> Iterator[_Section]:
    alike: dict[str, list[str]] = {}
    for stack, message in failures.items():
        alike.setdefault(message, []).append(stack)
    for message, stacks in alike.items():
        # The end of a traceback says what happened, the start of a list of problems says it too.
        cut = message if len(message) <= _FAILURE else f"{message[: _FAILURE // 2]}\n…\n{message[-_FAILURE // 2 :]}"
        body = f":x: **No plan** for {_codes(stacks)}\n\n{fenced(cut.splitlines())}"
        yield _Section(f"error of {', '.join(stacks[:3])}", body)


def _gone(stacks: Sequence[str]) -> Iterator[_Section]:
    if stacks:
        yield _Section(
            "stacks without a file",
            f":warning: No longer described: {_codes(stacks)}. What they run stays, and nothing manages it any more, "
            "unless `fleet down` removed it before.",
        )


def _agents(changed: Sequence[Preview]) -> Iterator[_Section]:
    """Every agent's change once, with the stacks that it is in."""
    where: dict[AgentChange, list[Preview]] = {}
    for item in changed:
        for change in item.agents:
            where.setdefault(change, []).append(item)
    others: list[str] = []
    for change, found in sorted(where.items(), key=lambda entry: entry[0].agent):
        stacks = ", ".join(item.plan.stack for item in found)
        if change.action != "changed":
            digest = change.after or change.before
            others.append(
                " ".join(filter(None, (f"{change.agent}: {change.action}", digest, change.text))) + f" ({stacks})"
            )
            continue
        title = (
            f"Agent {_tag(change.agent)}: {_tag(change.before)} → {_tag(change.after)}{_model(change.agent, found[0])}"
        )
        body = _details(title, [*_diff_lines(change.text), "", f"in {stacks}"], language="diff")
        yield _Section(f"agent {change.agent}", body, 1)
    if others:
        yield _Section("other agents", _details(f"Agents: {len(others):,} added, removed or moved", others), 2)


def _diff_lines(text: str) -> Iterator[str]:
    """An agent's diff as GitHub colours it: signs in the first column, fields where a file has its places."""
    for line in text.split("\n"):
        yield line[2:] if line.startswith("  ") else f"@@ {line} @@"


def _model(agent: str, shown: Preview) -> str:
    """What an agent's change does to the model's cost of one execution."""

    def cost(model: Model | None) -> float | None:
        return model.per_execution.get(agent) if model is not None else None

    before, after = cost(shown.base_costs.model if shown.base_costs else None), cost(shown.costs.model)
    if before is None or after is None:
        return ""
    return f", model ${before:.5f} → ${after:.5f} an execution"


def _stack(shown: Preview) -> Iterator[_Section]:
    plan, diff = shown.plan, shown.diff
    name = plan.stack
    lines = [f"note: {note}" for note in shown.notes]
    if diff is None:
        title = f"{len(plan.managed):,} resources, {len(agents.documents(plan)):,} agents"
    else:
        title = ", ".join(f"{count:,} {action}" for action, count in diff.counts.items()) or "nothing differs"
        lines += shown.effects
        lines.append(cost_words(shown))
        lines += [f"REFUSED: {word}" for word in shown.refusals]
    refused = " :no_entry: **would be refused**" if shown.refusals else ""
    summary = f"#### {_code(name)}: {title}{refused}"
    yield _Section(f"stack {name}", "\n\n".join([summary, *([fenced(lines)] if lines else [])]))
    if diff is not None and diff.changes:
        yield _Section(f"resources of {name}", _details("Resources", _resource_lines(diff)), 3)
    if shown.fresh:
        yield _Section(
            f"new findings of {name}", _details(f"Policies: {len(shown.fresh):,} new", finding_lines(shown.fresh)), 1
        )
    elif shown.findings:
        told = "none of them new" if diff is not None else "in all"
        yield _Section(
            f"findings of {name}",
            _details(f"Policies: {len(shown.findings):,}, {told}", finding_lines(shown.findings)),
            4,
        )
    yield _Section(f"cost of {name}", _details("Cost", cost_lines(shown.costs)), 5)


def _resource_lines(diff: Diff) -> Iterator[str]:
    for action in ACTIONS:
        for change in diff.of(action):
            why = f" ({change.why})" if change.why else ""
            yield f"{SIGNS[action]} {change.resource.label} {change.resource.name}{why}"
            yield from (f"    {line}" for line in property_lines(change))
            if change.advice:
                yield f"    keep it: {change.advice}"


def _details(title: str, lines: Iterable[str], *, language: str = "text") -> str:
    return f"<details><summary>{title}</summary>\n\n{fenced(lines, language)}\n\n</details>"


def fenced(lines: Iterable[str], language: str = "text") -> str:
    """Lines as a code block that nothing in them can end; characters nobody sees are written out."""
    body = "\n".join(_visible(line) for line in lines)
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _visible(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _code(text: str) -> str:
    """As a code span; a backtick, which no name may have, would end it."""
    return f"`{_visible(text).replace('`', '?')}`"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(map(_code, names))


def _tag(text: str) -> str:
    """As code where HTML is read and Markdown is not."""
    return f"<code>{html.escape(_visible(text))}</code>"
