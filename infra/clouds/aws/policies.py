"""Owns the IAM documents this cloud's modules share: trust of a service, statements. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi import Input, Output


def trust(service: str, *actions: str) -> str | Output[str]:
    """Assume-role policy of one AWS service; EKS Pod Identity also needs sts:TagSession."""
    return document(
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions) or ["sts:AssumeRole"]}
    )


def document(*statements: Mapping[str, Any]) -> Output[str]:
    """An IAM policy document of statements, which may hold outputs."""
    return Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: list[str], resources: Input[str] | list[Input[str]], **condition: Any) -> dict[str, Any]:
    """A statement that allows ``actions`` on ``resources``."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    if condition:
        statement["Condition"] = condition["condition"]
    return statement
