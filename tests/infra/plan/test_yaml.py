"""Written YAML means the same to every parser."""

from __future__ import annotations

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from infra.plan import yaml

AMBIGUOUS = ["y", "N", "yes", "off", "null", "~", "1.35", "012", "1_000", "0o7", "0x1f", "1e3", "2026-01-01", "2026-01-01T00:00:00Z", "12:30", "=", "<<", "", "- a", "a: b", "#x", "{a", "line\nline\n", "  lead", "1:30:00"]  # fmt: skip


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_text_stays_a_text_wherever_it_stands(text: str) -> None:
    value = {"a": text, "list": [text, [text], {"deep": text}], "block": "first\n2026-01-01\ny\nlast\n"}
    assert pyyaml.safe_load(yaml.document(value)) == value


@pytest.mark.parametrize("key", ["y", "N", "on", "2026-01-01", "1_000", "true", "8080"])
def test_a_key_stays_a_text(key: str) -> None:
    assert pyyaml.safe_load(yaml.document({key: 1, "in": [{key: "x"}]})) == {key: 1, "in": [{key: "x"}]}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abyn_019-", min_size=1, max_size=6), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_value_reads_back_as_it_was(value: object) -> None:
    assert pyyaml.safe_load(yaml.document({"value": value})) == {"value": value}


def test_documents_follow_one_another() -> None:
    assert list(pyyaml.safe_load_all(yaml.documents([{"a": 1}, {"b": 2}]))) == [{"a": 1}, {"b": 2}]


def test_keys_come_in_the_order_people_expect() -> None:
    value = {"spec": {"z": 1, "name": "n"}, "kind": "K", "metadata": {"labels": {}, "name": "x"}, "apiVersion": "v1"}
    assert list(yaml.ordered(value)) == ["apiVersion", "kind", "metadata", "spec"]
    assert list(yaml.ordered(value)["spec"]) == ["name", "z"]
