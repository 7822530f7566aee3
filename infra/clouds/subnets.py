"""Owns the cutting of a network's address range: pure arithmetic, the same on every cloud."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network


@dataclass(frozen=True)
class ZoneRanges:
    """The ranges of one zone."""

    private: str
    """Nodes (and on AWS pods): a quarter of the network."""
    public: str
    """Load balancers and NAT: 1/64 of the network."""
    database: str
    """Data stores: 1/256 of the network."""


def cut(cidr: str, zones: int) -> tuple[ZoneRanges, ...]:
    """Ranges for each of at most three zones: three quarters for nodes, the last quarter shared by the rest.

    Cutting is by position, so a zone that is added later moves none of those there are.
    """
    if not 1 <= zones <= 3:
        raise ValueError(f"{zones} zones: ranges are cut for one to three")
    quarters = list(IPv4Network(cidr).subnets(prefixlen_diff=2))
    shared = list(quarters[3].subnets(prefixlen_diff=4))
    database = list(shared[8].subnets(prefixlen_diff=2))
    return tuple(ZoneRanges(str(quarters[zone]), str(shared[zone]), str(database[zone])) for zone in range(zones))
