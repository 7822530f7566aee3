"""Owns what Google Cloud needs in the cluster: Ingress, BackendConfig and FrontendConfig, from which GKE makes the load balancer.

Address, certificate, TLS policy and firewall are the foundation's and named here. Sources: GKE's documentation,
"Configure Ingress features"; kubernetes/ingress-gce, pkg/apis.
"""

from __future__ import annotations

from collections.abc import Mapping

from pulumi import Input, ResourceOptions

from catalog.contract import GATEWAY_HTTP_PORT
from infra import kubernetes
from infra.contracts import Edge
from infra.naming import NAMESPACE, labels
from infra.pods import Manifest
from infra.settings import PlatformSpec

NAME = "gateway"
ANSWER_SECONDS = 150
"""Longest the load balancer waits for an answer: as long as the gateway does (infra.gateway.config.Timeouts)."""


def attach(name: str, spec: PlatformSpec, edge: Edge, opts: ResourceOptions) -> None:
    """Register the load balancer's configuration and the Ingress it is made from."""
    made = [
        kubernetes.apply(manifest, name=f"{name}-{manifest['kind'].lower()}", opts=opts)
        for manifest in (backend_config(spec, edge.origin), frontend_config(edge.origin))
    ]
    kubernetes.apply(
        ingress(spec, edge.origin),
        name=f"{name}-ingress",
        opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=made)),
    )


def exposed(manifest: Manifest) -> Manifest:
    """The Service with its pods as endpoints of the load balancer, spoken to by TLS."""
    annotations = {
        "cloud.google.com/neg": '{"ingress": true}',
        "cloud.google.com/app-protocols": '{"https":"HTTPS"}',
        "cloud.google.com/backend-config": f'{{"default": "{NAME}"}}',
    }
    return {"metadata": {**manifest["metadata"], "annotations": annotations}}


def backend_config(spec: PlatformSpec, origin: Mapping[str, Input[str]]) -> Manifest:
    """Firewall, time-outs and health check. No CDN: answers are for one caller."""
    config: Manifest = {
        "cdn": {"enabled": False},
        "timeoutSec": ANSWER_SECONDS,
        "connectionDraining": {"drainingTimeoutSec": ANSWER_SECONDS},
        "healthCheck": {
            "type": "HTTP",
            "port": GATEWAY_HTTP_PORT,
            "requestPath": "/health",
            "checkIntervalSec": 10,
            "timeoutSec": 5,
            "healthyThreshold": 1,
            "unhealthyThreshold": 2,
        },
        # X-Forwarded-For ends in the balancer's own address; this holds the client's alone (infra.services.gateway).
        "customRequestHeaders": {"headers": ["X-Client-Address:{client_ip_address}"]},
        "logging": {"enable": True, "sampleRate": 1.0},
    }
    if spec.components.edge:
        config["securityPolicy"] = {"name": origin["security_policy"]}
    return {"apiVersion": "cloud.google.com/v1", "kind": "BackendConfig", "metadata": _metadata(), "spec": config}


def frontend_config(origin: Mapping[str, Input[str]]) -> Manifest:
    """The TLS policy; plain HTTP is not listened to."""
    spec = {"sslPolicy": origin["ssl_policy"]}
    return {"apiVersion": "networking.gke.io/v1beta1", "kind": "FrontendConfig", "metadata": _metadata(), "spec": spec}


def ingress(spec: PlatformSpec, origin: Mapping[str, Input[str]]) -> Manifest:
    """Everything to the gateway, which decides."""
    annotations = {
        # An Ingress of GKE's own controller has the annotation and no class (its documentation).
        "kubernetes.io/ingress.class": "gce",
        "kubernetes.io/ingress.allow-http": "false",
        "kubernetes.io/ingress.global-static-ip-name": origin["address"],
        "ingress.gcp.kubernetes.io/pre-shared-cert": origin["certificate"],
        "networking.gke.io/v1beta1.FrontendConfig": NAME,
    }
    backend = {"service": {"name": NAME, "port": {"name": "https"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**_metadata(), "annotations": annotations},
        "spec": {
            "rules": [
                {"host": spec.api_host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
            ],
        },
    }


def _metadata() -> Manifest:
    return {"name": NAME, "namespace": NAMESPACE, "labels": labels(NAME, "gateway")}
