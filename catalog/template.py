"""Owns the compilation and rendering of prompt templates; knows nothing of agents or models.

``str.format`` is not used on purpose: it lets a caller's value read attributes (``{a.__globals__}``)
and ask for megabyte widths (``{a:>9999999}``). A template here is compiled once, when the catalog
loads, and rendered in a single pass: what a value contains is never looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*\Z")
_FORBIDDEN = {".": "attribute access", "[": "indexing", "!": "a conversion", ":": "a format specification"}


class TemplateError(ValueError):
    """A template that does not compile; the message says what is wrong and where in the text."""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: literal texts and identifiers, in order.

    ``parts`` alternates: even positions are literal text, odd positions identifiers.
    """

    parts: tuple[str, ...]

    @property
    def identifiers(self) -> frozenset[str]:
        """The identifiers the template names."""
        return frozenset(self.parts[1::2])

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every identifier replaced by its value, in one pass.

        Raises KeyError where ``values`` lacks an identifier of the template.
        """
        if len(self.parts) == 1:
            return self.parts[0]
        return "".join(values[part] if index % 2 else part for index, part in enumerate(self.parts))


def compile_template(text: str) -> Template:
    """Compile ``text``; only ``{identifier}`` is a placeholder, literal braces are doubled.

    Raises TemplateError for a stray brace and for anything in braces but an identifier
    (lower case letters, digits and underscores), with its line and column.
    """
    if "{" not in text and "}" not in text:
        return Template((text,))
    parts, literal, at = [], "", 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        literal += text[at : match.start()]
        at = match.end()
        if token in ("{{", "}}"):
            literal += token[0]
        elif len(token) == 1:
            raise TemplateError(
                f"a single {token!r} {_where(text, match.start())}; write {token * 2!r} for a literal brace"
            )
        else:
            parts += [literal, _identifier(token, text, match.start())]
            literal = ""
    return Template((*parts, literal + text[at:]))


def _identifier(token: str, text: str, position: int) -> str:
    name = token[1:-1]
    if _IDENTIFIER.match(name):
        return name
    for character, meaning in _FORBIDDEN.items():
        if character in name:
            raise TemplateError(
                f"{token} {_where(text, position)} asks for {meaning} ({character!r}); only {{identifier}} is allowed"
            )
    raise TemplateError(
        f"{token} {_where(text, position)} is not an identifier (lower case letters, digits, underscores)"
    )


def _where(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return f"at line {line}, column {column}"
