"""A clone of the repository with stacks of its own, and Pulumi's CLI (its stand-in) first on PATH."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = Path(__file__).with_name("pulumi_cli.py")
Resources = list[dict[str, Any]]

_COMMON = """\
  ai-agents-platform:cloud: aws
  ai-agents-platform:environment: {environment}
  ai-agents-platform:region: eu-central-1
  ai-agents-platform:zones: [eu-central-1a, eu-central-1b, eu-central-1c]
  ai-agents-platform:account: "111122223333"
  ai-agents-platform:domain: agents.acme.io
  ai-agents-platform:images:
    runtime: ghcr.io/acme/runtime@sha256:{digest}
  ai-agents-platform:layers: [{layers}]
"""


class Clone:
    """The repository, its stacks and a backend in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "clone"
        self.backend = folder / "backend"
        for name in ("cli", "infra", "catalog", "runtime"):
            ignored = shutil.ignore_patterns("__pycache__", "pools")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored, copy_function=os.link)
        shutil.copy(ROOT / "Pulumi.yaml", self.root)
        (self.root / ".gitignore").write_text(".fleet/\n__pycache__/\n")
        (self.root / "stacks").mkdir()
        for name in ("program", "cloud", "state", "bin"):
            (self.backend / name).mkdir(parents=True)
        command = self.backend / "bin" / "pulumi"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{STAND_IN}" "$@"\n')
        command.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": self.backend.as_uri(),
            "FLEET_STATE": str(folder / ".fleet"),
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "200",
        }

    def stack(self, name: str, *layers: str, environment: str = "dev", shard: str = "", **reads: str) -> str:
        """Write a stack's file; ``reads`` is layer=stack."""
        text = "config:\n" + _COMMON.format(environment=environment, digest="a" * 64, layers=", ".join(layers))
        if reads:
            text += "  ai-agents-platform:stacks:\n" + "".join(f"    {key}: {value}\n" for key, value in reads.items())
        if shard:
            text += f"  ai-agents-platform:fleet:\n    isolation: dedicated\n    shard: {shard}\n    agents: [business_plan_agent_009]\n"
        (self.root / "stacks" / f"Pulumi.{name}.yaml").write_text(text)
        return name

    def program(
        self, stack: str, resources: Resources, outputs: tuple[str, ...] = (), reads: tuple[str, ...] = (), **more: Any
    ) -> None:
        """What the stand-in makes of a stack: its "program"."""
        described = {"resources": resources, "outputs": {name: {} for name in outputs}, "reads": reads, **more}
        self.save("program", stack, described)

    def save(self, kind: str, stack: str, value: Any) -> None:
        """Write one of the stand-in's files."""
        (self.backend / kind / f"{stack}.json").write_text(json.dumps(value))

    def load(self, kind: str, stack: str) -> Any:
        """Read one of the stand-in's files; None where there is none."""
        path = self.backend / kind / f"{stack}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def names(self, stack: str) -> list[str]:
        """Names of the resources in a stack's state."""
        listed = self.load("state", stack)["deployment"]["resources"]
        return sorted(one["urn"].rpartition("::")[2] for one in listed if one["custom"])

    def pending(self, stack: str) -> list[str]:
        """Kinds of operations pending in a stack's state."""
        return [one["type"] for one in self.load("state", stack)["deployment"].get("pending_operations") or []]

    def calls(self, *words: str) -> list[dict[str, Any]]:
        """Commands the stand-in was given that begin with ``words``, in order."""
        path = self.backend / "calls.jsonl"
        every = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in every if call["words"][: len(words)] == list(words)]

    def engines(self) -> list[psutil.Process]:
        """The stand-in's processes that still run; a number that by now is another program's is none."""
        found = []
        for call in self.calls():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(call["pid"])
                if str(STAND_IN) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments], cwd=self.root, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; what it printed, standard error last."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == code, output + errors
        return output + errors

    def up(self, *stacks: str) -> None:
        """Bring stacks up without asking."""
        self.run("up", *stacks, "--yes")


def resources(count: int, **more: Any) -> Resources:
    """So many Deployments, named d1, d2, …"""
    return [
        {"type": "kubernetes:apps/v1:Deployment", "name": f"d{n}", "inputs": {"size": 1}, **more}
        for n in range(1, count + 1)
    ]


def eventually(holds: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def answered(clone: Clone, *arguments: str, answer: str) -> tuple[int, str]:
    """Run a command in a terminal and answer its first question; code and everything shown."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cli", *arguments]
    process = subprocess.Popen(command, cwd=clone.root, env=clone.environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    # One that asks more than it is answered waits forever.
    limit = threading.Timer(180, process.kill)
    limit.start()
    os.write(master, answer.encode())
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    limit.cancel()
    return process.wait(30), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    made = Clone(tmp_path)
    yield made
    for process in made.engines():
        process.kill()
