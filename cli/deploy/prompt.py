"""Owns asking a person at a terminal. Nobody there answers nothing, which is never a yes."""

from __future__ import annotations


def asked_for(question: str) -> str:
    """What the person typed, without the spaces around it; "" at the end of input."""
    try:
        return input(question).strip()
    except EOFError:
        return ""
