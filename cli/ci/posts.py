"""Owns the one comment of a pull request and the one issue of a subject: found again by a mark, edited, never repeated.

The mark is an HTML comment at the very start, and counts only in what this workflow's own account wrote: anybody may
write such a comment, and it must neither be edited nor hide ours. How GitHub is asked is ``github``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cli.ci.github import Repository, retrying
from cli.errors import CommandError, Exit

LIMIT = 65_536
"""Characters that GitHub takes of a comment or an issue."""
AUTHOR = "github-actions[bot]"
"""Who GITHUB_TOKEN writes as; FLEET_CI_AUTHOR where another token is used."""


def mark(name: str) -> str:
    """The hidden mark of a name. Raises CommandError where it would not stay hidden."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise CommandError(f"--name {name!r}: small letters, digits and single dashes", Exit.USAGE)
    return f"<!-- fleet-{name} -->"


def body(name: str, report: str, link: str) -> str:
    """A post: mark, report, where it comes from. Raises CommandError where GitHub would not take it."""
    told = report or ":x: **There is no report**: the step that makes it failed before it could say why. Its log does."
    text = "\n\n".join(filter(None, (mark(name), told, link)))
    if len(text) > LIMIT:
        raise CommandError(
            f"the report has {len(text):,} characters and GitHub takes {LIMIT:,}: "
            "`fleet preview --markdown` prints one that fits",
            Exit.USAGE,
        )
    return text


def run_link(environment: Mapping[str, str]) -> str:
    """A line that leads to the run whose report it is; empty outside of one."""
    if not environment.get("GITHUB_RUN_ID"):
        return ""
    server = environment.get("GITHUB_SERVER_URL", "https://github.com")
    number = environment["GITHUB_RUN_ID"]
    url = f"{server}/{environment.get('GITHUB_REPOSITORY', '')}/actions/runs/{number}"
    commit = environment.get("FLEET_CI_COMMIT") or environment.get("GITHUB_SHA", "")
    return f"<sub>Of {commit[:12]} by [run {number}]({url}), whose summary has all of it.</sub>"


def comment(repository: Repository, pull_request: int, name: str, text: str) -> str:
    """Edit the comment of this name, or make it; says which and where. Raises CommandError."""

    def once() -> str:
        found = _own(repository.pages(f"/issues/{pull_request}/comments"), name)
        if found is None:
            made = repository.ask("POST", f"/issues/{pull_request}/comments", {"body": text})
            return f"made {made['html_url']}"
        if found["body"] == text:
            return f"unchanged {found['html_url']}"
        repository.ask("PATCH", f"/issues/comments/{found['id']}", {"body": text})
        return f"edited {found['html_url']}"

    # All of it again, not the request alone: a POST without an answer may have made the comment.
    return retrying(once)


def issue(repository: Repository, name: str, title: str, text: str, *, close: bool) -> str:
    """Open, edit or close the issue of this name; says which and where. Raises CommandError."""

    def once() -> str:
        listed = repository.pages("/issues?state=open&sort=created&direction=asc")
        found = _own((item for item in listed if "pull_request" not in item), name)
        if found is None:
            if close:
                return f"no open issue named {name}"
            made = repository.ask("POST", "/issues", {"title": title, "body": text})
            return f"opened {made['html_url']}"
        change = {"title": title, "body": text} | ({"state": "closed", "state_reason": "completed"} if close else {})
        repository.ask("PATCH", f"/issues/{found['number']}", change)
        return f"{'closed' if close else 'edited'} {found['html_url']}"

    return retrying(once)


def _own(items: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    author, wanted = os.environ.get("FLEET_CI_AUTHOR", AUTHOR), mark(name)
    for item in items:
        if (item.get("user") or {}).get("login") == author and (item.get("body") or "").startswith(wanted):
            return item
    return None
