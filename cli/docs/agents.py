"""Owns the reference of the catalog: fields of an agent, a domain and a pool, and what there is."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel

from catalog import contract, quality, registry
from catalog.rollout import AgentChanges, AgentRollout, PoolChanges
from catalog.schema import AgentSpec, DomainSpec, PoolSpec
from catalog.values import InputSpec, ModelSettings, PromptTemplate, Resources, Scaling
from cli.docs.markdown import code, kind, made_by, table

_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("An agent", "An entry of `agents` in `catalog/pools/<pool>/<domain>.yaml`.", AgentSpec),
    ("prompt", "What the model is told.", PromptTemplate),
    ("inputs", "Each declared input, by its name.", InputSpec),
    ("model", "Which model answers and how.", ModelSettings),
    ("resources", "Requests and limits of one replica.", Resources),
    ("scaling", "Replicas and concurrency.", Scaling),
    ("rollout", "How a new version takes over; `fleet rollout` writes it.", AgentRollout),
    ("rollout.candidate, rollout.previous", "What the other version of an agent has different.", AgentChanges),
    ("A domain", "The file `catalog/pools/<pool>/<domain>.yaml`.", DomainSpec),
    ("A pool", "The file `catalog/pools/<pool>/pool.yaml`.", PoolSpec),
    ("A pool's rollout.candidate, rollout.previous", "What the other version of a pool has different.", PoolChanges),
)
_FROM_PLACE = {AgentSpec: {"pool", "domain"}, PoolSpec: {"name"}}
"""Fields that follow from where a file is, and are not written in it."""


def page() -> str:
    """docs/reference/catalog.md."""
    catalog = registry.load()
    counted = Counter((agent.pool, agent.domain) for agent in catalog)
    return "\n".join(
        (
            made_by("catalog/schema.py, catalog/contract.py and catalog/pools/"),
            "# Catalog\n",
            f"{len(catalog):,} agents in {len(catalog.pools)} pools. An unknown field is an error. "
            "`catalog/domain.schema.json` and `catalog/pool.schema.json` let editors complete and check the files.\n",
            "## Fields\n",
            *(_fields(*section) for section in _SECTIONS),
            "## Limits of a request\n",
            table(
                ("What", "Limit"),
                (
                    ("characters of `task_description`", f"{contract.TASK_LIMIT:,}"),
                    ("keys of `context`", contract.CONTEXT_KEYS),
                    ("characters of a key", contract.CONTEXT_KEY_LENGTH),
                    ("bytes of one value", f"{contract.CONTEXT_VALUE_BYTES:,}"),
                    ("bytes of all keys and values", f"{contract.CONTEXT_BYTES:,}"),
                    ("bytes of the body", f"{contract.BODY_BYTES:,}"),
                ),
            ),
            "## Limits of likeness\n",
            f"`fleet agents check` refuses two agents with the same name or description, a sentence that more than "
            f"{quality.SHARED_SENTENCE_LIMIT} agents share, and instructions that are more than "
            f"{quality.SIMILARITY_LIMIT:.0%} the same as another's.\n",
            "## What there is\n",
            table(
                ("Pool", "Domain", "Agents"),
                ((pool, domain, count) for (pool, domain), count in sorted(counted.items())),
            ),
        )
    )


def _fields(title: str, purpose: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    named, required = schema.get("$defs", {}), schema.get("required", ())
    skipped = _FROM_PLACE.get(model, set())
    rows = (
        (code(name), kind(field, named), "required" if name in required else "", field.get("description", ""))
        for name, field in schema["properties"].items()
        if name not in skipped
    )
    return f"### {title}\n\n{purpose}\n\n" + table(("Field", "Type", "", "Meaning"), rows)
