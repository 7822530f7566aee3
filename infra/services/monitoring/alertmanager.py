"""Owns where alerts go: Alertmanager's configuration. Pure.

Routes by severity. The receiver is the address of ``alerts.email``; without one nothing is sent, and alerts are
read in Grafana and Alertmanager alone. Alerts of one pool are one notification, so that a pool of 500 agents
that goes down wakes somebody once.
"""

from __future__ import annotations

from typing import Any, Final

from infra.pods import Manifest
from infra.services.monitoring.names import SMTP_SECRET
from infra.settings import PlatformSpec

RECEIVERS: Final = {"critical": "critical", "warning": "warning"}
"""Receiver of each severity that notifies; anything else is dropped."""
NOBODY: Final = "nobody"
PASSWORD_FILE: Final = f"/etc/alertmanager/secrets/{SMTP_SECRET}/password"


def notifies(spec: PlatformSpec) -> bool:
    """Whether alerts are sent anywhere: an address, and a server that takes mail for it."""
    return bool(spec.alerts.email and spec.alerts.smtp_host)


def authenticates(spec: PlatformSpec) -> bool:
    """Whether the mail server asks who we are."""
    return bool(spec.alerts.smtp_user)


def configuration(spec: PlatformSpec) -> Manifest:
    """alertmanager.yaml as data."""
    config: dict[str, Any] = {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": NOBODY,
            "group_by": ["alertname", "pool", "app"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [
                {"receiver": NOBODY, "matchers": ['alertname =~ "Watchdog|InfoInhibitor"']},
                # One notification a pool, not one an agent.
                _route("critical", ["alertname", "pool"], wait="10s", repeat="1h"),
                _route("warning", ["alertname", "pool", "app", "namespace"], wait="2m", repeat="12h"),
            ],
        },
        "inhibit_rules": _inhibitions(),
        "receivers": [{"name": NOBODY}, *(_receiver(spec, name) for name in RECEIVERS.values())],
    }
    if notifies(spec):
        config["global"] |= _mail(spec)
    return config


def _route(severity: str, group_by: list[str], *, wait: str, repeat: str) -> Manifest:
    return {
        "receiver": RECEIVERS[severity],
        "matchers": [f'severity = "{severity}"'],
        "group_by": group_by,
        "group_wait": wait,
        "repeat_interval": repeat,
    }


def _inhibitions() -> list[Manifest]:
    """What need not be said because something graver was: a cause silences its effects."""

    def silence(sources: str, targets: str, equal: list[str]) -> Manifest:
        return {"source_matchers": [sources], "target_matchers": [targets], "equal": equal}

    return [
        silence('severity = "critical"', 'severity =~ "warning|info"', ["namespace", "alertname"]),
        silence('severity = "warning"', 'severity = "info"', ["namespace", "alertname"]),
        silence('alertname = "InfoInhibitor"', 'severity = "info"', ["namespace"]),
        silence('alertname = "ModelUnavailable"', 'alertname =~ "AgentDown|HighErrorRate"', ["app"]),
        silence('alertname =~ "DatabaseDown|RedisDown"', 'alertname = "AuditLag"', []),
    ]


def _receiver(spec: PlatformSpec, name: str) -> Manifest:
    if not notifies(spec):
        return {"name": name}
    subject = '[{{ .Status | toUpper }}{{ if eq .Status "firing" }}: {{ .Alerts.Firing | len }}{{ end }}] {{ .CommonLabels.alertname }} {{ .CommonLabels.pool }}'
    return {
        "name": name,
        "email_configs": [
            {
                "to": spec.alerts.email,
                "send_resolved": True,
                "headers": {"Subject": f"{spec.environment} {name}: {subject}"},
            }
        ],
    }


def _mail(spec: PlatformSpec) -> Manifest:
    settings: Manifest = {
        "smtp_smarthost": spec.alerts.smtp_host,
        "smtp_from": f"alerts@{spec.domain}",
        "smtp_require_tls": True,
    }
    if authenticates(spec):
        settings |= {"smtp_auth_username": spec.alerts.smtp_user, "smtp_auth_password_file": PASSWORD_FILE}
    return settings
