"""Owns docs/reachability.md: the table of who reaches whom, from the graphs of the shipped stacks.

``python -m infra.plan.reachability_page`` writes it; a test keeps it true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.plan import reachability, record
from infra.plan.config import ROOT
from infra.plan.reachability import Edge
from infra.services.policies import roles

PATH: Final = ROOT / "docs" / "reachability.md"
STACKS: Final = ("aws-staging", "gcp-staging", "azure-staging", "kind")
"""One stack a cloud with every component, and the cluster you have with data inside it."""

_HEADER = """\
# Who can reach whom

Written by `python -m infra.plan.reachability_page` from the NetworkPolicies that the shipped stacks render; a test
compares. It is computed, not claimed: both ends of every pair are judged as Kubernetes judges them, over our pods
and the declared roles of each chart. What is not in the table is refused: every namespace denies both ways by
default, and no agent's pod reaches another agent's.

Where a policy names an address range, pods with an address in that range count as met. "any other pod" is a pod
outside the platform's namespaces, which nothing of ours holds back; it reaches only what it is listed with.
"link-local addresses" are the node's DNS cache and the cloud's identity service; "private addresses" are the
network's: data stores, private endpoints, the API server, nodes. Ports are container ports by name, and numbers
outside the cluster.
"""


def text() -> str:
    """The page."""
    graphs = {stack: reachability.edges(reachability.of(record(stack, "known"))) for stack in STACKS}
    lines = [_HEADER, "| From | To | Ports | Stacks |", "|---|---|---|---|"]
    lines += [
        f"| {source} | {target} | {ports} | {_where(stacks)} |"
        for (source, target, ports), stacks in sorted(_rows(graphs).items())
    ]
    lines += [
        "",
        "## Roles of the charts",
        "",
        "| Chart | Role | Namespace | Labels | Ports |",
        "|---|---|---|---|---|",
    ]
    for chart, members in sorted(roles.CHARTS.items()):
        for role in members:
            labels = ", ".join(f"`{key}: {value}`" for key, value in sorted(role.labels.items()))
            ports = ", ".join(f"{name} {port.number}/{port.protocol}" for name, port in sorted(role.ports.items()))
            lines.append(f"| {chart} | {role.name} | {role.namespace} | {labels} | {ports} |")
    return "\n".join(lines) + "\n"


def _rows(graphs: Mapping[str, frozenset[Edge]]) -> dict[tuple[str, str, str], list[str]]:
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for stack, edges in graphs.items():
        ports: dict[tuple[str, str], set[str]] = defaultdict(set)
        for edge in edges:
            ports[edge.source, edge.target].add(edge.port)
        for (source, target), names in ports.items():
            rows[source, target, ", ".join(sorted(names))].append(stack)
    return rows


def _where(stacks: list[str]) -> str:
    return "all" if len(stacks) == len(STACKS) else ", ".join(stacks)


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    Path(PATH).write_text(text(), "utf-8")
