"""Alerts take the route of their severity, and one pool that goes down is one notification: Alertmanager's own tool says so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import settings
from infra.services.monitoring import alertmanager, prometheus
from tests.infra.services.monitoring.servers import tool

MAIL = {"email": "on-call@example.org", "smtpHost": "smtp.example.org:587"}


def spec(alerts: dict[str, str]) -> settings.PlatformSpec:
    """A small stack with these alert settings."""
    return settings.parse({"cloud": "existing", "environment": "dev", "data": "in-cluster", "alerts": alerts})


def write(folder: Path, alerts: dict[str, str]) -> str:
    """The configuration as a file."""
    path = folder / "alertmanager.yaml"
    path.write_text(yaml.safe_dump(alertmanager.configuration(spec(alerts)), sort_keys=False))
    return str(path)


@pytest.mark.parametrize("alerts", [{}, MAIL, {**MAIL, "smtpUser": "us", "smtpPassword": "secret"}], ids=["none", "mail", "login"])  # fmt: skip
def test_alertmanager_finds_no_fault_in_the_configuration(alerts: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path, alerts)
    ran = subprocess.run([tool("amtool"), "check-config", path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=AgentDown severity=critical pool=business", "critical"),
        ("alertname=HighCPUUsage severity=warning", "warning"),
        ("alertname=Watchdog severity=none", "nobody"),
        ("alertname=Other severity=info", "nobody"),
    ],
)
def test_severity_decides_the_route(labels: str, receiver: str, tmp_path: Path) -> None:
    path = write(tmp_path, MAIL)
    command = [tool("amtool"), "config", "routes", "test", f"--config.file={path}", *labels.split()]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == receiver, ran.stderr


def _receivers(alerts: dict[str, str]) -> dict[str, Any]:
    return {receiver["name"]: receiver for receiver in alertmanager.configuration(spec(alerts))["receivers"]}


def test_without_an_address_nothing_is_sent() -> None:
    assert not any("email_configs" in receiver for receiver in _receivers({}).values())


def test_with_an_address_both_severities_are_mailed() -> None:
    mailed = {name for name, receiver in _receivers(MAIL).items() if receiver.get("email_configs")}
    assert mailed == {"critical", "warning"}


def test_agents_of_one_pool_are_one_notification() -> None:
    routes = alertmanager.configuration(spec(MAIL))["route"]["routes"]
    (critical,) = (route for route in routes if route["receiver"] == "critical")
    assert critical["group_by"] == ["alertname", "pool"]


def test_the_mail_server_s_password_is_a_file_and_never_in_the_values() -> None:
    values = prometheus.values(spec({**MAIL, "smtpUser": "us", "smtpPassword": "hunter2"}))
    assert "hunter2" not in str(values)
    assert values["alertmanager"]["alertmanagerSpec"]["secrets"] == ["alertmanager-smtp"]


@pytest.mark.parametrize(
    ("alerts", "key"),
    [
        ({"email": "a@example.org"}, "alerts.smtpHost"),
        ({**MAIL, "smtpUser": "us"}, "alerts.smtpPassword"),
        ({**MAIL, "smtpHost": "smtp.example.org"}, "alerts.smtpHost"),
    ],
)
def test_mail_settings_that_could_not_send_are_refused_by_name(alerts: dict[str, str], key: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        spec(alerts)
    assert key in str(refused.value)
