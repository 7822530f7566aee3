"""The workflows as data, and their `run:` steps as GitHub's runner executes them: bash -e, variables, output files."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.plan.config import ROOT

FOLDER = ROOT / ".github"
WORKFLOWS = sorted(FOLDER.glob("workflows/*.yml"))
ACTIONS = sorted(FOLDER.glob("actions/*/action.yml"))


def document(path: Path) -> dict[Any, Any]:
    """A workflow; YAML 1.1 reads its key ``on`` as True."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Jobs of a workflow by id."""
    found: dict[str, dict[str, Any]] = document(path)["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Every step of a workflow or a composite action."""
    data = document(path)
    if "runs" in data:
        yield from data["runs"]["steps"]
    else:
        for job in data["jobs"].values():
            yield from job.get("steps", ())


def step(workflow: str, job: str, identifier: str) -> dict[str, Any]:
    """A step by its id."""
    found: dict[str, Any] = next(
        each for each in jobs(FOLDER / "workflows" / workflow)[job]["steps"] if each.get("id") == identifier
    )
    return found


def filled(inputs: Mapping[str, Any], expressions: Mapping[str, str]) -> dict[str, str]:
    """A step's inputs with its expressions replaced, each of which must be given."""
    return {
        name: re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: expressions[found[1]], str(value))
        for name, value in inputs.items()
    }


def using(workflow: str, job: str, action: str) -> dict[str, Any]:
    """A step by the action it uses."""
    found: dict[str, Any] = next(
        each
        for each in jobs(FOLDER / "workflows" / workflow)[job]["steps"]
        if str(each.get("uses", "")).startswith(f"{action}@")
    )
    return found


class Artifacts:
    """A stand-in for a run's artifacts: where actions/upload-artifact and actions/download-artifact, as they are pinned,
    take files from and put them. The content of the one folder goes up; one artifact comes down into ``path`` itself,
    several that a pattern matches each into a folder of its name, unless they are merged."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def upload(self, inputs: Mapping[str, str], folder: Path) -> None:
        """What the step with these inputs does in ``folder``."""
        shutil.rmtree(self._store / inputs["name"], ignore_errors=True)
        shutil.copytree(folder / inputs["path"], self._store / inputs["name"])

    def download(self, inputs: Mapping[str, str], folder: Path) -> None:
        """What the step with these inputs does in ``folder``. Raises FileNotFoundError where no artifact has its name."""
        if "name" in inputs:
            found = [inputs["name"]]
        else:
            found = fnmatch.filter([each.name for each in self._store.iterdir()], inputs["pattern"])
        for name in found:
            beside = len(found) > 1 and inputs.get("merge-multiple") != "True"
            target = folder / inputs["path"] / (name if beside else "")
            shutil.copytree(self._store / name, target, dirs_exist_ok=True)


@dataclass(frozen=True)
class Ran:
    """What a step left."""

    code: int
    said: str
    outputs: Mapping[str, str]
    summary: str


def run(found: Mapping[str, Any], folder: Path, environment: Mapping[str, str], scratch: Path) -> Ran:
    """Execute a step's script in ``folder``; its expressions are given by ``environment``, every one of them."""
    missing = {name for name, value in found.get("env", {}).items() if "${{" in str(value)} - set(environment)
    assert not missing, f"the step takes {missing} from expressions"
    stated = {name: str(value) for name, value in found.get("env", {}).items() if "${{" not in str(value)}
    output, summary = scratch / "output", scratch / "summary"
    output.write_text("")
    summary.write_text("")
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    base = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "FLEET_"))}
    finished = subprocess.run(
        ["bash", "-e", "-c", found["run"]],
        cwd=folder,
        env=base | stated | files | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = (line.partition("=") for line in output.read_text().splitlines())
    return Ran(
        finished.returncode,
        finished.stdout + finished.stderr,
        {name: value for name, _, value in pairs},
        summary.read_text(),
    )
