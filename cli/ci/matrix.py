"""Owns which jobs a deployment has: stacks of one cloud and environment together, since `fleet up` orders them itself.

What the jobs do is in .github/workflows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cli.errors import CommandError, Exit
from cli.planning import stack_settings

if TYPE_CHECKING:
    from infra.settings import PlatformSpec


def matrix(stacks: Sequence[str], environment: str = "", *, each: bool = False) -> dict[str, list[dict[str, Any]]]:
    """A strategy's matrix. A job: ``cloud``, ``environment``, ``stacks`` and ``images`` by spaces, gateway's ``url``.

    ``environment``: what every stack must be. ``each``: a job a stack. Raises CommandError where one is not, or a
    file is wrong.
    """
    jobs: dict[tuple[str, ...], dict[str, Any]] = {}
    for stack in stacks:
        spec = stack_settings(stack)
        if environment and spec.environment != environment:
            raise CommandError(
                f"{stack} is {spec.environment}, not {environment}: a deployment to {environment} must not touch it; "
                f"take it out of the repository's variable, or correct its environment",
                Exit.USAGE,
            )
        job = jobs.setdefault(
            (spec.cloud, spec.environment, *([stack] if each else [])),
            {
                "cloud": spec.cloud,
                "environment": spec.environment,
                "url": f"https://{spec.api_host}",
                "stacks": [],
                "images": {},
            },
        )
        job["stacks"].append(stack)
        job["images"] |= dict.fromkeys(_images(spec))
    return {"include": [job | {name: " ".join(job[name]) for name in ("stacks", "images")} for job in jobs.values()]}


def _images(spec: PlatformSpec) -> Iterator[str]:
    """Images of the runtime that the stack runs: its own, and that of the fleet's other version while there is one."""
    if spec.builds("services") or spec.builds("fleet"):
        yield spec.images.runtime
    other = spec.fleet.rollout.other if spec.fleet.rollout else None
    if other and other.image:
        yield other.image
