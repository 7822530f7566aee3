"""Dependencies point one way: cli → infra, runtime → catalog; infra and runtime never import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "catalog": {"catalog"},
    "runtime": {"runtime", "catalog"},
    "infra": {"infra", "catalog"},
    "cli": {"cli", "infra", "runtime", "catalog"},
}
OURS = {"catalog", "runtime", "infra", "cli", "tests"}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    upward = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in imports(path)
        if name in OURS - ALLOWED[package]
    }
    assert upward == set()


@pytest.mark.parametrize("package", ["catalog", "runtime", "infra", "cli"])
def test_every_module_says_what_it_owns(package: str) -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in (ROOT / package).rglob("*.py")
        if not ast.get_docstring(ast.parse(p.read_text("utf-8"))) and p.stat().st_size
    ]
    assert silent == []


def test_manifests_and_settings_import_no_pulumi() -> None:
    pure = [
        "infra/workloads/manifests.py",
        "infra/workloads/routes.py",
        "infra/settings.py",
        "infra/sections.py",
        "infra/rules.py",
        "infra/naming.py",
        "infra/pods.py",
    ]
    for name in pure:
        assert "pulumi" not in set(imports(ROOT / name)), name


def test_only_the_programs_entry_makes_a_config_and_settings_read_it() -> None:
    def makes_one(path: Path) -> bool:
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        return any(ast.unparse(function) == "pulumi.Config" for function in calls)

    assert [path.name for path in (ROOT / "infra").rglob("*.py") if makes_one(path)] == ["program.py"]


def test_a_lock_names_no_index_address() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text("utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index-url" not in text
