"""Owns what a diff means: which workloads roll and how many agents with them, what is at stake, what is refused.

Plain words for a pull request. What differs is ``diff``; an agent's text is ``agents``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from infra.plan.agents import WORKLOADS, served
from infra.plan.diff import Change, Diff
from infra.plan.plan import LAYERS, Plan, Resource
from infra.workloads.rollout import ANNOTATION

_DATA = (
    "Instance",
    "ReplicationGroup",
    "DatabaseInstance",
    "RedisEnterprise",
    "Server",
    "Bucket",
    "PersistentVolumeClaim",
    "Key",
    "CryptoKey",
    "Vault",
    "Cluster",
    "ManagedCluster",
    "Vpc",
    "Network",
    "VirtualNetwork",
)
"""Kinds whose replacement loses data or everything that stands on them."""


def blast_radius(found: Diff) -> list[str]:
    """What a change does, in plain words, the gravest first; one sentence if it does nothing."""
    words = [
        *_losses(found),
        *_shares(found),
        *_rolls(found),
        *_scales(found),
        *_releases(found),
        *_comes_and_goes(found),
    ]
    return words or ["changes nothing that runs"]


def refusals(found: Diff) -> list[str]:
    """What an engine or the program would refuse, and what to do about it."""
    words = []
    had, has = _layers(found.base), _layers(found.head)
    if found.base.resources:
        words += [
            f"the layer {layer} is taken away from this stack, which would delete everything in it: keep it, or move it (fleet split)"
            for layer in had
            if layer not in has
        ]
    for change in found.of("deleted", "replaced"):
        held = change.before or change.resource
        if held.protect:
            words.append(
                f"{held.kind} {held.name} is protected and would be {change.action}: pulumi refuses it; if it is meant, unprotect it first: pulumi state unprotect '{held.urn}'"
            )
    return words


def _layers(plan: Plan) -> list[str]:
    layers = plan.values.get("layers")
    return [str(layer) for layer in layers] if isinstance(layers, list) else list(LAYERS)


def _losses(found: Diff) -> list[str]:
    return [
        f"{change.action[:-1] if change.action == 'replaced' else 'delete'}s {change.resource.label} {change.resource.name}: what it holds is lost"
        for change in found.of("replaced", "deleted")
        if change.resource.type.rpartition(":")[2] in _DATA
        and (change.resource.package != "kubernetes" or change.resource.kind == "PersistentVolumeClaim")
    ]


def rolled(found: Diff) -> list[Change]:
    """Workloads whose pods are replaced: their pod template changed."""
    return [
        change
        for change in found.of("changed", "replaced")
        if change.resource.kind in WORKLOADS
        and any(item.path.startswith("spec.template") for item in change.properties)
    ]


def _rolls(found: Diff) -> list[str]:
    rolling = rolled(found)
    if not rolling:
        return []
    agents = _agents(found.head, (str(change.resource.get("metadata.name")) for change in rolling))
    kinds = Counter(change.resource.kind for change in rolling)
    what = " and ".join(_count(number, kind) for kind, number in kinds.items())
    return [f"rolls {what}" + (f", {_count(agents, 'agent')}" if agents else "")]


def _shares(found: Diff) -> list[str]:
    """How requests are shared between two versions, where that changes."""
    words = []
    for change in found.changes:
        if change.resource.kind != "Service" or change.action == "moved":
            continue
        before = _rollout(change.before) if change.action != "created" else ""
        after = _rollout(change.resource) if change.action != "deleted" else ""
        if before != after:
            name = change.resource.get("metadata.name")
            words.append(f"{name}: {after}" if after else f"{name}: ends the rollout ({before})")
    return words


def _rollout(service: Resource | None) -> str:
    annotations = service.get("metadata.annotations") if service is not None else None
    return str((annotations or {}).get(ANNOTATION, ""))


def _agents(plan: Plan, names: Iterable[str]) -> int:
    table = served(plan)
    return len({agent for name in names for agent in table.get(name, ())})


def _scales(found: Diff) -> list[str]:
    scaled = [change for change in found.of("changed") if change.resource.kind == "HorizontalPodAutoscaler"]
    return [f"changes the scaling of {_count(len(scaled), 'workload')}"] if scaled else []


def _releases(found: Diff) -> list[str]:
    words = []
    for change in found.of("changed", "replaced"):
        if change.resource.is_release:
            versions = next((item for item in change.properties if item.path == "version"), None)
            what = f"from {versions.before} to {versions.after}" if versions else "with other values"
            words.append(f"upgrades the Helm release {change.resource.name} {what}")
    return words


def _comes_and_goes(found: Diff) -> list[str]:
    words = []
    for action, verb, plan in (("created", "adds", found.head), ("deleted", "removes", found.base)):
        items = [change.resource for change in found.changes if change.action == action]
        running = [item for item in items if item.kind in WORKLOADS]
        if running:
            agents = _agents(plan, (str(item.get("metadata.name")) for item in running))
            kinds = Counter(item.kind for item in running)
            words.append(
                f"{verb} "
                + " and ".join(_count(number, kind) for kind, number in kinds.items())
                + (f", serving {_count(agents, 'agent')}" if agents else "")
            )
        rest = len(items) - len(running)
        if rest:
            words.append(f"{verb} {_count(rest, 'other resource')}")
    moved = [change for change in found.of("moved") if not change.kept_by_alias]
    if moved:
        words.append(
            f"would replace {_count(len(moved), 'resource')} that only got another name, unless their state is moved"
        )
    return words


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
