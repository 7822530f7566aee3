"""Plans made by hand, for what is pure."""

from __future__ import annotations

from typing import Any

import orjson

from infra.plan.plan import Plan, Resource

STACK = "urn:pulumi:test::ai-agents-platform::"


def resource(token: str, name: str, inputs: dict[str, Any] | None = None, **options: Any) -> Resource:
    """A resource with the URN an engine would give it at the root."""
    return Resource(f"{STACK}{token}::{name}", token, name, inputs or {}, **options)


def plan(*resources: Resource, **values: Any) -> Plan:
    """A plan of a stack named test."""
    return Plan("test", "known", resources, values=values)


def agent(
    identifier: str, instructions: str = "You write plans. You keep them short.", **fields: Any
) -> dict[str, Any]:
    """An agent's document as a catalog ConfigMap has it."""
    prompt = {
        "instructions": instructions,
        "request": "Write for {audience}.",
        "answer": ["a summary", "a table", "next steps"],
    }
    return {"id": identifier, "pool": "business", "prompt": prompt, **fields}


def catalog_map(name: str, *agents: dict[str, Any], version: str = "1") -> Resource:
    """A catalog ConfigMap of some agents."""
    data = {f"{item['id']}.json": orjson.dumps(item).decode() for item in agents}
    metadata = {
        "name": f"{name}-{version}",
        "namespace": "ai-agents",
        "labels": {"app.kubernetes.io/component": "catalog"},
    }
    return resource(
        "kubernetes:core/v1:ConfigMap", f"fleet-{name}", {"metadata": metadata, "data": data, "immutable": True}
    )


def deployment(name: str, *maps: str, image: str = "registry.example/x@sha256:" + "1" * 64, **options: Any) -> Resource:
    """A Deployment that mounts ConfigMaps."""
    volumes = [{"name": "catalog", "projected": {"sources": [{"configMap": {"name": item}} for item in maps]}}]
    spec = {"containers": [{"name": name, "image": image}], "volumes": volumes}
    return resource(
        "kubernetes:apps/v1:Deployment",
        f"fleet-{name}",
        {"metadata": {"name": name, "namespace": "ai-agents"}, "spec": {"template": {"spec": spec}}},
        **options,
    )
