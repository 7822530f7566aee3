"""Owns how a stack that grew is split: a layer (or a shard's agents) moves to a stack of its own, nothing is deleted.

Pure: a plan in, the new stack's configuration and the `pulumi state move` commands out. A resource moves with
all its children, so one URN a layer is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.settings import LAYERS, PROJECT, Layer, PlatformSpec

if TYPE_CHECKING:
    from infra.plan.plan import Plan


class SplitError(ValueError):
    """A split that cannot be made; the message says why."""


@dataclass(frozen=True)
class Split:
    """What to write and what to run, in this order."""

    source: str
    target: str
    target_config: dict[str, Any]
    """``config`` of stacks/Pulumi.<target>.yaml."""
    source_changes: dict[str, Any]
    """Keys of the source stack's file that change."""
    commands: tuple[str, ...]


def split(spec: PlatformSpec, plan: Plan, layer: Layer, target: str) -> Split:
    """Move ``layer`` out of ``plan``'s stack into ``target``. Passwords are not copied: they are set anew.

    Raises SplitError where the source does not build the layer, or builds nothing else.
    """
    if not spec.builds(layer):
        raise SplitError(f"{plan.stack} does not build {layer}; its layers are {', '.join(spec.layers)}")
    kept = [name for name in spec.layers if name != layer]
    if not kept:
        raise SplitError(f"{plan.stack} builds nothing but {layer}: there is nothing to split")
    roots = [resource.urn for resource in plan.resources if resource.type == f"platform:layer:{layer.capitalize()}"]
    if not roots:
        raise SplitError(f"{plan.stack}: its plan has no {layer} layer")
    secrets = {"database": {"password"}, "cache": {"password"}}
    values = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=secrets)
    target_config = {key: value for key, value in values.items() if value and key not in ("layers", "stacks")}
    target_config["layers"] = [layer]
    below = LAYERS[: LAYERS.index(layer)]
    references = {
        name: plan.stack if spec.builds(name) else getattr(spec.stacks, name) for name in below if name != "fleet"
    }
    if references:
        target_config["stacks"] = references
    changes: dict[str, Any] = {"layers": kept}
    needed_here = layer != "fleet" and any(LAYERS.index(name) > LAYERS.index(layer) for name in kept)
    if needed_here:
        others = {name: getattr(spec.stacks, name) for name in ("foundation", "services") if getattr(spec.stacks, name)}
        changes["stacks"] = {**others, layer: target}
    moves = " ".join(f"'{urn}'" for urn in roots)
    commands = (
        f"pulumi up -s {plan.stack}   # nothing may be pending",
        f"pulumi stack init {target}",
        f"pulumi state move --source {plan.stack} --dest {target} {moves}",
        f"pulumi preview -s {target} --expect-no-changes --diff",
        f"pulumi preview -s {plan.stack} --diff   # only outputs may change",
    )
    return Split(
        plan.stack, target, {f"{PROJECT}:{key}": value for key, value in target_config.items()}, changes, commands
    )
