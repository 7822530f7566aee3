"""Owns the agents inside a plan: which workload serves which, and what of an agent's text changed.

Agents are found where pods find them: in the catalog ConfigMaps (``<agent id>.json`` keys) that a workload
mounts. A change is shown as a unified diff of the agent's fields as text, never of the JSON blob.
"""

from __future__ import annotations

import difflib
import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from infra.plan.plan import Plan, Resource, dig

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
COMPONENT_LABEL = "app.kubernetes.io/component"
WIDTH = 110
CONTEXT = 1
"""Unchanged lines around a change."""
DIGEST = 12
"""Characters of a digest that are shown."""


@dataclass(frozen=True)
class AgentChange:
    """What happened to one agent."""

    agent: str
    action: Literal["added", "removed", "changed", "moved"]
    text: str = ""
    """Unified diff of the fields, for changed; a line of prose for moved."""
    before: str = ""
    """Digest of its content in the base, as `fleet agents show` prints it; empty where it is not there."""
    after: str = ""
    """Digest of its content in the head."""


def catalog_maps(plan: Plan) -> list[Resource]:
    """ConfigMaps with agents."""
    return [
        item
        for item in plan.resources
        if item.type == "kubernetes:core/v1:ConfigMap"
        and item.get("metadata.labels", {}).get(COMPONENT_LABEL) == "catalog"
    ]


def documents(plan: Plan) -> dict[str, dict[str, Any]]:
    """Agent id → its content."""
    return {agent: orjson.loads(text) for item in catalog_maps(plan) for agent, text in _entries(item)}


def versions(plan: Plan) -> dict[str, dict[str, dict[str, Any]]]:
    """Agent id → digest → content; two while a rollout is under way, in the plan's order.

    A digest is the first DIGEST characters of the content's SHA-256: the catalog's own, which hashes the same bytes.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for item in catalog_maps(plan):
        for agent, text in _entries(item):
            found.setdefault(agent, {})[hashlib.sha256(text.encode()).hexdigest()[:DIGEST]] = orjson.loads(text)
    return found


def _entries(item: Resource) -> Iterator[tuple[str, str]]:
    for key, text in (item.get("data") or {}).items():
        if key.endswith(".json") and isinstance(text, str):
            yield key.removesuffix(".json"), text


def served(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Workload's Kubernetes name → ids of the agents in the ConfigMaps it mounts."""
    contents = {str(item.get("metadata.name")): [agent for agent, _ in _entries(item)] for item in catalog_maps(plan)}
    found = {}
    for item in plan.resources:
        if item.is_object and item.kind in WORKLOADS:
            agents = [agent for name in _mounted(item) for agent in contents.get(name, ())]
            if agents:
                found[str(item.get("metadata.name"))] = tuple(agents)
    return found


def _mounted(workload: Resource) -> Iterator[str]:
    for volume in dig(workload.inputs, "spec.template.spec.volumes") or ():
        name = dig(volume, "configMap.name")
        if isinstance(name, str):
            yield name
        for source in dig(volume, "projected.sources") or ():
            name = dig(source, "configMap.name")
            if isinstance(name, str):
                yield name


def changes(base: Plan, head: Plan) -> list[AgentChange]:
    """What happened to every agent between two plans, by id."""
    before, after = versions(base), versions(head)
    homes = {agent: name for name, agents in served(base).items() for agent in agents}
    found: list[AgentChange] = []
    for agent in sorted({*before, *after}):
        old, new = before.get(agent, {}), after.get(agent, {})
        fresh = [digest for digest in new if digest not in old]
        if not old:
            found.append(AgentChange(agent, "added", after=fresh[-1]))
        elif not new:
            found.append(AgentChange(agent, "removed", before=list(old)[-1]))
        elif fresh:
            was = ([digest for digest in old if digest not in new] or list(old))[-1]
            found.append(AgentChange(agent, "changed", text_diff(old[was], new[fresh[-1]]), was, fresh[-1]))
    now = {agent: name for name, agents in served(head).items() for agent in agents}
    touched = {change.agent for change in found}
    for agent, name in sorted(now.items()):
        if agent in homes and homes[agent] != name and agent not in touched:
            found.append(AgentChange(agent, "moved", f"from {homes[agent]} to {name}"))
    return found


def text_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The changed fields of an agent as a unified diff, long texts wrapped into lines."""
    lines = []
    for path in sorted({*_fields(before), *_fields(after)}):
        left, right = _fields(before).get(path), _fields(after).get(path)
        if left == right:
            continue
        lines.append(path)
        body = difflib.unified_diff(_lines(left), _lines(right), lineterm="", n=CONTEXT)
        lines += [f"  {line}" for line in body if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(lines)


def _fields(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _fields(value, f"{path}.")
        elif isinstance(value, list):
            flat[path] = "\n".join(f"- {item}" for item in value)
        else:
            flat[path] = str(value)
    return flat


def _lines(text: str | None) -> list[str]:
    if text is None:
        return []
    return [line for paragraph in text.split("\n") for line in (_sentences(paragraph) or [""])]


def _sentences(paragraph: str) -> list[str]:
    # A sentence a line: a changed word then shows as one changed sentence, not as a reflowed paragraph.
    broken = paragraph.replace(". ", ".\n").split("\n")
    return [line for sentence in broken for line in (textwrap.wrap(sentence, WIDTH, break_long_words=False) or [""])]
