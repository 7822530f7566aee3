"""Owns Vault's configuration file, the seal of each cloud, and the chart's values. Pure but for the seal's key.

The chart's defaults are one server without TLS; everything here that differs from them says so.
"""

from __future__ import annotations

from typing import Any

from pulumi import Input, Output

from infra import pods
from infra.services.charts import VAULT
from infra.settings import PlatformSpec

NAMESPACE = "vault"
RELEASE = "vault"
TLS_SECRET = "vault-tls"
TLS_MOUNT = "/vault/userconfig/tls"
PORT = 8200
USER_ID, GROUP_ID = 100, 1000
"""The image's vault user and group."""
ADDRESS = f"https://{RELEASE}-active.{NAMESPACE}.svc.cluster.local:{PORT}"
"""The active node: the only one that answers everything without sending the client elsewhere."""
FIRST_ADDRESS = f"https://{RELEASE}-0.{RELEASE}-internal.{NAMESPACE}.svc.cluster.local:{PORT}"
"""The first node: before Vault is initialized none is active, and it must be initialized once."""
DNS_NAMES = (
    f"{RELEASE}.{NAMESPACE}.svc",
    f"{RELEASE}.{NAMESPACE}.svc.cluster.local",
    f"{RELEASE}-active.{NAMESPACE}.svc",
    f"{RELEASE}-active.{NAMESPACE}.svc.cluster.local",
    f"*.{RELEASE}-internal",
    f"*.{RELEASE}-internal.{NAMESPACE}.svc.cluster.local",
    "localhost",
)


def replicas(spec: PlatformSpec) -> int:
    """Three where a cloud's key unseals them; else one, which the bootstrap unseals."""
    return 1 if spec.cloud == "existing" else 3


def servers(spec: PlatformSpec) -> tuple[str, ...]:
    """Host and port of each server; their names resolve whether they are ready or not."""
    return tuple(
        f"{RELEASE}-{number}.{RELEASE}-internal.{NAMESPACE}.svc.cluster.local:{PORT}"
        for number in range(replicas(spec))
    )


def seal(spec: PlatformSpec, key: Input[str]) -> Output[str]:
    """The seal stanza of the cloud, for the foundation's key; empty on a cluster without a cloud's.

    Sources: Vault's documentation, seal/awskms, seal/gcpckms, seal/azurekeyvault. No credential is in it: each
    client finds the pod's workload identity by itself.
    """
    return Output.from_input(key).apply(lambda text: _seal(spec, text))


def _seal(spec: PlatformSpec, key: str) -> str:
    match spec.cloud:
        case "aws":
            return _stanza("awskms", {"region": spec.region, "kms_key_id": key})
        case "gcp":
            # projects/<project>/locations/<region>/keyRings/<ring>/cryptoKeys/<key>
            parts = key.split("/")
            found = dict(zip(parts[::2], parts[1::2], strict=False))
            kinds = {"project": "projects", "region": "locations", "key_ring": "keyRings", "crypto_key": "cryptoKeys"}
            # A part that is missing stays empty, and Vault says at start which.
            return _stanza("gcpckms", {name: found.get(kind, "") for name, kind in kinds.items()})
        case "azure":
            # https://<vault>.vault.azure.net/keys/<key>/<version>
            host, _, rest = key.removeprefix("https://").partition("/keys/")
            names = {"tenant_id": spec.tenant, "vault_name": host.partition(".")[0], "key_name": rest.partition("/")[0]}
            return _stanza("azurekeyvault", names)
    return ""


def _stanza(kind: str, values: dict[str, str]) -> str:
    return f'seal "{kind}" {{\n' + "".join(f'  {name} = "{value}"\n' for name, value in values.items()) + "}\n"


