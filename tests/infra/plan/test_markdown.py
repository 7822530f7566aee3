"""What a pull request's comment says, how long it is, and that nothing it shows acts in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import markdown as python_markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.plan import report
from infra.plan.diff import diff
from infra.plan.markdown import COMMENT_LIMIT, markdown
from infra.plan.plan import Plan
from infra.plan.report import Preview
from tests.infra.plan.builders import agent, catalog_map, deployment, plan, resource

PLACE = {"cloud": "aws", "region": "eu-central-1", "environment": "prod"}


def changed(before: str = "Be short.", after: str = "Be long.", identifier: str = "plan_agent_001") -> Preview:
    """One agent's instructions differ."""
    old, new = (
        plan(
            catalog_map("business", agent(identifier, text), version=mark),
            deployment("pool", f"business-{mark}"),
            **PLACE,
        )
        for text, mark in ((before, "1"), (after, "2"))
    )
    return report.preview(new, diff(old, new), "abc1234")


def renamed(shown: Preview, stack: str) -> Preview:
    """The same of another stack."""
    return report.Preview(**{**vars(shown), "plan": Plan(stack, shown.plan.mode, shown.plan.resources, values=PLACE)})


def unchanged(stack: str = "calm") -> Preview:
    same = Plan(stack, "known", (deployment("pool"),), values=PLACE)
    return report.preview(same, diff(same, same), "abc1234")


def test_an_agent_is_a_diff_with_both_digests_and_the_effect_is_in_plain_words() -> None:
    text = markdown([changed()])
    assert re.search(r"Agent <code>plan_agent_001</code>: <code>[0-9a-f]{12}</code> → <code>[0-9a-f]{12}</code>", text)
    assert "```diff\n@@ prompt.instructions @@\n-Be short.\n+Be long.\n" in text
    assert "rolls 1 Deployment, 1 agent\ncost: ±$0 a month" in text


def test_an_agent_that_several_stacks_run_is_shown_once() -> None:
    text = markdown([changed(), renamed(changed(), "other")])
    assert text.count("+Be long.") == 1
    assert "in test, other" in text
    assert text.count("rolls 1 Deployment") == 2


def test_stacks_without_a_difference_are_one_line() -> None:
    text = markdown([unchanged("a"), changed(), unchanged("b")])
    assert "**1** of 3 stacks differ" in text
    assert "Unchanged (2): `a`, `b`" in text
    assert "#### `a`" not in text
    assert "no stack differs" in markdown([unchanged()])


def test_what_has_no_plan_comes_first_and_an_error_of_many_stacks_is_said_once() -> None:
    text = markdown([changed()], failures={"x": "boom", "y": "boom", "z": "bang"})
    assert text.index("No plan") < text.index("Agent")
    assert "for `x`, `y`\n\n```text\nboom\n```" in text
    assert "**3** cannot be planned" in text


def test_a_new_finding_is_told_from_those_there_were() -> None:
    key = resource("aws:kms/key:Key", "key", {"tags": {}}, protect=True)
    before, after = plan(key), plan(key, resource("aws:kms/key:Key", "fresh", {"tags": {}}, protect=True))
    assert "Policies: 1 new" not in markdown([report.preview(after, diff(after, after), "abc1234")])
    text = markdown([report.preview(after, diff(before, after), "abc1234")])
    found = re.search(r"Policies: (\d+) new.*?```text\n(.*?)```", text, re.DOTALL)
    assert found
    assert "fresh" in found[2]
    assert "key-rotation: key," not in found[2]


def test_moves_and_stacks_that_are_gone_are_said() -> None:
    text = markdown([unchanged()], moves=["pulumi state move --source a --dest b 'urn'"], gone=["old"])
    assert "pulumi state move --source a" in text
    assert "No longer described: `old`" in text


def test_a_refusal_is_marked() -> None:
    old, new = plan(resource("aws:kms/key:Key", "k", protect=True), **PLACE), plan(**PLACE)
    text = markdown([report.preview(new, diff(old, new), "abc1234")])
    assert "**would be refused**" in text
    assert "REFUSED: aws Key k is protected" in text


