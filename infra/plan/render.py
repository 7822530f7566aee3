"""Owns `fleet render`: a stack's Kubernetes objects as files, each Helm release as chart, version and values.

A stack that is a fleet alone is rendered from the same pure functions that the program registers, without
Pulumi: 7,500 objects in about a second. Any other stack is rendered from its recorded plan. Values that only
`up` decides are taken as plausible ones and named in ``DECIDED-AT-UP.txt``. Secrets are never written.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.plan import yaml

if TYPE_CHECKING:
    from catalog.registry import Registry
    from infra.plan.plan import Plan, Resource
    from infra.settings import PlatformSpec

NOTES = "DECIDED-AT-UP.txt"
Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """Files of one stack: relative path → content."""

    files: Mapping[str, str]
    objects: int
    releases: int


def write(rendered: Rendered, folder: Path) -> None:
    """Write the files; the folder must be new or empty, or hold an earlier rendering, whose files are replaced."""
    root = str(folder)
    for where, _, names in os.walk(root):
        inside = os.path.relpath(where, root)
        for name in names:
            known = name if inside == "." else f"{inside}/{name}"
            if name.endswith(".yaml") and known not in rendered.files:
                os.unlink(os.path.join(where, name))
    for parent in {os.path.dirname(name) for name in rendered.files}:
        os.makedirs(os.path.join(root, parent), exist_ok=True)
    # Plain strings and descriptors: pathlib and text files take twice as long for a thousand files.
    for name, content in rendered.files.items():
        file = os.open(f"{root}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            os.write(file, content.encode())
        finally:
            os.close(file)


def keep_garbage() -> None:
    """Collect rarely: a rendering only makes what it keeps, and collecting in between costs a fifth of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 1_000)


def fleet(spec: PlatformSpec, registry: Registry | None = None) -> Rendered:
    """The fleet layer of a validated spec, from the pure functions alone. Raises SettingsError, CatalogError."""
    files: dict[str, str] = {}
    objects = 0
    for owner, manifests in fleet_objects(spec, registry):
        files[f"fleet/{owner}.yaml"] = yaml.documents(manifests)
        objects += len(manifests)
    files[NOTES] = _fleet_notes(spec)
    return Rendered(files, objects, 0)


def fleet_objects(spec: PlatformSpec, registry: Registry | None = None) -> Iterator[tuple[str, list[Manifest]]]:
    """Owner's name and its objects, in the program's order; what Fleet registers, without Pulumi (a test compares)."""
    from catalog import registry as catalog
    from infra.plan.samples import TEXTS
    from infra.workloads import manifests, rollout, routes, selection

    known = catalog.load() if registry is None else registry
    runtime = manifests.RuntimeArgs.of(
        spec,
        redis_secret=TEXTS["redis_state_secret"],
        identity_keys=TEXTS["identity_keys"],
        vault_address=TEXTS["vault_address"],
        consul_address=TEXTS["consul_address"],
    )
    workloads = selection.workloads(spec, known)
    for workload in workloads:
        yield workload.name, [item.manifest for item in rollout.objects(workload, spec, runtime)]
    yield "routes", [routes.config_map(routes.routes(workloads, spec), spec.fleet.shard)]


def _fleet_notes(spec: PlatformSpec) -> str:
    from infra.plan.samples import TEXTS

    taken = {
        "redis_state_secret": True,
        "identity_keys": True,
        "vault_address": spec.components.vault,
        "consul_address": spec.components.consul,
    }
    lines = [
        f"services.{name} of stack {spec.stacks.services}: taken as {TEXTS[name]}"
        for name, used in taken.items()
        if used
    ]
    return "Values that `pulumi up` takes from another stack:\n" + "".join(f"  {line}\n" for line in lines)


def plan(known: Plan, unknown: Plan | None = None) -> Rendered:
    """All objects and releases of a recorded plan; ``unknown`` is the same stack's, to say what `up` decides."""
    from infra.plan.plan import redacted

    grouped: dict[str, list[Manifest]] = {}
    releases = objects = 0
    for item in known.resources:
        if item.is_object:
            grouped.setdefault(f"{known.layer(item)}/{_owner(known, item)}.yaml", []).append(
                yaml.ordered(redacted(item.inputs))
            )
            objects += 1
        elif item.is_release:
            release = {
                "chart": item.get("chart"),
                "version": item.get("version"),
                "repository": item.get("repositoryOpts.repo"),
                "name": item.get("name"),
                "namespace": item.get("namespace"),
            }
            grouped[f"{known.layer(item)}/releases/{item.name}.yaml"] = [
                {**release, "values": yaml.ordered(redacted(item.get("values") or {}))}
            ]
            releases += 1
    files = {name: yaml.documents(found) for name, found in sorted(grouped.items())}
    if unknown is not None:
        files[NOTES] = _plan_notes(unknown)
    return Rendered(files, objects, releases)


def _owner(found: Plan, item: Resource) -> str:
    """The file an object is in: its nearest component's."""
    above = next((parent for parent in found.ancestors(item) if parent.is_component), None)
    return item.name if above is None else above.name


def _plan_notes(found: Plan) -> str:
    lines = [
        f"  {item.name}: {path}\n"
        for item in found.resources
        if item.is_object or item.is_release
        for path in _unknowns(item.inputs)
    ]
    return "Values that `pulumi up` decides; the files have plausible ones:\n" + ("".join(lines) or "  none\n")


def _unknowns(value: Any, path: str = "") -> Iterable[str]:
    from infra.plan.plan import is_unknown

    if is_unknown(value):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unknowns(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unknowns(item, f"{path}[{index}]")
