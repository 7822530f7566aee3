"""Owns what a plan costs a month: cloud resources, the fleet's compute pooled and dedicated, and the model.

Method, stated with every number: list prices of ``infra/prices``; compute is the requests of the workloads at
their fewest replicas, packed by totals onto one node type of which ``CPU_USABLE`` of the CPU and
``MEMORY_USABLE`` of the memory are for pods, at most ``PODS`` a node; model cost is genai-prices with the
assumed tokens below. What has no price is listed, never counted as zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from infra.plan import agents
from infra.plan.plan import Plan, Resource, dig
from infra.plan.prices import HOURS, Node, Price, Table, table

CPU_USABLE, MEMORY_USABLE, PODS = 0.94, 0.90, 110
"""Shares of a node that pods get after kubelet, system and node agents (EKS, GKE and AKS reserve 1 to 6% of the
CPU and 5 to 11% of the memory of nodes of 8 vCPU and more), and Kubernetes' default limit of pods."""

TASK_TOKENS, ANSWER_TOKENS = 400, 1_000
"""Assumed tokens of a caller's task with its context, and of an answer."""
CHARACTERS_PER_TOKEN = 4
"""English text, Anthropic's rule of thumb."""
DAYS = 30.4


@dataclass(frozen=True)
class Line:
    """Resources of one kind that cost something."""

    kind: str
    count: int
    monthly: float
    note: str = ""


@dataclass(frozen=True)
class Compute:
    """Nodes that hold the fleet one way."""

    isolation: str
    pods: int
    cpu: float
    """vCPUs requested."""
    memory: float
    """GiB requested."""
    nodes: int
    node: str
    monthly: float


@dataclass(frozen=True)
class Model:
    """What the agents' model calls cost."""

    model: str
    per_execution: Mapping[str, float]
    """Agent id → US dollars."""
    monthly: float | None
    """US dollars for fleet.requestsPerDay executions a day; None where it is not set."""
    requests_per_day: int
    unknown: tuple[str, ...] = ()
    """Models without a price."""

    @property
    def average(self) -> float:
        """US dollars of an execution, averaged over the agents."""
        return sum(self.per_execution.values()) / len(self.per_execution) if self.per_execution else 0.0


@dataclass(frozen=True)
class Costs:
    """A plan's costs, US dollars a month."""

    lines: tuple[Line, ...]
    compute: tuple[Compute, ...]
    """Pooled and dedicated, whichever the stack uses."""
    isolation: str
    compute_extra: float
    """The fleet's compute beyond nodes that are priced as resources of this stack."""
    by_use: Mapping[str, int] = field(default_factory=dict)
    not_priced: Mapping[str, int] = field(default_factory=dict)
    model: Model | None = None
    as_of: str = ""
    region: str = ""
    sources: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def resources(self) -> float:
        """The stack's own resources."""
        return sum(line.monthly for line in self.lines)

    @property
    def total(self) -> float:
        """Resources and the fleet's compute as the stack runs it; the model is apart."""
        return self.resources + self.compute_extra

    def as_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "monthly": round(self.total, 2),
            "resources": [
                {"kind": line.kind, "count": line.count, "monthly": round(line.monthly, 2), "note": line.note}
                for line in self.lines
            ],
            "compute": {
                item.isolation: {
                    "pods": item.pods,
                    "cpu": item.cpu,
                    "memory_gib": item.memory,
                    "nodes": item.nodes,
                    "node": item.node,
                    "monthly": round(item.monthly, 2),
                }
                for item in self.compute
            },
            "isolation": self.isolation,
            "by_use": dict(self.by_use),
            "not_priced": dict(self.not_priced),
            "model": None
            if self.model is None
            else {
                "model": self.model.model,
                "average_per_execution": round(self.model.average, 6),
                "monthly": None if self.model.monthly is None else round(self.model.monthly, 2),
                "requests_per_day": self.model.requests_per_day,
                "assumed_tokens": {"task": TASK_TOKENS, "answer": ANSWER_TOKENS},
            },
            "as_of": self.as_of,
            "region": self.region,
            "sources": list(self.sources),
            "remarks": list(self.remarks),
        }


