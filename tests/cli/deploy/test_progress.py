"""What is seen of a stack while the engine works on it: each of its layers, how far it is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cli.deploy import progress
from cli.deploy.changes import Changes, Step
from cli.deploy.progress import Board, layer_of
from tests.cli.deploy.conftest import Clone, answered

CHAINS = {
    "Foundation": "platform:aws:Network$aws:ec2/subnet:Subnet",
    "Services": "platform:services:Control$kubernetes:core/v1:Service",
    "Fleet": "platform:workloads:Pool$kubernetes:apps/v1:Deployment",
}


def urn(layer: str, name: str, stack: str = "dev") -> str:
    """As the engine names a resource: the types of its parents before its own."""
    return f"urn:pulumi:{stack}::ai-agents-platform::platform:layer:{layer}${CHAINS[layer]}::{name}"


def described(counts: dict[str, int], **more: Any) -> list[dict[str, Any]]:
    """A program with so many resources in each layer."""
    return [
        {"type": CHAINS[layer].rpartition("$")[2], "name": name, "urn": urn(layer, name), "inputs": {}, **more}
        for layer, count in counts.items()
        for name in (f"{layer.lower()}-{n}" for n in range(1, count + 1))
    ]


def step(layer: str, number: int, phase: Any = "ended", op: str = "create") -> Step:
    return Step(phase, op, urn(layer, f"{layer.lower()}-{number}"), CHAINS[layer].rpartition("$")[2])


@pytest.mark.parametrize(
    ("chain", "layer"),
    [
        ("platform:layer:Fleet$platform:workloads:Pool$kubernetes:apps/v1:Deployment", "fleet"),
        ("platform:layer:Foundation", "foundation"),
        ("pulumi:providers:kubernetes", ""),
        ("pulumi:pulumi:Stack", ""),
    ],
)
def test_a_resource_is_in_the_layer_of_its_outermost_parent(chain: str, layer: str) -> None:
    assert layer_of(f"urn:pulumi:dev::ai-agents-platform::{chain}::platform:layer:x") == layer


def test_where_nobody_watches_a_line_says_how_far_each_layer_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    board = Board()
    plan = [step("Services", n) for n in (1, 2, 3)] + [step("Fleet", n, op="update") for n in (1, 2)]
    board.began("dev", "bringing up", Changes({"create": 3, "update": 2}, tuple(plan)))
    board.event("dev", step("Services", 1))
    board.event("dev", step("Services", 2, "failed"))
    board.event("dev", step("Fleet", 1, "begun", "update"))
    # The plan knew nothing of a foundation: there is no total to state.
    board.event("dev", step("Foundation", 1))
    assert capsys.readouterr().out.splitlines() == [
        "dev: bringing up …",
        "dev: services 1/3 · fleet 0/2 · 1 created",
        "dev: services 2/3 · fleet 0/2 · 1 created · 1 failed",
        "dev: services 2/3 · fleet 0/2 · 1 created · 1 failed · now Deployment fleet-1",
        "dev: foundation 1 · services 2/3 · fleet 0/2 · 2 created · 1 failed · now Deployment fleet-1",
    ]


def test_what_is_in_no_layer_is_counted_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    board = Board()
    board.began("dev", "bringing up", Changes({"create": 7}))
    board.event("dev", Step("ended", "create", "urn:pulumi:dev::p::random:index/id:Id::one", "random:index/id:Id"))
    assert capsys.readouterr().out.splitlines()[-1] == "dev: 1/7 · 1 created"


def test_a_terminal_shows_each_layer_of_a_stack_while_the_engine_works(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    first = described({"Foundation": 1})
    clone.program("dev", first, outputs=("foundation", "services"))
    clone.up("dev")
    # Each of the fleet takes longer than the table takes to be drawn again.
    more = [*described({"Services": 2}), *described({"Fleet": 3}, seconds=2)]
    clone.program("dev", [*first, *more], outputs=("foundation", "services"))
    code, shown = answered(clone, "up", "dev", "--yes", answer="")
    assert code == 0, shown
    assert {"services 2/2 · fleet 0/3", "services 2/2 · fleet 1/3"} <= {
        *re.findall(r"services \d/\d · fleet \d/\d", shown)
    }
    assert "foundation" not in shown.partition("bringing up")[2]


def test_scripts_are_told_the_layers_of_a_plan_and_of_each_step(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", described({"Foundation": 2, "Fleet": 1}), outputs=("foundation", "services"))
    events = [json.loads(line) for line in clone.run("up", "dev", "--yes", "--json").splitlines()]
    (began,) = (event for event in events if event["event"] == "began")
    assert began["layers"] == {"foundation": 2, "fleet": 1}
    assert [event["layer"] for event in events if event["event"] == "step"] == ["foundation", "foundation", "fleet"]
