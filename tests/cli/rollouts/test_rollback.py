"""fleet rollback: the catalog as a version before had it, whatever became of it since."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from catalog import registry
from tests.cli.rollouts import checkout
from tests.cli.rollouts.checkout import Checkout
from tests.cli.rollouts.conftest import AGENT

FILE = "catalog/pools/business/strategy.yaml"
OPENING = "You write business plans"


@pytest.fixture
def repository(tmp_path: Path) -> Checkout:
    """A catalog of one domain with three versions: as shipped, edited, and with one more domain."""
    found = checkout.made(tmp_path)
    for path in found.pools.glob("*/*.yaml"):
        if path.parent.name != "business" or path.stem not in ("pool", "strategy"):
            path.unlink()
    for pool in ("technology", "knowledge"):
        (found.pools / pool).rmdir()
    found.commit("One domain")
    found.replace(FILE, OPENING, f"SECOND {OPENING}")
    found.commit("Second")
    (found.root / "README.md").write_text("nothing of the catalog\n")
    found.commit("Elsewhere")
    (found.pools / "business" / "finance.yaml").write_bytes(
        (registry.POOLS_FOLDER / "business" / "finance.yaml").read_bytes()
    )
    found.commit("Third")
    return found


def _versions(repository: Checkout) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(repository.fleet("rollback", "--list", "--json").stdout)
    return found


def test_versions_are_listed_with_what_each_changed(repository: Checkout) -> None:
    found = _versions(repository)
    assert [(row["subject"], row["agents"], row["changed"], row["present"]) for row in found] == [
        ("Third", 50, 25, True),
        ("Second", 25, 1, False),
        ("One domain", 25, 1475, False),
        ("First", 1500, None, False),
    ]
    shown = repository.fleet("rollback", "--list", "--limit", "2").stdout
    assert "now  " in shown
    assert str(found[1]["digest"])[:12] in shown
    assert "One domain" not in shown


def test_a_subject_with_odd_characters_is_a_subject(repository: Checkout) -> None:
    odd = "One\u2028two\x85three\x0bfour\x0cfive\x1esix"
    repository.replace(FILE, OPENING, f"ODD {OPENING}")
    repository.commit(odd)
    repository.replace(FILE, "ODD", "LAST")
    repository.commit("Last")
    assert [row["subject"] for row in _versions(repository)][:3] == ["Last", odd, "Third"]
    repository.fleet("rollback", "--yes")
    assert "ODD" in (repository.root / FILE).read_text()


def test_one_command_returns_to_the_version_before_and_again_to_any_other(repository: Checkout) -> None:
    found = _versions(repository)
    shown = repository.fleet("rollback", "--dry-run").stdout
    assert "+++ /dev/null" in shown
    said = repository.fleet("rollback", "--yes").stdout
    assert f"From {str(found[0]['digest'])[:12]} to {str(found[1]['digest'])[:12]}" in said
    assert "25 agents go: " in said
    assert "Commit it, so that others apply the same" in said
    assert not (repository.pools / "business" / "finance.yaml").exists()
    assert registry.load(repository.pools).digest() == found[1]["digest"]
    repository.commit("Rolled back")

    digest = str(found[2]["digest"])
    said = repository.fleet("rollback", "--to", digest[:10], "--yes").stdout
    assert f"1 agent changes: {AGENT}" in said
    assert registry.load(repository.pools).digest() == digest
    repository.commit("Further back")
    repository.fleet("rollback", "--to", str(found[0]["commit"]), "--yes")
    assert registry.load(repository.pools).digest() == found[0]["digest"]
    repository.commit("And forth")
    assert "is that of" in repository.fleet("rollback", "--to", "HEAD", "--yes").stdout


def test_uncommitted_changes_are_refused_or_kept_as_a_patch_that_brings_them_back(repository: Checkout) -> None:
    repository.replace(FILE, OPENING, f"UNCOMMITTED {OPENING}")
    new = repository.pools / "business" / "marketing.yaml"
    new.write_bytes((registry.POOLS_FOLDER / "business" / "marketing.yaml").read_bytes())
    mine = ((repository.root / FILE).read_bytes(), new.read_bytes())
    refused = repository.fleet("rollback", "--yes", code=1)
    assert "has uncommitted changes (catalog/pools/business/" in refused.stderr
    assert ((repository.root / FILE).read_bytes(), new.read_bytes()) == mine

    said = repository.fleet("rollback", "--discard", "--yes").stdout
    # What is edited and not committed is a version of its own: the one before it is the commit.
    assert registry.load(repository.pools).digest() == _versions(repository)[0]["digest"]
    assert not new.exists()
    (patch,) = (repository.state / "patches").iterdir()
    assert f"git apply {patch} brings them back" in said
    assert patch.stat().st_mode & 0o777 == 0o600
    assert repository.git("status", "--porcelain") == ""
    repository.git("apply", str(patch))
    assert ((repository.root / FILE).read_bytes(), new.read_bytes()) == mine


def test_a_rollout_under_way_is_no_version_and_ends_with_a_rollback(repository: Checkout) -> None:
    repository.replace(FILE, OPENING, f"FOURTH {OPENING}")
    repository.fleet("rollout", "start", AGENT)
    repository.commit("Canary")
    found = _versions(repository)
    assert found[0]["digest"] == found[1]["digest"]
    assert (found[0]["subject"], found[1]["subject"]) == ("Canary", "Third")
    repository.fleet("rollback", "--yes")
    assert registry.load(repository.pools).digest() == found[2]["digest"]
    assert "No rollout is under way" in repository.fleet("rollout", "status").stdout


def test_a_version_that_this_program_cannot_load_is_passed_over(repository: Checkout) -> None:
    text = (repository.root / FILE).read_text()
    (repository.root / FILE).write_text("title: broken\n")
    broken = repository.commit("Broken")
    (repository.root / FILE).write_text(text)
    repository.commit("Repaired")
    found = _versions(repository)
    assert [(row["subject"], bool(row["digest"])) for row in found[:3]] == [
        ("Repaired", True),
        ("Broken", False),
        ("Third", True),
    ]
    assert "cannot load the catalog" in repository.fleet("rollback", "--to", broken, "--yes", code=1).stderr
    repository.fleet("rollback", "--yes")
    assert registry.load(repository.pools).digest() == found[3]["digest"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "nonsense", "--yes"], 2, "is no commit of this repository"),
        (["--to", "0123456789ab", "--yes"], 5, "neither a commit nor the digest of a version"),
        ([], 2, "nobody is there to confirm"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(
    repository: Checkout, arguments: list[str], code: int, said: str
) -> None:
    finished = repository.fleet("rollback", *arguments, code=code)
    assert said in finished.stderr
    assert repository.git("status", "--porcelain") == ""


def test_without_a_version_before_there_is_nothing_to_return_to(tmp_path: Path) -> None:
    found = checkout.made(tmp_path)
    subprocess.run(["git", "checkout", "--quiet", "main"], cwd=found.root, check=True)
    assert "has no version of the catalog that differs from this one" in found.fleet("rollback", code=1).stderr
