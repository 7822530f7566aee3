"""Owns who can reach whom in a stack's cluster: computed from the policies that are rendered, not from what they
were meant to say.

Every workload of the plan and every declared role of its charts is a pod here; addresses outside are zones. An
edge exists where both ends allow it, as Kubernetes defines: a pod no policy selects allows everything. Where a
policy names an address range, pods with an address in it count as met, although some network plugins exempt them.
How it is shown is docs/reachability.md, which ``infra.plan.reachability_page`` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from typing import Any

from infra.plan.plan import Plan
from infra.services.policies import networks, roles

Manifest = Mapping[str, Any]
ANY = "any port"
_TEMPLATES = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_PRIVATE = tuple(IPv4Network(text) for text in networks.PRIVATE)


@dataclass(frozen=True)
class Port:
    """A port something listens on."""

    name: str
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class End:
    """Pods that policies cannot tell apart, or a zone of addresses (``zone``) that is no pod."""

    name: str
    namespace: str = ""
    labels: frozenset[tuple[str, str]] = frozenset()
    ports: frozenset[Port] = frozenset()
    zone: tuple[IPv4Network, ...] = ()

    @property
    def is_pod(self) -> bool:
        """Whether policies select it by label."""
        return not self.zone


@dataclass(frozen=True, order=True)
class Edge:
    """``source`` can open connections to ``target`` on ``port`` (its name, or number/protocol outside)."""

    source: str
    target: str
    port: str


ZONES = (
    End("the internet", zone=(IPv4Network("8.8.8.8/32"), IPv4Network("1.1.1.1/32"))),
    End("Google's front ends", zone=tuple(IPv4Network(text) for text in networks.GOOGLE_FRONT_ENDS)),
    End("private addresses", zone=_PRIVATE[:4]),
    End("link-local addresses", zone=_PRIVATE[4:]),
)
"""Addresses outside the pods; the internet is stood for by two public addresses far apart."""


@dataclass(frozen=True)
class Cluster:
    """What the graph is computed from."""

    pods: tuple[End, ...]
    policies: tuple[Manifest, ...]
    pod_ranges: tuple[IPv4Network, ...]
    """Addresses a pod may have."""
    zones: tuple[End, ...] = ZONES


def of(plan: Plan) -> Cluster:
    """The cluster of a recorded stack, with the declared roles of the charts it installs."""
    objects = [resource.inputs for resource in plan.objects]
    charts = {str(resource.get("chart")) for resource in plan.resources if resource.is_release}
    found = [pod for manifest in objects for pod in _workload(manifest)]
    found += [_declared(role) for chart in sorted(charts) for role in roles.CHARTS.get(chart, ())]
    found += [
        End("cluster DNS", "kube-system", frozenset({("k8s-app", "kube-dns")}), frozenset({Port("dns", 53, "UDP"), Port("dns-tcp", 53)})),
        End("API server's tunnel", "kube-system", frozenset({("app", "konnectivity-agent")})),
        End("any other pod", "default"),
    ]  # fmt: skip
    policies = tuple(manifest for manifest in objects if manifest.get("kind") == "NetworkPolicy")
    return Cluster(tuple(_merged(found, policies)), policies, _pod_ranges(plan))


def edges(cluster: Cluster) -> frozenset[Edge]:
    """Every connection that is allowed between the ends, both ways judged."""
    isolation = {
        end: (_selecting(end, cluster.policies, "Ingress"), _selecting(end, cluster.policies, "Egress"))
        for end in cluster.pods
    }
    found: set[Edge] = set()
    for source in (*cluster.pods, *cluster.zones):
        for target in (*cluster.pods, *cluster.zones):
            if not (is_ours(source) or is_ours(target)):
                continue
            outgoing = isolation[source][1] if source.is_pod else None
            incoming = isolation[target][0] if target.is_pod else None
            found |= {
                Edge(source.name, target.name, port)
                for port in _open(source, target, outgoing, incoming, cluster.pod_ranges)
            }
    return frozenset(found)


def is_ours(end: End) -> bool:
    """Whether it is a pod in a namespace of ours."""
    return end.is_pod and end.namespace not in ("kube-system", "default")


def _workload(manifest: Manifest) -> Iterator[End]:
    path = _TEMPLATES.get(str(manifest.get("kind")))
    if path is None:
        return
    pod: Any = manifest
    for key in path:
        pod = pod[key]
    metadata = pod.get("metadata") or {}
    if pod["spec"].get("hostNetwork"):
        return  # it has the node's address, and policies do not hold for it
    ports = frozenset(
        Port(str(port.get("name", port["containerPort"])), int(port["containerPort"]), port.get("protocol", "TCP"))
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    )
    labels = frozenset((metadata.get("labels") or {}).items())
    namespace = manifest["metadata"].get("namespace", "default")
    yield End(_role(namespace, labels) or manifest["metadata"]["name"], namespace, labels, ports)


def _role(namespace: str, labels: frozenset[tuple[str, str]]) -> str:
    """The declared role of a pod, by its labels."""
    named = (role for role in roles.ROLES.values() if role.namespace == namespace and role.labels.items() <= labels)
    return next((role.name for role in named), "")


def _declared(role: roles.Role) -> End:
    ports = frozenset(Port(name, port.number, port.protocol) for name, port in role.ports.items())
    return End(role.name, role.namespace, frozenset(role.labels.items()), ports)


def _merged(pods: Iterable[End], policies: Iterable[Manifest]) -> Iterator[End]:
    """One end for pods that no policy tells apart: 1,500 agents are one, whatever their port's number."""
    keys = {key for policy in policies for key in _label_keys(policy["spec"])}
    groups: dict[tuple[str, str, frozenset[tuple[str, str]]], set[Port]] = {}
    for pod in pods:
        told = frozenset(pair for pair in pod.labels if pair[0] in keys)
        groups.setdefault((pod.name, pod.namespace, told), set()).update(pod.ports)
    for (name, namespace, labels), ports in groups.items():
        yield End(name, namespace, labels, frozenset(ports))


