"""Owns the GKE cluster: control plane, nodes, who nodes are, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.capacity import NODES, node_type, nodes_at_most
from infra.clouds.gcp.keys import Keys
from infra.clouds.gcp.network import PODS, SERVICES, Network
from infra.naming import Placement
from infra.settings import PlatformSpec

NODE_ROLES = ("roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader")


@dataclass(frozen=True)
class ClusterArgs:
    """What the cluster is made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys


class Cluster(pulumi.ComponentResource):
    """A regional private GKE cluster: Dataplane V2, Workload Identity, shielded nodes, Binary Authorization."""

    contract: contracts.Cluster
    id: Output[str]

    def __init__(self, name: str, args: ClusterArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:gcp:Cluster", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        account = self._node_account()
        gcp.binaryauthorization.Policy(
            f"{name}-binary-authorization",
            project=args.spec.account,
            global_policy_evaluation_mode="ENABLE",
            # Dry run outside production: it says what it would refuse before it does.
            default_admission_rule=gcp.binaryauthorization.PolicyDefaultAdmissionRuleArgs(
                evaluation_mode="ALWAYS_DENY",
                enforcement_mode="ENFORCED_BLOCK_AND_AUDIT_LOG"
                if args.spec.environment == "prod"
                else "DRYRUN_AUDIT_LOG_ONLY",
            ),
            admission_whitelist_patterns=[
                gcp.binaryauthorization.PolicyAdmissionWhitelistPatternArgs(name_pattern=p)
                for p in registries(args.spec)
            ],
            opts=self._child,
        )
        cluster = self._control_plane(account)
        self.id = cluster.id
        self._nodes(cluster, account)
        endpoint = Output.concat("https://", cluster.endpoint)
        kubeconfig = Output.json_dumps(_kubeconfig(endpoint, cluster.master_auth.cluster_ca_certificate))
        issuer = Output.concat("https://container.googleapis.com/v1/", cluster.id)
        self.contract = contracts.Cluster(name=cluster.name, endpoint=endpoint, kubeconfig=kubeconfig, issuer=issuer)
        self.register_outputs({"name": cluster.name, "endpoint": endpoint})

    def _node_account(self) -> Output[str]:
        project = self._args.spec.account
        account = gcp.serviceaccount.Account(
            f"{self._name}-nodes-account",
            account_id=f"{self._args.place.prefix}-nodes",
            display_name="Nodes of the agents' cluster",
            opts=self._child,
        )
        member = Output.concat("serviceAccount:", account.email)
        for role in NODE_ROLES:
            gcp.projects.IAMMember(
                f"{self._name}-nodes-{role.rsplit('.', 1)[-1].lower()}",
                project=project,
                role=role,
                member=member,
                opts=self._child,
            )
        return account.email

    def _control_plane(self, account: Output[str]) -> gcp.container.Cluster:
        spec, place = self._args.spec, self._args.place
        private = spec.cluster.access == "private"
        ranges = [spec.network.cidr] if private else list(spec.cluster.authorized_cidrs)
        groups = [admin for admin in spec.cluster.admins if admin.startswith("gke-security-groups@")]
        return gcp.container.Cluster(
            f"{self._name}-gke",
            name=place.prefix,
            location=spec.region,
            node_locations=list(spec.zones),
            min_master_version=spec.cluster.version,
            release_channel=gcp.container.ClusterReleaseChannelArgs(channel="REGULAR"),
            network=self._args.network.id,
            subnetwork=self._args.network.subnet,
            ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name=PODS, services_secondary_range_name=SERVICES
            ),
            datapath_provider="ADVANCED_DATAPATH",
            private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=True, enable_private_endpoint=private
            ),
            master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
                cidr_blocks=[
                    gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block=text) for text in ranges
                ],
                gcp_public_cidrs_access_enabled=False,
            ),
            workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(
                workload_pool=f"{spec.account}.svc.id.goog"
            ),
            database_encryption=gcp.container.ClusterDatabaseEncryptionArgs(
                state="ENCRYPTED", key_name=self._args.keys.cluster
            ),
            binary_authorization=gcp.container.ClusterBinaryAuthorizationArgs(
                evaluation_mode="PROJECT_SINGLETON_POLICY_ENFORCE"
            ),
            authenticator_groups_config=gcp.container.ClusterAuthenticatorGroupsConfigArgs(security_group=groups[0])
            if groups
            else None,
            enable_shielded_nodes=True,
            enable_legacy_abac=False,
            deletion_protection=place.protect,
            logging_config=gcp.container.ClusterLoggingConfigArgs(
                enable_components=["SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER", "WORKLOADS"]
            ),
            addons_config=gcp.container.ClusterAddonsConfigArgs(
                gke_backup_agent_config=gcp.container.ClusterAddonsConfigGkeBackupAgentConfigArgs(
                    enabled=spec.components.backup
                ),
                horizontal_pod_autoscaling=gcp.container.ClusterAddonsConfigHorizontalPodAutoscalingArgs(
                    disabled=False
                ),
                http_load_balancing=gcp.container.ClusterAddonsConfigHttpLoadBalancingArgs(disabled=False),
            ),
            security_posture_config=gcp.container.ClusterSecurityPostureConfigArgs(
                mode="BASIC", vulnerability_mode="VULNERABILITY_BASIC"
            ),
            maintenance_policy=gcp.container.ClusterMaintenancePolicyArgs(
                recurring_window=gcp.container.ClusterMaintenancePolicyRecurringWindowArgs(
                    start_time="2026-01-03T02:00:00Z",
                    end_time="2026-01-03T08:00:00Z",
                    recurrence="FREQ=WEEKLY;BYDAY=SA,SU",
                )
            ),
            # The pool GKE insists on making is taken away again; ours follows.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=_node_config(NODES["gcp"]["dev"].name, account, self._args.keys.data, place),
            resource_labels=dict(place.tags),
            # GKE writes the removed pool's settings back; and the keys' grants come first.
            opts=ResourceOptions(
                parent=self, protect=place.protect, ignore_changes=["nodeConfig"], depends_on=self._args.keys.grants
            ),
        )

    def _nodes(self, cluster: gcp.container.Cluster, account: Output[str]) -> None:
        spec = self._args.spec
        fewest = 3 if spec.environment == "prod" else 2
        gcp.container.NodePool(
            f"{self._name}-nodes",
            name="agents",
            cluster=cluster.id,
            location=spec.region,
            node_locations=list(spec.zones),
            initial_node_count=1,
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=fewest,
                total_max_node_count=nodes_at_most(spec),
                location_policy="BALANCED",
            ),
            management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
            upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_surge=1, max_unavailable=0),
            node_config=_node_config(node_type(spec).name, account, self._args.keys.data, self._args.place),
            opts=ResourceOptions(parent=self, ignore_changes=["initialNodeCount", "nodeCount"]),
        )


