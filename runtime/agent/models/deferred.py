"""Owns a model client that is still being loaded: importing the SDK takes a second of CPU (3,000 modules).

The process listens and is ready without it; calls that come earlier wait for it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from runtime.agent.models.base import Answer, Call, ModelClient


class DeferredModel:
    """The client that ``load`` makes in a thread; ``run`` starts it."""

    notice: str | None = None

    def __init__(self, load: Callable[[], ModelClient]) -> None:
        self._load = load
        self._client: ModelClient | None = None
        self._loaded = asyncio.Event()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """The loaded client's, or that it could not be loaded."""
        return self._client.problem if self._client is not None else self._problem

    async def complete(self, call: Call) -> Answer:
        """The loaded client's answer."""
        if self._client is None:
            await self._loaded.wait()
            assert self._client is not None
        return await self._client.complete(call)

    async def run(self) -> None:
        """Load the client and run what it runs in the background."""
        try:
            self._client = await asyncio.to_thread(self._load)
        except Exception:
            self._problem = "the model client could not be loaded"
            raise
        # What was imported stays: later collections need not look at it.
        gc.freeze()
        self._loaded.set()
        await self._client.run()

    async def close(self) -> None:
        """Close the client, if there is one by now."""
        if self._client is not None:
            await self._client.close()
