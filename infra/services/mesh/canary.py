"""Owns an agent's canary in Istio's words (specification section 7): VirtualService and DestinationRule. Pure.

The request is split in the gateway's sidecar, which is where it is sent from; nginx then routes to the stable
version's Service alone. ``canary: true`` asks for the new version outright, as it does without a mesh.
"""

from __future__ import annotations

from typing import Any, Final

from catalog.contract import Header
from infra.gateway.config import GatewayError, Timeouts
from infra.gateway.routes import Route
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest

API: Final = "networking.istio.io/v1"
SIDECAR: Final = {"sidecar.istio.io/inject": "true"}
"""Label of a pod that gets a sidecar; no namespace gives one to all of its pods."""


def objects(route: Route) -> tuple[Manifest, ...]:
    """VirtualService and the DestinationRules of both versions. Raises GatewayError for a route without a candidate,
    or whose percent is no whole number, which Istio's weights are."""
    if route.candidate is None:
        raise GatewayError(f"route {route.name}: has one version, so there is nothing to split")
    if route.candidate.percent != int(route.candidate.percent):
        raise GatewayError(f"route {route.name}: candidate.percent {route.candidate.percent} is no whole number")
    stable, new = _host(route.address), _host(route.candidate.address)
    return (virtual_service(route), destination_rule(stable), destination_rule(new))


def virtual_service(route: Route) -> Manifest:
    """The split: everything that asks for the new version goes there, of the rest its share."""
    assert route.candidate is not None
    share = int(route.candidate.percent)
    new, stable = _destination(route.candidate.address), _destination(route.address)
    asked = {"headers": {Header.CANARY.value: {"exact": "true"}}}
    # An execution is not repeated: it is admitted and recorded once, and costs money.
    once: Manifest = {"retries": {"attempts": 0}, "timeout": f"{Timeouts().answer}s"}
    return {
        "apiVersion": API,
        "kind": "VirtualService",
        "metadata": _metadata(_name(route.address)),
        "spec": {
            "hosts": [_host(route.address)],
            "exportTo": ["."],
            "http": [
                {"name": "asked-for", "match": [asked], "route": [{"destination": new}], **once},
                {
                    "name": "share",
                    "route": [
                        {"destination": new, "weight": share},
                        {"destination": stable, "weight": 100 - share},
                    ],
                    **once,
                },
            ],
        },
    }


def destination_rule(host: str) -> Manifest:
    """TLS between sidecars, and a version whose pods keep failing is asked less."""
    return {
        "apiVersion": API,
        "kind": "DestinationRule",
        "metadata": _metadata(host.partition(".")[0]),
        "spec": {
            "host": host,
            "exportTo": ["."],
            "trafficPolicy": {
                "tls": {"mode": "ISTIO_MUTUAL"},
                "loadBalancer": {"simple": "LEAST_REQUEST"},
                "outlierDetection": {
                    "consecutive5xxErrors": 5,
                    "interval": "10s",
                    "baseEjectionTime": "30s",
                    # Never all of them: a failing version answers with its errors rather than not at all.
                    "maxEjectionPercent": 50,
                },
            },
        },
    }


def _destination(address: str) -> dict[str, Any]:
    return {"host": _host(address), "port": {"number": int(address.rpartition(":")[2])}}


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _name(address: str) -> str:
    return address.partition(".")[0]


def _metadata(name: str) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(name, "mesh")}
