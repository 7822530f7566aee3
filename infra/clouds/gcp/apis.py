"""Owns the project's enabled APIs and the services' own identities, which need the encryption keys."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from infra.settings import PlatformSpec

APIS = (
    "binaryauthorization", "certificatemanager", "cloudkms", "compute", "container", "dns", "gkebackup", "iam", "memorystore",
    "networkconnectivity", "secretmanager", "servicenetworking", "sqladmin", "storage",
)  # fmt: skip
AGENTS = ("container", "sqladmin", "memorystore", "gkebackup", "secretmanager")
"""Services whose identity can be asked for; compute's and storage's follow from the project's number."""


@dataclass(frozen=True)
class ApisArgs:
    """Which project."""

    spec: PlatformSpec


class Apis(pulumi.ComponentResource):
    """Enabled APIs; ``members`` are the services' identities as IAM members."""

    members: dict[str, Output[str]]

    def __init__(self, name: str, args: ApisArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Apis", name, {}, opts)
        enabled = {
            api: gcp.projects.Service(
                f"{name}-{api}",
                project=args.spec.account,
                service=f"{api}.googleapis.com",
                # Others in the project may use it too.
                disable_on_destroy=False,
                opts=ResourceOptions(parent=self),
            )
            for api in APIS
        }
        identities = {
            agent: gcp.projects.ServiceIdentity(
                f"{name}-{agent}-identity",
                project=args.spec.account,
                service=f"{agent}.googleapis.com",
                opts=ResourceOptions(parent=self, depends_on=[enabled[agent]]),
            )
            for agent in AGENTS
        }
        self.members = {
            agent: Output.concat("serviceAccount:", identity.email) for agent, identity in identities.items()
        }
        number = identities["container"].email.apply(_project_number)
        for service, domain in (("compute", "compute-system"), ("storage", "gs-project-accounts")):
            self.members[service] = Output.concat(
                "serviceAccount:service-", number, f"@{domain}.iam.gserviceaccount.com"
            )
        self.register_outputs({})


def _project_number(email: str) -> str:
    """The number in ``service-<number>@…``."""
    return email.partition("@")[0].removeprefix("service-")
