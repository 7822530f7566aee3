"""Owns `fleet rollout`: a new version of an agent, a pool or a stack that takes over step by step.

Each step edits the file that says what runs and applies it, so that whatever is applied next agrees with it. What a
step does to the text is cli/rollouts'.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.errors import CommandError, Exit
from cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from cli.rollouts.agents import CatalogTarget
    from cli.rollouts.change import Changes
    from cli.rollouts.gate import Observed, Rule
    from cli.rollouts.stacks import StackTarget

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="See, promote or abort a new version that takes over step by step."
)

_APPLY, _GATE = "Applying", "Gate"
Target = Annotated[
    str,
    typer.Argument(help="An agent, a pool or a stack; agent:, pool: or stack: before it where a name means several."),
]
StackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stack", metavar="STACK", rich_help_panel=_APPLY, help="Cloud stacks to apply to; repeat it or use a pattern."
    ),
]
NoApply = Annotated[bool, typer.Option("--no-apply", rich_help_panel=_APPLY, help="Change the files alone.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=_APPLY, help="Show the change of the files and make none.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", rich_help_panel=_APPLY, help="Do not ask before cloud stacks change.")
]
AllowCheckout = Annotated[
    bool,
    typer.Option(
        "--allow-checkout", rich_help_panel=_APPLY, help="Change production from a checkout that is not what main has."
    ),
]
Percent = Annotated[
    int | None, typer.Option("--percent", min=1, max=90, help="Share of requests of a canary, percent.")
]
Prometheus = Annotated[
    str,
    typer.Option(
        "--prometheus", metavar="URL", rich_help_panel=_GATE, help="Prometheus to read error rate and P95 from."
    ),
]
Window = Annotated[
    str, typer.Option("--window", rich_help_panel=_GATE, help="Time both versions are compared over, such as 10m.")
]


@app.command()
def start(
    target: Target,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", help="canary or blue-green; default as the target's or its pool's rollout says, else canary."
        ),
    ] = None,
    percent: Percent = None,
    against: Annotated[
        str, typer.Option("--against", metavar="REF", help="Commit whose version goes on serving.")
    ] = "HEAD",
    image: Annotated[
        str | None, typer.Option("--image", help="A stack's: image of the new version, by digest.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="A stack's: model of the new version.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="A stack's: MAX_TOKENS of the new version.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="A stack's: LOG_LEVEL of the new version.")
    ] = None,
    stack: StackOption = None,
    no_apply: NoApply = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    allow_checkout: AllowCheckout = False,
) -> None:
    """Put a change under way: what is edited becomes the candidate, beside what the commit before has.

    Edit the prompt (or inputs, model, resources, cache_seconds) in its place, then start: the entry goes back to what
    it was, and both versions run.
    """
    from cli.rollouts import change, history
    from cli.rollouts.change import Asked
    from cli.rollouts.stacks import StackTarget

    chosen: Literal["canary", "blue-green"] | None
    if strategy not in (None, "canary", "blue-green"):
        raise CommandError(f"--strategy {strategy}: it is canary or blue-green", Exit.USAGE)
    chosen = strategy  # type: ignore[assignment]
    named = {"image": image, "model": model, "maxTokens": max_tokens, "logLevel": log_level}
    stated = {name: value for name, value in named.items() if value is not None}
    found = _find(target)
    is_stack = isinstance(found, StackTarget)
    if stated and not is_stack:
        raise CommandError(
            "--image, --model, --max-tokens and --log-level are a stack's: edit the catalog in its place", Exit.USAGE
        )
    asked = Asked(chosen, percent, stated or None)
    folder = found.path.parent if isinstance(found, StackTarget) else found.folder
    where: Any = nullcontext(folder) if stated else history.unpacked(folder, history.resolve(folder, against))
    with where as then:
        reference = then / found.path.name if isinstance(found, StackTarget) else then
        if not reference.exists():
            raise CommandError(f"{found.shown} is not in {against}: what is new has no version before it")
        changes = change.start(found, reference, asked, against)
    _carry_out(found, changes, stack, no_apply, dry_run, yes, allow_checkout)


@app.command()
def promote(
    target: Target,
    percent: Percent = None,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate", rich_help_panel=_GATE, help="Go on only if the candidate does well; on this machine measured now."
        ),
    ] = False,
    prometheus: Prometheus = "",
    window: Window = "10m",
    wait: Annotated[
        bool, typer.Option("--wait", rich_help_panel=_GATE, help="Wait for one whole window before judging.")
    ] = False,
    min_requests: Annotated[
        int,
        typer.Option(
            "--min-requests", min=1, rich_help_panel=_GATE, help="Fewest requests of the candidate to judge by."
        ),
    ] = 100,
    max_error_increase: Annotated[
        float,
        typer.Option(
            "--max-error-increase", min=0, rich_help_panel=_GATE, help="Percentage points its error rate may be higher."
        ),
    ] = 1.0,
    max_p95_ratio: Annotated[
        float,
        typer.Option("--max-p95-ratio", min=0, rich_help_panel=_GATE, help="How many times the P95 its own may be."),
    ] = 1.25,
    stack: StackOption = None,
    no_apply: NoApply = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    allow_checkout: AllowCheckout = False,
) -> None:
    """Let the candidate take over: all requests, or with --percent a larger or smaller share of them.

    After a blue-green promotion the version before stays ready: abort switches back, finish retires it. With --gate or
    --prometheus it goes on only where the candidate's error rate and P95 hold to the rule beside the serving version's.
    """
    from cli.rollouts import change
    from cli.rollouts.gate import Rule

    found = _find(target)
    # First what needs no measurement: a promotion that is refused anyway should not wait for one.
    changes = change.share(found, percent) if percent is not None else change.promote(found)
    if gate or prometheus:
        _judge(found, prometheus, window, wait, bool(stack), Rule(min_requests, max_error_increase, max_p95_ratio))
    _carry_out(found, changes, stack, no_apply, dry_run, yes, allow_checkout)


@app.command()
def abort(
    target: Target,
    stack: StackOption = None,
    no_apply: NoApply = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    allow_checkout: AllowCheckout = False,
) -> None:
    """Drop the candidate; after a blue-green promotion, switch back to the version before."""
    from cli.rollouts import change

    found = _find(target)
    _carry_out(found, change.abort(found), stack, no_apply, dry_run, yes, allow_checkout, returns=True)


@app.command()
def finish(
    target: Target,
    stack: StackOption = None,
    no_apply: NoApply = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    allow_checkout: AllowCheckout = False,
) -> None:
    """Retire the version before, after a blue-green promotion: the idle colour goes."""
    from cli.rollouts import change

    found = _find(target)
    _carry_out(found, change.finish(found), stack, no_apply, dry_run, yes, allow_checkout)


@app.command()
def status(
    target: Annotated[
        str | None, typer.Argument(help="An agent, a pool or a stack; default: all that are under way.")
    ] = None,
    prometheus: Prometheus = "",
    window: Window = "10m",
    context: Annotated[
        str,
        typer.Option(
            "--context", help="Look at the cluster of this kubeconfig context; KUBECONFIG alone means its current one."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """What is under way, in which versions, and what of them runs here or in the cluster KUBECONFIG names."""
    from cli.rollouts import apply, targets
    from cli.rollouts import status as looking

    folder = _folder()
    found = [_find(target)] if target else list(targets.under_way(folder))
    state = apply.running()
    runs = looking.here(state) if state else {}
    if context or (state is None and os.environ.get("KUBECONFIG")):
        runs = looking.in_cluster(context)
    shown = [looking.describe(one, folder, runs) for one in found]
    measured = [_measured(one, prometheus, window) if prometheus and one.is_under_way else None for one in found]
    if as_json:
        print_json([each.data | ({"measured": m} if m else {}) for each, m in zip(shown, measured, strict=True)])
        return
    if not shown:
        print("No rollout is under way. fleet rollout start TARGET begins one.")
    for each, m in zip(shown, measured, strict=True):
        print(f"{each.target}: {each.strategy}{f', {each.since}' if each.since else ''}")
        rows = [(r.version, r.role, r.share, r.digest, r.changes, r.runs) for r in each.rows]
        print_table(("VERSION", "ROLE", "REQUESTS", "DIGEST", "CHANGES", "RUNS"), rows, empty="")
        for name, what in (m or {}).items():
            p95 = "none timed" if what["p95"] is None else f"{what['p95']:.3f} s"
            print(
                f"  {name} over {window}: {what['requests']:.0f} requests, {what['error_percent']:.2f}% failed, P95 {p95}"
            )


def _find(name: str) -> CatalogTarget | StackTarget:
    from cli.rollouts import targets

    return targets.find(name, _folder())


def _folder() -> Path:
    from catalog.contract import Env
    from catalog.registry import POOLS_FOLDER

    return Path(os.environ.get(Env.CATALOG_PATH) or POOLS_FOLDER)


def _carry_out(
    found: CatalogTarget | StackTarget,
    changes: Changes,
    stack: list[str] | None,
    no_apply: bool,
    dry_run: bool,
    yes: bool,
    allow_checkout: bool,
    *,
    returns: bool = False,
) -> None:
    from cli.rollouts import apply, change

    if dry_run:
        print(change.unified(changes, Path.cwd()), end="")
        return
    stacks = stack or ([found.name] if found.kind == "stack" else [])
    raise typer.Exit(
        apply.carry_out(changes, stacks, no_apply=no_apply, yes=yes, allow_checkout=allow_checkout, returns=returns)
    )


def _judge(found: CatalogTarget | StackTarget, url: str, window: str, wait: bool, in_cloud: bool, rule: Rule) -> None:
    """Print the verdict; raises CommandError where the candidate may not go on."""
    from cli.rollouts import gate

    serving, candidate = _observed(found, url, window, wait, in_cloud)
    verdict = gate.judge(serving, candidate, rule)
    print(f"Over {window}: candidate {candidate.requests:.0f} requests, serving {serving.requests:.0f}")
    for reason in verdict.reasons if verdict.passed else ():
        print(f"  {reason}")
    if not verdict.passed:
        reasons = "\n".join(f"  {reason}" for reason in verdict.reasons)
        raise CommandError(f"{found.shown} is not promoted, and nothing was changed:\n{reasons}")


def _observed(
    found: CatalogTarget | StackTarget, url: str, window: str, wait: bool, in_cloud: bool
) -> tuple[Observed, Observed]:
    from cli.rollouts import apply, measure, status as looking  # noqa: I001

    pair, seconds = looking.pair(found, _folder()), measure.seconds(window)
    sleep: Callable[[float], None] = time.sleep
    if url:
        if wait:
            print(f"Waiting {window} …", flush=True)
            sleep(seconds)
        return measure.from_prometheus(url, pair, seconds)
    state = apply.running()
    if in_cloud or found.kind == "stack" or state is None:
        raise CommandError(
            "--gate measures the platform on this machine; for a cluster name its Prometheus: --prometheus URL "
            "(kubectl -n monitoring port-forward reaches it)",
            Exit.USAGE,
        )
    print(f"Measuring both versions for {window} …", flush=True)
    return measure.from_processes(looking.ports(state), pair, seconds)


def _measured(found: CatalogTarget | StackTarget, url: str, window: str) -> dict[str, dict[str, Any]]:
    from cli.rollouts import measure, status as looking  # noqa: I001

    pair = looking.pair(found, _folder())
    both = measure.from_prometheus(url, pair, measure.seconds(window))
    return {
        name: {"requests": one.requests, "error_percent": one.error_percent, "p95": one.p95}
        for name, one in zip(("serving", "beside"), both, strict=True)
    }
