"""Owns reading a shipped stack's settings for the pages that show what a stack has."""

from __future__ import annotations

from infra import settings
from infra.plan import config
from infra.settings import PlatformSpec


def spec(stack: str) -> PlatformSpec:
    """The validated settings of a shipped stack."""
    project = config.project()
    return settings.parse(dict(config.own_values(config.stack_config(project, stack), project.name)))
