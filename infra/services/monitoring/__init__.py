"""Owns the platform's monitoring: Prometheus, Alertmanager, Grafana, Loki, the log collector, and what they look at.

Order: namespaces, CRDs, operator with Prometheus and Grafana, Loki, collector; then rules, monitors and
dashboards, which need the CRDs. What the values and objects say is in pure modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pulumi
import pulumi_random as random
from pulumi import Input, Output, ResourceOptions

from infra import kubernetes
from infra.contracts import Database, Foundation
from infra.naming import labels
from infra.pods import Manifest
from infra.services import charts
from infra.services.monitoring import (
    alertmanager,
    alerts,
    collector,
    dashboards,
    exporters,
    loki,
    monitors,
    prober,
    prometheus,
    rules,
)
from infra.services.monitoring.names import COLLECTORS, GRAFANA_SECRET, MONITORING, SMTP_SECRET
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class MonitoringArgs:
    """What the monitoring is made of."""

    spec: PlatformSpec
    foundation: Foundation
    stores_secret: Input[str]
    """Name of the secret with REDIS_STATE_URL and REDIS_CACHE_URL, in the platform's namespace."""


class Monitoring(pulumi.ComponentResource):
    """Metrics, logs, alerts and dashboards of a stack."""

    def __init__(self, name: str, args: MonitoringArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Monitoring", name, {}, opts)
        self._name, self._args = name, args
        spaces: list[pulumi.Resource] = [
            Boundary(f"{name}-{boundary.namespace}", boundary, opts=self._after()) for boundary in boundaries(args.spec)
        ]
        definitions = self._release(charts.PROMETHEUS_CRDS, "crds", MONITORING, {}, spaces)
        stack = self._release(
            charts.KUBE_PROMETHEUS_STACK,
            "stack",
            MONITORING,
            prometheus.values(args.spec),
            [definitions, *self._secrets(spaces)],
        )
        log_rules = self._apply([loki.rules_map()], spaces)
        storage, identities = args.foundation.storage, args.foundation.identities
        logs = self._release(
            charts.LOKI, "loki", MONITORING, loki.values(args.spec, storage, identities.loki), [stack, *log_rules]
        )
        self._release(charts.ALLOY, "alloy", COLLECTORS, collector.values(), [logs])
        self._apply(self._watched(), [stack])
        self._apply(dashboards.config_maps(), spaces)
        self._apply(self._exporters(), [])
        if prober.servers(args.spec):
            self._apply(prober.manifests(), spaces)
        self.register_outputs({})

    def _after(self, *dependencies: pulumi.Resource) -> ResourceOptions:
        return ResourceOptions(parent=self, depends_on=list(dependencies))

    def _release(
        self,
        chart: charts.Chart,
        part: str,
        namespace: str,
        values: Mapping[str, Any],
        after: Iterable[pulumi.Resource],
    ) -> pulumi.CustomResource:
        return kubernetes.release(
            f"{self._name}-{part}",
            chart=chart.name,
            version=chart.version,
            repository=chart.repository,
            namespace=namespace,
            values=values,
            opts=self._after(*after),
        )

    def _apply(self, manifests: Iterable[Manifest], after: Iterable[pulumi.Resource]) -> list[pulumi.CustomResource]:
        options = self._after(*after)
        return [
            kubernetes.apply(manifest, name=f"{self._name}-{_logical(manifest)}", opts=options)
            for manifest in manifests
        ]

    def _secrets(self, spaces: list[pulumi.Resource]) -> list[pulumi.CustomResource]:
        password = random.RandomPassword(
            f"{self._name}-grafana-password",
            length=32,
            special=False,
            opts=ResourceOptions(parent=self, additional_secret_outputs=["result"]),
        )
        made = [
            secret(
                GRAFANA_SECRET, {"admin-user": Output.secret("admin"), "admin-password": Output.secret(password.result)}
            )
        ]
        spec = self._args.spec
        if alertmanager.notifies(spec) and alertmanager.authenticates(spec):
            made.append(secret(SMTP_SECRET, {"password": Output.secret(spec.alerts.smtp_password.get_secret_value())}))
        return self._apply(made, spaces)

    def _watched(self) -> list[Manifest]:
        """What the operator reads: rules and monitors."""
        args = self._args
        named = labels("ai-agents", "monitoring")
        found = [
            rules.rule_object("ai-agents-recordings", MONITORING, named, rules.recording_groups()),
            rules.rule_object(
                "ai-agents-alerts",
                MONITORING,
                named,
                alerts.alert_groups(args.spec.alerts.runbook_url or alerts.RUNBOOK),
            ),
            monitors.agents(),
            monitors.control(),
            monitors.exporters(),
            monitors.cert_manager(),
        ]
        if args.spec.components.vault:
            found.append(monitors.vault())
        if args.spec.components.consul:
            found.append(monitors.consul())
        if prober.servers(args.spec):
            found.append(prober.probe(args.spec))
        return found

    def _exporters(self) -> list[Manifest]:
        found = [exporters.redis(store, self._args.stores_secret) for store in ("state", "cache")]
        if self._args.spec.data != "managed":
            found += [
                exporters.postgres_secret(_source(self._args.foundation.database, self._args.spec.data)),
                exporters.postgres(),
            ]
        return found


def boundaries(spec: PlatformSpec) -> tuple[BoundaryArgs, BoundaryArgs]:
    """The restricted namespace, and the one of what must read the nodes."""
    reason = "the log collector and the node exporter read the node's file system"
    return (
        BoundaryArgs(spec, MONITORING, "monitoring"),
        BoundaryArgs(spec, COLLECTORS, "monitoring", level="privileged", reason=reason),
    )


def secret(name: str, values: Mapping[str, Any]) -> Manifest:
    """A secret of the monitoring namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": MONITORING, "labels": labels(name, "monitoring")},
        "type": "Opaque",
        "stringData": dict(values),
    }


def _source(database: Database, data: str) -> Output[str]:
    def url(values: list[Any]) -> str:
        host, port, name = values[:3]
        user, password = (quote(text, safe="") for text in values[3:])
        return f"postgresql://{user}:{password}@{host}:{port}/{name}?sslmode={'disable' if data == 'in-cluster' else 'require'}"

    return Output.secret(
        Output.all(database.host, database.port, database.name, database.user, database.password).apply(url)
    )


def _logical(manifest: Manifest) -> str:
    return f"{manifest['kind'].lower()}-{manifest['metadata']['name']}"


__all__ = ["Monitoring", "MonitoringArgs"]
