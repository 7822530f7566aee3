"""Owns the component that holds a cloud's foundation layer together, the same for every cloud."""

from __future__ import annotations

import pulumi
from pulumi import ResourceOptions


class Layer(pulumi.ComponentResource):
    """Parent of everything of one layer, so that a preview groups by layer. Children name it in ``parent``."""

    def __init__(self, name: str, *, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"platform:layer:{name.capitalize()}", name, {}, opts)
        self.register_outputs({})
