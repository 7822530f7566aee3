"""The real engine on a real API server: up, nothing to do, one prompt changed, destroy.

Runs on a copy of the repository, since `pulumi stack init` writes into stack files. The copy brings its own
locked environment (the `virtualenv` of Pulumi.yaml) by linking this one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.cluster.api import Cluster, path, volumes

ROOT = Path(__file__).resolve().parents[3]
STACK = "engine-test"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="the pulumi CLI is not on PATH"),
    pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG does not point at a disposable cluster"),
]


class Engine:
    """`pulumi` in a copy of the repository, with state in a folder."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        ignored = shutil.ignore_patterns(".git", ".venv*", ".fleet", "__pycache__", ".mypy_cache", ".pytest_cache")
        shutil.copytree(ROOT, self.project, ignore=ignored)
        (self.project / ".venv").symlink_to(ROOT / ".venv")
        state = folder / "state"
        state.mkdir()
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }

    def run(self, *arguments: str) -> str:
        """Run one command; fails the test with the engine's own words."""
        command = ["pulumi", *arguments, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self.project, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def up(self, *arguments: str) -> dict[str, int]:
        """Bring the stack up; how many resources were created, updated, left the same, …"""
        self.run("up", "--yes", "--skip-preview", "--stack", STACK, *arguments)
        (newest,) = json.loads(self.run("stack", "history", "--json", "--page-size", "1", "--stack", STACK))
        return dict(newest["resourceChanges"])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("engine"))
    source = made.project / "stacks" / "Pulumi.kind.yaml"
    # A small fleet: what is proven is the way, not the size.
    text = source.read_text("utf-8") + "  ai-agents-platform:fleet:\n    domains: [business/strategy]\n"
    text += "  ai-agents-platform:images:\n    runtime: ghcr.io/acme/runtime@sha256:" + "a" * 64 + "\n"
    (made.project / "stacks" / f"Pulumi.{STACK}.yaml").write_text(text, "utf-8")
    cluster = Cluster()
    cluster.apply_all(volumes(4))
    made.run("stack", "init", STACK)
    yield made
    made.run("destroy", "--yes", "--skip-preview", "--stack", STACK)
    made.run("stack", "rm", "--yes", STACK)
    for volume in volumes(4):
        cluster.delete(path(volume))


def test_up_then_nothing_to_do_then_one_prompt_then_gone(engine: Engine) -> None:
    engine.run("preview", "--stack", STACK)
    assert engine.up()["create"] > 50
    assert set(engine.up()) == {"same"}
    domain = engine.project / "catalog" / "pools" / "business" / "strategy.yaml"
    domain.write_text(
        domain.read_text("utf-8").replace("Keep the summary to a page", "Keep the summary to half a page"), "utf-8"
    )
    changes = engine.up()
    # The domain's ConfigMap is replaced by one of another name, the pool's Deployment rolls, the output's digest follows.
    assert changes.get("replace", 0) + changes.get("create", 0) == 1
    assert changes["update"] <= 2


def test_a_layer_taken_away_is_refused_before_anything_is_touched(engine: Engine) -> None:
    path = engine.project / "stacks" / f"Pulumi.{STACK}.yaml"
    whole = path.read_text("utf-8")
    path.write_text(whole + "  ai-agents-platform:layers: [foundation, services]\n", "utf-8")
    try:
        with pytest.raises(AssertionError, match="this stack has the layer fleet"):
            engine.run("preview", "--stack", STACK)
    finally:
        path.write_text(whole, "utf-8")
