"""Owns the Consul component: namespace, authority, gossip key, tokens, release, policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random
from pulumi import Output, ResourceOptions

from infra import kubernetes, pods
from infra.naming import NAMESPACE as PLATFORM
from infra.naming import Placement, labels
from infra.pods import Manifest
from infra.services import charts, scripts
from infra.services.certificates import Authority, AuthorityArgs, digest
from infra.services.consul import settings
from infra.services.consul.settings import NAMESPACE
from infra.services.jobs.consul_bootstrap import POLICIES
from infra.services.policies.boundary import Boundary, BoundaryArgs
from infra.services.scripts import Script
from infra.settings import PlatformSpec
from infra.workloads.manifests import CONSUL_CA_MAP, consul_token_secret

TOKENS_MOUNT, BOOTSTRAP_MOUNT, CA_MOUNT = "/tokens", "/bootstrap", "/etc/consul-ca"
PLATFORM_ROLES = ("agent", "control")
"""Roles whose tokens the platform's pods mount; operators read theirs with kubectl, Prometheus' its operator."""


@dataclass(frozen=True)
class ConsulArgs:
    """What Consul is made of."""

    spec: PlatformSpec
    place: Placement


class Consul(pulumi.ComponentResource):
    """Consul, ready to be used: who depends on it finds its policies and tokens there."""

    address: str
    ready: Output[str]
    """The address, URL that processes use; known once policies and tokens are there."""

    def __init__(self, name: str, args: ConsulArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Consul", name, {}, opts)
        self._name, self._args = name, args
        boundary = Boundary(
            f"{name}-boundary", BoundaryArgs(args.spec, NAMESPACE, "consul"), opts=ResourceOptions(parent=self)
        )
        self._inside = ResourceOptions(parent=self, depends_on=[boundary])
        authority = Authority(
            f"{name}-authority", AuthorityArgs("Consul of the agents platform", args.place.protect), opts=self._inside
        )
        certificate, key = authority.server("server", settings.DNS_NAMES)
        before = [
            *self._certificates(authority.certificate, {"tls.crt": certificate, "tls.key": key}),
            self._gossip(),
        ]
        # The certificate is read at start alone: a new one rolls the pods.
        annotations = digest(certificate).apply(lambda text: f'"ai-agents/certificate": "{text}"')
        tokens = self._tokens()
        chart = charts.CONSUL
        release = kubernetes.release(
            f"{name}-release",
            chart=chart.name,
            version=chart.version,
            repository=chart.repository,
            namespace=NAMESPACE,
            values=settings.values(args.spec, annotations),
            opts=ResourceOptions(parent=self, depends_on=before, protect=args.place.protect),
        )
        kubernetes.apply(
            settings.api_service(), name=f"{name}-api", opts=ResourceOptions(parent=self, depends_on=[release])
        )
        script = bootstrap(args.spec)
        # A replaced token secret is no part of the version: the hourly run below takes it up.
        version = scripts.digest(args.spec.images.runtime, charts.CONSUL.version)
        after = ResourceOptions(
            parent=self, depends_on=[release, *tokens, self._add(scripts.config_map(NAMESPACE), "scripts")]
        )
        ready = kubernetes.apply(scripts.job(script, version), name=f"{name}-bootstrap", opts=after)
        # Puts back what somebody removed, and a token whose secret was replaced.
        kubernetes.apply(scripts.cron_job(script, "7 * * * *"), name=f"{name}-again", opts=after)
        self.address, self.ready = settings.ADDRESS, ready.urn.apply(lambda _: settings.ADDRESS)
        self.register_outputs({"address": self.address})

    def _certificates(self, authority: Output[str], server: Manifest) -> list[pulumi.Resource]:
        ca = {"ca.crt": authority}
        return [
            self._add(_secret(settings.CA_SECRET, NAMESPACE, {"tls.crt": authority}), "ca-secret"),
            self._add(_secret(settings.TLS_SECRET, NAMESPACE, server), "tls"),
            self._add(_config_map(NAMESPACE, ca), "ca"),
            self._add(_config_map(PLATFORM, ca), "ca-platform"),
        ]

    def _gossip(self) -> pulumi.Resource:
        gossip = random.RandomBytes(
            f"{self._name}-gossip",
            length=32,
            opts=ResourceOptions(parent=self, additional_secret_outputs=["base64", "hex"]),
        )
        secret = {"key": Output.secret(gossip.base64)}
        return self._add(_secret(settings.GOSSIP_SECRET, NAMESPACE, secret), "gossip-secret")

    def _tokens(self) -> list[pulumi.Resource]:
        made: dict[str, Output[str]] = {}
        for role in POLICIES:
            token = random.RandomUuid(
                f"{self._name}-token-{role}",
                opts=ResourceOptions(parent=self, additional_secret_outputs=["result"]),
            )
            made[role] = Output.secret(token.result)
        own: list[pulumi.Resource] = [self._add(_secret(settings.TOKENS_SECRET, NAMESPACE, made), "tokens")]
        own += [
            self._add(_secret(consul_token_secret(role), PLATFORM, {"token": made[role]}), f"tokens-{role}")
            for role in PLATFORM_ROLES
        ]
        return own

    def _add(self, manifest: Manifest, what: str) -> pulumi.CustomResource:
        return kubernetes.apply(manifest, name=f"{self._name}-{what}", opts=self._inside)


def bootstrap(spec: PlatformSpec) -> Script:
    """The job that writes policies and tokens."""
    volumes: list[Manifest] = [
        {"name": "tokens", "secret": {"secretName": settings.TOKENS_SECRET}},
        {"name": "bootstrap", "secret": {"secretName": settings.BOOTSTRAP_SECRET}},
        {"name": "consul-ca", "configMap": {"name": CONSUL_CA_MAP}},
    ]
    places = {"tokens": TOKENS_MOUNT, "bootstrap": BOOTSTRAP_MOUNT, "consul-ca": CA_MOUNT}
    return Script(
        name="consul-bootstrap",
        namespace=NAMESPACE,
        module="consul_bootstrap",
        service_account="default",
        image=spec.images.runtime,
        environment={
            "CONSUL_HTTP_ADDR": settings.ADDRESS,
            "CONSUL_CACERT": f"{CA_MOUNT}/ca.crt",
            "BOOTSTRAP_TOKEN_FILE": f"{BOOTSTRAP_MOUNT}/token",
            "TOKENS": TOKENS_MOUNT,
        },
        volumes=volumes,
        mounts=[pods.mount(name, path, read_only=True) for name, path in places.items()],
        pull_secret=spec.images.pull_secret,
    )


def _secret(name: str, namespace: str, values: Mapping[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels(name, "consul")}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": dict(values)}


def _config_map(namespace: str, data: Manifest) -> Manifest:
    metadata = {"name": CONSUL_CA_MAP, "namespace": namespace, "labels": labels(CONSUL_CA_MAP, "consul")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