def costs(plan: Plan) -> Costs:
    """What ``plan`` costs a month."""
    cloud, region = str(plan.values.get("cloud", "")), str(plan.values.get("region", ""))
    prices = table(cloud, region)
    documents = agents.documents(plan)
    isolation = str((plan.values.get("fleet") or {}).get("isolation", "pooled"))
    model = model_cost(plan, documents) if documents else None
    if prices is None:
        counted = Counter(item.label for item in plan.managed if not item.is_object)
        return Costs(
            (),
            (),
            isolation,
            0.0,
            not_priced=counted,
            model=model,
            remarks=("a cluster you have has no list price: only the model is priced",),
        )
    lines, by_use, unknown, nodes = _resources(plan, prices)
    remarks = [] if prices.exact else [f"{region} has no prices of its own here: priced as {prices.region_class}"]
    compute: tuple[Compute, ...] = ()
    extra = 0.0
    if documents:
        node = _node(plan, prices)
        compute = tuple(_packed(name, _demand(plan, documents, name), node) for name in ("pooled", "dedicated"))
        used = next(item for item in compute if item.isolation == isolation)
        extra = max(0, used.nodes - nodes) * node.hour * HOURS
        remarks.append(
            f"compute: requests at fewest replicas on {node.name} ({node.cpu} vCPU, {node.memory} GiB; {CPU_USABLE:.0%} of the CPU and {MEMORY_USABLE:.0%} of the memory for pods)"
        )
    return Costs(
        lines,
        compute,
        isolation,
        extra,
        by_use,
        unknown,
        model,
        prices.as_of,
        region,
        tuple(prices.sources),
        tuple(remarks),
    )


def _resources(plan: Plan, prices: Table) -> tuple[tuple[Line, ...], Counter[str], Counter[str], int]:
    grouped: dict[str, list[Price]] = {}
    by_use: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    nodes = 0
    for item in plan.managed:
        if item.package in ("random", "tls") or (item.is_object and item.kind != "PersistentVolumeClaim"):
            continue
        price = _claim(item, prices) if item.package == "kubernetes" else prices.price(item)
        if price.verdict == "priced":
            grouped.setdefault(item.label, []).append(price)
            nodes += price.nodes
        elif price.verdict == "by use":
            by_use[item.label] += 1
        elif price.verdict == "not priced":
            unknown[item.label] += 1
    lines = [
        Line(kind, len(found), sum(price.monthly for price in found), found[0].note) for kind, found in grouped.items()
    ]
    return tuple(sorted(lines, key=lambda line: -line.monthly)), by_use, unknown, nodes


def _claim(item: Resource, prices: Table) -> Price:
    """A volume claim, or a Helm release by the volumes its values ask for; its pods are the nodes' business."""
    if item.is_release:
        size = sum(_volumes(item.get("values") or {}))
        return Price("priced", size * prices.volume, f"{size:,} GiB of volumes") if size else Price("free")
    size = _gib(item.get("spec.resources.requests.storage"))
    return Price("priced", size * prices.volume) if size else Price("not priced")


def _volumes(values: Any, replicas: int = 1) -> Iterable[int]:
    """GiB of every volume in a chart's values, times the replicas stated next to or above it."""
    if not isinstance(values, Mapping):
        return
    for key in ("replicas", "replicaCount"):
        if isinstance(values.get(key), int):
            replicas = max(replicas, values[key])
    high = dig(values, "ha.replicas")
    if isinstance(high, int):
        replicas = max(replicas, high)
    for key, value in values.items():
        if key in ("size", "storage") and isinstance(value, str):
            yield _gib(value) * replicas
        elif key not in ("limits", "resources"):
            yield from _volumes(value, replicas)
        elif key == "resources" and isinstance(value, Mapping):
            yield _gib(dig(value, "requests.storage")) * replicas


def _gib(quantity: Any) -> int:
    if not isinstance(quantity, str):
        return 0
    for unit, factor in (("Gi", 1), ("Ti", 1024)):
        number = quantity.removesuffix(unit)
        if number != quantity and number.isdigit():
            return int(number) * factor
    return 0


