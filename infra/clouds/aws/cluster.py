"""Owns the EKS cluster: control plane, who may administer it, nodes, add-ons and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.keys import Keys
from infra.clouds.aws.network import Network
from infra.clouds.aws.policies import trust
from infra.clouds.capacity import node_type, nodes_at_most
from infra.naming import Placement
from infra.settings import PlatformSpec

ADD_ONS = ("vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "metrics-server")
"""What every cluster needs; metrics-server feeds the agents' autoscalers. The disk driver has an identity of its own."""
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")


@dataclass(frozen=True)
class ClusterArgs:
    """What the cluster is made of."""

    spec: PlatformSpec
    place: Placement
    network: Network
    keys: Keys


class Cluster(pulumi.ComponentResource):
    """EKS with private endpoint, access entries, audit logs, encrypted secrets and managed Bottlerocket nodes."""

    contract: contracts.Cluster
    name: Output[str]
    node_security_group: Output[str]
    """The group EKS gives control plane and nodes; data stores let it in."""

    def __init__(self, name: str, args: ClusterArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Cluster", name, {}, opts)
        self._name, self._args, self._child = name, args, ResourceOptions(parent=self)
        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/eks/{args.place.prefix}/cluster",
            retention_in_days=90,
            kms_key_id=args.keys.data_arn,
            tags=self._tags("cluster-logs"),
            opts=self._child,
        )
        cluster = self._control_plane(logs)
        self.name = cluster.name
        self.node_security_group = cluster.vpc_config.cluster_security_group_id
        for position, principal in enumerate(args.spec.cluster.admins):
            self._admin(position, principal)
        nodes = self._nodes()
        self._add_ons(nodes)
        kubeconfig = pulumi.Output.json_dumps(
            _kubeconfig(args.spec, cluster.name, cluster.endpoint, cluster.certificate_authority.data)
        )
        issuer = cluster.identities.apply(lambda found: found[0].oidcs[0].issuer if found and found[0].oidcs else "")
        self.contract = contracts.Cluster(
            name=cluster.name, endpoint=cluster.endpoint, kubeconfig=kubeconfig, issuer=issuer
        )
        self.register_outputs({"name": cluster.name, "endpoint": cluster.endpoint})

    def _tags(self, what: str) -> dict[str, str]:
        return {**self._args.place.tags, "Name": f"{self._args.place.prefix}-{what}"}

    def _control_plane(self, logs: aws.cloudwatch.LogGroup) -> aws.eks.Cluster:
        spec, place, name = self._args.spec, self._args.place, self._name
        role = self._role("control-plane", "eks.amazonaws.com", ("AmazonEKSClusterPolicy",))
        access = spec.cluster.access == "authorized"
        return aws.eks.Cluster(
            f"{name}-eks",
            name=place.prefix,
            version=spec.cluster.version,
            role_arn=role,
            deletion_protection=place.protect,
            bootstrap_self_managed_addons=False,
            enabled_cluster_log_types=list(LOG_TYPES),
            # The identity that creates the cluster administers it: without it nobody could install anything.
            access_config=aws.eks.ClusterAccessConfigArgs(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=True
            ),
            encryption_config=aws.eks.ClusterEncryptionConfigArgs(
                resources=["secrets"],
                provider=aws.eks.ClusterEncryptionConfigProviderArgs(key_arn=self._args.keys.cluster_arn),
            ),
            kubernetes_network_config=aws.eks.ClusterKubernetesNetworkConfigArgs(
                service_ipv4_cidr=spec.network.services
            ),
            upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            zonal_shift_config=aws.eks.ClusterZonalShiftConfigArgs(enabled=spec.environment == "prod"),
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                subnet_ids=list(self._args.network.private_subnets),
                endpoint_private_access=True,
                endpoint_public_access=access,
                public_access_cidrs=list(spec.cluster.authorized_cidrs) if access else None,
            ),
            tags=self._tags("cluster"),
            # The log group first, or EKS makes one without retention or key.
            opts=ResourceOptions(parent=self, protect=place.protect, depends_on=[logs]),
        )

    def _role(self, what: str, service: str, managed: tuple[str, ...], *, pods: bool = False) -> Output[str]:
        actions = ("sts:AssumeRole", "sts:TagSession") if pods else ()
        role = aws.iam.Role(
            f"{self._name}-{what}-role",
            assume_role_policy=trust(service, *actions),
            tags=self._tags(what),
            opts=self._child,
        )
        for policy in managed:
            aws.iam.RolePolicyAttachment(
                f"{self._name}-{what}-{policy.rsplit('/', 1)[-1]}",
                role=role.name,
                policy_arn=f"arn:aws:iam::aws:policy/{policy}",
                opts=self._child,
            )
        return role.arn

    def _admin(self, position: int, principal: str) -> None:
        entry = aws.eks.AccessEntry(
            f"{self._name}-admin-{position}",
            cluster_name=self.name,
            principal_arn=principal,
            tags=self._tags("admin"),
            opts=self._child,
        )
        aws.eks.AccessPolicyAssociation(
            f"{self._name}-admin-{position}-policy",
            cluster_name=self.name,
            principal_arn=entry.principal_arn,
            policy_arn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
            access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
            opts=self._child,
        )

    def _nodes(self) -> aws.eks.NodeGroup:
        spec, name = self._args.spec, self._name
        role = self._role(
            "nodes", "ec2.amazonaws.com", ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
        )
        template = aws.ec2.LaunchTemplate(
            f"{name}-nodes-template",
            update_default_version=True,
            # IMDSv2 with one hop: a pod cannot ask the node's credentials.
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            block_device_mappings=[
                _disk("/dev/xvda", 8, self._args.keys.data_arn),
                _disk("/dev/xvdb", 80, self._args.keys.data_arn),
            ],
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=self._tags("node"))
                for kind in ("instance", "volume", "network-interface")
            ],
            tags=self._tags("nodes"),
            opts=self._child,
        )
        fewest = 3 if spec.environment == "prod" else 2
        discovery = {
            "k8s.io/cluster-autoscaler/enabled": "true",
            f"k8s.io/cluster-autoscaler/{self._args.place.prefix}": "owned",
        }
        return aws.eks.NodeGroup(
            f"{name}-nodes",
            cluster_name=self.name,
            node_role_arn=role,
            subnet_ids=list(self._args.network.private_subnets),
            ami_type="BOTTLEROCKET_x86_64",
            instance_types=[node_type(spec).name],
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(
                min_size=fewest, desired_size=fewest, max_size=nodes_at_most(spec)
            ),
            update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable_percentage=33),
            node_repair_config=aws.eks.NodeGroupNodeRepairConfigArgs(enabled=True),
            version=spec.cluster.version,
            tags={**self._tags("nodes"), **discovery},
            # The cluster autoscaler owns the size from the first day on.
            opts=ResourceOptions(parent=self, ignore_changes=["scalingConfig.desiredSize"]),
        )

    def _add_ons(self, nodes: aws.eks.NodeGroup) -> None:
        for add_on in ADD_ONS:
            # CoreDNS and the metrics server need a node to run on; the others make nodes ready.
            needs_nodes = add_on in ("coredns", "metrics-server")
            self._add_on(add_on, [nodes] if needs_nodes else [], None)
        disks = self._role("disks", "pods.eks.amazonaws.com", ("service-role/AmazonEBSCSIDriverPolicy",), pods=True)
        identity = aws.eks.AddonPodIdentityAssociationArgs(role_arn=disks, service_account="ebs-csi-controller-sa")
        self._add_on("aws-ebs-csi-driver", [nodes], [identity])

    def _add_on(
        self,
        add_on: str,
        depends_on: list[pulumi.Resource],
        identities: list[aws.eks.AddonPodIdentityAssociationArgs] | None,
    ) -> None:
        aws.eks.Addon(
            f"{self._name}-{add_on}",
            cluster_name=self.name,
            addon_name=add_on,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            pod_identity_associations=identities,
            # Network policies are enforced by the CNI only where it is told to.
            configuration_values='{"enableNetworkPolicy":"true"}' if add_on == "vpc-cni" else None,
            tags=self._tags(add_on),
            opts=ResourceOptions(parent=self, depends_on=depends_on),
        )


def _disk(device: str, gib: int, key: Input[str]) -> aws.ec2.LaunchTemplateBlockDeviceMappingArgs:
    # Bottlerocket boots from the first disk and keeps images and pods' scratch space on the second.
    return aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
        device_name=device,
        ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
            volume_size=gib, volume_type="gp3", encrypted="true", kms_key_id=key, delete_on_termination="true"
        ),
    )


def _kubeconfig(spec: PlatformSpec, name: Input[str], endpoint: Input[str], ca: Input[str]) -> dict[str, object]:
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "aws",
        "args": ["eks", "get-token", "--cluster-name", name, "--region", spec.region, "--output", "json"],
        "interactiveMode": "Never",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "eks", "cluster": {"server": endpoint, "certificate-authority-data": ca}}],
        "users": [{"name": "eks", "user": {"exec": command}}],
        "contexts": [{"name": "eks", "context": {"cluster": "eks", "user": "eks"}}],
        "current-context": "eks",
    }
