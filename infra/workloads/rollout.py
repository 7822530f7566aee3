"""Owns what each workload is in the cluster, in its one or two versions, and how a new one takes over. Pure.

rolling: one Deployment. blue-green: one for each colour; the Service of the workload selects the active one, so
that switching, and switching back, is a change of that selector alone. canary: a second Deployment with a Service
of its own, between which the gateway splits, or Istio where the stack has it. What registers these objects is
``component.py``, what writes them as files infra/plan/render.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.versions import Version, Workload
from infra.services.mesh import canary
from infra.settings import PlatformSpec
from infra.workloads import manifests, routes
from infra.workloads.manifests import Manifest, Process, RuntimeArgs

ANNOTATION = "ai-agents/rollout"
"""On the Service of a workload with two versions: what is shared how, for people and for what a change does."""


@dataclass(frozen=True)
class Object:
    """One manifest of a workload and the end of its logical name."""

    name: str
    manifest: Manifest
    after: tuple[str, ...] = ()
    """Names of the workload's objects that must be ready before this one is applied."""


def objects(workload: Workload, spec: PlatformSpec, runtime: RuntimeArgs) -> Iterator[Object]:
    """Everything of one workload, in order."""
    processes: dict[str, Process] = {}
    for version in workload.versions:
        suffix = version.name.removeprefix(workload.name)
        chunks = manifests.catalog_chunks(version, suffix)
        maps = {f"{suffix}-catalog{domain and '-' + domain}": chunk for domain, chunk in chunks.items()}
        yield from (Object(name, chunk) for name, chunk in maps.items())
        process = manifests.version_process(version, chunks.values())
        if _splits_in_mesh(workload, spec):
            process = replace(process, pod_labels={**process.pod_labels, **canary.SIDECAR})
        deployment = manifests.deployment(process, _runtime(version, spec, runtime))
        yield Object(f"{suffix}-deployment", deployment, after=tuple(maps))
        yield Object(f"{suffix}-horizontalpodautoscaler", manifests.autoscaler(process), after=tuple(maps))
        yield Object(f"{suffix}-poddisruptionbudget", manifests.disruption_budget(process), after=tuple(maps))
        processes[suffix] = process
    yield from _services(workload, processes)
    if _splits_in_mesh(workload, spec):
        for manifest in canary.objects(routes.route(workload)):
            yield Object(f"-{manifest['kind'].lower()}-{manifest['metadata']['name']}", manifest)


def _services(workload: Workload, processes: dict[str, Process]) -> Iterator[Object]:
    suffixes = list(processes)
    # A Service selects a version only once that is ready, also where a workload leaves its colours behind; and a colour
    # only once both are, so that switching back is no wait either.
    needed = suffixes if workload.strategy == "blue-green" else suffixes[:1]
    after = tuple(f"{suffix}-deployment" for suffix in needed)
    own = manifests.service(workload.name, processes[suffixes[0]])
    if workload.other is None:
        yield Object("-service", own, after=after)
        return
    own["metadata"]["annotations"] = {ANNOTATION: described(workload)}
    yield Object("-service", own, after=after)
    # Each colour has a Service of its own, by which the idle one is reached; of a canary the serving version has its
    # workload's.
    for suffix in suffixes if workload.strategy == "blue-green" else suffixes[1:]:
        yield Object(f"{suffix}-service", manifests.service(f"{workload.name}{suffix}", processes[suffix]))


def described(workload: Workload) -> str:
    """How requests are shared between a workload's two versions, in a line."""
    other, serving = workload.other, workload.serving
    assert other is not None
    if workload.strategy == "canary":
        return f"canary: {workload.percent}% to {other.name}, the rest to {serving.name}"
    return f"blue-green: {serving.name} serves, {other.name} is idle"


def _runtime(version: Version, spec: PlatformSpec, runtime: RuntimeArgs) -> RuntimeArgs:
    """What the version's processes are configured with: the fleet's, and what its other version has different."""
    rollout = spec.fleet.rollout
    changes = rollout.other if rollout else None
    if changes is None or not version.beside:
        return runtime
    stated = {name: getattr(changes, name) for name in ("image", "model", "max_tokens", "log_level")}
    return replace(runtime, **{name: value for name, value in stated.items() if value is not None})


def _splits_in_mesh(workload: Workload, spec: PlatformSpec) -> bool:
    return spec.components.mesh == "istio" and workload.other is not None and workload.strategy == "canary"