def many(count: int) -> Preview:
    old, new = (
        plan(catalog_map("a", *[agent(f"x_agent_{number:03d}", f"{word} text. " * 40) for number in range(1, count)]))
        for word in ("Old", "New")
    )
    return report.preview(new, diff(old, new), "abc1234")


@pytest.mark.parametrize("limit", [3_000, 20_000, COMMENT_LIMIT])
def test_a_comment_that_is_cut_fits_keeps_the_gist_and_says_what_was_cut(limit: int) -> None:
    text = markdown([many(200), unchanged("calm")], limit=limit, failures={"broken": "boom\n" * 100_000})
    assert len(text) <= limit
    assert f"**Cut to fit a comment** ({limit:,} characters): `" in text
    assert "the summary of the run that made this" in text
    assert "**1** cannot be planned" in text
    assert "Unchanged (1): `calm`" in text
    assert len(list(fences(text))) % 2 == 0


def test_all_of_it_is_written_where_nothing_limits() -> None:
    text = markdown([many(200)], limit=None)
    assert len(text) > COMMENT_LIMIT
    assert text.count("<summary>Agent ") == 199
    assert "Cut to fit" not in text


def fences(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if re.match("`{3,}", line))


def outside(text: str) -> str:
    """What a Markdown reader sees outside of code: blocks end only at a fence at least as long as theirs."""
    seen, fence = [], ""
    for line in text.split("\n"):
        marks = re.match("`{3,}", line)
        if fence:
            if marks and len(marks[0]) >= len(fence) and line.strip("` ") == "":
                fence = ""
        elif marks:
            fence = marks[0]
        else:
            seen.append(line)
    assert not fence
    return re.sub(r"`[^`\n]*`|<code>[^<]*</code>", "", "\n".join(seen))


HOSTILE = "@org/team fixes #12 <img src=x onerror=alert(1)> </details> <!-- fleet-preview --> [x](javascript:1)"


@pytest.mark.parametrize("fence", ["", "```", "`````", "~~~", "``````````````"])
def test_a_hostile_prompt_is_shown_and_does_nothing(fence: str) -> None:
    text = markdown([changed(after=f"{fence}\n{HOSTILE}\n{fence}\n{HOSTILE}")], failures={"bad": f"{fence}\n{HOSTILE}"})
    assert text.count("@org/team") == 3
    for act in ("@org", "#12", "<img", "fleet-preview", "javascript"):
        assert act not in outside(text)
    assert text.count("<details>") == outside(text).count("</details>")


def test_an_independent_reader_of_markdown_agrees() -> None:
    text = markdown([changed(after=f"```\n{HOSTILE}\n```")])
    page = python_markdown.markdown(text.replace("<details>", "").replace("</details>", ""), extensions=["fenced_code"])
    bare = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL)
    assert "&lt;img" in page
    assert "<img" not in page
    assert "@org" not in bare


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60))
def test_no_text_whatever_gets_out_of_its_block(text: str) -> None:
    mark = "MARK"
    shown = markdown([changed(after=f"{mark}{text}{mark}")], failures={"bad": f"{mark}\n{text}\n{mark}"})
    assert mark not in outside(shown)


def test_names_that_no_validation_saw_are_code_too() -> None:
    shown = renamed(changed(), "@org/team `x` <b>")
    text = markdown([shown, renamed(unchanged(), "#7 `@you`")], failures={"`@me": "boom"}, gone=["<i>@them"])
    assert not {word for word in ("@org", "@you", "@me", "@them", "#7", "<b>", "<i>") if word in outside(text)}


def test_characters_that_hide_or_reorder_text_are_spelled_out() -> None:
    text = markdown([changed(after="Pay \u202eeurt\u202c\u200b now\x1b[2J.")])
    assert "Pay \\u202eeurt\\u202c\\u200b now\\u001b[2J." in text
    assert not set("\u202e\u202c\u200b\x1b") & set(text)
