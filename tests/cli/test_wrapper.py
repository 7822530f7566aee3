"""The shell wrapper: finds a Python, makes the environment once, makes it again when a lock changed, works from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Stands for uv: notes how it was called and makes an environment whose Python is ours.
_UV = """#!/bin/sh
echo "$*" >> "$UV_CALLS"
sleep 0.3
if [ "$1" = venv ]; then
    for last in "$@"; do :; done
    mkdir -p "$last/bin"; ln -s "{python}" "$last/bin/python"; touch "$last/pyvenv.cfg"
fi
exit "${{UV_EXIT:-0}}"
"""


class Clone:
    """A clone with a space in its path, whose `cli` prints what it was given, and an imitation of uv."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        (self.root / "cli").mkdir(parents=True)
        (self.root / "requirements").mkdir()
        shutil.copy(ROOT / "fleet", self.root / "fleet")
        (self.root / "cli" / "__init__.py").touch()
        (self.root / "cli" / "__main__.py").write_text(
            "import sys\ndef main():\n    print(sys.argv[1:])\n    return 7\n"
        )
        for group in ("local", "infra", "dev"):
            (self.root / "requirements" / f"{group}.txt").write_text(f"{group}==1\n")
        self.calls_file = folder / "calls"
        tools = folder / "tools"
        tools.mkdir()
        (tools / "uv").write_text(_UV.format(python=sys.executable))
        (tools / "uv").chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "UV_CALLS": str(self.calls_file),
            "FLEET_PYTHON": sys.executable,
            "HOME": str(folder),
        }

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "fleet"), *arguments],
            cwd=cwd or self.root.parent,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def installs(self) -> list[str]:
        calls = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [call.rsplit("/", 1)[1].removesuffix(".txt") for call in calls if call.startswith("pip install")]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_arguments_and_exit_code_pass_and_the_environment_is_made_once(clone: Clone) -> None:
    first = clone.run("run", "a b", "--context", "k=v w")
    assert (first.stdout, first.returncode) == ("['run', 'a b', '--context', 'k=v w']\n", 7)
    assert "installing" in first.stderr
    second = clone.run("status")
    assert (second.stdout, second.stderr) == ("['status']\n", "")
    assert clone.installs == ["local"]


def test_a_command_gets_the_group_it_needs_and_a_larger_one_serves_a_smaller(clone: Clone) -> None:
    for command in ("up", "preview", "test", "status", "render", "lock"):
        clone.run(command)
    assert clone.installs == ["local", "infra", "dev"]


def test_only_a_changed_lock_installs_again(clone: Clone) -> None:
    clone.run("up")
    (clone.root / "requirements" / "dev.txt").write_text("dev==2\n")
    clone.run("up")
    assert clone.installs == ["local"]
    (clone.root / "requirements" / "local.txt").write_text("local==2\n")
    clone.run("up")
    assert clone.installs == ["local", "local"]


def test_it_works_from_anywhere_and_through_a_link(clone: Clone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # A module of this name in the caller's folder must not be taken for ours.
    (elsewhere / "cli.py").write_text("raise SystemExit('the wrong one')\n")
    link = tmp_path / "link"
    link.symlink_to(clone.root / "fleet")
    for command in (str(clone.root / "fleet"), str(link), os.path.relpath(link, elsewhere)):
        done = subprocess.run(
            [command, "x"], cwd=elsewhere, env=clone.environment, capture_output=True, text=True, check=False
        )
        assert done.stdout == "['x']\n", done.stderr


def test_two_at_once_make_it_once(clone: Clone) -> None:
    running = [
        subprocess.Popen(
            [str(clone.root / "fleet"), "up"], env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == [b"['up']\n"] * 3
    assert clone.installs == ["local"]
    assert not (clone.root / ".venv.lock").exists()


def test_what_a_killed_one_left_does_not_block(clone: Clone) -> None:
    lock = clone.root / ".venv.lock"
    lock.mkdir()
    (lock / "pid").write_text("999999999\n")
    assert clone.run("up").stdout == "['up']\n"


def test_a_failed_installation_says_why_and_is_tried_again(clone: Clone) -> None:
    failed = clone.run("up", UV_EXIT="1")
    assert failed.returncode == 1
    assert "could not be made" in failed.stderr
    assert not (clone.root / ".venv.lock").exists()
    assert clone.run("up").returncode == 7


def test_without_a_new_enough_python_it_says_so(clone: Clone, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    refused = clone.run("up", FLEET_PYTHON=str(old))
    assert refused.returncode == 1
    assert "is not Python 3.11 or newer" in refused.stderr
