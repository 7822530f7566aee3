"""Owns where images may come from: the runtime's own repository and the publishers of what we and the charts run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from infra.settings import PlatformSpec

PUBLISHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("docker.io/nginxinc/",),
    "in-cluster stores": ("docker.io/library/postgres", "docker.io/valkey/"),
    "vault": ("docker.io/hashicorp/",),
    "consul": ("docker.io/hashicorp/",),
    "kube-prometheus-stack": (
        "quay.io/prometheus/",
        "quay.io/prometheus-operator/",
        "quay.io/thanos/",
        "quay.io/kiwigrid/",
        "docker.io/kiwigrid/",
        "docker.io/grafana/",
        "registry.k8s.io/",
        "ghcr.io/jkroepke/",
    ),
    "loki": ("docker.io/grafana/", "docker.io/kiwigrid/", "docker.io/library/memcached", "docker.io/prom/"),
    "alloy": ("docker.io/grafana/", "quay.io/prometheus-operator/"),
    "exporters of the stores": ("quay.io/prometheuscommunity/", "docker.io/oliver006/"),
    "prober": ("quay.io/prometheus/",),
    "cert-manager": ("quay.io/jetstack/",),
    "istiod": ("docker.io/istio/", "registry.istio.io/"),
}
"""Prefixes by what runs them, as the charts' default values name their images."""


def allowed(spec: PlatformSpec) -> tuple[str, ...]:
    """Every prefix an image in a namespace of ours may start with, sorted."""
    runtime = spec.images.runtime.partition("@")[0]
    # A tag may follow the repository; a colon before the last slash is a registry's port.
    head, _, last = runtime.rpartition("/")
    own = f"{head}/{last.partition(':')[0]}"
    return tuple(sorted({own, *(prefix for prefixes in PUBLISHERS.values() for prefix in prefixes)}))
