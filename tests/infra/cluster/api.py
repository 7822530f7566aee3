"""A thin client of a real API server: server-side apply with strict field validation, as `pulumi up` does it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, config

Manifest = dict[str, Any]

PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Job": "jobs",
    "LimitRange": "limitranges",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolume": "persistentvolumes",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PriorityClass": "priorityclasses",
    "ResourceQuota": "resourcequotas",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CronJob": "cronjobs",
    "Pod": "pods",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
ORDER = ("Namespace", "PriorityClass", "PersistentVolume", "ServiceAccount", "Secret", "ConfigMap")
"""Kinds others depend on, first."""


class RefusedError(Exception):
    """The API server refused an object; the message is its own."""


class Cluster:
    """The cluster KUBECONFIG points at."""

    def __init__(self) -> None:
        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        settings.connection_pool_maxsize = 32
        self._api = client.ApiClient(settings)

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply under the tests' field manager. Raises RefusedError."""
        query = [("fieldManager", "tests"), ("force", "true"), ("fieldValidation", "Strict")]
        return self._call("PATCH", path(manifest), query, manifest, "application/apply-patch+yaml")

    def apply_all(self, manifests: Iterable[Manifest]) -> dict[str, str]:
        """Apply in order of dependence; resource versions by path."""
        versions: dict[str, str] = {}
        by_rank: dict[int, list[Manifest]] = {}
        for manifest in manifests:
            by_rank.setdefault(rank(manifest), []).append(manifest)
        with ThreadPoolExecutor(16) as pool:
            for _, group in sorted(by_rank.items()):
                for manifest, answer in zip(group, pool.map(self.apply, group), strict=True):
                    versions[path(manifest)] = answer["metadata"]["resourceVersion"]
        return versions

    def get(self, target: str) -> Manifest:
        """The object at a path. Raises RefusedError."""
        return self._call("GET", target, [], None, None)

    def delete(self, target: str) -> None:
        """Delete the object at a path, if it is there, and what depends on it."""
        try:
            self._call("DELETE", target, [("propagationPolicy", "Background"), ("gracePeriodSeconds", "0")], None, None)
        except RefusedError as error:
            if "NotFound" not in str(error):
                raise

    def remove_all(self, manifests: Iterable[Manifest]) -> None:
        """Delete the objects, namespaces last, and wait until those and volumes are gone: what goes takes nothing new."""
        ordered = sorted(manifests, key=lambda manifest: manifest["kind"] == "Namespace")
        for manifest in ordered:
            self.delete(path(manifest))
        for kind in ("Namespace", "PersistentVolume"):
            going = {manifest["metadata"]["name"] for manifest in ordered if manifest["kind"] == kind}
            if going:
                self.wait(f"gone: {kind}", lambda kind=kind, going=going: not going & self._names(kind))

    def _names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.get(f"/api/v1/{PLURALS[kind]}")["items"]}

    def wait(self, what: str, done: Callable[[], bool], seconds: float = 600) -> None:
        """Wait until ``done``; fails with ``what`` after ``seconds``."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"not after {seconds} s: {what}"
            time.sleep(0.5)

    def _call(
        self, method: str, target: str, query: list[tuple[str, str]], body: Manifest | None, kind: str | None
    ) -> Manifest:
        headers = {"Accept": "application/json", **({"Content-Type": kind} if kind else {})}
        request = self._api.param_serialize(
            method, target, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = self._api.call_api(*request)
        raw = answer.read()
        if answer.status >= 400:
            raise RefusedError(f"{method} {target}: {raw.decode(errors='replace')}")
        return dict(json.loads(raw))


def rank(manifest: Manifest) -> int:
    """Position of an object's kind in the order of application."""
    return ORDER.index(manifest["kind"]) if manifest["kind"] in ORDER else len(ORDER)


def path(manifest: Manifest) -> str:
    """The object's path on the API server."""
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    space = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{space}/{PLURALS[manifest['kind']]}/{metadata['name']}"


def volumes(count: int) -> list[Manifest]:
    """PersistentVolumes for the stores' claims: the simulated cluster has no provisioner."""
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"tests-{number}"},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "hostPath": {"path": f"/tmp/tests-{number}"},
            },
        }
        for number in range(count)
    ]
