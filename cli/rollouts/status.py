"""Owns what is known of a rollout: its versions by the files, and what of them runs here or in a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog import versions
from catalog.registry import digest_of
from catalog.versions import Version, Workload
from cli.errors import CommandError, Exit
from cli.local.state import State
from cli.rollouts import agents, history
from cli.rollouts.agents import CatalogTarget
from cli.rollouts.measure import Pair
from cli.rollouts.stacks import StackTarget
from infra.settings import NAMESPACE

_KUBECTL_SECONDS = 30


@dataclass(frozen=True)
class Row:
    """One version as it is shown; ``share`` in words."""

    version: str
    role: str
    share: str
    digest: str
    changes: str = ""
    """What the version beside the serving one has different."""
    runs: str = ""
    """What of it runs; empty where nothing is known to run."""


@dataclass(frozen=True)
class Described:
    """One target's rollout."""

    target: str
    kind: str
    strategy: str
    since: str
    rows: tuple[Row, ...]

    @property
    def data(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def workloads_of(target: CatalogTarget | StackTarget, folder: Path) -> tuple[Workload, ...]:
    """The workloads whose versions a target decides. Raises CommandError where the stack's settings are refused."""
    if isinstance(target, CatalogTarget):
        name = f"pool-{target.name}" if target.kind == "pool" else target.registry.require(target.name).kubernetes_name
        found = versions.workloads(
            target.agents, target.registry.pools, is_dedicated=lambda agent: agent.isolation == "dedicated"
        )
        return tuple(one for one in found if one.name == name)
    from infra.settings import SettingsError
    from infra.workloads import selection

    assert target.spec is not None
    try:
        return selection.workloads(target.spec, agents.load(folder))
    except SettingsError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def pair(target: CatalogTarget | StackTarget, folder: Path) -> Pair:
    """Names of the processes of both versions. Raises CommandError where there is one version."""
    found = workloads_of(target, folder)
    beside = tuple(one.other.name for one in found if one.other)
    if not beside:
        raise CommandError(f"{target.shown} has one version: there is nothing to compare", Exit.NOT_FOUND)
    return Pair(tuple(one.serving.name for one in found if one.other), beside)


def describe(target: CatalogTarget | StackTarget, folder: Path, runs: Mapping[str, str]) -> Described:
    """A target's versions; ``runs`` is what of each is known to run, by name."""
    rollout = target.rollout
    strategy = rollout.strategy if rollout else "rolling"
    if isinstance(target, StackTarget):
        rows, path = tuple(_stack_rows(target, folder, runs)), target.path
    else:
        rows = tuple(row for one in workloads_of(target, folder) for row in _rows(one, target, runs))
        path = _path(target)
    if not rows and isinstance(target, CatalogTarget):
        pool = f"pool-{target.pool}"
        rows = (Row(pool, "serving, with its pool", "100%", digest_of(target.agents)[:12], runs=runs.get(pool, "")),)
    return Described(target.name, target.kind, strategy, history.since(path) if target.is_under_way else "", rows)


def _path(target: CatalogTarget) -> Path:
    if target.kind == "pool":
        return agents.pool_file(target.folder, target.pool)
    return target.folder / target.pool / f"{target.registry.require(target.name).domain}.yaml"


def _rows(workload: Workload, target: CatalogTarget, runs: Mapping[str, str]) -> Iterator[Row]:
    for version in workload.versions:
        changes = _changes(target) if version.beside else ""
        role, share = _role(workload, version, target), _share(workload, version)
        yield Row(version.name, role, share, digest_of(version.agents)[:12], changes, runs.get(version.name, ""))


def _stack_rows(target: StackTarget, folder: Path, runs: Mapping[str, str]) -> Iterator[Row]:
    found = workloads_of(target, folder)
    for beside in (False, True):
        group = [(one, version) for one in found for version in one.versions if version.beside == beside]
        if not group:
            continue
        workload, version = group[0]
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        up = [runs[each.name] for _, each in group if each.name in runs]
        told = up[0] if len(up) == len(group) == 1 else f"{len(up)} of {len(group)} there" if up else ""
        changes = _changes(target) if beside else ""
        digest = digest_of(agent for _, each in group for agent in each.agents)[:12]
        yield Row(
            f"{version.name}{more}", _role(workload, version, target), _share(workload, version), digest, changes, told
        )


def _role(workload: Workload, version: Version, target: CatalogTarget | StackTarget) -> str:
    if not version.beside:
        return "serving"
    return "previous" if target.rollout is not None and target.rollout.previous is not None else "candidate"


def _share(workload: Workload, version: Version) -> str:
    if workload.strategy == "canary":
        return f"{workload.percent if version.beside else 100 - workload.percent}%"
    return "with the header canary: true" if version.beside else "100%"


def _changes(target: CatalogTarget | StackTarget) -> str:
    rollout = target.rollout
    changes: Any = rollout.other if rollout else None
    if changes is None:
        return ""
    stated = {name: getattr(changes, name) for name in changes.model_fields_set}
    agents = stated.pop("agents", None) or {}
    return ", ".join([*sorted(stated), *([f"{len(agents)} agent{'s' if len(agents) != 1 else ''}"] if agents else [])])


def here(state: State) -> dict[str, str]:
    """Version → its process, of the platform on this machine."""
    return {
        name: f"{part['state']}, process {part['pid']}, port {part['port']}"
        for name, part in state.run.get("parts", {}).items()
        if part.get("pid")
    }


def ports(state: State) -> dict[str, int]:
    """Version → the port of its process, of the platform on this machine."""
    return {name: part["port"] for name, part in state.run.get("parts", {}).items() if part.get("port")}


def in_cluster(context: str = "") -> dict[str, str]:
    """Version → its Deployment's rollout, and whether its workload's Service selects it, by kubectl.

    Raises CommandError where kubectl is missing or the cluster does not answer.
    """
    command = ["kubectl", *(["--context", context] if context else []), "--namespace", NAMESPACE]
    command += ["get", "deployments,services", "--output", "json", f"--request-timeout={_KUBECTL_SECONDS}s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    except FileNotFoundError:
        raise CommandError("kubectl is not on PATH: what runs in a cluster is read with it") from None
    if done.returncode:
        # Its last line says what is wrong, after one of its log for each attempt.
        raise CommandError(f"kubectl: {done.stderr.strip().rpartition(chr(10))[2]}", Exit.UNREACHABLE)
    return deployed(json.loads(done.stdout)["items"])


def deployed(items: list[dict[str, Any]]) -> dict[str, str]:
    """Deployment → its rollout in words, from what a cluster holds."""
    selected: dict[str, list[str]] = {}
    for item in items:
        if item["kind"] == "Service":
            app = (item["spec"].get("selector") or {}).get("app", "")
            selected.setdefault(app, []).append(item["metadata"]["name"])
    found = {}
    for item in items:
        if item["kind"] != "Deployment":
            continue
        name, spec, status = item["metadata"]["name"], item["spec"], item.get("status", {})
        wanted = spec.get("replicas", 1)
        seen = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
        text = f"{status.get('readyReplicas', 0)}/{wanted} ready, {status.get('updatedReplicas', 0) if seen else 0}/{wanted} updated"
        services = sorted(selected.get(name, ()))
        found[name] = text + (f", behind {', '.join(services)}" if services else "")
    return found
