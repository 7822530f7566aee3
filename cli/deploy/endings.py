"""Owns which resources of a stack belong to versions that end, while the agents they serve go on being served.

A rollout that ends takes a whole set of objects with it, as the checkout says it should: that is no destruction. What
a resource belongs to is read from the state, where each names its parent, and what goes on from the catalog and the
stack's settings. What serves an agent that nobody is to serve any more is never among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from catalog import registry
from catalog.registry import CatalogError
from catalog.rollout import Colour
from catalog.versions import Workload
from cli.deploy.changes import Holding, kind_of, name_of, types_of
from infra.settings import PlatformSpec, SettingsError
from infra.workloads import selection

_POOL, _AGENT = "platform:workloads:Pool", "platform:workloads:Agent"
_OWN = ("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
"""Kinds of which each version of a workload has its own (infra/workloads/rollout.py)."""
_BETWEEN = ("VirtualService", "DestinationRule")
"""Kinds by which a mesh splits between two versions; one version alone has none."""
_SUFFIXES = tuple(f"-{name}" for name in ("canary", *get_args(Colour)))


def of_stack(held: Holding, spec: PlatformSpec) -> frozenset[str]:
    """What ``ended`` says by the checkout's catalog. Nothing where that cannot be told: the program then says why."""
    if not spec.builds("fleet") or not any(map(_is_workload, held.parents.values())):
        return frozenset()
    try:
        return ended(held, selection.workloads(spec, registry.load()))
    except (CatalogError, SettingsError):
        return frozenset()


def ended(held: Holding, wanted: Iterable[Workload]) -> frozenset[str]:
    """URNs of resources that belong to a version which is not ``wanted`` any more, of agents that are.

    Either their workload goes on in other versions; or an agent of a pool, which ran apart while it had two, is
    served by its pool again. Such an agent was in its pool's catalog all the time: one that only becomes pooled was
    not, and what served it counts.
    """
    workloads = {_key(workload): workload for workload in wanted}
    pooled = {
        agent.kubernetes_name
        for workload in workloads.values()
        if workload.serving.pool is not None
        for agent in workload.serving.agents
    }
    were = {
        key.removesuffix(".json").replace("_", "-")
        for urn, keys in held.keys.items()
        if types_of(held.parents.get(urn, ""))[-1] == _POOL
        for key in keys
    }
    children: dict[str, list[_Child]] = {}
    for urn in held.resources:
        if _is_workload(parent := held.parents.get(urn, "")):
            children.setdefault(parent, []).append(_child(parent, urn))
    found: set[str] = set()
    for component, objects in children.items():
        kind, fleet = types_of(component)[-1], name_of(held.parents.get(component, ""))
        name = name_of(component).removeprefix(f"{fleet}-")
        if workload := workloads.get((kind, name)):
            found |= {each.urn for each in objects if _is_over(each, workload)}
        elif kind == _AGENT and name in pooled & were:
            found |= {each.urn for each in objects if each.kind in (*_OWN, *_BETWEEN, "Service")}
    return frozenset(found)


@dataclass(frozen=True)
class _Child:
    """One object of a workload: its name is the component's, the suffix of its version, and what it is."""

    urn: str
    kind: str
    suffix: str
    what: str


def _child(component: str, urn: str) -> _Child:
    rest = name_of(urn).removeprefix(name_of(component))
    suffix = next((each for each in _SUFFIXES if rest.startswith(f"{each}-")), "")
    return _Child(urn, kind_of(urn), suffix, rest.removeprefix(suffix))


def _is_over(child: _Child, workload: Workload) -> bool:
    """Whether an object belongs to a version that the workload, which goes on, has no more."""
    if child.kind not in _OWN:
        # Beside the workload's own Service there are others only while there are two versions.
        return workload.other is None and (child.kind in _BETWEEN or (child.kind == "Service" and child.suffix != ""))
    if child.suffix in {version.name.removeprefix(workload.name) for version in workload.versions}:
        return False
    # A pool's catalog is cut by domain: one that is gone from the pool takes its agents with it.
    domains = {f"-catalog-{agent.domain}" for agent in workload.serving.agents}
    return child.kind != "ConfigMap" or workload.serving.pool is None or child.what in domains


def _key(workload: Workload) -> tuple[str, str]:
    """Type of a workload's component, and its name behind the fleet's."""
    return _AGENT if workload.serving.pool is None else _POOL, workload.name.removeprefix("pool-")


def _is_workload(urn: str) -> bool:
    return types_of(urn)[-1] in (_POOL, _AGENT)
