"""Owns what every target of a rollout has: its files, the block that holds its rollout, the fields of its versions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from catalog.rollout import Rollout
from cli.rollouts.moves import Name, Slot
from cli.rollouts.text import Block, Document, New

Kind = Literal["agent", "pool", "stack"]


class Files:
    """The files a change reads and maybe changes."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[bytes, Document]] = {}

    def document(self, path: Path) -> Document:
        """A file's text. Raises TextError where it cannot be read as a mapping."""
        if path not in self._read:
            content = path.read_bytes()
            self._read[path] = content, Document(content.decode(), f"{path.parent.name}/{path.name}")
        return self._read[path][1]

    @property
    def changes(self) -> dict[Path, tuple[bytes, bytes]]:
        """Path → content before and after, of files that change."""
        found = {path: (before, document.changed.encode()) for path, (before, document) in self._read.items()}
        return {path: pair for path, pair in found.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Meaning:
    """What files say of a target: both versions, and everything else that must not change with them."""

    serving: object
    other: object
    rest: object


@dataclass(frozen=True)
class Target(ABC):
    """One agent, pool or stack."""

    kind: Kind
    name: str
    rollout: Rollout | None
    percent_key: str = "canary_percent"
    files: Files = field(default_factory=Files)

    @property
    def shown(self) -> str:
        """What to call it in a sentence."""
        return self.name if self.kind == "agent" else f"the {self.kind} {self.name}"

    @property
    def is_under_way(self) -> bool:
        """Whether there is a version beside the one that serves."""
        return self.rollout is not None and self.rollout.other is not None

    @abstractmethod
    def owner(self) -> Block | New:
        """The block that holds the rollout."""

    @abstractmethod
    def slot(self, name: Name) -> Slot:
        """Where the serving version has a field."""


def keys_before(block: Block, key: str) -> tuple[str, ...]:
    """The keys that stand before one; none where it is not there."""
    return block.keys[: block.keys.index(key)] if key in block.keys else ()
