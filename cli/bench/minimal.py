"""What the runtime is compared with: FastAPI and AsyncAnthropic, as a tutorial would write them, with none of our features.

``python -m cli.bench.minimal PORT httpx|aiohttp``; ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY as the SDK reads them.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any

import uvicorn
from anthropic import AsyncAnthropic, DefaultAioHttpClient
from fastapi import FastAPI
from pydantic import BaseModel, Field

from catalog.models import DEFAULT_MODEL


class AgentRequest(BaseModel):
    """Specification section 3."""

    task_description: str = Field(max_length=5000)
    context: dict[str, str] = {}


def create_app(transport: str) -> FastAPI:
    """The service; ``transport`` is the SDK's default (httpx) or its faster one (aiohttp)."""
    app = FastAPI()
    client = AsyncAnthropic(http_client=DefaultAioHttpClient()) if transport == "aiohttp" else AsyncAnthropic()

    @app.post("/api/v1/execute")
    async def execute(request: AgentRequest) -> dict[str, Any]:
        began = time.perf_counter()
        context = "\n".join(f"{key}: {value}" for key, value in request.context.items())
        message = await client.messages.create(
            model=DEFAULT_MODEL,
            max_tokens=4096,
            system="You write business plans.",
            messages=[{"role": "user", "content": f"{request.task_description}\n{context}"}],
        )
        return {
            "result": "".join(block.text for block in message.content if block.type == "text"),
            "metadata": {
                "agent_id": "business_plan_agent_009", "model": message.model, "tokens_used": message.usage.input_tokens + message.usage.output_tokens,
                "timestamp": datetime.now(UTC).isoformat(),
            },
            "processing_time_ms": (time.perf_counter() - began) * 1000,
        }  # fmt: skip

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
