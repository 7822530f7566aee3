"""What the pages point at is there: links, anchors, paths of the repository, tests that are named as proof."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.handbook import DOCS, ROOT, Page, page, pages, written

_PLACES = r"\.github|\.ci|catalog|runtime|infra|cli|stacks|tests|docs|requirements"
EVERY = pytest.mark.parametrize("each", pages(), ids=lambda each: each.name)
BY_HAND = pytest.mark.parametrize("each", written(), ids=lambda each: each.name)


@EVERY
def test_every_link_and_anchor_resolves(each: Page) -> None:
    broken = []
    for link in each.links:
        name, _, anchor = link.partition("#")
        target = (each.path.parent / name).resolve() if name else each.path
        if not target.is_file() or DOCS not in target.parents or (anchor and anchor not in Page(target).anchors):
            broken.append(link)
    assert broken == []


@EVERY
def test_every_path_of_the_repository_exists(each: Page) -> None:
    named = [span for span in each.spans if re.match(rf"({_PLACES})/", span) and not re.search(r"[<*…{ ]", span)]
    missing = [span for span in named if not (ROOT / span.partition("::")[0]).exists()]
    assert missing == []


@BY_HAND
def test_every_test_that_is_named_exists(each: Page) -> None:
    proofs = [span.split("::") for span in each.spans if "::test_" in span]
    missing = [
        f"{path}::{name}"
        for path, name in proofs
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_every_item_of_the_security_checklist_says_where_it_is_enforced_and_what_proves_it() -> None:
    guide = page("security/README.md")
    items = [title for level, title in guide.headings if level == 3 and title[0].isdigit()]
    assert len(items) == 10
    for item in items:
        text = guide.section(item)
        assert re.search(r"^- Enforced in `", text, re.MULTILINE), item
        assert re.search(r"^- Proved by `tests/", text, re.MULTILINE), item


def test_nothing_is_said_of_the_machine_the_pages_were_written_on() -> None:
    texts = {each.name: each.text for each in pages()} | {
        path.name: path.read_text("utf-8") for path in DOCS.rglob("*") if path.suffix in (".svg", ".json")
    }
    assert [name for name, text in texts.items() if re.search(r"/work/|/tmp/|/root/|/home/", text)] == []


def test_the_handbook_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    built = {path.name: path.read_text("utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert "index.html" in built
    # A fence that was not understood would be shown as it is written.
    assert [name for name, text in built.items() if "```" in text] == []
