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
    """The catalog in force, ``current``. ``run`` keeps it current until it is cancelled.

    Of a mounted catalog, agents that cannot be read are logged and left out; ``unreadable`` has their ids. Raises
    CatalogError where there is nothing to load at first; a broken repository form counts as nothing. A later state
    with nothing to load is logged and the last good one stays in force.
    """

    current: Registry
    unreadable: frozenset[str]

    def __init__(self, folder: Path, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._seen = _mounted(folder)
        self.current, self.unreadable = _load(folder)

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
                self.current, self.unreadable = await asyncio.to_thread(_load, self._folder)
            except CatalogError as error:
                log.error("The changed catalog cannot be read; the last good one stays in force", problem=str(error))
                continue
            log.info("The catalog changed", agents=len(self.current), digest=self.current.digest())


def _load(folder: Path) -> tuple[Registry, frozenset[str]]:
    registry, problems = load_readable(folder)
    if not len(registry):
        raise CatalogError(problems or [Problem(str(folder), "", "", "holds no agent")])
    # One agent may have several problems; the first says enough of why it is missing.
    unreadable = {problem.agent: problem for problem in reversed(problems)}
    for agent_id, problem in unreadable.items():
        log.error("Agent is unavailable: its definition could not be loaded", agent_id=agent_id, problem=str(problem))
    return registry, frozenset(unreadable)


def _mounted(folder: Path) -> str | None:
    """Which state of a ConfigMap volume is mounted; None for any other folder.

    The kubelet writes every state into a folder of its own and points the link ``..data`` at it in one step
    (Kubernetes, pkg/volume/util/atomic_writer.go).
    """
    try:
        return str((folder / "..data").readlink())
    except OSError:
        return None
