"""Owns the catalog as control knows it: read when it starts, and followed where it is mounted.

In a cluster control has the catalog in ConfigMaps of its own, which are changed in place: an agent or a prompt that
comes with a deployment is known without a new process or image. Agent processes are replaced instead, since what
they execute must not change under a running request.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from catalog.registry import CatalogError, Problem, Registry, load_readable

POLL_SECONDS: Final = 2.0
"""How often a mounted catalog is asked whether it is still the same."""

log = structlog.get_logger()


class CatalogSource:
    """The catalog in force. ``run`` keeps it current until it is cancelled.

    Raises CatalogError where there is nothing to load at first; a broken repository form counts as nothing. Of a
    mounted catalog, agents that cannot be read are logged and left out. A later state with nothing to load is
    logged and the last good one stays in force.
    """

    def __init__(self, folder: Path, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._seen = _mounted(folder)
        self.current = _load(folder)

    async def run(self) -> None:
        """Follow the mount until cancelled; returns at once where the folder is none."""
        while self._seen is not None:
            await asyncio.sleep(self._poll_seconds)
            now = _mounted(self._folder)
            if now in (None, self._seen):
                continue
            # Noted before it is read: what changes meanwhile is read again the next time.
            self._seen = now
            try:
                self.current = await asyncio.to_thread(_load, self._folder)
            except CatalogError as error:
                log.error("The changed catalog cannot be read; the last good one stays in force", problem=str(error))
                continue
            log.info("The catalog changed", agents=len(self.current), digest=self.current.digest())


def _load(folder: Path) -> Registry:
    registry, problems = load_readable(folder)
    # One agent may have several problems; the first says enough of why it is missing.
    for problem in {each.agent: each for each in reversed(problems)}.values():
        log.error("Agent is unknown: its definition could not be loaded", agent_id=problem.agent, problem=str(problem))
    if not len(registry):
        raise CatalogError(problems or [Problem(str(folder), "", "", "holds no agent")])
    return registry


def _mounted(folder: Path) -> str | None:
    """Which state of a ConfigMap volume is mounted; None for any other folder.

    The kubelet writes every state into a folder of its own and points the link ``..data`` at it in one step
    (Kubernetes, pkg/volume/util/atomic_writer.go).
    """
    try:
        return str((folder / "..data").readlink())
    except OSError:
        return None
