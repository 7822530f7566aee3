"""Owns the security group of a data store: one port, one group of clients, nothing out."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions


def store_group(
    name: str,
    vpc: Input[str],
    clients: Input[str],
    port: int,
    what: str,
    tags: Mapping[str, str],
    opts: ResourceOptions,
) -> Output[str]:
    """A security group that lets ``clients`` reach ``port`` and nothing else."""
    group = aws.ec2.SecurityGroup(name, vpc_id=vpc, description=what, tags=dict(tags), opts=opts)
    aws.vpc.SecurityGroupIngressRule(
        f"{name}-clients",
        security_group_id=group.id,
        referenced_security_group_id=clients,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        description=f"{what} from the cluster",
        tags=dict(tags),
        opts=opts,
    )
    return group.id
