"""The scripts of .ci that the checks run, with stand-ins of what is not here: sudo, Debian's packages, a download, kind."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from infra.plan.config import ROOT
from tests.github.workflows import run, step

SUDO = 'test "$1" = -n && shift && exec "$@"'
ASKS_FOR_A_PASSWORD = "exit 1"


def script(path: Path, text: str) -> None:
    """A program of one test's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def installed(folder: Path, user: int, sudo: str) -> tuple[list[str], str]:
    """What `.ci/run` has installed by a user on a machine with nothing but Debian's packages, and what it says."""
    programs = folder / "bin"
    script(programs / "apt-get", f'echo "$@" >> {folder}/asked')
    script(programs / "id", f"echo {user}")
    if sudo:
        script(programs / "sudo", sudo)
    for name in ("bash", "dirname", "env", "sh", "true"):
        (programs / name).symlink_to(shutil.which(name) or "")
    script(folder / "repository" / "fleet", 'echo "fleet $@"')
    (folder / "repository" / ".ci").mkdir()
    shutil.copy2(ROOT / ".ci" / "run", folder / "repository" / ".ci" / "run")
    ran = subprocess.run(
        [folder / "repository" / ".ci" / "run", "-x"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "fleet test -x\n"
    asked = folder / "asked"
    return asked.read_text().splitlines() if asked.exists() else [], ran.stderr


@pytest.mark.parametrize(("user", "sudo"), [(0, ""), (1001, SUDO)], ids=["root", "sudo"])
def test_packages_are_installed_by_root_or_by_a_sudo_that_asks_for_nothing(
    user: int, sudo: str, tmp_path: Path
) -> None:
    asked, said = installed(tmp_path, user, sudo)
    assert asked[0] == "update -qq"
    assert asked[1].split()[-3:] == ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter"]
    assert "could not be installed" not in said


@pytest.mark.parametrize("sudo", ["", ASKS_FOR_A_PASSWORD], ids=["no sudo", "a password"])
def test_without_the_right_to_install_the_tests_run_all_the_same(sudo: str, tmp_path: Path) -> None:
    asked, said = installed(tmp_path, 1001, sudo)
    assert asked == []
    assert said == "ci: prometheus could not be installed; its tests are skipped\n"


def test_a_server_that_is_not_the_one_that_was_meant_is_not_installed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("vault", "something else")
    # A stand-in of curl: it downloads that.
    script(tmp_path / "bin" / "curl", f'cp {tmp_path}/other.zip "$8"; echo "$9" > {tmp_path}/asked')
    ran = subprocess.run(
        [ROOT / ".ci" / "servers", tmp_path / "servers"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "FAILED" in ran.stdout
    assert (tmp_path / "asked").read_text().endswith("vault_1.21.0_linux_amd64.zip\n")
    assert list((tmp_path / "servers").iterdir()) == []


@pytest.mark.parametrize(("code", "ends"), [(0, "KUBECONFIG=/a/kubeconfig\n"), (1, "")])
def test_a_cluster_that_does_not_start_ends_the_job_that_needs_it(code: int, ends: str, tmp_path: Path) -> None:
    script(tmp_path / ".ci" / "cluster", f"echo /a/kubeconfig; exit {code}")
    variables = tmp_path / "variables"
    variables.touch()
    ran = run(step("checks.yml", "cluster", "cluster"), tmp_path, {"GITHUB_ENV": str(variables)}, tmp_path)
    assert (ran.code, variables.read_text()) == (code, ends)
