"""How a catalog's processes are started beside those that run; end to end in tests/e2e/test_rollouts.py."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from cli.local import certificate, part, serving
from cli.local.changes import Changes
from cli.local.parts import Ports
from cli.local.settings import LocalSettings
from cli.local.state import open_state
from cli.local.supervisor import Supervisor
from tests.e2e.rollouts import Catalog


def test_nobody_is_given_a_port_that_the_gateway_is_to_have(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http, tls, *free = part.free_ports(6)
    monkeypatch.setattr(part, "_INTERNAL_PORTS", (http, tls, *free))
    ports = Ports.chosen(but=(http, tls))
    assert {ports.postgres, ports.state, ports.cache} < set(free)
    state = open_state(tmp_path / "state")
    assert state is not None
    certified = certificate.ensure(tmp_path / "state" / "tls", datetime.datetime.now(datetime.UTC))
    site = serving.Site(state, LocalSettings(http_port=http, tls_port=tls), ports, tmp_path, certified)
    changes = Changes(site, Supervisor(state.log, lambda line: None, lambda: None), catalog.folder)
    monkeypatch.setattr(part, "_INTERNAL_PORTS", (http, tls, free[0]))
    assert {changes._control(catalog.folder).port for _ in range(20)} == {free[0]}
