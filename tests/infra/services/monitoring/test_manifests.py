"""What the monitoring registers: in order, valid, with the labels its queries and the network policies rely on."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from catalog.contract import STATUS, ErrorCode
from infra import settings
from infra.contracts import Storage
from infra.plan import Plan, record
from infra.services import charts
from infra.services.monitoring import (
    alerts,
    collector,
    dashboards,
    exporters,
    log_rules,
    loki,
    monitors,
    names,
    prober,
    prometheus,
    rules,
)
from infra.workloads import manifests as workloads
from tests.infra.services import chart_values

KUBERNETES = "1.35"
OPERATOR = "github.com/prometheus-operator/prometheus-operator"
ONLY = {"components": {"vault": False, "consul": False, "monitoring": True, "edge": False, "backup": False}}
STACKS: dict[str, dict[str, Any]] = {
    "aws": {"cloud": "aws", "environment": "staging", "region": "eu-central-1", "zones": ["eu-central-1a", "eu-central-1b"], "account": "123456789012"},
    "gcp": {"cloud": "gcp", "environment": "staging", "region": "europe-west3", "zones": ["europe-west3-a", "europe-west3-b"], "account": "my-project"},
    "azure": {"cloud": "azure", "environment": "staging", "region": "westeurope", "zones": ["1", "2"], "account": "1" * 8 + "-1111-1111-1111-" + "1" * 12, "tenant": "1" * 8 + "-1111-1111-1111-" + "1" * 12},
    "existing": {"cloud": "existing", "environment": "dev", "data": "in-cluster", "alerts": {"email": "a@example.org", "smtpHost": "smtp.example.org:587", "smtpUser": "us", "smtpPassword": "hunter2"}},
}  # fmt: skip
CLOUDS = tuple(STACKS)


@cache
def plan(cloud: str, mode: Any) -> Plan:
    """The recorded plan of a small stack with nothing but monitoring."""
    return record({**STACKS[cloud], "layers": ["foundation", "services"], **ONLY}, mode)


def ours(cloud: str, mode: str = "known") -> dict[str, Any]:
    """The monitoring's resources by logical name."""
    found = {
        resource.name: resource
        for resource in plan(cloud, mode).resources
        if resource.name.startswith("services-monitoring")
    }
    assert found
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_same_resources_are_registered_with_known_and_with_unknown_outputs(cloud: str) -> None:
    assert set(ours(cloud, "known")) == set(ours(cloud, "unknown"))


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("mode", ["known", "unknown"])
def test_definitions_come_before_the_operator_and_the_operator_before_its_objects(cloud: str, mode: str) -> None:
    found = ours(cloud, mode)
    urns = {name: resource.urn for name, resource in found.items()}

    def waits(later: str, earlier: str) -> bool:
        return urns[earlier] in found[later].dependencies

    assert waits("services-monitoring-stack", "services-monitoring-crds")
    assert waits("services-monitoring-loki", "services-monitoring-stack")
    assert waits("services-monitoring-alloy", "services-monitoring-loki")
    custom = [name for name, resource in found.items() if "monitoring.coreos.com" in resource.type]
    assert len(custom) >= 6
    assert all(waits(name, "services-monitoring-stack") for name in custom)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_chart_is_pinned_as_the_one_list_says(cloud: str) -> None:
    releases = {r.inputs["chart"]: r for r in ours(cloud).values() if r.is_release}
    expected = (charts.PROMETHEUS_CRDS, charts.KUBE_PROMETHEUS_STACK, charts.LOKI, charts.ALLOY)
    assert set(releases) == {chart.name for chart in expected}
    for chart in expected:
        inputs = releases[chart.name].inputs
        assert (inputs["version"], inputs["repositoryOpts"]["repo"]) == (chart.version, chart.repository)