def configuration(nodes: int, seal_stanza: str) -> str:
    """Vault's configuration file."""
    joins = "".join(_join(number) for number in range(nodes) if nodes > 1)
    return f"""ui = false
# Raft keeps nothing in memory that swap would reveal, and restricted pods may not lock memory.
disable_mlock = true
listener "tcp" {{
  address = "[::]:{PORT}"
  cluster_address = "[::]:8201"
  tls_cert_file = "{TLS_MOUNT}/tls.crt"
  tls_key_file = "{TLS_MOUNT}/tls.key"
  tls_min_version = "tls12"
  telemetry {{
    unauthenticated_metrics_access = true
  }}
}}
storage "raft" {{
  path = "/vault/data"
{joins}}}
service_registration "kubernetes" {{}}
telemetry {{
  prometheus_retention_time = "12h"
  disable_hostname = true
}}
{seal_stanza}"""


def _join(number: int) -> str:
    host = f"{RELEASE}-{number}.{RELEASE}-internal"
    return f"""  retry_join {{
    leader_api_addr = "https://{host}:{PORT}"
    leader_tls_servername = "{host}"
    leader_ca_cert_file = "{TLS_MOUNT}/ca.crt"
  }}
"""


def values(spec: PlatformSpec, config: Input[str], identity: Any, certificate_digest: Input[str]) -> dict[str, Any]:
    """The chart's values. ``identity``: annotations of Vault's service account, an Input."""
    dev = spec.environment == "dev"
    # The webhook that hands Azure's tokens to pods asks for this label.
    labels = {"azure.workload.identity/use": "true"} if spec.cloud == "azure" else {}
    server: dict[str, Any] = {
        # With its registry, which the admission policy asks for.
        "image": {"repository": "docker.io/hashicorp/vault", "tag": VAULT.app_version},
        "updateStrategyType": "RollingUpdate",
        "logFormat": "json",
        "resources": pods.resources("250m", "1", "256Mi", "512Mi" if dev else "1Gi"),
        "priorityClassName": "ai-agents-platform",
        "extraLabels": labels,
        # The certificate is read at start alone: a new one rolls the pods.
        "annotations": {"ai-agents/certificate": certificate_digest},
        "includeConfigAnnotation": True,
        "extraEnvironmentVars": {"VAULT_CACERT": f"{TLS_MOUNT}/ca.crt"},
        "volumes": [
            {"name": "tls", "secret": {"secretName": TLS_SECRET, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
        "volumeMounts": [pods.mount("tls", TLS_MOUNT, read_only=True), pods.mount("tmp", "/tmp")],
        # Ready before it is initialized, else the release would wait for the bootstrap that waits for the release;
        # sealed is not ready.
        "readinessProbe": {"enabled": True, "path": "/v1/sys/health?standbyok=true&uninitcode=204", "port": PORT},
        "livenessProbe": {
            "enabled": True,
            "path": "/v1/sys/health?standbyok=true&sealedcode=204&uninitcode=204",
            "port": PORT,
            "initialDelaySeconds": 60,
            "failureThreshold": 6,
        },
        "terminationGracePeriodSeconds": 30,
        "statefulSet": {
            "securityContext": {
                "pod": {**pods.pod_security(USER_ID), "runAsGroup": GROUP_ID, "fsGroup": GROUP_ID},
                "container": pods.container_security(),
            }
        },
        "serviceAccount": {"create": True, "name": "vault", "annotations": identity},
        # Vault asks the API server whose token it was given.
        "authDelegator": {"enabled": True},
        "dataStorage": {"enabled": True, "size": "5Gi" if dev else "20Gi"},
        "auditStorage": {"enabled": False},
        "standalone": {"enabled": False},
        "ha": {
            "enabled": True,
            "replicas": replicas(spec),
            "raft": {"enabled": True, "setNodeId": True, "config": config},
            # With one replica a budget would keep its node from ever being drained.
            "disruptionBudget": {"enabled": replicas(spec) > 1},
        },
    }
    if replicas(spec) == 1:
        server["affinity"] = ""
    else:
        server["topologySpreadConstraints"] = [
            {**constraint, "labelSelector": {"matchLabels": {"app.kubernetes.io/name": RELEASE, "component": "server"}}}
            for constraint in pods.spread(RELEASE)[:1]
        ]
    return {
        "global": {"tlsDisable": False},
        "injector": {"enabled": False},
        "csi": {"enabled": False},
        "ui": {"enabled": False},
        "server": server,
    }
