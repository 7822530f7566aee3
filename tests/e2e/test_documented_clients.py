"""The handbook's client programs and commands, run against the platform as a reader would run them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.handbook import Block, page
from tests.e2e.platform import Platform, clean, fleet

_RUN = {"bash": ["bash", "-eu"], "python": [sys.executable, "-W", "error"], "javascript": ["node"]}
_SUFFIX = {"bash": ".sh", "python": ".py", "javascript": ".mjs"}
PROGRAMS = [block for block in page("api/clients.md").blocks if block.language in _RUN]
HARMLESS = {"status", "logs", "version", "agents", "run", "users", "keys", "limits", "settings"}
"""Commands that neither end the platform nor take long; `agents new` changes the catalog."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: f"{each.language}-{each.text.split()[0]}")
def test_a_client_program_of_the_handbook_runs(platform: Platform, tmp_path: Path, program: Block) -> None:
    command = _RUN[program.language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on PATH")
    file = tmp_path / f"client{_SUFFIX[program.language]}"
    file.write_text(program.text, "utf-8")
    variables = {
        "FLEET_URL": platform.url,
        "FLEET_API_KEY": platform.api_key,
        "FLEET_USERNAME": "admin",
        "FLEET_PASSWORD": platform.password,
    }
    done = subprocess.run(
        [*command, str(file)],
        env=clean(variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    if program.language == "bash" and "execute" in program.text:
        assert set(json.loads(done.stdout)) == {"result", "metadata", "processing_time_ms"}


def test_there_is_a_program_in_each_language() -> None:
    assert {block.language for block in PROGRAMS} == set(_RUN)


@pytest.mark.parametrize(
    "name", ["training/callers.md", "training/operators.md", "training/agent-authors.md", "RUNBOOK.md"]
)
def test_the_commands_of_a_page_work_one_after_another(platform: Platform, name: str) -> None:
    for words in page(name).commands:
        if words[0] in HARMLESS and words[:2] != ["agents", "new"]:
            done = fleet(platform.folder, *words)
            assert done.returncode == 0, f"fleet {' '.join(words)}: {done.stdout}{done.stderr}"
