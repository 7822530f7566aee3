"""Owns the binding of plain manifests to Pulumi: a dict in, a resource with the canonical type token out.

Manifests are pure functions elsewhere; the very same dict feeds `pulumi up`, `fleet render` and the tests.
The typed classes are not used for them: they would register the same type with the same inputs at twice
the Python time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi import Input

from infra.contracts import Cluster

Manifest = Mapping[str, Any]


def token(manifest: Manifest) -> str:
    """The Pulumi type token of a manifest: ``kubernetes:apps/v1:Deployment``, ``kubernetes:core/v1:Service``."""
    version = manifest["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{manifest['kind']}"


def apply(manifest: Manifest, *, name: str, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Register ``manifest`` under the logical ``name``. ``opts`` must name the provider and the parent."""
    return pulumi.CustomResource(token(manifest), name, dict(manifest), opts)


def provider(
    name: str, cluster: Cluster | None, context: str = "", opts: pulumi.ResourceOptions | None = None
) -> pulumi.ProviderResource:
    """The Kubernetes provider of a cluster; without one, of the ambient kubeconfig's ``context``.

    Server-side apply, so that fields an autoscaler owns stay its own; a cluster that cannot be reached still
    gets a preview of every object (pulumi-kubernetes#3027), since objects are then rendered and not compared.
    """
    from pulumi_kubernetes import KubeClientSettingsArgs, Provider

    return Provider(
        name,
        kubeconfig=cluster.kubeconfig if cluster else None,
        context=context or None,
        enable_server_side_apply=True,
        # Else a changed route or setting is deleted and made again, and is missing in between
        # (pulumi-kubernetes, forceNewProperties). What must not change in place says `immutable`.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        # 1,500 agents are 6,000 objects: the defaults (50/120) are what the client waits for.
        kube_client_settings=KubeClientSettingsArgs(qps=200, burst=400, timeout=60),
        opts=opts,
    )


def release(
    name: str,
    *,
    chart: str,
    version: str,
    repository: str,
    namespace: str,
    values: Mapping[str, Input[Any]],
    opts: pulumi.ResourceOptions,
) -> pulumi.CustomResource:
    """A Helm release: one node with its chart, pinned version and values.

    ``atomic`` rolls a failed install back; ``skipAwait`` stays off so that what depends on it finds it ready.
    """
    inputs = {
        "name": name,
        "chart": chart,
        "version": version,
        "repositoryOpts": {"repo": repository},
        "namespace": namespace,
        "values": dict(values),
        "atomic": True,
        "timeout": 900,
    }
    return pulumi.CustomResource("kubernetes:helm.sh/v3:Release", name, inputs, opts)
