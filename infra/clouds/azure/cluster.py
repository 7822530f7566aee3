"""Owns the AKS cluster: control plane, nodes, who may administer it and how to reach it."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_azure_native import compute, containerservice, managedidentity, monitor

from infra import contracts
from infra.clouds.azure.group import Group
from infra.clouds.azure.keys import Keys
from infra.clouds.azure.network import Network
from infra.clouds.capacity import node_type
from infra.naming import Placement
from infra.settings import PlatformSpec

AUDIT_LOGS = ("kube-apiserver", "kube-audit-admin", "kube-controller-manager", "kube-scheduler", "guard")


@dataclass(frozen=True)
class ClusterArgs:
    """What the cluster is made of."""

    spec: PlatformSpec
    place: Placement
    group: Group
    network: Network
    keys: Keys


class Cluster(pulumi.ComponentResource):
    """AKS, Standard tier: private API server in the network, Entra identities only, overlay with Cilium, encrypted disks."""

    contract: contracts.Cluster
    issuer: Output[str]

    def __init__(self, name: str, args: ClusterArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:azure:Cluster", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-identity",
            resource_name_=f"{args.place.prefix}-cluster",
            resource_group_name=args.group.name,
            location=args.spec.region,
            tags=dict(args.place.tags),
            opts=self._child,
        )
        grants = [
            args.group.grant(
                f"{name}-network", "Network Contributor", identity.principal_id, args.network.id, self._child
            ),
            args.group.grant(
                f"{name}-key", "Key Vault Crypto User", identity.principal_id, args.keys.vault_id, self._child
            ),
            args.group.grant(
                f"{name}-vault", "Key Vault Contributor", identity.principal_id, args.keys.vault_id, self._child
            ),
        ]
        cluster = self._control_plane(identity, self._disks(), grants)
        for position, admin in enumerate(args.spec.cluster.admins):
            args.group.grant(
                f"{name}-admin-{position}",
                "Azure Kubernetes Service RBAC Cluster Admin",
                admin,
                cluster.id,
                self._child,
                kind="Group",
            )
        self._audit(cluster)
        self.issuer = cluster.oidc_issuer_profile.apply(lambda profile: (profile.issuer_url or "") if profile else "")
        endpoint = Output.concat(
            "https://",
            Output.all(cluster.private_fqdn, cluster.fqdn).apply(lambda names: names[0] or names[1] or ""),
            ":443",
        )
        self.contract = contracts.Cluster(
            name=cluster.name, endpoint=endpoint, kubeconfig=self._kubeconfig(cluster), issuer=self.issuer
        )
        self.register_outputs({"name": cluster.name, "endpoint": endpoint})

    def _disks(self) -> compute.DiskEncryptionSet:
        args = self._args
        return compute.DiskEncryptionSet(
            f"{self._name}-disks",
            disk_encryption_set_name=args.place.prefix,
            resource_group_name=args.group.name,
            location=args.spec.region,
            encryption_type="EncryptionAtRestWithCustomerKey",
            rotation_to_latest_key_version_enabled=True,
            identity=compute.EncryptionSetIdentityArgs(
                type="UserAssigned", user_assigned_identities=[args.keys.data_identity]
            ),
            active_key=compute.KeyForDiskEncryptionSetArgs(
                key_url=args.keys.ids["data"], source_vault=compute.SourceVaultArgs(id=args.keys.vault_id)
            ),
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self, depends_on=[args.keys.data_grant]),
        )

    def _control_plane(
        self,
        identity: managedidentity.UserAssignedIdentity,
        disks: compute.DiskEncryptionSet,
        grants: list[pulumi.Resource],
    ) -> containerservice.ManagedCluster:
        spec, place, args = self._args.spec, self._args.place, self._args
        private = spec.cluster.access == "private"
        return containerservice.ManagedCluster(
            f"{self._name}-aks",
            resource_name_=place.prefix,
            resource_group_name=args.group.name,
            location=spec.region,
            dns_prefix=place.prefix,
            kubernetes_version=spec.cluster.version,
            sku=containerservice.ManagedClusterSKUArgs(name="Base", tier="Standard"),
            identity=containerservice.ManagedClusterIdentityArgs(
                type="UserAssigned", user_assigned_identities=[identity.id]
            ),
            disable_local_accounts=True,
            enable_rbac=True,
            aad_profile=containerservice.ManagedClusterAADProfileArgs(
                managed=True, enable_azure_rbac=True, tenant_id=spec.tenant
            ),
            api_server_access_profile=containerservice.ManagedClusterAPIServerAccessProfileArgs(
                enable_private_cluster=private,
                enable_private_cluster_public_fqdn=False if private else None,
                private_dns_zone="system" if private else None,
                authorized_ip_ranges=None if private else list(spec.cluster.authorized_cidrs),
                enable_vnet_integration=True,
                subnet_id=args.network.control_plane,
                disable_run_command=True,
            ),
            network_profile=_network_profile(spec),
            security_profile=containerservice.ManagedClusterSecurityProfileArgs(
                azure_key_vault_kms=containerservice.AzureKeyVaultKmsArgs(
                    enabled=True,
                    key_id=args.keys.ids["cluster"],
                    key_vault_network_access="Private",
                    key_vault_resource_id=args.keys.vault_id,
                ),
                workload_identity=containerservice.ManagedClusterSecurityProfileWorkloadIdentityArgs(enabled=True),
                image_cleaner=containerservice.ManagedClusterSecurityProfileImageCleanerArgs(
                    enabled=True, interval_hours=168
                ),
            ),
            oidc_issuer_profile=containerservice.ManagedClusterOIDCIssuerProfileArgs(enabled=True),
            disk_encryption_set_id=disks.id,
            agent_pool_profiles=[_system_pool(spec, args.network.nodes, place)],
            # Beyond the system pool nodes come and go by what pods ask for.
            node_provisioning_profile=containerservice.ManagedClusterNodeProvisioningProfileArgs(mode="Auto"),
            auto_upgrade_profile=containerservice.ManagedClusterAutoUpgradeProfileArgs(
                upgrade_channel="patch", node_os_upgrade_channel="NodeImage"
            ),
            tags=dict(place.tags),
            opts=ResourceOptions(
                parent=self, protect=place.protect, depends_on=grants, ignore_changes=["agentPoolProfiles[0].count"]
            ),
        )

    def _audit(self, cluster: containerservice.ManagedCluster) -> None:
        monitor.DiagnosticSetting(
            f"{self._name}-audit",
            name="audit",
            resource_uri=cluster.id,
            workspace_id=self._args.group.workspace,
            logs=[monitor.DiagnosticsLogSettingsArgs(category=category, enabled=True) for category in AUDIT_LOGS],
            opts=self._child,
        )

    def _kubeconfig(self, cluster: containerservice.ManagedCluster) -> Output[str]:
        """The user's kubeconfig with kubelogin as its exec section: it names the CA, which no output of the cluster does."""
        found = containerservice.list_managed_cluster_user_credentials_output(
            resource_group_name=self._args.group.name,
            resource_name=cluster.name,
            format="exec",
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        return Output.secret(found.kubeconfigs.apply(_first_config))


def _first_config(configs: Any) -> str:
    return b64decode(configs[0].value).decode() if configs else ""


def _network_profile(spec: PlatformSpec) -> containerservice.ContainerServiceNetworkProfileArgs:
    services = spec.network.services
    # The tenth address of the services' range, by convention the cluster's DNS.
    dns = services.rpartition("/")[0].rpartition(".")[0] + ".10"
    return containerservice.ContainerServiceNetworkProfileArgs(
        network_plugin="azure",
        network_plugin_mode="overlay",
        network_dataplane="cilium",
        network_policy="cilium",
        pod_cidr=spec.network.pods,
        service_cidr=services,
        dns_service_ip=dns,
        outbound_type="userAssignedNATGateway",
        load_balancer_sku="standard",
    )


def _system_pool(
    spec: PlatformSpec, subnet: Output[str], place: Placement
) -> containerservice.ManagedClusterAgentPoolProfileArgs:
    fewest = 3 if spec.environment == "prod" else 2
    return containerservice.ManagedClusterAgentPoolProfileArgs(
        name="system",
        mode="System",
        type="VirtualMachineScaleSets",
        vm_size=node_type(spec).name,
        os_type="Linux",
        os_sku="AzureLinux3",
        os_disk_size_gb=128,
        count=fewest,
        # Node provisioning replaces the pool autoscaler and refuses to run beside it.
        enable_auto_scaling=False,
        availability_zones=list(spec.zones),
        vnet_subnet_id=subnet,
        max_pods=110,
        enable_encryption_at_host=True,
        security_profile=containerservice.AgentPoolSecurityProfileArgs(enable_secure_boot=True, enable_vtpm=True),
        upgrade_settings=containerservice.AgentPoolUpgradeSettingsArgs(max_surge="33%"),
        tags=dict(place.tags),
    )