def test_collectors_live_outside_the_restricted_namespace_and_say_why() -> None:
    spaces = {r.inputs["metadata"]["name"]: r.inputs["metadata"] for r in ours("aws").values() if r.type.endswith(":Namespace")}  # fmt: skip
    level = "pod-security.kubernetes.io/enforce"
    assert spaces["monitoring"]["labels"][level] == "restricted"
    assert spaces["collectors"]["labels"][level] == "privileged"
    assert spaces["collectors"]["annotations"]["ai-agents/pod-security-exception"]
    assert ours("aws")["services-monitoring-alloy"].inputs["namespace"] == "collectors"
    node_exporter = prometheus.values(spec("aws"))["prometheus-node-exporter"]
    assert node_exporter["namespaceOverride"] == "collectors"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_logs_go_to_the_cloud_s_object_storage_by_loki_s_own_identity(cloud: str) -> None:
    values = ours(cloud)["services-monitoring-loki"].inputs["values"]
    store = {"aws": "s3", "gcp": "gcs", "azure": "azure", "existing": "filesystem"}[cloud]
    storage, account = values["loki"]["storage"], values["serviceAccount"]
    assert storage["type"] == values["loki"]["schemaConfig"]["configs"][0]["object_store"] == store
    assert account["name"] == "loki"
    if store == "filesystem":
        assert "bucketNames" not in storage
        return
    assert "logs" in storage["bucketNames"]["chunks"]
    assert not any(key in json.dumps(storage) for key in ("accessKey", "secretAccessKey", "accountKey"))
    expected = {"aws": [], "gcp": ["iam.gke.io/gcp-service-account"], "azure": ["azure.workload.identity/client-id"]}
    assert list(account["annotations"]) == expected[cloud]
    if cloud == "azure":
        assert "/" not in storage["azure"]["accountName"] + storage["bucketNames"]["chunks"]


def test_passwords_are_secrets_in_the_plan_and_nowhere_in_a_value() -> None:
    text = json.dumps([dict(resource.inputs) for resource in ours("existing").values()])
    assert "hunter2" not in text
    kinds = {name for name, r in ours("existing").items() if r.type.endswith(":Secret")}
    assert {f"services-monitoring-secret-{name}" for name in ("grafana-admin", "alertmanager-smtp", "postgres-exporter")} <= kinds  # fmt: skip


def spec(cloud: str, **changes: Any) -> settings.PlatformSpec:
    """The small stack's settings."""
    return settings.parse({**STACKS[cloud], **changes})


MANIFESTS = [
    *dashboards.config_maps(),
    loki.rules_map(),
    exporters.redis("state", "stores"),
    exporters.redis("cache", "stores"),
    exporters.postgres(),
    exporters.postgres_secret("postgresql://…"),
    *prober.manifests(),
]
OBJECTS = [
    rules.rule_object("recordings", names.MONITORING, {}, rules.recording_groups()),
    rules.rule_object("alerts", names.MONITORING, {}, alerts.alert_groups()),
    monitors.agents(),
    monitors.control(),
    monitors.exporters(),
    monitors.cert_manager(),
    monitors.vault(),
    monitors.consul(),
    prober.probe(settings.parse(STACKS["aws"])),
]


def _id(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=_id)
def test_objects_of_kubernetes_own_kinds_are_valid(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@cache
def _definitions() -> Path:
    """The operator's CRDs of the version the chart installs, in Go's module cache."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go on PATH: the operator's CRDs are read from its Go module")
    wanted = f"{OPERATOR}@{charts.PROMETHEUS_CRDS.app_version}"
    found = subprocess.run([go, "mod", "download", "-json", wanted], capture_output=True, text=True, check=False, env={**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"})  # fmt: skip
    if found.returncode != 0:
        pytest.skip(f"{wanted} is not in Go's module cache; once: go mod download {wanted}")
    return Path(json.loads(found.stdout)["Dir"]) / "example/prometheus-operator-crd"


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A CRD's schema as JSON Schema that refuses unknown fields, as `kubectl apply` with strict validation does."""
    made = copy.deepcopy(schema)
    if made.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "pattern" in made:
        # Go takes flags after an anchor, Python only before it.
        made["pattern"] = made["pattern"].replace("^(?i)", "(?i)^")
    properties = made.get("properties")
    if properties is not None:
        made["properties"] = {name: _strict(inner) for name, inner in properties.items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _strict(made[key])
    return made


@pytest.mark.parametrize("manifest", OBJECTS, ids=_id)
def test_objects_of_the_operator_s_kinds_fit_its_definitions(manifest: dict[str, Any]) -> None:
    file = _definitions() / f"monitoring.coreos.com_{manifest['kind'].lower()}s.yaml"
    definition = yaml.safe_load(file.read_text("utf-8"))
    (version,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, schema)
    # The check itself refuses what is not in the definition.
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**manifest, "spec": {**manifest["spec"], "nonsense": 1}}, schema)


