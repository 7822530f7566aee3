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

    Of a mounted catalog, agents that cannot be read are logged. Each keeps the definition this process has read of it
    before, since whoever serves it goes on with that; ``unreadable`` has the ids of those without one. Raises
    CatalogError where there is nothing to load at first; a broken repository form counts as nothing. A later state
    with nothing to load is logged and the last good one stays in force.
    """

    def __init__(self, folder: Path, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._folder = folder
        self._poll_seconds = poll_seconds
        self.current = Registry({}, {}, ())
        self.unreadable: frozenset[str] = frozenset()
        self._seen = _mounted(folder)
        self._take_over(*_read(folder, self._seen))

    async def run(self) -> None:
        """Follow the mount until cancelled; returns at once where the folder is none."""
        while self._seen is not None:
            await asyncio.sleep(self._poll_seconds)
            now = _mounted(self._folder)
            if now is None or now == self._seen:
                continue
            try:
                registry, problems = await asyncio.to_thread(_read, self._folder, now)
            except CatalogError as error:
                if _mounted(self._folder) == now:
                    self._seen = now
                    log.error("The changed catalog cannot be read; the last good one stays", problem=str(error))
                continue
            # A state that was replaced while it was read may have been read in part: the next one is.
            if _mounted(self._folder) == now:
                self._seen = now
                self._take_over(registry, problems)
                log.info("The catalog changed", agents=len(self.current), digest=self.current.digest())

    def _take_over(self, registry: Registry, problems: tuple[Problem, ...]) -> None:
        # One agent may have several problems; the first says enough.
        wrong = {problem.agent: problem for problem in reversed(problems)}
        before = [agent for agent in self.current if agent.id in wrong]
        self.current = registry.having(before)
        self.unreadable = frozenset(wrong) - {agent.id for agent in before}
        for agent_id, problem in wrong.items():
            log.error(
                "Agent is unavailable: its definition could not be loaded"
                if agent_id in self.unreadable
                else "Agent keeps the definition before: the new one could not be loaded",
                agent_id=agent_id,
                problem=str(problem),
            )


def _read(folder: Path, state: str | None) -> tuple[Registry, tuple[Problem, ...]]:
    # What is mounted is read where it lies: the visible names are made and removed one by one, and not with the state.
    place = folder if state is None else folder / state
    try:
        registry, problems = load_readable(place)
    except OSError as error:
        raise CatalogError([Problem(str(place), "", "", f"cannot be read: {error.strerror}")]) from None
    if not len(registry):
        raise CatalogError(problems or [Problem(str(place), "", "", "holds no agent")])
    return registry, problems


def _mounted(folder: Path) -> str | None:
    """Which state of a ConfigMap volume is mounted; None for any other folder.

    The kubelet writes every state into a folder of its own, points the link ``..data`` at it in one step and removes
    the one before (Kubernetes, pkg/volume/util/atomic_writer.go).
    """
    try:
        return str((folder / "..data").readlink())
    except OSError:
        return None
