"""The policy pack: the same policies as the engine runs them, driven through the pack's own analyzer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policies import POLICIES
from infra.policies.engine import plain

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def analyzer() -> Iterator[Any]:
    """The pack's process, as the engine starts it: it prints its port and serves."""
    process = subprocess.Popen(
        [sys.executable, "infra/policies/pack"], cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    port = process.stdout.readline().decode().strip()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    yield analyzer_pb2_grpc.AnalyzerStub(channel)
    channel.close()
    process.terminate()
    process.wait(60)
    process.stdout.close()


def analyze(analyzer: Any, token: str, properties: dict[str, Any]) -> dict[str, Any]:
    struct = struct_pb2.Struct()
    struct.update(properties)
    request = analyzer_pb2.AnalyzeRequest(type=token, properties=struct, urn=f"urn:pulumi:s::p::{token}::n", name="n")
    return {item.policyName: item for item in analyzer.Analyze(request).diagnostics}


def test_the_pack_names_every_policy_that_needs_no_marks(analyzer: Any) -> None:
    from google.protobuf import empty_pb2

    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == "ai-agents-platform"
    assert {item.name for item in info.policies} == {policy.id for policy in POLICIES if not policy.needs_marks}


def test_a_violation_is_reported_with_its_remedy_and_stops_the_update(analyzer: Any) -> None:
    found = analyze(analyzer, "aws:rds/instance:Instance", {"storageEncrypted": False, "tags": {"environment": "prod"}})
    assert (
        "its storage is not encrypted" in found["data-encrypted"].message
        or "key of ours" in found["data-encrypted"].message
    )
    assert found["data-encrypted"].enforcementLevel == analyzer_pb2.MANDATORY
    assert found["tags"].enforcementLevel == analyzer_pb2.ADVISORY


def test_a_compliant_resource_is_let_through_though_values_are_unknown(analyzer: Any) -> None:
    found = analyze(
        analyzer,
        "gcp:kms/cryptoKey:CryptoKey",
        {"rotationPeriod": UNKNOWN_STRING_VALUE, "labels": {"platform": "p", "environment": "prod", "managed-by": "x"}},
    )
    assert found == {}


def test_a_policy_over_the_whole_graph_runs_on_the_stack(analyzer: Any) -> None:
    struct = struct_pb2.Struct()
    struct.update({"metadata": {"name": "ours"}})
    resource = analyzer_pb2.AnalyzerResource(
        type="kubernetes:core/v1:Namespace",
        properties=struct,
        urn="urn:pulumi:s::p::kubernetes:core/v1:Namespace::n",
        name="n",
    )
    answer = analyzer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=[resource]))
    assert (
        "namespace ours does not deny egress and ingress by default"
        in {item.policyName: item.message for item in answer.diagnostics}["default-deny"]
    )


def test_unknown_values_of_the_engine_become_markers() -> None:
    wrapped = unknown_checking_proxy(
        {"a": UNKNOWN_STRING_VALUE, "b": [{"c": UNKNOWN_STRING_VALUE}, "x"], "d": {"e": 1}}
    )
    assert plain(wrapped) == {"a": {"$unknown": True}, "b": [{"c": {"$unknown": True}}, "x"], "d": {"e": 1}}
