"""Owns one catalog's taking over from another while the platform runs: start beside, switch, drain, stop.

Nothing of what runs is touched before everything new is ready and nginx has taken the new routes; so whatever goes
wrong before leaves the catalog before in service, and no request is refused or cut off in between. What runs for a
catalog is serving.py's, who asks for a change is apply.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import registry
from catalog.registry import CatalogError, Registry
from catalog.versions import Version, Workload
from cli.errors import CommandError
from cli.local import content, nginx, parts, serving
from cli.local.apply import Applied
from cli.local.part import Part, free_ports, listens
from cli.local.serving import Site
from cli.local.state import write_private
from cli.local.supervisor import Kept, Supervisor
from infra.gateway.config import GatewayError
from infra.gateway.routes import Route, render_routes

_GATEWAY_DRAIN = 150.0
_CONTROL = "control"
_CONFIGURATION, _NEXT = "nginx.conf", "nginx.conf.next"


class ChangeError(CommandError):
    """A catalog is not taken over, and the one before goes on; the message says why."""


Running = Mapping[Path, Kept]
"""Processes by the copy of the catalog that each reads: control's of the whole, a version's of its agents."""


@dataclass(frozen=True)
class _Wanted:
    """A catalog, as this machine is to run it."""

    whole: Path
    catalog: Registry
    workloads: tuple[Workload, ...]
    versions: Mapping[Path, tuple[Workload, Version]]
    """By the copy of its agents."""


class Changes:
    """What runs for the catalog of now, and its way to the next one; ``source`` is the catalog that people edit."""

    def __init__(self, site: Site, supervisor: Supervisor, source: Path) -> None:
        self._site = site
        self._supervisor = supervisor
        self._source = source
        self._running: dict[Path, Kept] = {}

    def launch_control(self) -> None:
        """Start control, and what it needs to be done before, with a copy of the catalog, which nobody has read yet."""
        whole = content.snapshot(self._site.state.folder, self._source)
        self._supervisor.launch(*parts.control_plane(self._site.state, self._control(whole)))
        self._running[whole] = self._supervisor.kept(_CONTROL)

    def launch_agents(self) -> Registry:
        """Start the agents and the gateway, for the catalog that control was started with.

        Raises CatalogError, GatewayError, PortConflictError, and ChangeError where a dedicated agent's port is taken.
        """
        (whole,) = self._running
        wanted = self._read(whole)
        for port, agent in serving.dedicated_ports(wanted.catalog).items():
            if listens(port):
                raise ChangeError(
                    f"port {port}, on which the dedicated agent {agent} answers, is taken: "
                    f"stop what listens there (lsof -i :{port}), or set isolation: pooled"
                )
        for where, (workload, version) in wanted.versions.items():
            self._supervisor.launch(serving.part(self._site, version, where, self._port(version)))
            self._running[where] = self._supervisor.kept(version.name)
            self._supervisor.describe(self._running[where], serving.about(workload, version))
        folder = self._site.gateway
        folder.mkdir(mode=0o700, exist_ok=True)
        configured = self._configure(wanted, self._running, _CONFIGURATION)
        behind = frozenset(kept.part.name for kept in self._running.values())
        port = self._site.settings.http_port
        self._supervisor.launch(
            nginx.part(folder, configured, port, needs=behind, stage=3, drain_seconds=_GATEWAY_DRAIN)
        )
        self._sweep()
        return wanted.catalog

    def apply(self, say: Callable[[str], None], interrupted: Callable[[], bool]) -> Applied:
        """Take over the catalog as it is now; returns once what is no longer wanted has ended.

        Raises ChangeError where it is broken, a new process does not become ready, nginx does not take the routes, or
        ``interrupted`` says so: then nothing has changed.
        """
        began = time.monotonic()
        before, begun = self._running, dict[Path, Kept]()
        try:
            wanted = self._read(content.snapshot(self._site.state.folder, self._source))
            self._begin(wanted, begun, say)
            if not self._supervisor.wait_up(begun.values(), interrupted=interrupted):
                raise ChangeError("The platform is told to stop")
            after = {where: begun.get(where) or before[where] for where in (wanted.whole, *wanted.versions)}
            is_draining = self._switch(wanted, after)
        except BaseException as error:
            self._supervisor.retire(begun.values(), hurry=lambda: True)
            self._sweep()
            if isinstance(error, CommandError | CatalogError | GatewayError):
                raise ChangeError(f"{error}\nNothing has changed: what ran goes on.") from None
            raise
        self._running = after
        self._supervisor.succeed(begun.values())
        for where, (workload, version) in wanted.versions.items():
            self._supervisor.describe(after[where], serving.about(workload, version))
        leaving = [kept for where, kept in before.items() if where not in after]
        if leaving:
            say(
                f"New requests go where the catalog says, after {time.monotonic() - began:.1f} s; those in progress may end"
            )
        # What is stopped then works on nothing any more, and nobody is left who could send it a request.
        while is_draining() and not interrupted():
            time.sleep(0.02)
        self._supervisor.retire(leaving, hurry=interrupted)
        self._sweep()
        stayed = [kept for where, kept in before.items() if where in after]
        started, stopped, stays = (tuple(kept.part.name for kept in each) for each in (begun.values(), leaving, stayed))
        return Applied(started, stopped, stays, len(wanted.catalog), time.monotonic() - began)

    def _read(self, whole: Path) -> _Wanted:
        """What the catalog's copy ``whole`` asks for, with copies of each version's agents."""
        catalog = registry.load(whole)
        workloads = serving.workloads(catalog)
        folder = self._site.state.folder
        versions = {
            content.of_version(folder, version, serving.digest(version)): (workload, version)
            for workload in workloads
            for version in workload.versions
        }
        return _Wanted(whole, catalog, workloads, versions)

    def _begin(self, wanted: _Wanted, begun: dict[Path, Kept], say: Callable[[str], None]) -> None:
        """Start what does not run yet, each noted in ``begun`` at once."""
        for where, (workload, version) in wanted.versions.items():
            if where not in self._running:
                say(f"Starting {version.name}")
                part = serving.part(self._site, version, where, self._port(version))
                begun[where] = self._supervisor.begin(part, serving.about(workload, version))
        if wanted.whole not in self._running:
            begun[wanted.whole] = self._supervisor.begin(self._control(wanted.whole))

    def _control(self, whole: Path) -> Part:
        """A process of control for the catalog's copy ``whole``."""
        (port,) = free_ports(1, but=self._held())
        return parts.control_part(self._site.state, self._site.ports, whole, port)

    def _port(self, version: Version) -> int:
        """Where a new process of the version is to listen: its documented port where that is free."""
        held, own = self._held(), serving.own_port(version)
        if own is not None and own not in held and not listens(own):
            return own
        return free_ports(1, but=held)[0]

    def _held(self) -> set[int]:
        """Ports of the gateway and of parts, also of those that do not listen yet or are just being started again."""
        settings = self._site.settings
        of_parts = {port for described in self._supervisor.parts.values() if (port := described["port"])}
        return {settings.http_port, settings.tls_port, *of_parts}

    def _configure(self, wanted: _Wanted, running: Running, name: str) -> Path:
        """Write the gateway's configuration for ``running``, with routes in a folder of their own."""
        ports = {kept.part.name: kept.part.port or 0 for kept in running.values()}
        table = serving.routes(wanted.workloads, ports)
        settings = serving.gateway_settings(
            self._site, ports[_CONTROL], self._site.gateway / f"routes-{_digest(table)}"
        )
        return nginx.prepare(self._site.gateway, settings, table, configuration=name)

    def _switch(self, wanted: _Wanted, running: Running) -> Callable[[], bool]:
        """Have nginx send to ``running``. What is returned says whether requests it sent before are still in progress.

        Raises NginxError, GatewayError: then nginx goes on as before.
        """
        folder = self._site.gateway
        current = folder / _CONFIGURATION
        before = current.read_bytes()
        trial = self._configure(wanted, running, _NEXT)
        if trial.read_bytes() == before:
            trial.unlink()
            return lambda: False

        def master() -> int | None:
            process = self._supervisor.kept("nginx").process
            return process.pid if process else None

        nginx.check(folder, trial)
        trial.replace(current)
        try:
            is_draining = nginx.take_over(master)
        except nginx.NginxError:
            write_private(current, before)
            # It may yet come to reading what was there for a moment.
            with contextlib.suppress(nginx.NginxError):
                nginx.take_over(master)
            raise
        return is_draining

    def _sweep(self) -> None:
        """Remove files that belong to nothing that runs."""
        gateway = self._site.gateway
        configured = (gateway / _CONFIGURATION).read_text()
        (gateway / _NEXT).unlink(missing_ok=True)
        for table in gateway.glob("routes*"):
            if f"{table}/" not in configured:
                shutil.rmtree(table)
        used = self._running.keys()
        content.sweep(self._site.state.folder, used)
        for path in serving.journals(self._site.state).iterdir():
            if path.name.partition(".")[0] not in {where.name for where in used}:
                path.unlink()


def _digest(table: list[Route]) -> str:
    texts = render_routes(nginx.FLEET, table)
    return hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in texts.items()).encode()).hexdigest()[:12]
