"""The commands on plans, as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.plan.config import ROOT

FLEET = "aws-prod-fleet"


def fleet(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == code, finished.stdout + finished.stderr
    return finished


def test_a_preview_needs_no_credentials_and_says_size_cost_and_findings() -> None:
    shown = fleet("preview", FLEET).stdout
    assert shown.startswith(f"{FLEET}: ")
    assert "3 Deployment" in shown
    assert "compute pooled" in shown
    assert "compute dedicated" in shown
    assert "policies: " in shown


def test_a_saved_plan_compares_equal_to_the_same_stack(tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    fleet("preview", FLEET, "--save", str(saved))
    data = json.loads(fleet("preview", FLEET, "--against", str(saved), "--json").stdout)
    assert data["against"]["counts"] == {}
    assert data["against"]["blast_radius"] == ["changes nothing that runs"]


def test_a_change_that_would_be_refused_fails_the_command(tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    fleet("preview", FLEET, "--save", str(saved))
    data = json.loads(saved.read_text())
    data["values"]["layers"] = ["services", "fleet"]
    saved.write_text(json.dumps(data))
    finished = fleet("preview", FLEET, "--against", str(saved), code=1)
    assert "REFUSED: the layer services is taken away" in finished.stdout


def test_an_unknown_stack_is_one_line_that_lists_those_there_are() -> None:
    finished = fleet("preview", "no-such", code=2)
    assert "no stack 'no-such'; the stacks are:" in finished.stderr
    assert FLEET in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_file_that_is_no_plan_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    finished = fleet("preview", FLEET, "--against", str(tmp_path / "x.json"), code=1)
    assert "not a saved plan (make one with: fleet preview STACK --save" in finished.stderr


def test_the_engine_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "pulumi is not on PATH" in fleet("preview", FLEET, "--engine", code=1).stderr


def test_rendering_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    assert "mine.txt, which is not a rendering" in fleet("render", FLEET, "-o", str(tmp_path), code=2).stderr
    fleet("render", FLEET, "-o", str(tmp_path / "new"))
    assert (tmp_path / "new" / "fleet" / "pool-business.yaml").is_file()


def test_cost_check_graph_and_stacks_answer() -> None:
    assert json.loads(fleet("cost", FLEET, "--json").stdout)[FLEET]["compute"]["dedicated"]["nodes"] > 10
    assert json.loads(fleet("check", FLEET, "--json").stdout) == {FLEET: []}
    assert fleet("graph", FLEET).stdout.startswith("flowchart LR")
    rows = json.loads(fleet("stacks", "--quick", "--json").stdout)
    assert {"stack": FLEET, "cloud": "aws", "environment": "prod", "layers": ["fleet"], "isolation": "pooled"} in rows


def test_policies_are_listed_with_their_source() -> None:
    shown = fleet("check", "--policies").stdout
    assert "default-deny" in shown
    assert "private-api" in shown
