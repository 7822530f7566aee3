"""Owns the reference of metrics, recording rules and alerts."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from catalog.contract import Metric
from cli.docs.markdown import code, made_by, table
from infra.services.monitoring import log_rules
from infra.services.monitoring.alerts import ALERTS
from infra.services.monitoring.rules import RECORDINGS
from runtime.metrics import AgentMetrics, ControlMetrics


def page() -> str:
    """docs/reference/metrics.md."""
    agent, control = CollectorRegistry(), CollectorRegistry()
    AgentMetrics(agent, (), lambda _: True)
    ControlMetrics(control)
    return "\n".join(
        (
            made_by("runtime/metrics.py and infra/services/monitoring/"),
            "# Metrics and alerts\n",
            "Both applications answer `GET /metrics` in Prometheus' text format, on their own port; the gateway does not "
            "pass that path on. Beside the metrics here they tell the process's CPU, memory and file descriptors "
            "(`process_*`) and the Python version (`python_info`).\n",
            "## Agent processes\n",
            _metrics(agent),
            "`agent_processing_seconds` has no agent label: 1,500 agents would make 22,500 series of it. Where an agent "
            "runs dedicated it is that agent's; elsewhere the mean of one agent is "
            f"`rate({Metric.SECONDS}[5m]) / rate({Metric.REQUESTS}[5m])`, and its distribution is in the logs' `duration_ms`.\n",
            "## Control processes\n",
            _metrics(control),
            "## Recording rules\n",
            "Dashboards and alerts read these: an agent's own series come once per pod that serves it.\n",
            table(
                ("Series", "Expression"),
                ((code(rule.record), code(_one_line(rule.expr))) for rules in RECORDINGS.values() for rule in rules),
            ),
            "Counted from the gateway's access log by Loki's ruler:\n",
            table(
                ("Series", "Expression"),
                ((code(rule.record), code(_one_line(rule.expr))) for rule in log_rules.RECORDINGS),
            ),
            "## Alerts\n",
            "Each has its section in the [runbook](../RUNBOOK.md). An alert that stands here twice has two causes, told "
            "apart by a label.\n",
            table(
                ("Alert", "Severity", "Holds for", "Condition", "Labels"),
                (
                    (
                        f"[{alert.name}](../RUNBOOK.md#{alert.name.lower()})",
                        alert.severity,
                        alert.wait,
                        code(_one_line(alert.expr)),
                        ", ".join(code(f"{name}={value}") for name, value in alert.labels.items()),
                    )
                    for alert in ALERTS
                ),
            ),
        )
    )


def _metrics(registry: CollectorRegistry) -> str:
    return table(
        ("Metric", "Kind", "Labels", "Meaning"),
        sorted(
            (code(name), kind, ", ".join(code(each) for each in labels), text)
            for name, kind, labels, text in measured(registry)
        ),
    )


def measured(registry: CollectorRegistry) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Every metric of a registry: name as exposed, kind, labels, help."""
    found = []
    for collector in list(registry._collector_to_names):
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            labels: Any = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.append((name, family.type, tuple(labels), family.documentation))
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())
