"""Owns `fleet preview`: what a stack would be, and what a change does to it, without cloud, cluster or engine."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.deploy.installed import require_cli
from cli.errors import CommandError, Exit
from cli.output import Json, print_json
from cli.planning import Known, Stacks, attempted, chosen, succeeded, told

if TYPE_CHECKING:
    from infra.plan.plan import Plan
    from infra.plan.report import Preview

app = typer.Typer(add_completion=False)


@app.command()
def preview(
    stacks: Stacks,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="REF|FILE",
            help="Compare with a commit's own program and catalog, or with a saved plan.",
        ),
    ] = "",
    as_json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown that fits a pull-request comment.")
    ] = False,
    whole: Annotated[
        Path | None,
        typer.Option("--whole", metavar="FILE", help="With --markdown: also write all of it, where a comment is cut."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the plan; secrets are digests in it.")
    ] = None,
    engine: Annotated[
        bool,
        typer.Option(
            "--engine", help="Run the real `pulumi preview` instead: needs its CLI, a backend and credentials."
        ),
    ] = False,
    known: Known = False,
) -> None:
    """Show what stacks would be: resources by layer, cost a month, policy findings; with --against, what changes.

    Runs the very program under a recorder, without cloud, cluster, engine or credentials. Exit code 1 where a
    change would be refused or a stack has no plan; Markdown says why, and leaves out stacks without a difference.
    """
    names = chosen(stacks)
    if engine:
        raise typer.Exit(_engine(names))
    if save is not None and len(names) > 1:
        raise CommandError("--save takes one stack", Exit.USAGE)
    if whole is not None and not markdown:
        raise CommandError("--whole goes with --markdown", Exit.USAGE)
    results = attempted(names, known=known)
    # A comment that says why a stack does not load is the most useful one; everyone else wants the error itself.
    failures = (
        {stack: told(error) for stack, error in results.items() if isinstance(error, Exception)} if markdown else {}
    )
    plans = succeeded({stack: result for stack, result in results.items() if stack not in failures})
    if save is not None and plans:
        plans[0].save(save)
    shown = _previews(plans, against, known=known) if plans else []
    if markdown:
        _print_markdown(shown, failures, _gone(stacks, against), whole)
    else:
        _print(shown, as_json=as_json)
    raise typer.Exit(Exit.FAILED if failures or any(item.refusals for item in shown) else Exit.OK)


def _previews(plans: list[Plan], against: str, *, known: bool) -> list[Preview]:
    from infra.plan import base, report
    from infra.plan.diff import diff
    from infra.plan.plan import Plan

    if not against:
        return [report.preview(plan) for plan in plans]
    if Path(against).is_file():
        try:
            old = Plan.load(Path(against))
        except ValueError as error:
            raise CommandError(str(error)) from None
        if len(plans) > 1 or old.stack != plans[0].stack:
            raise CommandError(f"{against} is a plan of {old.stack}: compare it with that stack", Exit.USAGE)
        return [report.preview(plans[0], diff(old, plans[0]), against)]
    try:
        commit = base.resolve(against)
    except base.BaseError as error:
        raise CommandError(str(error)) from None
    bases = base.plans(commit, plans, "known" if known else "unknown")
    return [
        report.preview(plan, None if old is None else diff(old, plan), commit, [note] if note else [])
        for plan, (old, note) in zip(plans, bases, strict=True)
    ]


def _gone(patterns: list[str], against: str) -> list[str]:
    """Stacks that a commit describes under these names or patterns and this checkout does not."""
    from infra.plan import base, config

    if not against or Path(against).is_file():
        return []
    here = set(config.stacks(config.project()))
    try:
        there = base.stacks_at(base.resolve(against))
    except base.BaseError as error:
        raise CommandError(str(error)) from None
    return [name for name in there if name not in here and any(fnmatch(name, each) for each in patterns)]


def _print_markdown(shown: list[Preview], failures: dict[str, str], gone: list[str], whole: Path | None) -> None:
    from infra.plan.diff import moves_between
    from infra.plan.markdown import markdown

    moves = moves_between(item.diff for item in shown if item.diff is not None)
    if whole is not None:
        whole.write_text(markdown(shown, failures=failures, moves=moves, gone=gone, limit=None), "utf-8")
    print(markdown(shown, failures=failures, moves=moves, gone=gone), end="")


def _print(shown: list[Preview], *, as_json: bool) -> None:
    from infra.plan import report
    from infra.plan.diff import moves_between

    moves = moves_between(item.diff for item in shown if item.diff is not None)
    if as_json:
        previews = [report.as_dict(item) for item in shown]
        print_json(previews[0] if len(previews) == 1 else {"stacks": previews, "moves": moves})
        return
    print("\n\n".join(report.text(item).rstrip() for item in shown))
    if moves:
        print("\nmoved between stacks; these keep them instead of replacing them:")
        print("\n".join(f"  {command}" for command in moves))
    if len(shown) > 1:
        resources = sum(len(item.plan.managed) for item in shown)
        print(
            f"\n{len(shown)} stacks: {resources:,} resources, ${sum(item.costs.total for item in shown):,.0f} a month, {sum(len(item.findings) for item in shown)} findings"
        )


def _engine(names: list[str]) -> int:
    require_cli()
    codes = [
        subprocess.run(
            ["pulumi", "preview", "--stack", name, "--diff", "--policy-pack", "infra/policies/pack"], check=False
        ).returncode
        for name in names
    ]
    return max(codes)
