"""Owns which runtime image a stack file names; comments, order and quotes of the file stay as people wrote them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandError, Exit
from infra.plan import config
from infra.rules import PLACEHOLDER_DIGEST
from infra.settings import LAYERS, ImageReference

_WIDTH = 1_000_000
"""Columns before a long line is folded: never."""


def pin(path: Path, image: str) -> str:
    """Make ``images.runtime`` of a stack file the image, pinned by digest; says what became of it.

    Raises CommandError where the image has no digest, or the file cannot be read.
    """
    _check(image)
    name = config.project().name
    text = _read(path)
    data = _yaml().load(text)
    settings = data.get("config") if isinstance(data, dict) else None
    if not isinstance(settings, dict):
        raise CommandError(f"{path.name}: config: must be a mapping of keys to values")
    layers = settings.get(f"{name}:layers") or LAYERS
    if not {"services", "fleet"} & set(layers):
        return "runs no image"
    images = settings.setdefault(f"{name}:images", {})
    if images.get("runtime") == image:
        return "unchanged"
    images["runtime"] = image
    out = StringIO()
    _yaml().dump(data, out)
    path.write_text(out.getvalue(), "utf-8")
    return "pinned"


def _check(image: str) -> None:
    try:
        TypeAdapter(ImageReference).validate_python(image)
    except ValidationError:
        raise CommandError(
            f"{image!r}: must be an image pinned by digest: registry/name@sha256: and 64 hexadecimal digits", Exit.USAGE
        ) from None
    if image.endswith(PLACEHOLDER_DIGEST):
        raise CommandError(f"{image!r} is the placeholder: name the image that was built", Exit.USAGE)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise CommandError(f"{path.name}: {error.strerror}") from None


def _yaml() -> Any:
    # Imported here: it is slow, and only what edits needs it.
    from ruamel.yaml import YAML

    made = YAML()
    made.preserve_quotes = True
    made.width = _WIDTH
    made.indent(mapping=2, sequence=4, offset=2)
    return made
