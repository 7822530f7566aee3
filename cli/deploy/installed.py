"""Owns what is said where Pulumi's CLI is missing or too old: how to get it, and what works without."""

from __future__ import annotations

import shutil

from cli.errors import CommandError

MINIMUM = "3.206.0"
"""The first whose events arrive as a stream (the Automation API's own switch), which progress and guards read."""
PAGE = "https://www.pulumi.com/docs/install/"
WITHOUT = "fleet preview, cost, check, render, graph and doctor work without it"


def require_cli() -> None:
    """Raises CommandError where there is no `pulumi` on PATH."""
    if shutil.which("pulumi") is None:
        raise CommandError(f"pulumi is not on PATH: install its CLI, {MINIMUM} or newer ({PAGE}). {WITHOUT}")


def too_old(words: str) -> CommandError:
    """The error for a CLI of another version than ours, in the Automation API's words."""
    return CommandError(f"{words.strip()} fleet needs Pulumi's CLI {MINIMUM} or newer: {PAGE}. {WITHOUT}")
