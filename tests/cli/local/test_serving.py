"""What a catalog is on one machine: processes and routes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from catalog import registry
from cli.local import certificate, serving
from cli.local.parts import Ports
from cli.local.settings import LocalSettings
from cli.local.state import open_state
from infra.gateway.routes import Candidate, Route
from tests.e2e.rollouts import AGENT, APART, OTHER, Catalog, prompt

NAME = APART.replace("_", "-")


def table(catalog: Catalog) -> list[Route]:
    """The routes, every version on a port by its place."""
    workloads = serving.workloads(registry.load(catalog.folder))
    names = [version.name for each in workloads for version in each.versions]
    return serving.routes(workloads, {name: 20_000 + place for place, name in enumerate(names)})


def test_a_pool_and_a_dedicated_agent_have_a_route_each(catalog: Catalog) -> None:
    catalog.extra = {APART: {"isolation": "dedicated"}}
    catalog.write()
    assert table(catalog) == [
        Route("pool-business", (AGENT, OTHER), "127.0.0.1:20000", kept=64),
        Route(NAME, (APART,), "127.0.0.1:20001", kept=64),
    ]


def test_a_canary_is_the_candidate_of_its_route(catalog: Catalog) -> None:
    catalog.roll("canary", canary_percent=25, candidate=catalog.changes("two"))
    (route,) = table(catalog)
    assert (route.address, route.candidate, route.kept) == ("127.0.0.1:20000", Candidate("127.0.0.1:20001", 25), 64)


def test_an_idle_colour_gets_no_share(catalog: Catalog) -> None:
    catalog.roll("blue-green", active="green", candidate=catalog.changes("two"))
    (route,) = table(catalog)
    assert (route.address, route.candidate, route.kept) == ("127.0.0.1:20000", Candidate("127.0.0.1:20001"), 0)
    (workload,) = serving.workloads(registry.load(catalog.folder))
    assert [(version.name, serving.about(workload, version)["role"]) for version in workload.versions] == [
        ("pool-business-green", "serving"),
        ("pool-business-blue", "idle"),
    ]


def test_a_pool_answers_for_its_agent_that_runs_apart(catalog: Catalog) -> None:
    catalog.extra = {APART: {"rollout": {"strategy": "canary", "candidate": {"prompt": prompt("two")}}}}
    catalog.write()
    pool, apart = table(catalog)
    assert pool.agents == (AGENT, OTHER)
    assert (apart.agents, apart.fallback) == ((APART,), pool.address)


def test_only_the_serving_version_of_a_dedicated_agent_has_a_port_of_its_own(catalog: Catalog) -> None:
    rollout = {"rollout": {"strategy": "canary", "candidate": {"prompt": prompt("two")}}}
    catalog.extra = {APART: {"isolation": "dedicated", **rollout}, OTHER: rollout}
    catalog.write()
    workloads = serving.workloads(registry.load(catalog.folder))
    ports = {version.name: serving.own_port(version) for each in workloads for version in each.versions}
    other = OTHER.replace("_", "-")
    assert ports == {"pool-business": None, NAME: 8210, f"{NAME}-canary": None, other: None, f"{other}-canary": None}


def test_a_process_is_told_what_a_pod_of_it_is_told(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALOG_PATH", str(catalog.folder))
    monkeypatch.delenv("MAX_CONCURRENCY", raising=False)
    catalog.pool = {"concurrency": 7}
    catalog.write()
    state = open_state(tmp_path / "state")
    assert state is not None
    certified = certificate.ensure(tmp_path / "state" / "tls", datetime.datetime.now(datetime.UTC))
    site = serving.Site(state, LocalSettings(), Ports(1, 2, 3), tmp_path, certified)
    (workload,) = serving.workloads(registry.load(catalog.folder))
    made = serving.part(site, workload.serving, tmp_path / "pool-business-0123", 20_000)
    expected = {
        "SERVE_POOL": "business", "SERVICE_NAME": "pool-business", "CATALOG_PATH": str(tmp_path / "pool-business-0123"),
        "MAX_CONCURRENCY": "7", "PORT": "20000",
    }  # fmt: skip
    assert {name: made.environment[name] for name in expected} == expected
    assert Path(made.environment["CRASH_JOURNAL"]).name == "pool-business-0123.journal"