def registries(spec: PlatformSpec) -> list[str]:
    """Image name patterns that may run: ours by its repository, and those the platform's charts use."""
    own = spec.images.runtime.partition("@")[0].rpartition("/")[0]
    charts = (
        "docker.io/hashicorp/*",
        "docker.io/grafana/*",
        "docker.io/nginxinc/*",
        "quay.io/jetstack/*",
        "quay.io/prometheus/*",
        "registry.k8s.io/**",
        "gke.gcr.io/**",
    )
    return [f"{own}/*", *charts]


def _node_config(
    machine: str, account: Input[str], key: Input[str], place: Placement
) -> gcp.container.NodePoolNodeConfigArgs:
    return gcp.container.NodePoolNodeConfigArgs(
        machine_type=machine,
        image_type="COS_CONTAINERD",
        disk_type="pd-balanced",
        disk_size_gb=100,
        boot_disk_kms_key=key,
        service_account=account,
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_integrity_monitoring=True
        ),
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        metadata={"disable-legacy-endpoints": "true"},
        resource_labels=dict(place.tags),
    )


def _kubeconfig(endpoint: Input[str], ca: Input[str]) -> dict[str, object]:
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "gke-gcloud-auth-plugin",
        "provideClusterInfo": True,
        "interactiveMode": "Never",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gke", "cluster": {"server": endpoint, "certificate-authority-data": ca}}],
        "users": [{"name": "gke", "user": {"exec": command}}],
        "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
        "current-context": "gke",
    }
