"""Owns drawing a plan: Mermaid, components by layer, dependencies between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from infra.plan.plan import LAYERS, OTHER, Plan, Resource

_ALIKE = 4
"""Boxes of one type under one parent beyond which they are drawn as one: a picture of 500 agents shows nothing."""


def mermaid(plan: Plan, *, full: bool = False) -> str:
    """The plan as a Mermaid flowchart: a box per component (or resource), an arrow from what is needed to who needs it."""
    owners = {item.urn: _owner(plan, item, full=full) for item in plan.resources}
    boxes = {owner.urn: owner for owner in owners.values()}
    merged = _merged(plan, boxes)
    return "\n".join(_lines(plan, owners, boxes, merged)) + "\n"


def _owner(plan: Plan, item: Resource, *, full: bool) -> Resource:
    """The box a resource is drawn in: itself, or its nearest component below a layer."""
    if full or item.is_component:
        return item
    return next((above for above in plan.ancestors(item) if above.is_component), item)


def _merged(plan: Plan, boxes: dict[str, Resource]) -> dict[str, str]:
    """Box → the box that stands for it, where one parent has many of one type."""
    alike: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for box in boxes.values():
        alike[box.parent, box.type].append(box)
    return {box.urn: group[0].urn for group in alike.values() if len(group) > _ALIKE for box in group}


def _lines(
    plan: Plan, owners: dict[str, Resource], boxes: dict[str, Resource], merged: dict[str, str]
) -> Iterator[str]:
    yield "flowchart LR"
    names: dict[str, str] = {}
    members = Counter(merged.values())
    contents = Counter(
        merged.get(owner.urn, owner.urn)
        for urn, owner in owners.items()
        if plan.by_urn[urn].custom and owner.urn != urn
    )
    for layer in (*LAYERS, OTHER):
        inside = [box for box in boxes.values() if plan.layer(box) == layer and merged.get(box.urn, box.urn) == box.urn]
        if not inside:
            continue
        yield f"  subgraph {layer}"
        for box in inside:
            names[box.urn] = f"n{len(names)}"
            yield f'    {names[box.urn]}["{_title(box, members[box.urn], contents[box.urn])}"]'
        yield "  end"
    for source, target in sorted(_edges(plan, owners, merged)):
        if source in names and target in names:
            yield f"  {names[source]} --> {names[target]}"


def _title(box: Resource, members: int, contents: int) -> str:
    if members > 1:
        return f"{members:,} × {box.label}"
    inside = f"<br/>{contents:,} resources" if contents else ""
    return f"{box.label} {box.name}{inside}".replace('"', "'")


def _edges(plan: Plan, owners: dict[str, Resource], merged: dict[str, str]) -> set[tuple[str, str]]:
    found = set()
    for item in plan.resources:
        target = owners[item.urn].urn
        provider = item.provider.rpartition("::")[0]
        for urn in (*item.dependencies, provider):
            if urn in owners:
                source = owners[urn].urn
                edge = (merged.get(source, source), merged.get(target, target))
                if edge[0] != edge[1]:
                    found.add(edge)
    return found
