"""Small Pulumi programs that the recorder's tests run in its subprocess."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import CustomResource, Output, ResourceOptions


class Box(pulumi.ComponentResource):
    """A component with one output."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:workloads:Box", name, {}, opts)
        self.register_outputs({"size": 3})


def everything() -> None:
    """One of everything a request can say."""
    from pulumi_random import RandomPassword

    config = pulumi.Config("ai-agents-platform")
    provider = pulumi.ProviderResource("kubernetes", "cluster", {"kubeconfig": "x"})
    password = RandomPassword("password", length=20)
    box = Box("box", ResourceOptions(provider=provider))
    first = CustomResource(
        "kubernetes:core/v1:Secret",
        "first",
        {"stringData": {"password": password.result}, "plain": [1, 2.5, True, "text"]},
        ResourceOptions(parent=box, protect=True),
    )
    CustomResource(
        "kubernetes:core/v1:ConfigMap",
        "second",
        {"data": {"id": first.id, "secret": config.get_secret("token"), "length": password.length}},
        ResourceOptions(
            parent=box,
            depends_on=[first],
            aliases=[pulumi.Alias(name="former")],
            ignore_changes=["data"],
            retain_on_delete=True,
            delete_before_replace=True,
            custom_timeouts=pulumi.CustomTimeouts(create="5m"),
        ),
    )
    pulumi.export("layers", ["fleet"])
    pulumi.export("password", password.result)


def twice() -> None:
    """The same name twice."""
    CustomResource("kubernetes:core/v1:ConfigMap", "same", {})
    CustomResource("kubernetes:core/v1:ConfigMap", "same", {})


def reads() -> None:
    """Takes a value of another stack."""
    other = pulumi.StackReference("organization/ai-agents-platform/elsewhere")
    CustomResource("kubernetes:core/v1:ConfigMap", "reader", {"data": other.require_output("answer")})


def invokes() -> None:
    """Asks a provider for something, which no offline plan can answer."""
    pulumi.runtime.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", {})


def fails() -> None:
    """A mistake of the program."""
    raise KeyError("missing")


def leaks() -> None:
    """A secret of the configuration that loses its mark on the way."""
    text = pulumi.Config("ai-agents-platform").require("token")
    CustomResource("kubernetes:core/v1:ConfigMap", "leak", {"data": {"token": f"token={text}"}})


def prints() -> None:
    """Prints, which must not end up in the plan."""
    print("hello from the program")
    CustomResource("kubernetes:core/v1:ConfigMap", "printed", {})


def previous() -> None:
    """Says what the stack exported before."""
    answer: Any = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": "x"}).value
    CustomResource("kubernetes:core/v1:ConfigMap", "had", {"data": Output.from_input(answer)})
