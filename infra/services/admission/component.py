"""Owns the Admission component: registers the admission rules, before anything they speak of."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from infra import kubernetes
from infra.services.admission import rules
from infra.settings import PlatformSpec


@dataclass(frozen=True)
class AdmissionArgs:
    """What the rules follow from."""

    spec: PlatformSpec


class Admission(pulumi.ComponentResource):
    """ValidatingAdmissionPolicies and their bindings."""

    def __init__(self, name: str, args: AdmissionArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:services:Admission", name, {}, opts)
        made: dict[str, pulumi.Resource] = {}
        for manifest in rules.manifests(args.spec):
            what = manifest["metadata"]["name"].removeprefix("ai-agents-")
            binding = manifest["kind"].endswith("Binding")
            # A binding without its policy is refused nothing, and a policy without its binding refuses nothing.
            after = [made[manifest["spec"]["policyName"]]] if binding else []
            made[manifest["metadata"]["name"]] = kubernetes.apply(
                manifest,
                name=f"{name}-{what}{'-binding' if binding else ''}",
                opts=ResourceOptions(parent=self, depends_on=after),
            )
        self.register_outputs({})
