"""Owns the examples of control's answers in its OpenAPI document: invented, of the shapes in answers.py (a test compares)."""

from __future__ import annotations

from typing import Any, Final

USER: Final[dict[str, Any]] = {
    "id": "0197f0a2-5b7e-7c1d-9a55-3f2b8c1d4e6f", "username": "ada", "role": "user", "enabled": True,
    "limit": {"requests_per_minute": 100, "source": "default"}, "created_at": "2026-11-23T10:30:00Z",
}  # fmt: skip
TOKENS: Final[dict[str, Any]] = {
    "access_token": "eyJhbGciOiJFZERTQSJ9.…",
    "token_type": "bearer",
    "expires_in": 3600,
    "refresh_token": "0197f0a2….…",
}
KEY: Final[dict[str, Any]] = {
    "id": "0197f0a2-7d31-7b02-8f11-2c9be0a4d7aa", "username": "ada", "name": "reports", "prefix": "sk-3fJ9", "created_at": "2026-11-23T10:30:00Z",
    "expires_at": None, "revoked_at": None,
}  # fmt: skip
SUMMARY: Final[dict[str, Any]] = {
    "id": "business_plan_agent_009", "name": "Business plan writer",
    "description": "Writes a business plan that a bank or an investor can check, from the facts a founder has.",
    "pool": "business", "domain": "strategy", "owner": "strategy-team", "tags": ["planning", "finance"], "isolation": "pooled", "enabled": True,
}  # fmt: skip
AGENT: Final[dict[str, Any]] = {
    **SUMMARY, "number": 9, "kubernetes_name": "business-plan-agent-009",
    "inputs": {
        "venture": {"description": "The business the plan is for", "default": "the venture described below", "example": "a bicycle repair service"},
        "audience": {"description": "Who reads it", "default": "a lender", "example": "a local bank"},
    },
    "example": {
        "task_description": "Plan a bakery with two employees",
        "context": {"venture": "a bicycle repair service", "audience": "a local bank"},
    },
    "answer": ["Summary on one page", "Market and customers", "Budget for three years"],
    "model": {"model": None, "max_tokens": None, "temperature": None, "effort": None},
    "scaling": {"min_replicas": 2, "max_replicas": 10, "cpu_percent": 70, "memory_percent": None, "concurrency": 16},
    "resources": {"cpu_request": "250m", "cpu_limit": "500m", "memory_request": "256Mi", "memory_limit": "512Mi"},
    "rollout": {"strategy": "canary", "active": "blue", "canary_percent": 10},
    "cache_seconds": 0, "digest": "0123456789abcdef" * 4,
}  # fmt: skip
EVENT: Final[dict[str, Any]] = {
    "event_id": "0197f0a2-9f00-7a10-b2c3-55d1e8f7a001", "occurred_at": "2026-11-23T10:30:00.123456Z", "kind": "execution",
    "request_id": "5f2b8c1d4e6f", "user_id": USER["id"], "username": "ada", "credential": "key", "credential_id": KEY["id"],
    "address": "203.0.113.7", "method": "POST", "path": "/agents/business_plan_agent_009/api/v1/execute",
    "agent_id": "business_plan_agent_009", "owner": "strategy-team", "action": None, "target": None, "status": 200, "error_code": None,
    "model": "claude-sonnet-5-5", "input_tokens": 400, "output_tokens": 112, "cost_dollars": 0.00288, "duration_ms": 2410.5, "cached": False,
    "completed_at": "2026-11-23T10:30:02Z", "details": None, "state": "finished",
}  # fmt: skip
SUMS: Final[dict[str, Any]] = {
    "requests": 3, "errors": 1, "unfinished": 0, "cached": 0, "input_tokens": 1200, "output_tokens": 336, "tokens": 1536,
    "cost_dollars": 0.00864, "unpriced": 0,
}  # fmt: skip
