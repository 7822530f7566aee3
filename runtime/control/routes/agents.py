"""Owns /api/v1/agents: finding agents and reading about one.

An agent's instructions are its owner's work and part of its defence against manipulation: only administrators
see them. Everything a caller needs (inputs, an example request, settings, README) is there for everybody.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from catalog.contract import ErrorCode
from catalog.readme import readme
from catalog.schema import AgentSpec
from runtime.control import answers
from runtime.control.routes import KNOWN, answer
from runtime.control.services import Services, Who, services
from runtime.errors import PlatformError
from runtime.openapi import refusals

router = APIRouter(prefix="/api/v1/agents", tags=["agents"], responses=KNOWN)


class _Markdown(Response):
    media_type = "text/markdown"


Filter = Annotated[str | None, Query(max_length=64)]


@router.get("", response_model=answers.Agents, responses=refusals(ErrorCode.INVALID_REQUEST))
async def listing(
    request: Request,
    _: Who,
    q: Annotated[str, Query(max_length=200)] = "",
    pool: Filter = None,
    domain: Filter = None,
    tag: Filter = None,
    owner: Filter = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """Agents that match every filter and every word of ``q``, best match first; pages count from 1."""
    control = services(request.scope)
    found = control.catalog.current.search(q, pool=pool, domain=domain, tag=tag, owner=owner)
    start = (page - 1) * limit
    items = [_summary(control, agent) for agent in found[start : start + limit]]
    return answer(
        {
            "items": items,
            "total": len(found),
            "page": page,
            "limit": limit,
            "next_page": page + 1 if start + limit < len(found) else None,
        }
    )


@router.get("/{agent_id}", response_model=answers.Agent, responses=refusals(ErrorCode.AGENT_NOT_FOUND))
async def get(request: Request, agent_id: str, who: Who) -> Response:
    """One agent: its inputs, an example request, its settings; its prompt for administrators."""
    control = services(request.scope)
    agent = _required(control, agent_id)
    dumped = agent.model_dump(mode="json")
    body: dict[str, Any] = {
        **_summary(control, agent),
        "number": agent.number,
        "kubernetes_name": agent.kubernetes_name,
        "inputs": dumped["inputs"],
        "example": {
            "task_description": agent.example,
            "context": {name: each.example for name, each in agent.inputs.items()},
        },
        "answer": dumped["prompt"]["answer"],
        **{name: dumped[name] for name in ("model", "scaling", "resources", "cache_seconds")},
        "rollout": answers.shown_rollout(agent),
        "digest": control.catalog.current.agent_digest(agent.id),
    }
    if who.admin:
        body["prompt"] = dumped["prompt"]
    return answer(body)


@router.get("/{agent_id}/readme", response_class=_Markdown, responses=refusals(ErrorCode.AGENT_NOT_FOUND))
async def agent_readme(request: Request, agent_id: str, _: Who) -> Response:
    """The agent's README, as Markdown (specification section 2, Agent Files)."""
    return _Markdown(readme(_required(services(request.scope), agent_id)))


def _required(control: Services, agent_id: str) -> AgentSpec:
    agent = control.catalog.current.get(agent_id)
    if agent is None:
        raise PlatformError(
            ErrorCode.AGENT_NOT_FOUND,
            "There is no such agent; GET /api/v1/agents?q=… finds agents",
            details={"field": "agent_id", "issue": "not_found"},
        )
    return agent


def _summary(control: Services, agent: AgentSpec) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "pool": agent.pool,
        "domain": agent.domain,
        "owner": agent.owner,
        "tags": agent.tags,
        "isolation": agent.isolation,
        "enabled": agent.id not in control.dynamic.current.disabled_agents,
    }
