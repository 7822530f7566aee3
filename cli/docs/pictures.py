"""Owns the three pictures of the handbook and what of the code each shows."""

from __future__ import annotations

from typing import Final

from catalog.contract import IDENTITY_SECONDS, REDIS_AUDIT_STREAM, Header
from cli.docs import svg
from cli.docs.stacks import spec
from cli.docs.svg import Box, Message
from cli.planning import recorded
from infra.plan.plan import LAYERS, Plan, Resource
from infra.services.policies.connections import connections
from infra.services.policies.roles import MONITORING, ROLES
from runtime.control.authorize import PATH as AUTHORIZE

STACK: Final = "aws-dev"
"""The shipped stack that the pictures are of: all layers in one."""

# An empty name leaves room, for the arrow that passes there.
_COLUMNS: Final = {
    "Callers": ("clients",),
    "Gateway": ("gateway",),
    "Processes": ("control", "agent"),
    "Stores and services": ("stores", "", "vault", "consul-server"),
    "Outside": ("", "internet", "cloud"),
}
_NOTES: Final = {
    "clients": "through CDN and firewall",
    "gateway": "nginx",
    "control": "who may, how much is left",
    "agent": "1 to 500 agents each",
    "stores": "PostgreSQL, Valkey",
    "vault": "secrets",
    "consul-server": "dynamic settings",
    "internet": "Claude",
    "cloud": "the cloud's own services",
}


def architecture() -> str:
    """docs/pictures/architecture.svg: roles of the request path and the connections that network policies allow."""
    found = [
        (each.source, each.target)
        for each in connections(spec(STACK))
        if not any(end in ROLES and ROLES[end].namespace == MONITORING for end in (each.source, each.target))
    ]
    ends = {end for pair in found for end in pair}
    groups = [
        (title, [Box(name, name, _NOTES.get(name, "")) for name in names if name in ends or not name])
        for title, names in _COLUMNS.items()
    ]
    shown = {box.key for _, boxes in groups for box in boxes}
    return svg.columns(
        "Who talks to whom on the path of a request",
        groups,
        (pair for pair in found if pair[0] != pair[1] and set(pair) <= shown),
    )


def layers() -> str:
    """docs/pictures/layers.svg: components of the three layers, and what a later layer needs of an earlier one.

    A component within a component is part of it. That services and fleet need the cluster goes without arrows.
    """
    (plan,) = recorded([STACK])
    parts = {item.urn: _part(plan, item) for item in plan.resources}
    # By name: the order of registration is the event loop's, and a picture should not follow it.
    named = sorted((part for part in parts.values() if part is not None), key=lambda part: part.name)
    boxes = {part.urn: part for part in named}
    groups = [
        (layer, [Box(box.urn, box.label, box.name) for box in boxes.values() if plan.layer(box) == layer])
        for layer in LAYERS
    ]
    needs = {
        (source.urn, target.urn)
        for item in plan.resources
        for urn in item.dependencies
        if (source := parts.get(urn)) and (target := parts[item.urn]) and plan.layer(source) != plan.layer(target)
    }
    return svg.columns(f"Components of the stack {STACK}, by layer", groups, needs)


def _part(plan: Plan, item: Resource) -> Resource | None:
    """The component right below a layer that a resource is part of."""
    above = [each for each in (item, *plan.ancestors(item)) if each.is_component and not _is_layer(each)]
    return above[-1] if above else None


def _is_layer(item: Resource) -> bool:
    return item.type.startswith("platform:layer:")


def request_path() -> str:
    """docs/pictures/request-path.svg: one execution, step by step."""
    actors = {
        "client": "client",
        "nginx": "nginx",
        "control": "control",
        "postgres": "PostgreSQL",
        "redis": "Valkey",
        "agent": "agent process",
        "claude": "Claude",
    }
    steps = (
        Message("client", "nginx", "POST …/api/v1/execute"),
        Message("nginx", "control", AUTHORIZE),
        Message("control", "redis", "credential, limit: one round trip"),
        Message("control", "postgres", "commit the admitted row"),
        Message("control", "nginx", f"{Header.IDENTITY}, {IDENTITY_SECONDS} s", answer=True),
        Message("nginx", "agent", f"the request, {Header.IDENTITY}"),
        Message("agent", "redis", "answer cached?"),
        Message("agent", "claude", "Messages API"),
        Message("claude", "agent", "answer", answer=True),
        Message("agent", "redis", f"completion → stream {REDIS_AUDIT_STREAM}"),
        Message("agent", "nginx", "result, metadata", answer=True),
        Message("nginx", "client", f"200, {Header.RATE_REMAINING}", answer=True),
        Message("control", "redis", f"drain stream {REDIS_AUDIT_STREAM}"),
        Message("control", "postgres", "complete the row"),
    )
    return svg.sequence("One execution, step by step", actors, steps)