def test_agents_and_control_are_found_by_the_labels_their_pods_have() -> None:
    selector = monitors.agents()["spec"]["selector"]["matchLabels"]
    assert selector == {workloads.ROLE_LABEL: workloads.AGENT_ROLE}
    for monitor, port in ((monitors.agents(), "http"), (monitors.control(), "http"), (monitors.exporters(), "http")):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], endpoint["path"]) == (port, "/metrics")
    labels = exporters.redis("state", "stores")["spec"]["template"]["metadata"]["labels"]
    assert monitors.exporters()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["store"] == "state"


def test_every_server_error_code_counts_and_no_other() -> None:
    counted = set(rules.SERVER_ERRORS.split("|"))
    assert counted == {code for code, status in STATUS.items() if status >= 500} - {ErrorCode.AGENT_DISABLED}


def test_a_managed_database_s_password_is_asked_for_by_no_exporter() -> None:
    assert "services-monitoring-deployment-postgres-exporter" not in ours("aws")
    assert "services-monitoring-deployment-postgres-exporter" in ours("existing")


def test_the_collector_s_configuration_passes_through_helm_unchanged() -> None:
    assert "{{" not in collector.CONFIGURATION
    assert collector.CONFIGURATION.count("{") == collector.CONFIGURATION.count("}")


def test_what_the_ruler_counts_reaches_every_prometheus() -> None:
    prod = spec("aws", environment="prod", zones=["eu-central-1a", "eu-central-1b", "eu-central-1c"])
    values = loki.values(prod, Storage(kind="s3", logs="logs", snapshots="snapshots"), {})
    clients = values["loki"]["structuredConfig"]["ruler"]["remote_write"]["clients"]
    assert len(clients) == prometheus.replicas(prod) == 2
    assert prometheus.values(prod)["prometheus"]["prometheusSpec"]["enableRemoteWriteReceiver"] is True


def test_the_gateway_s_log_is_read_by_the_label_the_collector_sets() -> None:
    assert "app" in collector.STREAM_LABELS
    assert f'target_label  = "{collector.STREAM_LABELS[1]}"' in collector.CONFIGURATION
    assert log_rules.GATEWAY_LOGS == '{app="gateway"}'


FREE = {
    # What a sub-chart or the program itself takes stands in no default of the chart's.
    charts.KUBE_PROMETHEUS_STACK: ("grafana", "kube-state-metrics", "prometheus-node-exporter", "alertmanager.config.global"),
    charts.LOKI: ("loki.storage", "loki.limits_config", "loki.structuredConfig"),
    charts.ALLOY: ("configReloader.resources",),
}  # fmt: skip


@pytest.mark.parametrize("chart", FREE, ids=lambda chart: chart.name)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_chart_knows_every_value_it_is_given(chart: charts.Chart, cloud: str) -> None:
    defaults = chart_values.FOLDER / f"{chart.name}-{chart.version}.yaml"
    if not defaults.exists():
        pytest.skip(f"CHART_VALUES names no folder with {defaults.name} (helm show values)")
    storage = Storage(kind="s3", logs="account/logs", snapshots="snapshots")
    given = {
        charts.KUBE_PROMETHEUS_STACK: prometheus.values(spec(cloud)),
        charts.LOKI: loki.values(spec(cloud, environment="dev"), storage, {}),
        charts.ALLOY: collector.values(),
    }[chart]
    found = list(chart_values._unknown(given, yaml.safe_load(defaults.read_text()), "", FREE[chart]))
    assert found == []
