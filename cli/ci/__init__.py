"""Owns `fleet ci`: the steps of the workflows in .github that are more than one command, so that they run anywhere.

Which repository, with which token, is read from the variables that GitHub Actions sets. What GitHub's API is
asked is ``github``; what a comment or an issue says, ``posts``; which stacks a job deploys, ``matrix``; which
image a stack file names, ``pins``; a pull request of what a job changed, ``pulls``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError, Exit
from cli.planning import Stacks, chosen

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What the workflows run.")

Report = Annotated[
    Path, typer.Argument(metavar="REPORT", help="A Markdown file; missing or empty, the post says that there is none.")
]
Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What the post is found by again: a hidden mark in it.")
]


@app.command()
def comment(
    report: Report,
    pull_request: Annotated[int, typer.Option("--pull-request", min=1, metavar="NUMBER", help="Where to comment.")],
    name: Name = "preview",
) -> None:
    """Write a report as the one comment of its name on a pull request: edited where it is there, else made.

    Reads GITHUB_REPOSITORY and GITHUB_TOKEN, and of a run GITHUB_RUN_ID, to link to it.
    """
    from cli.ci import posts
    from cli.ci.github import Repository

    body = posts.body(name, _text(report), posts.run_link(os.environ))
    with Repository.of(os.environ) as repository:
        print(posts.comment(repository, pull_request, name, body))


@app.command()
def issue(
    report: Report,
    name: Name,
    title: Annotated[str, typer.Option("--title", help="Title of the issue.")],
    close: Annotated[bool, typer.Option("--close", help="Close it instead, with the report as its last word.")] = False,
) -> None:
    """Keep the one open issue of a name true: opened with a report, edited with a newer one, closed with --close.

    Reads the same variables as `fleet ci comment`.
    """
    from cli.ci import posts
    from cli.ci.github import Repository

    body = posts.body(name, _text(report), posts.run_link(os.environ))
    with Repository.of(os.environ) as repository:
        print(posts.issue(repository, name, title, body, close=close))


@app.command()
def targets(
    stacks: Annotated[
        list[str] | None, typer.Argument(metavar="STACK…", help="Names or patterns; none: no job.")
    ] = None,
    environment: Annotated[
        str, typer.Option("--environment", help="What all of them must be: a mistyped name deploys nothing else.")
    ] = "",
    each: Annotated[bool, typer.Option("--each", help="A job for every stack.")] = False,
) -> None:
    """Print the job matrix of a workflow: stacks by cloud, their images, and the address their gateway answers at."""
    from cli.ci.matrix import matrix

    print(json.dumps(matrix(chosen(stacks) if stacks else [], environment, each=each)))


@app.command()
def pin(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="name@sha256:…, as the build pushed it.")],
    stacks: Stacks,
) -> None:
    """Write an image's digest into stack files as images.runtime; everything else in them stays as it is."""
    from cli.ci.pins import pin as written
    from infra.plan import config

    folder = config.project().stacks
    for stack in chosen(stacks):
        path = folder / f"Pulumi.{stack}.yaml"
        print(f"{path.relative_to(config.ROOT)}: {written(path, image)}")


@app.command()
def propose(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="What of the changes to take.")],
    branch: Annotated[str, typer.Option("--branch", help="Branch of its own; what is on it is replaced.")],
    title: Annotated[str, typer.Option("--title", help="Title of the commit and the pull request.")],
    body: Annotated[str, typer.Option("--body", help="Text of the commit and the pull request.")],
) -> None:
    """Push what a job changed here as one pull request of its branch, and start the workflows that look at it.

    Reads the same variables as `fleet ci comment`.
    """
    from cli.ci import pulls
    from cli.ci.github import Repository
    from infra.plan.config import ROOT

    with Repository.of(os.environ) as repository:
        token = os.environ["GITHUB_TOKEN"]
        print(pulls.propose(repository, ROOT, branch, title, body, paths, token=token))


def _text(report: Path) -> str:
    try:
        return report.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{report}: not readable as text: {error}", Exit.USAGE) from None
