"""Every alert fires when it must, says what it means, and stays quiet when it should: promtool's unit tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.services.monitoring import log_rules
from infra.services.monitoring.alerts import ALERTS, RUNBOOK, SPECIFIED, Alert, alert_groups
from infra.services.monitoring.rules import INTERVAL_SECONDS, recording_groups
from tests.infra.services.monitoring.cases import CASES, Case
from tests.infra.services.monitoring.servers import tool


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rules in one file, as Prometheus reads it."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [*recording_groups(), *alert_groups()]}, sort_keys=False))
    return path


def test_promtool_finds_no_fault_in_the_rules(rule_file: Path) -> None:
    checked = subprocess.run([tool("promtool"), "check", "rules", "--lint-fatal", str(rule_file)], capture_output=True, text=True, check=False)  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def _rule(case: Case) -> Alert:
    found = [
        alert
        for alert in ALERTS
        if alert.name == case.alert and (not case.fixed or dict(alert.labels) == dict(case.fixed))
    ]
    return found[0]


def _expected(case: Case) -> list[dict[str, Any]]:
    rule = _rule(case)
    return [
        {
            "exp_labels": {**firing.labels, **case.fixed, "severity": rule.severity, "platform": "ai-agents"},
            "exp_annotations": {
                "summary": firing.summary,
                "description": firing.description,
                "runbook_url": f"{RUNBOOK}#{rule.name.lower()}",
            },
        }
        for firing in case.fires
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.name}")
def test_an_alert_fires_when_it_must_and_only_then(case: Case, rule_file: Path, tmp_path: Path) -> None:
    document = {
        "rule_files": [str(rule_file)],
        "evaluation_interval": f"{INTERVAL_SECONDS}s",
        "group_eval_order": [group["name"] for group in (*recording_groups(), *alert_groups())],
        "tests": [
            {
                "interval": f"{INTERVAL_SECONDS}s",
                "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
                "alert_rule_test": [
                    {"alertname": case.alert, "eval_time": case.at, **({"exp_alerts": _expected(case)} if case.fires else {})}
                ],
            }
        ],
    }  # fmt: skip
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    ran = subprocess.run([tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_case_that_fires_it_and_one_that_must_not() -> None:
    firing = {(case.alert, frozenset(case.fixed.items())) for case in CASES if case.fires}
    assert {(alert.name, frozenset(alert.labels.items())) for alert in ALERTS} <= firing
    assert {alert.name for alert in ALERTS} == {case.alert for case in CASES if not case.fires}


def test_the_specification_s_alerts_are_there_with_its_severities_and_durations() -> None:
    stated = {(alert.name, alert.severity, alert.wait) for alert in SPECIFIED}
    assert stated == {
        ("AgentDown", "critical", "2m"),
        ("HighErrorRate", "critical", "5m"),
        ("DatabaseDown", "critical", "1m"),
        ("HighResponseTime", "warning", "5m"),
        ("HighCPUUsage", "warning", "10m"),
        ("HighMemoryUsage", "warning", "10m"),
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_is_wrong_and_where_the_runbook_speaks_of_it(alert: Alert) -> None:
    annotations = alert.manifest()["annotations"]
    assert annotations["runbook_url"] == f"docs/RUNBOOK.md#{alert.name.lower()}"
    assert len(annotations["summary"]) < 90
    assert annotations["description"].endswith(".")
    assert alert.manifest()["labels"]["severity"] in ("critical", "warning")


def test_with_a_page_of_its_own_every_alert_links_to_its_heading_there() -> None:
    page = "https://github.com/acme/agents/blob/main/docs/RUNBOOK.md"
    found = [rule["annotations"]["runbook_url"] for group in alert_groups(page) for rule in group["rules"]]
    assert found == [f"{page}#{alert.name.lower()}" for alert in ALERTS]


def test_names_of_recording_rules_follow_prometheus_convention() -> None:
    names = [rule["record"] for group in (*recording_groups(), *log_rules.groups()) for rule in group["rules"]]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(:[a-z0-9_]+)+", name)] == []
