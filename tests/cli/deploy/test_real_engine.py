"""The same through the real CLI and engine where they are: up, killed, up again, interrupted, drift, down.

The program is a small one of dynamic resources that take their time, so that no cloud is needed; configuration,
policies, order, guards and locks are the repository's own.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.deploy.conftest import ROOT, Clone, eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="the pulumi CLI is not on PATH"),
]

_PROGRAM = '''\
"""Resources that only take their time, one after the other."""

import json
from pathlib import Path

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Slow(ResourceProvider):
    def create(self, props):
        import time

        time.sleep(props["seconds"])
        return CreateResult(props["name"], props)


class Thing(Resource):
    def __init__(self, name, seconds, opts):
        super().__init__(Slow(), name, {"name": name, "seconds": seconds}, opts)


wanted = json.loads(Path(__file__).with_name("wanted.json").read_text())
before = None
for name in wanted["names"]:
    before = Thing(name, wanted["seconds"], pulumi.ResourceOptions(depends_on=before))
pulumi.export("layers", ["foundation", "services", "fleet"])
'''


class Real(Clone):
    """A clone whose program is the small one and whose `pulumi` is the real one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.rmtree(self.backend / "bin")
        (self.root / ".venv").symlink_to(ROOT / ".venv")
        program = self.root / "infra" / "__main__.py"
        program.unlink()  # A link to the repository's own.
        program.write_text(_PROGRAM)
        self.environment |= {"PULUMI_CONFIG_PASSPHRASE": "tests", "PULUMI_SKIP_UPDATE_CHECK": "true"}
        self.stack("dev", "foundation", "services", "fleet")

    def wants(self, *names: str, seconds: float = 0.0) -> None:
        """What the program is to make, each in so many seconds."""
        (self.root / "infra" / "wanted.json").write_text(json.dumps({"names": names, "seconds": seconds}))

    def pulumi(self, *arguments: str) -> str:
        """Run the CLI itself."""
        command = ["pulumi", "--non-interactive", *arguments, "--stack", "dev"]
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def begun(self, seconds: float) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
        """Begin to make a, b and c; once a is being made, the command and every process below it."""
        self.wants("a", "b", "c", seconds=seconds)
        process = self.start("up", "dev", "--yes", start_new_session=True)
        eventually(lambda: '"creating"' in self.pulumi("stack", "export"), 120)
        return process, psutil.Process(process.pid).children(recursive=True)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path)
    yield made
    made.pulumi("cancel", "--yes")
    made.pulumi("destroy", "--yes", "--skip-preview")


def test_up_then_nothing_to_do_then_no_drift_then_down(real: Real) -> None:
    real.wants("a", "b")
    assert "to create" in real.run("up", "dev", "--yes")
    assert "no changes" in real.run("up", "dev", "--yes")
    assert "dev: no drift" in real.run("drift", "dev")
    assert "no changes" in real.run("refresh", "dev", "--yes")
    assert "deleted" in real.run("down", "dev", "--yes")


def test_killed_during_up_then_up_again_converges(real: Real) -> None:
    process, below = real.begun(120.0)
    for each in (psutil.Process(process.pid), *below):
        each.kill()
    process.communicate()
    assert "pulumi cancel --stack dev --yes" in real.run("up", "dev", "--yes", code=1)
    real.pulumi("cancel", "--yes")
    assert "was interrupted while creating" in real.run("up", "dev", "--yes", code=1)
    real.wants("a", "b", "c")
    real.run("up", "dev", "--yes", "--forget", "all")
    assert "no changes" in real.run("up", "dev", "--yes")
    assert '"pending_operations"' not in real.pulumi("stack", "export")


def test_interrupted_once_nothing_is_left_pending_and_up_again_converges(real: Real) -> None:
    process, _ = real.begun(15.0)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, output + errors
    real.wants("a", "b", "c")
    assert "was interrupted while creating" not in real.run("up", "dev", "--yes")
    assert "no changes" in real.run("up", "dev", "--yes")


def test_two_at_once_is_refused_by_the_backend_too(real: Real) -> None:
    process, _ = real.begun(20.0)
    real.environment["FLEET_STATE"] = str(real.folder / "another-machine")
    assert "the backend has the stack locked" in real.run("up", "dev", "--yes", code=1)
    process.communicate(timeout=300)
    assert process.returncode == 0


def test_much_destruction_is_refused_from_the_engines_own_preview(real: Real) -> None:
    real.wants("a", "b", "c", "d")
    real.run("up", "dev", "--yes")
    real.wants("a")
    assert "3 of 4 resources would be deleted or replaced" in real.run("up", "dev", "--yes", code=1)
