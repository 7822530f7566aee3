"""Owns what a well-formed configuration must also mean: rules that span keys.

Pure: a PlatformSpec in, (key, message) pairs out, every one that applies. Facts with an expiry date
(supported Kubernetes versions) stand here with their source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from catalog.schema import AGENT_ID, AGENTS_PER_POOL

if TYPE_CHECKING:
    from infra.settings import PlatformSpec

Problem = tuple[str, str]

SUPPORTED_VERSIONS = ("1.35", "1.36", "1.37")
"""Minor versions under standard support on EKS, GKE and AKS in November 2026 (the providers' release calendars);
1.34 leaves EKS's standard support on 2 December 2026."""

AGENTS_PER_STACK = 200
"""Most dedicated agents of one stack: `up` grows quadratically in resources, 200 agents are about 800 (DESIGN, decision 2)."""

AGENTS_WITH_TWO_VERSIONS = 100
"""Most dedicated agents of a stack whose whole fleet has two versions: about twice the resources an agent."""

PODS_PER_DEDICATED_AGENT = 2
PLACEHOLDER_DIGEST = "0" * 64
AGENTS_PER_DOMAIN = 25
EXAMPLE_ACCOUNTS = ("123456789012", "your-project", "00000000-0000-0000-0000-000000000000")
"""Accounts of the shipped stacks: enough for a preview, refused by `up`."""

_ACCOUNTS = {
    "aws": (re.compile(r"\d{12}"), "an AWS account id has 12 digits"),
    "gcp": (
        re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        "a GCP project id has 6 to 30 lower-case letters, digits or hyphens",
    ),
    "azure": (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "an Azure subscription id is a UUID"),
}
_REGIONS = {
    "aws": (re.compile(r"[a-z]{2}(-[a-z]+)+-\d"), "such as eu-central-1"),
    "gcp": (re.compile(r"[a-z]+-[a-z]+\d{1,2}"), "such as europe-west3"),
    "azure": (re.compile(r"[a-z0-9]{4,30}"), "such as westeurope"),
}
_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_TAG = re.compile(r"[a-z][a-z0-9-]{0,62}=[a-z0-9][a-z0-9_-]{0,62}")


def check(spec: PlatformSpec) -> list[Problem]:
    """Everything ``spec`` means that is refused, in order of the keys."""
    return [
        *_cloud(spec),
        *_layers(spec),
        *_data(spec),
        *_network(spec),
        *_cluster(spec),
        *_fleet(spec),
        *_rollout(spec),
        *_production(spec),
        *_alerts(spec),
        *_tags(spec),
    ]


def agent_count(spec: PlatformSpec) -> int:
    """How many agents the configuration asks for, without reading the catalog."""
    if spec.fleet.agents:
        return len(spec.fleet.agents)
    if spec.fleet.domains:
        return len(spec.fleet.domains) * AGENTS_PER_DOMAIN
    return (len(spec.fleet.pools) or 3) * AGENTS_PER_POOL


def _cloud(spec: PlatformSpec) -> Iterator[Problem]:
    if spec.cloud == "existing":
        for key in ("region", "account"):
            if getattr(spec, key):
                yield key, "means nothing for cloud: existing; remove it"
        if spec.zones:
            yield "zones", "mean nothing for cloud: existing; remove them"
        return
    if spec.cluster.context:
        yield "cluster.context", f"is for cloud: existing, not {spec.cloud}"
    if not spec.components.certificates:
        yield "components.certificates", f"the edge of {spec.cloud} speaks TLS to the gateway; remove the key"
    pattern, hint = _REGIONS[spec.cloud]
    if not pattern.fullmatch(spec.region):
        yield (
            "region",
            f"{spec.region!r} is not a region of {spec.cloud} ({hint})"
            if spec.region
            else f"required for cloud: {spec.cloud} ({hint})",
        )
    pattern, hint = _ACCOUNTS[spec.cloud]
    if not pattern.fullmatch(spec.account):
        yield (
            "account",
            f"{spec.account!r} is refused: {hint}" if spec.account else f"required for cloud: {spec.cloud}; {hint}",
        )
    if spec.cloud == "azure" and not _ACCOUNTS["azure"][0].fullmatch(spec.tenant):
        yield "tenant", "required for cloud: azure; a Microsoft Entra tenant id is a UUID"
    if spec.cloud != "azure" and spec.tenant:
        yield "tenant", f"is for cloud: azure, not {spec.cloud}"
    if spec.builds("foundation"):
        yield from _zones(spec)


def _zones(spec: PlatformSpec) -> Iterator[Problem]:
    fewest = 3 if spec.environment == "prod" else 2
    if len(set(spec.zones)) < fewest:
        yield "zones", f"{spec.environment} needs {fewest} different zones, got {len(set(spec.zones))}"
    for zone in spec.zones:
        fits = {"aws": zone[:-1] == spec.region, "gcp": zone[:-2] == spec.region, "azure": zone in ("1", "2", "3")}[
            spec.cloud
        ]
        if not fits:
            expected = {"aws": f"{spec.region}a", "gcp": f"{spec.region}-a", "azure": "1, 2 or 3"}[spec.cloud]
            yield "zones", f"{zone!r} is not a zone of {spec.region} (such as {expected})"


def _layers(spec: PlatformSpec) -> Iterator[Problem]:
    if len(set(spec.layers)) != len(spec.layers):
        yield "layers", "names a layer twice"
    needed = {"services": ("foundation",), "fleet": ("foundation", "services"), "foundation": ()}
    for layer in ("foundation", "services"):
        elsewhere = getattr(spec.stacks, layer)
        built = spec.builds(layer)
        wanted = any(layer in needed[mine] for mine in spec.layers)
        if built and elsewhere:
            yield f"stacks.{layer}", f"names {elsewhere}, but this stack builds {layer} itself: remove one of the two"
        if not built and wanted and not elsewhere:
            yield f"stacks.{layer}", f"required: layers does not have {layer}, so say which stack builds it"


def _data(spec: PlatformSpec) -> Iterator[Problem]:
    if spec.data == "managed" and spec.cloud == "existing":
        yield "data", "managed needs a cloud; with cloud: existing say in-cluster or external"
    if spec.data == "in-cluster" and spec.environment == "prod":
        yield (
            "data",
            "in-cluster stores have no point-in-time recovery and are refused in prod; say managed or external",
        )
    external = spec.data == "external"
    for key, section in (("database", spec.database), ("cache", spec.cache)):
        if external and not section.host:
            yield f"{key}.host", "required for data: external"
        if external and not section.password.get_secret_value():
            yield (
                f"{key}.password",
                f"required for data: external; set it with: pulumi config set --secret --path {key}.password",
            )
        if not external and section.host:
            yield f"{key}.host", f"is for data: external, not {spec.data}"


def _network(spec: PlatformSpec) -> Iterator[Problem]:
    if spec.cloud == "existing":
        return
    ranges: dict[str, IPv4Network] = {}
    for key in ("cidr", "pods", "services"):
        text = getattr(spec.network, key)
        try:
            ranges[key] = IPv4Network(text)
        except ValueError as error:
            yield f"network.{key}", f"{text} is not a network: {error}"
            continue
        if not any(ranges[key].subnet_of(private) for private in _PRIVATE):
            yield f"network.{key}", f"{text} is not a private range (RFC 1918, RFC 6598)"
    for key, limit in (("cidr", 18), ("services", 20)):
        if key in ranges and ranges[key].prefixlen > limit:
            yield f"network.{key}", f"{ranges[key]} is too small: it needs a /{limit} or larger"
    names = list(ranges)
    for index, left in enumerate(names):
        for right in names[index + 1 :]:
            if ranges[left].overlaps(ranges[right]):
                yield f"network.{right}", f"{ranges[right]} overlaps network.{left} {ranges[left]}"
    # On AWS pods take addresses of the private subnets; elsewhere they have a range of their own.
    holder = "cidr" if spec.cloud == "aws" else "pods"
    if holder in ranges:
        room = ranges[holder].num_addresses // (2 if holder == "cidr" else 1)
        need = pods_at_most(spec)
        if need > room:
            yield (
                f"network.{holder}",
                f"{ranges[holder]} has room for {room:,} pods, but the fleet can grow to {need:,}; use a larger range",
            )


def pods_at_most(spec: PlatformSpec) -> int:
    """Most pods the fleet's autoscalers may ask for, with a quarter on top for the platform's own."""
    agents = agent_count(spec)
    fleet = agents * 10 if spec.fleet.isolation == "dedicated" else 3 * 10
    return fleet + fleet // 4 + 250


def _cluster(spec: PlatformSpec) -> Iterator[Problem]:
    cluster = spec.cluster
    if spec.cloud != "existing" and cluster.version not in SUPPORTED_VERSIONS:
        yield "cluster.version", f"{cluster.version} is out of support; supported: {', '.join(SUPPORTED_VERSIONS)}"
    if cluster.access == "authorized" and not cluster.authorized_cidrs and spec.cloud != "existing":
        yield (
            "cluster.authorizedCidrs",
            "required for cluster.access: authorized; name the ranges that may reach the API server",
        )
    if cluster.access == "private" and cluster.authorized_cidrs:
        yield "cluster.authorizedCidrs", "means nothing for cluster.access: private; remove it or say authorized"
    for text in cluster.authorized_cidrs:
        try:
            if IPv4Network(text).prefixlen < 8:
                yield (
                    "cluster.authorizedCidrs",
                    f"{text} opens the API server to most of the internet; name narrower ranges",
                )
        except ValueError as error:
            yield "cluster.authorizedCidrs", f"{text} is not a network: {error}"


def _fleet(spec: PlatformSpec) -> Iterator[Problem]:
    fleet = spec.fleet
    malformed = [agent for agent in fleet.agents if not AGENT_ID.fullmatch(agent)]
    if malformed:
        yield "fleet.agents", f"{', '.join(malformed[:3])}: not an agent id (such as business_plan_agent_009)"
    if len(set(fleet.agents)) != len(fleet.agents):
        twice = sorted({agent for agent in fleet.agents if fleet.agents.count(agent) > 1})
        yield "fleet.agents", f"names {', '.join(twice[:3])} twice"
    if fleet.agents and (fleet.pools or fleet.domains):
        yield "fleet.agents", "names agents one by one; remove fleet.pools and fleet.domains"
    if fleet.shard and not fleet.agents:
        yield (
            "fleet.shard",
            "a shard's agents are written down one by one in fleet.agents, so that adding a shard moves nobody",
        )
    if not spec.builds("fleet") and (fleet.agents or fleet.pools or fleet.domains or fleet.shard):
        yield "layers", "fleet.* selects agents, but layers does not have fleet"
    if spec.builds("fleet") and fleet.isolation == "dedicated" and agent_count(spec) > AGENTS_PER_STACK:
        yield (
            "fleet.isolation",
            f"dedicated runs at most {AGENTS_PER_STACK} agents a stack (this one: {agent_count(spec):,}); "
            "shard them over stacks with fleet.shard and fleet.agents, or run pooled",
        )


def _rollout(spec: PlatformSpec) -> Iterator[Problem]:
    rollout = spec.fleet.rollout
    if rollout is None:
        return
    if not spec.builds("fleet"):
        yield "fleet.rollout", "rolls out a fleet, but layers does not have fleet"
        return
    twice = rollout.other is not None
    if twice and spec.fleet.isolation == "dedicated" and agent_count(spec) > AGENTS_WITH_TWO_VERSIONS:
        yield (
            "fleet.rollout",
            f"two versions of at most {AGENTS_WITH_TWO_VERSIONS} dedicated agents a stack (this one: {agent_count(spec):,}): "
            "change images.runtime or fleet.model instead, and let `fleet up` take the shards in waves",
        )
    changes = rollout.candidate
    if changes is not None and changes.image is not None and changes.image.endswith(PLACEHOLDER_DIGEST):
        yield "fleet.rollout.candidate.image", "is the placeholder; name the image you built, pinned by digest"


def _production(spec: PlatformSpec) -> Iterator[Problem]:
    if spec.environment != "prod":
        return
    if spec.deletion_protection is False:
        yield "deletionProtection", "prod keeps deletion protection; remove the key"
    if not spec.components.backup and spec.builds("foundation"):
        yield "components.backup", "prod keeps backups; remove the key"
    if spec.cloud == "existing" and spec.components.vault:
        yield (
            "components.vault",
            "without a cloud's key Vault is development grade (its unseal keys lie in a Secret); say false and give "
            "the agents their key by the Secret agent-secrets",
        )


def _alerts(spec: PlatformSpec) -> Iterator[Problem]:
    alerts = spec.alerts
    if alerts.email and not alerts.smtp_host:
        yield "alerts.smtpHost", "required with alerts.email: the mail server that takes the alerts, as host:port"
    if alerts.smtp_user and not alerts.smtp_password.get_secret_value():
        yield (
            "alerts.smtpPassword",
            "required with alerts.smtpUser; set it with: pulumi config set --secret --path alerts.smtpPassword",
        )


def deployable(spec: PlatformSpec) -> list[Problem]:
    """What a preview may show but `up` refuses: examples that were never replaced."""
    problems = []
    if spec.images.runtime.endswith(PLACEHOLDER_DIGEST) and (spec.builds("fleet") or spec.builds("services")):
        problems.append(("images.runtime", "is the placeholder; name the image you built, pinned by digest"))
    if spec.cloud != "existing" and spec.domain.endswith(("example.com", "your-domain.com")):
        problems.append(("domain", f"{spec.domain} is an example; name your own"))
    if spec.account in EXAMPLE_ACCOUNTS:
        problems.append(("account", f"{spec.account} is an example; name your own"))
    return problems


def _tags(spec: PlatformSpec) -> Iterator[Problem]:
    for tag in spec.tags:
        if not _TAG.fullmatch(tag):
            yield (
                "tags",
                f"{tag!r} is not key=value in lower-case letters, digits and hyphens, which is what all three clouds take",
            )


def lost_layers(spec: PlatformSpec, had: list[str]) -> list[Problem]:
    """Layers the stack has and the configuration no longer names: taking one away would delete what it built."""
    lost = [layer for layer in had if layer not in spec.layers]
    return [
        (
            "layers",
            f"this stack has the layer {layer}, and without it everything in it would be deleted; keep it, or move it: fleet split",
        )
        for layer in lost
    ]
