"""The handbook as the tests read it: pages, headings, links, code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown.extensions.toc import slugify

from cli.docs import DOCS, PAGES, ROOT

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path below docs/."""
        return str(self.path.relative_to(DOCS))

    @property
    def generated(self) -> bool:
        """Whether `fleet docs` writes it."""
        return self.name in PAGES

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def prose(self) -> str:
        """Without fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
            for indent, language, text in _FENCE.findall(self.text)
        )

    @cached_property
    def headings(self) -> tuple[tuple[int, str], ...]:
        return tuple(
            (len(marks), title.strip()) for marks, title in re.findall(r"^(#{1,6}) (.+)$", self.prose, re.MULTILINE)
        )

    @cached_property
    def anchors(self) -> frozenset[str]:
        """Anchors that both the built site and a repository's own view of the file know."""
        return frozenset(slugify(title, "-") for _, title in self.headings) & frozenset(
            re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in self.headings
        )

    @property
    def links(self) -> Iterator[str]:
        """Targets of links and pictures that are no URLs."""
        for target in re.findall(r"\]\(([^)\s]+)\)", self.prose):
            if not re.match(r"[a-z]+:", target):
                yield target

    @cached_property
    def spans(self) -> tuple[str, ...]:
        """Code within the prose."""
        return tuple(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", self.prose))

    def section(self, title: str) -> str:
        """The text below a heading, up to the next of its level or above."""
        found = re.search(
            rf"^(#+) {re.escape(title)}$\n(.*?)(?=^#{{1,6}} )", f"{self.text}\n# ", re.MULTILINE | re.DOTALL
        )
        assert found, f"{self.name}: no section {title!r}"
        level = len(found[1])
        whole = re.search(
            rf"^#{{{level}}} {re.escape(title)}$\n(.*?)(?=^#{{1,{level}}} )",
            f"{self.text}\n# ",
            re.MULTILINE | re.DOTALL,
        )
        assert whole
        return whole[1]

    def first_column(self, section: str) -> list[str]:
        """What stands in the first column of the tables of a section, without marks of code."""
        rows = re.findall(r"^\| *([^|]+?) *\|", self.section(section), re.MULTILINE)
        return [row.strip("`") for row in rows if row.startswith("`")]

    @property
    def commands(self) -> Iterator[list[str]]:
        """Command lines of fleet in blocks of sh: the words after fleet."""
        for block in self.blocks:
            if block.language == "sh":
                for line in block.text.splitlines():
                    words = shlex.split(line, comments=True)
                    if words[:1] in (["./fleet"], ["fleet"]):
                        yield words[1:]


def pages() -> list[Page]:
    """Every page."""
    return [Page(path) for path in sorted(DOCS.rglob("*.md"))]


def page(name: str) -> Page:
    """One page by its path below docs/."""
    return Page(DOCS / name)


def written() -> list[Page]:
    """Pages written by hand."""
    return [each for each in pages() if not each.generated]


__all__ = ["DOCS", "ROOT", "Block", "Page", "page", "pages", "written"]
