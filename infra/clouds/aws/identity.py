"""Owns what in-cluster service accounts may do in AWS: one role each, bound by EKS Pod Identity.

Service accounts need no annotation: the binding is by namespace and name. Namespaces and names here are
those the services layer uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import contracts
from infra.clouds.aws.cluster import Cluster
from infra.clouds.aws.database import Database
from infra.clouds.aws.keys import Keys
from infra.clouds.aws.policies import allow, document, trust
from infra.clouds.aws.storage import Storage
from infra.naming import NAMESPACE, Placement
from infra.settings import PlatformSpec

_USE_KEY = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"]


@dataclass(frozen=True)
class IdentityArgs:
    """What the roles refer to."""

    spec: PlatformSpec
    place: Placement
    cluster: Cluster
    keys: Keys
    storage: Storage
    database: Database | None
    """None where the database is not the cloud's."""


class Identity(pulumi.ComponentResource):
    """A role for each service account that calls AWS, with just what it needs on just what it needs."""

    contract: contracts.Identities
    recovery_secret: Output[str]
    """ARN of the secret Vault's bootstrap writes its recovery keys to."""

    def __init__(self, name: str, args: IdentityArgs, *, opts: ResourceOptions | None = None) -> None:
        super().__init__("platform:aws:Identity", name, {}, opts)
        self._name, self._args = name, args
        recovery = aws.secretsmanager.Secret(
            f"{name}-vault-recovery",
            name=f"{args.place.prefix}/vault-recovery",
            description="Vault's recovery keys, written once by its bootstrap",
            kms_key_id=args.keys.data_arn,
            recovery_window_in_days=30 if args.place.protect else 0,
            tags=dict(args.place.tags),
            opts=ResourceOptions(parent=self, protect=args.place.protect),
        )
        self.recovery_secret = recovery.arn
        data_key = allow(_USE_KEY, args.keys.data_arn)
        self._bind(
            "vault", "vault", "vault", allow(["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], args.keys.vault_arn)
        )
        self._bind(
            "vault-bootstrap",
            "vault",
            "vault-bootstrap",
            allow(["secretsmanager:PutSecretValue", "secretsmanager:GetSecretValue"], recovery.arn),
            data_key,
        )
        self._bind(
            "vault-backup",
            "vault",
            "vault-backup",
            *self._bucket("snapshots", ["s3:PutObject", "s3:GetObject"]),
            data_key,
        )
        self._bind(
            "loki",
            "monitoring",
            "loki",
            *self._bucket("logs", ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"]),
            data_key,
        )
        if args.database is not None:
            read = allow(["secretsmanager:GetSecretValue"], args.database.credentials_secret)
            self._bind("database-credentials", NAMESPACE, "database-credentials", read, data_key)
        self._bind("cluster-autoscaler", "kube-system", "cluster-autoscaler", *_autoscaler(args.place.prefix))
        self._bind("load-balancers", "kube-system", "aws-load-balancer-controller", *_target_registration())
        self.contract = contracts.Identities(vault={}, bootstrap={}, loki={}, backup={}, database={})
        self.register_outputs({"recovery_secret": recovery.arn})

    def _bucket(self, purpose: str, actions: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        arn = self._args.storage.arns[purpose]
        return allow(["s3:ListBucket"], arn), allow(actions, Output.concat(arn, "/*"))

    def _bind(self, what: str, namespace: str, service_account: str, *statements: dict[str, Any]) -> None:
        child = ResourceOptions(parent=self)
        tags = {**self._args.place.tags, "Name": f"{self._args.place.prefix}-{what}"}
        role = aws.iam.Role(
            f"{self._name}-{what}-role",
            assume_role_policy=trust("pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession"),
            tags=tags,
            opts=child,
        )
        aws.iam.RolePolicy(f"{self._name}-{what}-policy", role=role.name, policy=document(*statements), opts=child)
        aws.eks.PodIdentityAssociation(
            f"{self._name}-{what}",
            cluster_name=self._args.cluster.name,
            namespace=namespace,
            service_account=service_account,
            role_arn=role.arn,
            tags=tags,
            opts=child,
        )


def _autoscaler(cluster: str) -> tuple[dict[str, Any], ...]:
    """Source: the cluster autoscaler's AWS page, "full cluster autoscaler features policy"; changes only this cluster's groups."""
    look = [
        "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
        "autoscaling:DescribeScalingActivities", "ec2:DescribeImages", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions",
        "ec2:GetInstanceTypesFromInstanceRequirements", "eks:DescribeNodegroup",
    ]  # fmt: skip
    change = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    own = {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}": "owned"}}
    return allow(look, "*"), allow(change, "*", condition=own)


def _target_registration() -> tuple[dict[str, Any], ...]:
    """The load balancer controller only registers pods with the target group made here, so it needs no more than that."""
    look = [
        "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeVpcs", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTags",
    ]  # fmt: skip
    return allow(look, "*"), allow(
        ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
        "arn:aws:elasticloadbalancing:*:*:targetgroup/*",
    )
