"""Owns the price tables (``infra/prices/*.yaml``) and what one resource costs a month by them.

A resource is priced, free by itself, charged by use, or not priced: never zero because nobody knew.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from infra.clouds.capacity import NODES
from infra.plan.plan import Resource

FOLDER = Path(__file__).resolve().parents[1] / "prices"
HOURS = 730
"""Hours of a month, as the clouds' own calculators count."""

Verdict = Literal["priced", "free", "by use", "not priced"]


@dataclass(frozen=True)
class Node:
    """One node type."""

    name: str
    cpu: int
    """vCPUs."""
    memory: int
    """GiB."""
    hour: float
    """US dollars."""


@dataclass(frozen=True)
class Price:
    """What one resource costs."""

    verdict: Verdict
    monthly: float = 0.0
    """US dollars a month."""
    note: str = ""
    nodes: int = 0
    """Nodes that are part of it."""


@dataclass(frozen=True)
class Table:
    """Prices of one cloud in one region class."""

    cloud: str
    region: str
    region_class: str
    exact: bool
    """Whether the region's continent has prices of its own."""
    data: Mapping[str, Any]

    @property
    def as_of(self) -> str:
        """Date of the prices."""
        return str(self.data["as_of"])

    @property
    def sources(self) -> list[str]:
        """Pages they are from."""
        return list(self.data["sources"])

    @property
    def volume(self) -> float:
        """US dollars a GiB and month of a cluster's volume."""
        return float(self.data["volume"][self.region_class])

    def node(self, name: str) -> Node | None:
        """A node type by name; None where it has no price."""
        entry = self.data["nodes"].get(name)
        return Node(name, entry["cpu"], entry["memory"], float(entry[self.region_class])) if entry else None

    def fleet_node(self, environment: str) -> Node:
        """The node type that the foundation of an environment runs: what a fleet alone is priced on."""
        types = NODES[self.cloud]
        found = self.node(types.get(environment, types["prod"]).name)
        assert found is not None
        return found

    def price(self, resource: Resource) -> Price:
        """What a resource costs a month."""
        for entry in self.data["resources"]:
            if entry["type"] == resource.type and all(
                resource.get(path) == value for path, value in entry.get("when", {}).items()
            ):
                return self._priced(entry, resource)
        if _listed(resource.type, self.data["by_use"]):
            return Price("by use")
        return Price("free") if _listed(resource.type, self.data["free"]) else Price("not priced")

    def _priced(self, entry: Mapping[str, Any], resource: Resource) -> Price:
        monthly = 0.0
        count = _count(resource.get(entry["count"])) if "count" in entry else 1
        nodes = 0
        if "hour" in entry:
            monthly += entry["hour"][self.region_class] * HOURS * (1 if "node" in entry else count)
        if "month" in entry:
            monthly += entry["month"][self.region_class] * count
        if "node" in entry:
            node = self.node(str(resource.get(entry["node"])))
            if node is None:
                return Price("not priced")
            nodes = count
            monthly += node.hour * HOURS * count
        if "size" in entry:
            hours = entry["hours"].get(resource.get(entry["size"]))
            if hours is None:
                return Price("not priced")
            monthly += hours[self.region_class] * HOURS * count
        storage = entry.get("storage")
        if storage:
            monthly += storage[self.region_class] * _count(resource.get(storage["path"]), 0)
        if "twice" in entry and _holds(entry["twice"], resource):
            monthly *= 2
        return Price("priced", monthly, entry.get("note", ""), nodes)


def _count(value: Any, otherwise: int = 1) -> int:
    if isinstance(value, list):
        return len(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _holds(condition: str, resource: Resource) -> bool:
    path, _, wanted = condition.partition("=")
    value = resource.get(path)
    return str(value) == wanted if wanted else value is True


def _listed(token: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(token, pattern) for pattern in patterns)


@cache
def _read(cloud: str) -> dict[str, Any]:
    import yaml_rs

    data: Any = yaml_rs.loads((FOLDER / f"{cloud}.yaml").read_text("utf-8"))
    return dict(data)


def table(cloud: str, region: str) -> Table | None:
    """The prices of a cloud's region; None for a cluster you have, which has no list price."""
    if not (FOLDER / f"{cloud}.yaml").is_file():
        return None
    data = _read(cloud)
    for name, prefixes in data["classes"].items():
        if region.startswith(tuple(prefixes)):
            return Table(cloud, region, name, True, data)
    return Table(cloud, region, "eu", False, data)