def _node(plan: Plan, prices: Table) -> Node:
    for item in plan.managed:
        for path in ("instanceTypes.0", "nodeConfig.machineType", "agentPoolProfiles.0.vmSize"):
            node = prices.node(str(item.get(path)))
            if node is not None:
                return node
    return prices.fleet_node(str(plan.values.get("environment", "prod")))


@dataclass(frozen=True)
class _Demand:
    pods: int
    cpu: float
    memory: float


def _demand(plan: Plan, documents: Mapping[str, Mapping[str, Any]], isolation: str) -> _Demand:
    """What the fleet's processes request, all agents in their pools or each alone."""
    from catalog.values import Resources, Scaling, cpu_millis, memory_mib

    pods, cpu, memory = 0, 0, 0
    pooled: set[str] = set()
    for document in documents.values():
        if isolation == "pooled" and document.get("isolation") != "dedicated":
            pooled.add(str(document["pool"]))
            continue
        scaling, needs = Scaling(**document.get("scaling", {})), Resources(**document.get("resources", {}))
        pods += scaling.min_replicas
        cpu += scaling.min_replicas * cpu_millis(needs.cpu_request)
        memory += scaling.min_replicas * memory_mib(needs.memory_request)
    for name in sorted(pooled):
        pool = _pool(plan, name)
        pods += pool.scaling.min_replicas
        cpu += pool.scaling.min_replicas * cpu_millis(pool.resources.cpu_request)
        memory += pool.scaling.min_replicas * memory_mib(pool.resources.memory_request)
    return _Demand(pods, cpu / 1000, memory / 1024)


def _pool(plan: Plan, name: str) -> Any:
    import yaml_rs

    from catalog.registry import POOL_FILE, POOLS_FOLDER
    from catalog.schema import PoolSpec

    data: Any = yaml_rs.loads((POOLS_FOLDER / name / POOL_FILE).read_text("utf-8"))
    return PoolSpec.model_validate({"name": name, **data})


def _packed(isolation: str, demand: _Demand, node: Node) -> Compute:
    nodes = max(
        ceil(demand.cpu / (node.cpu * CPU_USABLE)),
        ceil(demand.memory / (node.memory * MEMORY_USABLE)),
        ceil(demand.pods / PODS),
    )
    return Compute(
        isolation, demand.pods, demand.cpu, round(demand.memory, 2), nodes, node.name, nodes * node.hour * HOURS
    )


def model_cost(plan: Plan, documents: Mapping[str, Mapping[str, Any]]) -> Model:
    """Model cost by agent: its instructions and request as input, plus the assumed task and answer."""
    from catalog.models import DEFAULT_MODEL

    fleet = plan.values.get("fleet") or {}
    default = str(fleet.get("model") or DEFAULT_MODEL)
    per_day = int(fleet.get("requestsPerDay") or 0)
    rates: dict[str, tuple[float, float] | None] = {}
    found: dict[str, float] = {}
    for agent, document in documents.items():
        name = str((document.get("model") or {}).get("model") or default)
        if name not in rates:
            rates[name] = _rates(name)
        rate = rates[name]
        if rate is not None:
            prompt = document["prompt"]
            text = len(prompt["instructions"]) + len(prompt["request"]) + sum(map(len, prompt["answer"]))
            found[agent] = rate[0] * (text / CHARACTERS_PER_TOKEN + TASK_TOKENS) + rate[1] * ANSWER_TOKENS
    unknown = tuple(sorted(name for name, rate in rates.items() if rate is None))
    average = sum(found.values()) / len(found) if found else 0.0
    return Model(default, found, average * per_day * DAYS if per_day and found else None, per_day, unknown)


def _rates(model: str) -> tuple[float, float] | None:
    """US dollars of an input and of an output token."""
    # Imported here: the price table is 5 MiB and only priced stacks need it.
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(input_tokens=1_000, output_tokens=1_000), model, provider_id="anthropic")
    except LookupError:
        return None
    return float(price.input_price) / 1_000, float(price.output_price) / 1_000
