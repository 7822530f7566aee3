"""One comment and one issue, at a stand-in GitHub, through the command as a workflow calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.ci import github as client
from cli.ci import posts
from cli.errors import CommandError
from infra.plan.config import ROOT
from tests.github.api import BOT, LIMIT, LOST, NAME, TOKEN, GitHub

MARK = "<!-- fleet-preview -->"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.md"
    path.write_text("### Preview\n\nNew.\n")
    return path


def fleet(github: GitHub, *arguments: str, code: int = 0, **variables: str) -> str:
    """What `fleet ci` says; the token is never in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    finished = subprocess.run(
        [sys.executable, "-m", "cli", "ci", *arguments],
        cwd=ROOT,
        env=environment | github.environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    said = finished.stdout + finished.stderr
    assert finished.returncode == code, said
    assert TOKEN not in said
    assert "Traceback" not in said
    return said


def test_the_first_report_makes_the_comment_and_leads_to_its_run(github: GitHub, report: Path) -> None:
    said = fleet(github, "comment", str(report), "--pull-request", "5", FLEET_CI_COMMIT="abc123")
    (made,) = github.comments
    assert said.startswith(f"made {made['html_url']}")
    assert made["body"].startswith(f"{MARK}\n\n### Preview")
    assert f"Of abc123 by [run 77](https://github.com/{NAME}/actions/runs/77)" in made["body"]


def test_every_later_report_edits_it_and_no_other(github: GitHub, report: Path) -> None:
    theirs = github.add_comment("looks good", author="somebody")
    other = github.add_comment("<!-- fleet-drift -->\n\nOld.")
    ours = github.add_comment(f"{MARK}\n\nOld.")
    assert fleet(github, "comment", str(report), "--pull-request", "5").startswith("edited ")
    assert len(github.comments) == 3
    assert "New." in ours["body"]
    assert (theirs["body"], other["body"]) == ("looks good", "<!-- fleet-drift -->\n\nOld.")


def test_a_mark_that_somebody_else_wrote_is_neither_edited_nor_taken_for_ours(github: GitHub, report: Path) -> None:
    forged = github.add_comment(f"{MARK}\n\nApproved.", author="mallory")
    quoting = github.add_comment(f"> {MARK}\n\nwhat is this?", author=BOT)
    fleet(github, "comment", str(report), "--pull-request", "5")
    assert len(github.comments) == 3
    assert forged["body"].endswith("Approved.")
    assert quoting["body"].endswith("what is this?")


def test_a_comment_on_the_third_page_is_found(github: GitHub, report: Path) -> None:
    for number in range(230):
        github.add_comment(f"word {number}", author="somebody")
    ours = github.add_comment(f"{MARK}\n\nOld.")
    fleet(github, "comment", str(report), "--pull-request", "5")
    assert "New." in ours["body"]
    assert len(github.comments) == 231
    assert sum(request.startswith("GET") for request in github.requests) == 3


def test_an_equal_report_is_not_written_again(github: GitHub, report: Path) -> None:
    fleet(github, "comment", str(report), "--pull-request", "5")
    assert fleet(github, "comment", str(report), "--pull-request", "5").startswith("unchanged ")
    assert not any(request.startswith("PATCH") for request in github.requests)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_without_a_report_the_comment_says_that_there_is_none(
    github: GitHub, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "report.md"
    if content is not None:
        path.write_text(content)
    fleet(github, "comment", str(path), "--pull-request", "5")
    assert "There is no report" in github.comments[0]["body"]


def test_a_passing_fault_is_tried_again(github: GitHub, report: Path) -> None:
    github.faults = [502, (429, {"Retry-After": "0"}), (403, {"Retry-After": "0"})]
    fleet(github, "comment", str(report), "--pull-request", "5")
    assert len(github.comments) == 1


def test_a_comment_whose_answer_was_lost_is_not_made_twice(github: GitHub, report: Path) -> None:
    class AfterTheList(list[int | tuple[int, dict[str, str]]]):
        """Loses the answer to the POST, and to nothing before it."""

        def __bool__(self) -> bool:
            return len(self) > 0 and github.requests[-1].startswith("POST")

    github.faults = AfterTheList([LOST])
    said = fleet(github, "comment", str(report), "--pull-request", "5")
    assert len(github.comments) == 1
    assert said.startswith("unchanged ")


def test_a_fault_that_stays_ends_with_what_github_said(github: GitHub) -> None:
    github.faults = [503] * client.ATTEMPTS
    waited: list[float] = []
    with (
        client.Repository(github.url, NAME, TOKEN) as repository,
        pytest.raises(client.PassingError, match="with 503: Server Error"),
    ):
        client.retrying(lambda: repository.ask("GET", ""), sleep=waited.append)
    assert waited == [1, 2, 4, 8]
    assert len(github.requests) == client.ATTEMPTS


def test_a_refusal_names_the_right_that_is_missing_and_is_not_tried_again(github: GitHub, report: Path) -> None:
    github.faults = [403]
    said = fleet(github, "comment", str(report), "--pull-request", "5", code=4)
    assert "the job needs this right under `permissions:`" in said
    assert len(github.requests) == 1


def test_a_wrong_token_says_so(github: GitHub, report: Path) -> None:
    said = fleet(github, "comment", str(report), "--pull-request", "5", code=4, GITHUB_TOKEN="expired-secret")
    assert "GITHUB_TOKEN is wrong or has expired" in said
    assert "expired-secret" not in said


@pytest.mark.parametrize("missing", ["GITHUB_TOKEN", "GITHUB_REPOSITORY"])
def test_a_missing_variable_is_named(github: GitHub, report: Path, missing: str) -> None:
    said = fleet(github, "comment", str(report), "--pull-request", "5", code=2, **{missing: ""})
    assert f"{missing} is not set" in said


def test_the_token_is_not_sent_to_another_address_that_a_page_names(github: GitHub) -> None:
    for number in range(101):
        github.add_comment(f"word {number}", author="somebody")
    with client.Repository(github.url, NAME, TOKEN) as repository:
        pages = repository.pages("/issues/5/comments")
        github.url = "http://elsewhere.example.com"
        with pytest.raises(CommandError, match="the token is not sent elsewhere"):
            list(pages)


def test_a_report_as_long_as_github_takes_is_posted_and_a_longer_one_refused(github: GitHub, tmp_path: Path) -> None:
    around = len(posts.body("preview", "x", posts.run_link(github.environment))) - 1
    path = tmp_path / "report.md"
    path.write_text("x" * (LIMIT - around))
    fleet(github, "comment", str(path), "--pull-request", "5")
    assert len(github.comments[0]["body"]) == LIMIT
    path.write_text("x" * (LIMIT - around + 1))
    assert "65,537 characters and GitHub takes 65,536" in fleet(
        github, "comment", str(path), "--pull-request", "5", code=2
    )


def test_a_name_that_would_end_the_hidden_mark_is_refused() -> None:
    with pytest.raises(CommandError, match="small letters"):
        posts.mark("x --> <b>")


def test_an_issue_is_opened_edited_and_closed(github: GitHub, report: Path) -> None:
    arguments = ("issue", str(report), "--name", "drift-aws", "--title", "Drift: aws")
    assert fleet(github, *arguments, "--close").startswith("no open issue")
    assert fleet(github, *arguments).startswith("opened ")
    report.write_text("Newer.")
    assert fleet(github, *arguments).startswith("edited ")
    (found,) = github.issues
    assert "Newer." in found["body"]
    report.write_text("Nothing drifts.")
    assert fleet(github, *arguments, "--close").startswith("closed ")
    assert (found["state"], found["state_reason"]) == ("closed", "completed")
    assert fleet(github, *arguments).startswith("opened ")
    assert len(github.issues) == 2


def test_a_pull_request_or_somebodys_issue_is_never_taken_for_the_issue(github: GitHub, report: Path) -> None:
    text = "<!-- fleet-drift-aws -->\n\nmine"
    pull = github.add(github.pulls, body=text, title="t", head="b")
    theirs = github.add(github.issues, author="mallory", body=text, title="t")
    assert fleet(github, "issue", str(report), "--name", "drift-aws", "--title", "Drift").startswith("opened ")
    assert (pull["body"], theirs["body"]) == (text, text)
