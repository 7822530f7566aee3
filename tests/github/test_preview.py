"""The preview of a pull request: the workflow's own steps, in a repository in which one prompt was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog import registry
from infra.plan import base
from tests.github.api import GitHub
from tests.github.conftest import git, merged
from tests.github.workflows import Ran, run, step

AGENT = "business_plan_agent_009"
SENTENCE = "Say which assumption matters most."


def reworded(folder: Path, sentence: str = SENTENCE) -> None:
    """Put one sentence at the start of one agent's instructions."""
    for path in folder.glob("catalog/pools/business/*.yaml"):
        lines = path.read_text("utf-8").split("\n")
        here = next((index for index, line in enumerate(lines) if line.strip().endswith(f"id: {AGENT}")), None)
        if here is None:
            continue
        at = next(index for index in range(here, len(lines)) if lines[index].strip().startswith("instructions:"))
        indent = len(lines[at + 1]) - len(lines[at + 1].lstrip())
        lines[at + 1 : at + 1] = [" " * indent + line for line in sentence.split("\n")]
        path.write_text("\n".join(lines), "utf-8")
        return
    raise AssertionError(f"no {AGENT}")


def previewed(folder: Path, scratch: Path) -> tuple[Ran, str]:
    """What the job `plan` leaves: its step's result, and the comment."""
    environment = {"EVENT": "pull_request", "DEFAULT_BRANCH": "main", "HEAD": git(folder, "rev-parse", "HEAD")}
    ran = run(step("preview.yml", "plan", "preview"), folder, environment, scratch)
    return ran, (folder / "dist" / "preview" / "comment.md").read_text("utf-8")


def test_a_changed_prompt_shows_one_agent_its_digests_one_rolled_deployment_and_the_cost(
    copy: Path, tmp_path: Path, github: GitHub
) -> None:
    reworded(copy)
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    assert ran.code == 0, ran.said
    assert "**2** of 3 stacks differ" in comment
    assert "Unchanged (1): `aws-dedicated-02`" in comment
    (title,) = (line for line in comment.splitlines() if "<summary>Agent " in line)
    before, after = digests(copy, "HEAD^1"), digests(copy, "HEAD")
    assert before != after
    assert f"<code>{AGENT}</code>: <code>{before}</code> → <code>{after}</code>, model $" in title
    # The text that changed, and no line of any other agent.
    shown = comment.partition(title)[2].partition("</details>")[0].splitlines()
    signed = [line for line in shown if line.startswith(("+", "-"))]
    assert signed == [f"+{SENTENCE}"]
    assert "in aws-dedicated-01, kind" in shown
    pools = Path(copy, "catalog", "pools").glob("*/*.yaml")
    others = {
        line.split("id:")[1].strip() for path in pools for line in path.read_text().splitlines() if "- id:" in line
    }
    assert len(others) > 1_000
    assert {other for other in others - {AGENT} if other in comment} == set()
    # Pooled, its pool's Deployment rolls; alone, its own does.
    assert section(comment, "kind") == ["rolls 1 Deployment, 500 agents", "cost: not estimated"]
    assert section(comment, "aws-dedicated-01") == ["rolls 1 Deployment, 1 agent", "cost: ±$0 a month"]
    # And as the workflow's other steps go on with it.
    summary = run(step("preview.yml", "plan", "summary"), copy, {}, tmp_path)
    assert summary.summary == (copy / "dist" / "preview" / "whole.md").read_text("utf-8")
    variables = github.environment | {"PULL_REQUEST": "5", "FLEET_CI_COMMIT": ran.outputs["commit"]}
    posted = run(step("preview.yml", "comment", "comment"), copy, variables, tmp_path)
    assert posted.code == 0, posted.said
    (made,) = github.comments
    assert comment.strip() in made["body"]


def digests(folder: Path, commit: str) -> str:
    """The digest `fleet agents show` prints of the agent, computed by the catalog itself."""
    with base.unpacked(base.resolve(commit, folder), folder) as there:
        return registry.load(there / "catalog" / "pools").agent_digest(AGENT)[:12]


def section(comment: str, stack: str) -> list[str]:
    """The plain words under a stack's heading."""
    rest = comment.partition(f"#### `{stack}`: ")[2]
    return rest.partition("```text\n")[2].partition("\n```")[0].split("\n")


def test_a_catalog_that_does_not_load_is_what_the_comment_says(copy: Path, tmp_path: Path) -> None:
    reworded(copy, "Write about {undeclared_thing.__class__}.")
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    assert ran.code == 1
    assert "**3** cannot be planned" in comment
    assert ":x: **No plan** for `aws-dedicated-01`, `aws-dedicated-02`, `kind`" in comment
    assert AGENT in comment
    assert "undeclared_thing" in comment
    assert comment.count("undeclared_thing") <= 3


def test_without_a_difference_the_comment_says_so(copy: Path, tmp_path: Path) -> None:
    (copy / "README.md").write_text("Other words.\n")
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    assert ran.code == 0, ran.said
    assert "no stack differs" in comment
    assert "Unchanged (3): `aws-dedicated-01`, `aws-dedicated-02`, `kind`" in comment
    assert "####" not in comment


@pytest.mark.parametrize("field", ["secure", "plain"])
def test_a_secret_that_changes_is_in_no_output(copy: Path, tmp_path: Path, field: str) -> None:
    old, new = "v1:OLDSECRETOLDSECRET", "v1:NEWSECRETNEWSECRET"
    for name in ("aws-dedicated-01", "aws-dedicated-02"):
        (copy / "stacks" / f"Pulumi.{name}.yaml").unlink()
    path = copy / "stacks" / "Pulumi.kind.yaml"
    text = path.read_text().replace("data: in-cluster", "data: external")

    def written(value: str) -> None:
        secret = f"{{secure: {value!r}}}" if field == "secure" else repr(value)
        stores = f"""\
  ai-agents-platform:database: {{host: db.example.com, password: {secret}}}
  ai-agents-platform:cache: {{host: cache.example.com, password: {secret}}}
"""
        path.write_text(text.replace("  ai-agents-platform:database:\n    storageGib: 20\n", stores))

    written(old)
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "a store of its own")
    written(new)
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    whole = (copy / "dist" / "preview" / "whole.md").read_text()
    for said in (ran.said, comment, whole):
        assert "SECRET" not in said
    assert ran.code == 0, ran.said
    assert "**1** of 1 stacks differ" in comment
    assert "stringData.DATABASE_URL: [secret] → [secret]" in comment


def test_a_secret_under_a_mistyped_key_is_not_repeated_by_the_error(copy: Path, tmp_path: Path) -> None:
    for name in ("aws-dedicated-01", "aws-dedicated-02"):
        (copy / "stacks" / f"Pulumi.{name}.yaml").unlink()
    path = copy / "stacks" / "Pulumi.kind.yaml"
    path.write_text(path.read_text().replace("storageGib: 20", "pasword: PLAINSECRET"))
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    assert ran.code == 1
    assert "pasword" in comment
    assert "PLAINSECRET" not in ran.said + comment
    assert "No longer described: `aws-dedicated-01`, `aws-dedicated-02`" in comment


def test_a_base_that_does_not_load_leaves_the_repair_uncompared_and_passes(copy: Path, tmp_path: Path) -> None:
    reworded(copy, "Write about {undeclared_thing.__class__}.")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "broken")
    git(copy, "checkout", "--quiet", "HEAD^", "--", "catalog")
    merged(copy)
    ran, comment = previewed(copy, tmp_path)
    assert ran.code == 0, ran.said
    assert "note: not compared: the program of " in comment
    assert "undeclared_thing" in comment