def _label_keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "matchLabels":
                yield from item
            elif key == "matchExpressions":
                yield from (expression["key"] for expression in item)
            else:
                yield from _label_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _label_keys(item)


def _selecting(end: End, policies: Iterable[Manifest], way: str) -> list[Manifest] | None:
    """The rules that hold for a pod one way; None where no policy does, and everything is allowed."""
    rules: list[Manifest] = []
    isolated = False
    for policy in policies:
        spec = policy["spec"]
        ways = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
        if (
            policy["metadata"].get("namespace", "default") == end.namespace
            and way in ways
            and _matches(spec["podSelector"], end.labels)
        ):
            isolated = True
            rules += [{**rule, "namespace": end.namespace} for rule in spec.get(way.lower()) or []]
    return rules if isolated else None


def _open(
    source: End,
    target: End,
    outgoing: list[Manifest] | None,
    incoming: list[Manifest] | None,
    pod_ranges: tuple[IPv4Network, ...],
) -> Iterator[str]:
    if source.is_pod is False and target.is_pod is False:
        return
    out = _allowed(outgoing, "to", target, target, pod_ranges)
    into = _allowed(incoming, "from", source, target, pod_ranges)
    both = out & into if out is not None and into is not None else (into if out is None else out)
    if both is None:
        yield ANY
        return
    for number, protocol in both:
        named = [port.name for port in target.ports if (port.number, port.protocol) == (number, protocol)]
        if named:
            yield from named
        elif not target.is_pod:
            yield f"{number}/{protocol}"
        # A number that no container of the pod declares: nothing is said to listen there.


def _allowed(
    rules: list[Manifest] | None, side: str, peer: End, target: End, pod_ranges: tuple[IPv4Network, ...]
) -> frozenset[tuple[int, str]] | None:
    """(number, protocol) at ``target`` that the rules allow with ``peer``; None: all."""
    if rules is None:
        return None
    found: set[tuple[int, str]] = set()
    for rule in rules:
        if rule.get(side) and not any(_meets(entry, peer, rule["namespace"], pod_ranges) for entry in rule[side]):
            continue
        if not rule.get("ports"):
            return None
        for port in rule["ports"]:
            found |= _numbers(port, target)
    return frozenset(found)


def _numbers(port: Manifest, target: End) -> set[tuple[int, str]]:
    protocol, wanted = port.get("protocol", "TCP"), port.get("port")
    here = {item for item in target.ports if item.protocol == protocol}
    if wanted is None:
        return {(item.number, protocol) for item in here}
    if isinstance(wanted, str):
        return {(item.number, protocol) for item in here if item.name == wanted}
    last = port.get("endPort", wanted)
    return {(int(wanted), protocol)} | {(item.number, protocol) for item in here if wanted <= item.number <= last}


def _meets(entry: Manifest, peer: End, namespace: str, pod_ranges: tuple[IPv4Network, ...]) -> bool:
    """Whether an entry of a rule of a policy in ``namespace`` covers the end."""
    if "ipBlock" in entry:
        block = entry["ipBlock"]
        where = peer.zone or (pod_ranges if peer.namespace else ())
        return _overlaps(block["cidr"], tuple(block.get("except", ())), where)
    if not peer.is_pod:
        return False
    space = entry.get("namespaceSelector")
    name = frozenset({("kubernetes.io/metadata.name", peer.namespace)})
    there = peer.namespace == namespace if space is None else _matches(space, name)
    return there and _matches(entry.get("podSelector") or {}, peer.labels)


@cache
def _overlaps(cidr: str, without: tuple[str, ...], where: tuple[IPv4Network, ...]) -> bool:
    network, holes = IPv4Network(cidr), [IPv4Network(text) for text in without]
    for part in where:
        if network.overlaps(part):
            inner = part if part.subnet_of(network) else network
            if not any(inner.subnet_of(hole) for hole in holes):
                return True
    return False


def _matches(selector: Manifest, labels: frozenset[tuple[str, str]]) -> bool:
    have = dict(labels)
    if any(have.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(entry, have) for entry in selector.get("matchExpressions") or ())


def _expression(entry: Manifest, have: Mapping[str, str]) -> bool:
    key, operator, values = entry["key"], entry["operator"], entry.get("values") or ()
    return bool(
        {
            "In": have.get(key) in values,
            "NotIn": have.get(key) not in values,
            "Exists": key in have,
            "DoesNotExist": key not in have,
        }[operator]
    )


def _pod_ranges(plan: Plan) -> tuple[IPv4Network, ...]:
    values = plan.values
    cloud, network = values.get("cloud"), values.get("network") or {}
    if cloud == "aws":
        return (IPv4Network(network.get("cidr", "10.0.0.0/16")),)
    if cloud in ("gcp", "azure"):
        return (IPv4Network(network.get("pods", "10.64.0.0/14")),)
    return _PRIVATE[:4]
