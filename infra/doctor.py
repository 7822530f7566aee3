"""Owns what must be there before `pulumi up`: tools, sign-ins, the right account, quotas, a reachable cluster.

Every check is a function of the stack's settings and a ``run`` that executes a command, so that the tests give
it executables of their own. A finding says what is wrong and what to do about it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from infra import rules
from infra.clouds import capacity
from infra.settings import PlatformSpec

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command; its exit code and its output (standard error where it failed)."""

COMMAND_SECONDS = 20
CLOUD_TOOLS = {
    "aws": ("aws",),
    "gcp": ("gcloud", "gke-gcloud-auth-plugin"),
    "azure": ("az", "kubelogin"),
    "existing": ("kubectl",),
}
"""What signs in to the cloud and what a kubeconfig's exec section calls."""
_INSTALL = {
    "pulumi": "https://www.pulumi.com/docs/install/",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "gke-gcloud-auth-plugin": "gcloud components install gke-gcloud-auth-plugin",
    "az": "https://learn.microsoft.com/cli/azure/install-azure-cli",
    "kubelogin": "https://azure.github.io/kubelogin/install.html",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    verdict: Literal["ok", "warning", "problem"]
    message: str
    remedy: str = ""


def execute(command: Sequence[str]) -> tuple[int, str]:
    """Run a command of the machine, bounded in time. 127 where there is no such executable."""
    if shutil.which(command[0]) is None:
        return 127, ""
    try:
        finished = subprocess.run(list(command), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {COMMAND_SECONDS} seconds"
    return finished.returncode, (finished.stdout if finished.returncode == 0 else finished.stderr).strip()


def examine(spec: PlatformSpec, run: Run = execute) -> list[Finding]:
    """Everything that stands between the stack and its first `up`, in the order it would be met."""
    return [*_examples(spec), *_engine(run), *_cloud(spec, run), *_quotas(spec, run), *_reach(spec, run)]


def _examples(spec: PlatformSpec) -> Iterator[Finding]:
    for key, message in rules.deployable(spec):
        yield Finding(key, "problem", message, f"pulumi config set --path {key} …")


def _tool(name: str, arguments: Sequence[str], run: Run) -> tuple[Finding | None, str]:
    code, output = run([name, *arguments])
    if code == 127:
        return Finding(name, "problem", "is not on PATH", f"install it: {_INSTALL.get(name, name)}"), ""
    if code != 0:
        return Finding(name, "problem", _first_line(output), f"run: {name} {' '.join(arguments)}"), ""
    return None, output


def _engine(run: Run) -> Iterator[Finding]:
    missing, version = _tool("pulumi", ["version"], run)
    if missing:
        yield missing
        return
    yield Finding("pulumi", "ok", f"version {version}")
    code, output = run(["pulumi", "whoami", "--verbose"])
    if code != 0:
        yield Finding(
            "pulumi login",
            "problem",
            "no backend to keep state in",
            "pulumi login, or pulumi login s3://…, gs://…, azblob://…",
        )
        return
    yield Finding("pulumi login", "ok", _first_line(output))


def _cloud(spec: PlatformSpec, run: Run) -> Iterator[Finding]:
    for tool in CLOUD_TOOLS[spec.cloud]:
        missing, _ = _tool(tool, ["version", "--client"] if tool == "kubectl" else ["--version"], run)
        if missing:
            yield missing
    identity = {"aws": _aws_account, "gcp": _gcp_project, "azure": _azure_subscription}.get(spec.cloud)
    if identity is None:
        return
    code, found = identity(run)
    if code == 127:
        return  # Said above.
    remedy = {
        "aws": "aws sso login, or set AWS_PROFILE",
        "gcp": "gcloud auth application-default login",
        "azure": "az login",
    }[spec.cloud]
    if code != 0:
        yield Finding("identity", "problem", f"not signed in to {spec.cloud}: {_first_line(found)}", remedy)
    elif found != spec.account:
        yield Finding(
            "identity",
            "problem",
            f"signed in to {found}, but the stack says account: {spec.account}",
            f"{remedy}, or set account",
        )
    else:
        yield Finding("identity", "ok", f"signed in to {found}")


def _aws_account(run: Run) -> tuple[int, str]:
    return run(["aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text"])


def _gcp_project(run: Run) -> tuple[int, str]:
    return run(["gcloud", "config", "get-value", "project"])


def _azure_subscription(run: Run) -> tuple[int, str]:
    return run(["az", "account", "show", "--query", "id", "--output", "tsv"])


def _quotas(spec: PlatformSpec, run: Run) -> Iterator[Finding]:
    """Whether the vCPUs autoscaling may reach fit the account's quota."""
    if spec.cloud == "existing" or not spec.builds("foundation"):
        return
    need = most_vcpus(spec)
    code, found = {"aws": _aws_quota, "gcp": _gcp_quota, "azure": _azure_quota}[spec.cloud](spec, run)
    if code == 127:
        return
    allowed = _number(found)
    if code != 0 or allowed is None:
        yield Finding(
            "quota",
            "warning",
            "the vCPU quota could not be read",
            f"see that {need} vCPUs are allowed in {spec.region}",
        )
    elif allowed < need:
        yield Finding(
            "quota",
            "problem",
            f"{allowed:.0f} vCPUs are allowed in {spec.region}, the cluster may grow to {need}",
            "ask for more, or set cluster.nodes",
        )
    else:
        yield Finding("quota", "ok", f"{allowed:.0f} vCPUs are allowed, the cluster may grow to {need}")


def most_vcpus(spec: PlatformSpec) -> int:
    """vCPUs of all nodes autoscaling may reach.

    On Azure node provisioning has no ceiling and chooses sizes by itself: there it is what the fleet asks for at its
    largest, on nodes of the system pool's size.
    """
    return capacity.nodes_at_most(spec) * capacity.node_type(spec).cpu


def _aws_quota(spec: PlatformSpec, run: Run) -> tuple[int, str]:
    # L-1216C47A: running on-demand standard instances, in vCPUs (Service Quotas, EC2).
    query = ["--service-code", "ec2", "--quota-code", "L-1216C47A", "--query", "Quota.Value", "--output", "text"]
    return run(["aws", "service-quotas", "get-service-quota", "--region", spec.region, *query])


def _gcp_quota(spec: PlatformSpec, run: Run) -> tuple[int, str]:
    code, text = run(["gcloud", "compute", "regions", "describe", spec.region, "--format", "json(quotas)"])
    if code != 0:
        return code, text
    limits = {entry.get("metric"): str(entry.get("limit")) for entry in json.loads(text).get("quotas", [])}
    # Families after the first generation have a quota of their own, N2_CPUS for n2-standard-8; the others share CPUS.
    family = capacity.node_type(spec).name.partition("-")[0].upper()
    return 0, limits.get(f"{family}_CPUS", limits.get("CPUS", ""))


def _azure_quota(spec: PlatformSpec, run: Run) -> tuple[int, str]:
    return run(
        [
            "az",
            "vm",
            "list-usage",
            "--location",
            spec.region,
            "--query",
            "[?name.value=='cores'].limit | [0]",
            "--output",
            "tsv",
        ]
    )


def _reach(spec: PlatformSpec, run: Run) -> Iterator[Finding]:
    if spec.cloud == "existing":
        context = ["--context", spec.cluster.context] if spec.cluster.context else []
        code, output = run(["kubectl", *context, "get", "--raw", "/readyz", "--request-timeout", "10s"])
        if code == 127:
            return
        if code == 0:
            yield Finding("cluster", "ok", "the API server answers")
        else:
            yield Finding(
                "cluster",
                "problem",
                f"the API server does not answer: {_first_line(output)}",
                "check KUBECONFIG and cluster.context",
            )
        return
    if spec.cluster.access == "private" and (spec.builds("services") or spec.builds("fleet")):
        yield Finding(
            "cluster",
            "warning",
            "cluster.access: private can be reached from its network only: `up` of services and fleet must run there",
            "run it from a host or runner in the network (hosted CI runners are outside), or say cluster.access: authorized",
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no answer"
