from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.template import TemplateError, compile_template


def test_identifiers_are_replaced_in_a_single_pass() -> None:
    template = compile_template("Plan {venture} for {audience}.")
    assert template.identifiers == {"venture", "audience"}
    assert template.render({"venture": "{audience}", "audience": "a bank"}) == "Plan {audience} for a bank."


def test_doubled_braces_are_literal() -> None:
    assert compile_template('{{"key": {value}}}').render({"value": "1"}) == '{"key": 1}'


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("{a.__globals__}", "attribute access"),
        ("{a[0]}", "indexing"),
        ("{a!r}", "a conversion"),
        ("{a:>9999999}", "a format specification"),
        ("{a:{b}}", "single"),
        ("{}", "not an identifier"),
        ("{A}", "not an identifier"),
        ("{ a }", "not an identifier"),
        ("{a", "single '{'"),
        ("a}", "single '}'"),
    ],
)
def test_anything_but_an_identifier_is_refused_with_its_place(text: str, meaning: str) -> None:
    with pytest.raises(TemplateError, match="line 2, column") as refused:
        compile_template("first line\n" + text)
    assert meaning in str(refused.value)


def test_a_value_that_is_missing_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        compile_template("{a}").render({})


@given(st.text())
def test_any_text_survives_as_a_value(value: str) -> None:
    assert compile_template("<{a}>").render({"a": value}) == f"<{value}>"


@given(st.text())
def test_any_text_survives_as_a_literal_once_its_braces_are_doubled(text: str) -> None:
    assert compile_template(text.replace("{", "{{").replace("}", "}}")).render({}) == text
