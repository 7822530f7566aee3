"""Every panel and every rule on a real Prometheus and a real Loki, over the platform at work and a replayed cluster."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services.monitoring.dashboards.model import Dashboard, Panel, Query
from tests.e2e.platform import AGENT, shared_folder, started, wait
from tests.infra.services.monitoring.servers import tool
from tests.infra.services.monitoring.stage import Stage, watched
from tests.messages_api import serving
from tests.runtime.servers import binary

sdk = pytest.importorskip("grafana_foundation_sdk", reason="dashboards are built with grafana-foundation-sdk")

from infra.services.monitoring.dashboards.build import DASHBOARDS  # noqa: E402

APP = "pool-business"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage, set once for all tests of this module."""
    tool("prometheus")
    binary("loki")
    folder = tmp_path_factory.mktemp("monitoring")
    with _state() as state, serving(delay=0.3) as model:
        environment = {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": model.url, "MAX_CONCURRENCY": "3"}
        with started(state, environment) as platform, watched(platform, folder) as running:
            yield running
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _state() -> Iterator[Path]:
    """A state folder for the platform, removed with what the platform keeps beside it."""
    parent = Path(tempfile.mkdtemp(prefix="fleet-monitoring-"))
    try:
        yield parent / "state"
    finally:
        beside = shared_folder(parent / "state")
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(parent, ignore_errors=True)


HEALTHY = {("Active agents", "down"), ("Answers from the cache", "a second"), ("Firing alerts", "")}
"""Title and legend of what is rightly nothing here: no agent is down, and the agent that is looked at has no cache."""

PANELS = [
    pytest.param(dashboard, panel, query, id=f"{dashboard.name}: {panel.title} ({panel.kind}) {number}")
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for number, query in enumerate(panel.queries)
]


@pytest.mark.parametrize(("dashboard", "panel", "query"), PANELS)
def test_a_panel_shows_data(
    dashboard: Dashboard, panel: Panel, query: Query, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    expr = substituted(query.expr)
    if (panel.title, query.legend) not in HEALTHY:
        # What stands in where there is nothing to show would make any query pass.
        expr = expr.replace(" or vector(0)", "")
    if panel.source == "loki":
        result = stage.logs(expr, instant=panel.instant)
    else:
        result = stage.query(expr, stage.settled) if panel.instant else stage.query_range(expr)
    count = sum(len(stream["values"]) for stream in result) if panel.kind == "logs" else len(result)
    with capsys.disabled():
        print(f"\n{count:5} {'lines ' if panel.kind == 'logs' else 'series'} {dashboard.title} / {panel.title}: {' '.join(expr.split())}")  # fmt: skip
    assert count > 0


def substituted(expr: str) -> str:
    """The query as Grafana sends it, with what a person chose and the time range of an hour."""
    values = {"$__range_s": "3600", "$__range": "1h", "$__interval": "1m", "$agent": AGENT, "$app": APP}
    for variable, value in values.items():
        expr = expr.replace(variable, value)
    assert not re.search(r"\$[a-z_]+", expr), expr
    return expr


def test_the_variables_of_a_dashboard_have_choices(stage: Stage) -> None:
    for dashboard in DASHBOARDS:
        for variable in dashboard.variables:
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.query)
            assert found is not None
            values = {entry["metric"][found[2]] for entry in stage.query(substituted(found[1]))}
            assert {"agent": AGENT, "app": APP}[variable.name] in values


def test_every_rule_of_prometheus_evaluates(stage: Stage) -> None:
    rules = stage.rules(stage.prometheus)
    assert len(rules) > 40
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


def test_every_rule_of_loki_evaluates(stage: Stage) -> None:
    rules = stage.rules(stage.loki)
    assert len(rules) == 6
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_what_the_gateway_logged_arrives_in_prometheus_by_status(stage: Stage) -> None:
    statuses = {entry["metric"]["status"] for entry in stage.query("max_over_time(gateway:requests:rate1m[10m])")}
    assert {"200", "422", "429", "502"} <= statuses
    refusals = {entry["metric"]["refusal"] for entry in stage.query("max_over_time(gateway:refusals:rate1m[10m])")}
    assert "RATE_LIMIT_EXCEEDED" in refusals


def test_a_healthy_fleet_has_no_agent_down(stage: Stage) -> None:
    assert stage.query("agent:known unless on (agent_id, app, pool) agent:serving_pods") == []
    assert len(stage.query("agent:known")) > 1_000


def test_recorded_series_of_an_agent_do_not_grow_with_its_pods(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    raw = stage.query('count({agent_id!="", job="agent", __name__=~"agent_.+"})')[0]["value"][1]
    recorded = stage.query('count({agent_id!="", __name__=~"agent:.+"})')[0]["value"][1]
    agents = stage.query("count(agent:known)")[0]["value"][1]
    with capsys.disabled():
        print(f"\n{agents} agents on one pod each: {raw} raw series by agent, {recorded} recorded; with n pods raw is n times that")  # fmt: skip
    assert int(recorded) < 8 * int(agents)


def test_a_pool_whose_only_process_hangs_is_every_one_of_its_agents_down(stage: Stage) -> None:
    pid = stage.platform.part("pool-technology")["pid"]
    served = int(stage.query('count(agent:serving_pods{pool="technology"})')[0]["value"][1])
    pending = 'count(ALERTS{alertname="AgentDown", reason="not_served", pool="technology"})'
    os.kill(pid, signal.SIGSTOP)
    try:
        wait("AgentDown for all of the pool", lambda: [entry["value"][1] for entry in stage.query(pending)] == [str(served)])  # fmt: skip
        assert stage.query('ALERTS{alertname="AgentDown", pool!="technology"}') == []
    finally:
        os.kill(pid, signal.SIGCONT)
    wait("the end of AgentDown", lambda: stage.query(pending) == [])
    assert served >= 400
