"""Owns changing single keys of a YAML file as text, so that every line that is not meant stays byte for byte.

A parser says where keys begin and end; what is written is spliced in between. A dumper would reformat 25 agents to
change one. Only block mappings are changed; flow mappings (``{a: 1}``) are read and can be replaced whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

STEP = 2
"""Columns a mapping stands deeper than its key where we write it."""


class TextError(ValueError):
    """The file is not written in a way that can be changed here; the message says where and how to write it."""


@dataclass(frozen=True)
class Value:
    """A value as it is written: what follows its key, the colon included; later lines relative to the key's column."""

    text: str

    @classmethod
    def scalar(cls, text: object) -> Value:
        """A value of one line."""
        return cls(f": {text}\n")

    @classmethod
    def mapping(cls, fields: Mapping[str, Value], comment: str = "") -> Value:
        """A block mapping, with a comment beside its key."""
        return cls(
            f":{'  # ' + comment if comment else ''}\n"
            + "".join(_moved(value.under(key), 0, STEP) for key, value in fields.items())
        )

    def under(self, key: str) -> str:
        """Key and value at column 0."""
        return key + self.text


class Document:
    """One file's text, read once; ``changed`` is the text with every change made to its blocks."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._crlf = text.count("\r\n") == text.count("\n") > 0
        plain = text.replace("\r\n", "\n") if self._crlf else text
        self._ends = plain.endswith("\n")
        self.text = plain if self._ends else plain + "\n"
        try:
            node = YAML(typ="safe", pure=True).compose(self.text)
        except YAMLError as error:
            raise TextError(f"{name}: not readable as YAML: {error}") from None
        if not isinstance(node, MappingNode):
            raise TextError(f"{name}: must be a mapping of keys to values")
        self._blocks: dict[int, Block] = {}
        self._splices: list[tuple[int, int, str, int]] = []
        self._new: list[New] = []
        self.root = self.block(node, len(self.text), None, "")

    def block(self, node: MappingNode, end: int, parent: Block | None, key: str) -> Block:
        """The one Block of a node."""
        return self._blocks.setdefault(id(node), Block(self, node, end, parent, key))

    def splice(self, start: int, end: int, text: str, column: int = 0) -> None:
        """Replace a stretch of the text; stretches must not overlap.

        Of what is inserted at one place, the deeper ``column`` comes first: an inner mapping ends before the outer one.
        """
        self._splices.append((start, end, text, column))

    def new(self, parent: Block, key: str) -> New:
        """A mapping that is not there yet and is written once something is put into it."""
        found = next((one for one in self._new if one.parent is parent and one.key == key), None)
        if found is None:
            self._new.append(found := New(parent, key, {}))
        return found

    @cached_property
    def changed(self) -> str:
        """The text with every change; nothing can be changed after it."""
        for one in self._new:
            if one.fields:
                one.parent.put(one.key, Value.mapping(one.fields))
        for block in reversed(list(self._blocks.values())):
            block.close()
        text: list[str] = []
        at = 0
        for start, end, put, _ in sorted(self._splices, key=lambda one: (one[0], one[0] != one[1], -one[3])):
            text += [self.text[at:start], put]
            at = end
        whole = "".join([*text, self.text[at:]])
        whole = whole if self._ends else whole[:-1]
        return whole.replace("\n", "\r\n") if self._crlf else whole


class Block:
    """A mapping of a document and where it lies."""

    def __init__(self, document: Document, node: MappingNode, end: int, parent: Block | None, key: str) -> None:
        self._document = document
        self._end = end
        self._parent, self._key = parent, key
        self._is_flow = bool(node.flow_style)
        self._nodes: dict[str, tuple[Any, Any]] = {str(name.value): (name, value) for name, value in node.value}
        self._column = int(node.start_mark.column)
        self._removed: set[str] = set()
        self._grew = False

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys in order."""
        return tuple(self._nodes)

    @property
    def is_flow(self) -> bool:
        """Whether it is written ``{in: braces}``."""
        return self._is_flow

    def value(self, key: str) -> Value | None:
        """The value as written, or None where the key is not there."""
        if key not in self._nodes:
            return None
        name, node = self._nodes[key]
        if self._is_flow:
            return Value.scalar(self._document.text[node.start_mark.index : node.end_mark.index])
        _, end = self._span(key)
        after = self._document.text[name.end_mark.index : end]
        if not after.lstrip(" ").startswith(":"):
            raise TextError(f"{self._document.name}: {key}: write it as `{key}: value`")
        first, newline, rest = after.partition("\n")
        return Value(first + newline + _moved(rest, self._column, 0))

    def scalar(self, key: str) -> str | None:
        """The text of a scalar, or None where there is none."""
        node = self._nodes[key][1] if key in self._nodes else None
        return str(node.value) if isinstance(node, ScalarNode) else None

    def comment(self, key: str) -> str:
        """The comment beside a key whose value is a block."""
        value = self.value(key)
        return "" if value is None else value.text.partition("\n")[0].partition("#")[2].strip()

    def block(self, key: str) -> Block | None:
        """The mapping under a key, or None where there is none."""
        if key not in self._nodes:
            return None
        node = self._nodes[key][1]
        if not isinstance(node, MappingNode):
            raise TextError(f"{self._document.name}: {key}: must be a mapping")
        end = self._end if self._is_flow else self._span(key)[1]
        return self._document.block(node, end, self, key)

    def block_or_new(self, key: str) -> Block | New:
        """The mapping under a key, or one that comes to be with what is put into it."""
        return self.block(key) or self._document.new(self, key)

    def entry(self, key: str, identity: str) -> Block | None:
        """The mapping of the list under ``key`` whose ``id`` is that, or None."""
        node = self._nodes[key][1] if key in self._nodes else None
        if not isinstance(node, SequenceNode):
            return None
        _, end = self._span(key)
        ends = [*(self._line_start(one.start_mark.index) for one in node.value[1:]), end]
        for one, stop in zip(node.value, ends, strict=True):
            if isinstance(one, MappingNode) and any(k.value == "id" and v.value == identity for k, v in one.value):
                return self._document.block(one, stop, None, "")
        return None

    def put(self, key: str, value: Value | None, after: Iterable[str] = ()) -> None:
        """Set, insert or (None) take away a key; inserted behind the last of ``after`` that is there, else at the end."""
        if value is None and key not in self._nodes:
            return
        if self._is_flow:
            raise TextError(
                f"{self._document.name}: {self._key or key}: written in braces: write it as a block, a key a line"
            )
        if value is None:
            if self._is_behind_dash(key):
                raise TextError(f"{self._document.name}: {key}: stands first in its entry: begin the entry with its id")
            self._removed.add(key)
            return
        text = _moved(value.under(key), 0, self._column)
        if key in self._nodes:
            start, end = self._span(key)
            self._document.splice(start, end, text[self._column :] if self._is_behind_dash(key) else text)
            return
        self._grew = True
        anchors = [one for one in after if one in self._nodes] or list(self._nodes)[-1:]
        place = self._span(anchors[-1])[1]
        self._document.splice(place, place, text, self._column)

    def close(self) -> None:
        """Take away what is to go; a mapping that has nothing left goes with its key."""
        if self._parent is not None and self._removed == set(self._nodes) and not self._grew:
            self._parent.put(self._key, None)
            return
        for key in self._removed:
            self._document.splice(*self._span(key), "")

    def _span(self, key: str) -> tuple[int, int]:
        """Where a key's lines begin and end; the first of a list's entry begins behind the dash."""
        name, node = self._nodes[key]
        names = list(self._nodes)
        after = names[names.index(key) + 1 :]
        limit = self._line_start(self._nodes[after[0]][0].start_mark.index) if after else self._end
        begin = int(name.start_mark.index)
        start = begin if self._is_behind_dash(key) else self._line_start(begin)
        if isinstance(node, ScalarNode) and node.style is None and node.value == "":
            return start, self._document.text.index("\n", int(name.end_mark.index)) + 1
        lines = _lines(self._document.text[start:limit])
        while len(lines) > 1 and _is_between(lines[-1], self._column):
            lines.pop()
        return start, start + sum(map(len, lines))

    def _is_behind_dash(self, key: str) -> bool:
        begin = int(self._nodes[key][0].start_mark.index)
        return bool(self._document.text[self._line_start(begin) : begin].strip())

    def _line_start(self, index: int) -> int:
        return self._document.text.rfind("\n", 0, index) + 1


@dataclass
class New:
    """A mapping that is not there yet."""

    parent: Block
    key: str
    fields: dict[str, Value]

    def put(self, key: str, value: Value | None, after: Iterable[str] = ()) -> None:
        """Set a key; there is nothing to take away."""
        if value is not None:
            self.fields[key] = value


def _lines(text: str) -> list[str]:
    # str.splitlines also ends lines where YAML does not (form feed, U+2028).
    return [line + "\n" for line in text.split("\n")[:-1]]


def _is_between(line: str, column: int) -> bool:
    """Whether a line after a value is none of it: blank, or a comment that stands no deeper than the key."""
    stripped = line.lstrip(" ")
    return not stripped.strip() or (stripped.startswith("#") and len(line) - len(stripped) <= column)


def _moved(text: str, column: int, to: int) -> str:
    """Lines from one column to another; blank lines stay as they are."""
    moved = []
    for line in _lines(text):
        bare = line[min(column, len(line) - len(line.lstrip(" "))) :]
        moved.append(" " * to + bare if line.strip() else line)
    return "".join(moved)
