"""Changing keys of YAML as text: what is not meant stays byte for byte, what is meant means what it should."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.rollouts.text import Block, Document, TextError, Value

TEXT = """\
# head
title: "Two"   # beside

# before agents
agents:
  - id: a
    prompt:
      text: |-
        line

        # not a comment
      note: x
    # of model
    model: {model: m} # tail

  - id: b
    "tags": [x,
       y]
    prompt: >+
      kept

# foot
"""


def _entry(document: Document, identity: str) -> Block:
    found = document.root.entry("agents", identity)
    assert found is not None
    return found


def test_a_document_that_is_not_changed_is_the_same() -> None:
    assert Document(TEXT, "f").changed == TEXT


def test_one_key_is_replaced_and_every_other_line_stays() -> None:
    document = Document(TEXT, "f")
    _entry(document, "a").put("model", Value.scalar("{model: n}"))
    assert document.changed == TEXT.replace("model: {model: m} # tail", "model: {model: n}")


def test_a_key_is_taken_away_with_its_lines_and_without_the_comment_before_the_next() -> None:
    document = Document(TEXT, "f")
    _entry(document, "a").put("prompt", None)
    assert document.changed == TEXT.replace(
        "    prompt:\n      text: |-\n        line\n\n        # not a comment\n      note: x\n", ""
    )


def test_a_value_moved_to_another_depth_means_the_same() -> None:
    document = Document(TEXT, "f")
    value = _entry(document, "a").value("prompt")
    assert value is not None
    document.root.put("moved", Value.mapping({"deeper": Value.mapping({"prompt": value})}))
    read = yaml.safe_load(document.changed)
    assert read["moved"]["deeper"]["prompt"] == read["agents"][0]["prompt"]
    assert document.changed.startswith(TEXT.removesuffix("\n# foot\n"))


def test_insertions_at_one_place_end_the_inner_mapping_first() -> None:
    document = Document("a:\n  b: 1\n", "f")
    inner = document.root.block("a")
    assert inner is not None
    document.root.put("z", Value.scalar(3))
    inner.put("c", Value.scalar(2))
    assert document.changed == "a:\n  b: 1\n  c: 2\nz: 3\n"


def test_a_mapping_that_loses_its_last_key_goes_with_it_unless_it_gains_another() -> None:
    document = Document("a:\n  b: 1\nc: 2\n", "f")
    inner = document.root.block("a")
    assert inner is not None
    inner.put("b", None)
    assert document.changed == "c: 2\n"
    document = Document("a:\n  b: 1\nc: 2\n", "f")
    inner = document.root.block("a")
    assert inner is not None
    inner.put("b", None)
    inner.put("d", Value.scalar(4))
    assert document.changed == "a:\n  d: 4\nc: 2\n"


@pytest.mark.parametrize("text", [TEXT.replace("\n", "\r\n"), TEXT.rstrip("\n"), "a: 1"])
def test_line_ends_and_a_missing_last_one_stay_as_they_are(text: str) -> None:
    document = Document(text, "f")
    document.root.put("new", Value.mapping({"key": Value.scalar(1)}))
    changed = document.changed
    assert ("\r\n" in changed) == ("\r\n" in text)
    assert changed.endswith("\n") == text.endswith("\n")
    again = Document(changed, "f")
    again.root.put("new", None)
    assert again.changed == text


def test_what_cannot_be_changed_by_lines_is_refused_with_what_to_write() -> None:
    with pytest.raises(TextError, match="as a block"):
        Document("a: {b: 1}\n", "f").root.block("a").put("b", None)  # type: ignore[union-attr]
    with pytest.raises(TextError, match="begin the entry with its id"):
        _entry(Document(TEXT, "f"), "b").put("id", None)
    with pytest.raises(TextError, match="not readable as YAML"):
        Document("a: [", "f")


_KEYS = st.text("abcdefgh", min_size=1, max_size=4)
_SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=40),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(_KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_KEYS, _VALUES, min_size=2, max_size=5), st.sampled_from(["'", '"', "|", None]), st.data())
def test_taking_a_key_out_and_putting_it_back_changes_only_where_it_stands(
    mapping: dict[str, object], style: str | None, data: st.DataObject
) -> None:
    text = yaml.safe_dump(
        {"top": mapping}, default_style=style, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    key = data.draw(st.sampled_from(sorted(mapping)))
    document = Document(text, "f")
    block = document.root.block("top")
    assert block is not None
    value = block.value(key)
    assert value is not None
    block.put(key, None)
    document.root.put("moved", Value.mapping({"deeper": Value.mapping({key: value})}))
    read = yaml.safe_load(document.changed)
    assert read == {"top": {k: v for k, v in mapping.items() if k != key}, "moved": {"deeper": {key: mapping[key]}}}
