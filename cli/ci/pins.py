"""Owns which runtime image a stack file names; comments, order and quotes of the file stay as people wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandError, Exit
from infra.plan import config
from infra.rules import PLACEHOLDER_DIGEST
from infra.sections import ImageReference
from infra.settings import LAYERS

_WIDTH = 1_000_000
"""Columns before a long line is folded: never."""


def pin(path: Path, image: str) -> str:
    """Make ``images.runtime`` of a stack file the image, pinned by digest; says what became of it.

    Raises CommandError where the image has no digest, or the file cannot be read or is not of its form.
    """
    _check(image)
    data = _load(path)
    settings = data.get("config") if isinstance(data, dict) else None
    if not isinstance(settings, dict):
        raise CommandError(f"{path.name}: config: must be a mapping of keys to values")
    key = _key(path, settings, "layers")
    layers = settings.get(key) or LAYERS
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise CommandError(f"{path.name}: {key}: must be a list of layers")
    if not any(layer in layers for layer in ("services", "fleet")):
        return "runs no image"
    key = _key(path, settings, "images")
    if settings.get(key) is None:
        settings[key] = {}
    images = settings[key]
    if not isinstance(images, dict):
        raise CommandError(f"{path.name}: {key}: is a section: write its keys under it, as in runtime: {image}")
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


def _key(path: Path, settings: Mapping[str, Any], section: str) -> str:
    """The key a section has here: with the project before it or, as the engine takes it too, without."""
    full = f"{config.project().name}:{section}"
    if section not in settings:
        return full
    if full in settings:
        raise CommandError(f"{path.name}: config has both {section} and {full}: take one of them out")
    return section


def _load(path: Path) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _yaml().load(path.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"{path.name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path.name}: not readable as UTF-8 text") from None
    except MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        # Of a duplicate key the parser says both values too, which may be secrets.
        said = str(error.problem).partition(" with value ")[0]
        raise CommandError(f"{path.name}: {where}not readable as YAML: {said}") from None
    except (YAMLError, ValueError, AttributeError):
        # Of a tag or date that does not fit its value, the parser says what Python does.
        raise CommandError(f"{path.name}: not readable as YAML") from None


def _yaml() -> Any:
    # Imported here: it is slow, and only what edits needs it.
    from ruamel.yaml import YAML

    made = YAML()
    made.preserve_quotes = True
    made.width = _WIDTH
    made.indent(mapping=2, sequence=4, offset=2)
    return made
