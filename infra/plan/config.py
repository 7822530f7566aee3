"""Owns reading Pulumi.yaml and stacks/Pulumi.<stack>.yaml the way the engine hands them to a program.

Nested objects become JSON text, scalars become strings, and a ``secure:`` value becomes a placeholder that
is never decrypted: it is unmistakable, so that a policy can find a secret that lost its marker, and it
follows the ciphertext, so that a diff notices a rotation. What the values mean is ``infra.settings``.

Depends on nothing of the program, so that it can read another commit's folder.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml_rs

PROJECT_FILE = "Pulumi.yaml"
PLACEHOLDER = "pulumi-secret-"
"""Start of what stands for a ``secure:`` value in an offline plan."""

ROOT = Path(__file__).resolve().parents[2]
"""This repository's own root."""


class ConfigError(Exception):
    """A project or stack file that cannot be read; the message names file and key."""


@dataclass(frozen=True)
class Project:
    """What Pulumi.yaml says."""

    root: Path
    name: str
    main: str
    """Folder of the program, relative to the root."""
    stacks: Path
    """Folder of the stack files."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Defaults of the config schema: full key → engine text."""


@dataclass(frozen=True)
class StackConfig:
    """One stack's configuration as a program gets it."""

    stack: str
    values: Mapping[str, str]
    """Full key (``ai-agents-platform:cloud``) → text; objects and lists as JSON."""
    secrets: frozenset[str] = frozenset()
    """Full keys that hold a secret anywhere."""


def project(root: Path = ROOT, *, required: bool = True) -> Project:
    """The project of a repository. Raises ConfigError where Pulumi.yaml is broken or, if ``required``, missing."""
    path = root / PROJECT_FILE
    if not required and not path.exists():
        return Project(root, "ai-agents-platform", "infra", root / "stacks")
    data = _read(path)
    name = data.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{PROJECT_FILE}: name: required, the project's name")
    main, folder = data.get("main", "."), data.get("stackConfigDir", ".")
    for key, value in (("main", main), ("stackConfigDir", folder)):
        if not isinstance(value, str):
            raise ConfigError(f"{PROJECT_FILE}: {key}: must be a folder, got {value!r}")
    defaults = {}
    for key, schema in (data.get("config") or {}).items():
        if isinstance(schema, dict) and schema.get("default") is not None:
            defaults[_full(key, name)] = schema["default"]
    return Project(root, name, main, root / folder, defaults)


def stacks(found: Project) -> list[str]:
    """Names of the stacks there are, sorted."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in found.stacks.glob("Pulumi.*.yaml")
    )


def matching(found: Project, patterns: list[str]) -> list[str]:
    """Stacks that match any of the names or shell patterns, in order. Raises ConfigError where one matches nothing."""
    known = stacks(found)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        hits = fnmatch.filter(known, pattern)
        if not hits:
            raise unknown_stack(found, pattern)
        chosen.update(dict.fromkeys(hits))
    return list(chosen)


def unknown_stack(found: Project, stack: str) -> ConfigError:
    """The error for a stack that is not there; lists those that are."""
    known = stacks(found)
    listed = ", ".join(known) if known else f"none yet: write {found.stacks.name}/Pulumi.<stack>.yaml"
    return ConfigError(f"no stack {stack!r}; the stacks are: {listed}")


def stack_config(found: Project, stack: str) -> StackConfig:
    """A stack's configuration, defaults of Pulumi.yaml included. Raises ConfigError."""
    path = found.stacks / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        raise unknown_stack(found, stack)
    config = _read(path).get("config") or {}
    if not isinstance(config, dict):
        raise ConfigError(f"{_shown(path)}: config: must be a mapping of keys to values")
    return from_values(found, stack, config, where=_shown(path))


def from_values(found: Project, stack: str, config: Mapping[str, Any], where: str = "configuration") -> StackConfig:
    """A stack's configuration from plain data, with the project's defaults. Raises ConfigError."""
    data: dict[str, Any] = {}
    secrets: set[str] = set()
    for key, raw in config.items():
        if not isinstance(key, str):
            raise ConfigError(f"{where}: config.{key}: a key must be text")
        full = _full(key, found.name)
        value, secret = _without_secrets(raw, f"{where}: {full}")
        if secret:
            secrets.add(full)
        if value is not None:
            data[full] = value
    for path, default in found.defaults.items():
        _default(data, path.split("."), default)
    return StackConfig(stack, {full: _text(value) for full, value in data.items()}, frozenset(secrets))


def _default(data: dict[str, Any], path: list[str], value: Any) -> None:
    """Set ``value`` at ``path`` where nothing is: the engine reads the project's keys as property paths."""
    head, *rest = path
    if not rest:
        data.setdefault(head, value)
        return
    inner = data.setdefault(head, {})
    if isinstance(inner, dict):
        _default(inner, rest, value)


def own_values(config: StackConfig, name: str) -> Iterator[tuple[str, Any]]:
    """The project's own keys (without its name) and their values as data; objects decoded as settings does."""
    for full, text in config.values.items():
        namespace, _, key = full.partition(":")
        if namespace == name:
            yield key, _decoded(text)


def _decoded(text: str) -> Any:
    if text.startswith(("{", "[", '"')) or text in ("true", "false"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


def _without_secrets(value: Any, where: str) -> tuple[Any, bool]:
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            if not isinstance(value["secure"], str):
                raise ConfigError(f"{where}: secure: must be the ciphertext that `pulumi config set --secret` wrote")
            return PLACEHOLDER + hashlib.sha256(value["secure"].encode()).hexdigest()[:16], True
        pairs = {str(key): _without_secrets(item, f"{where}.{key}") for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, any(secret for _, secret in pairs.values())
    if isinstance(value, list):
        items = [_without_secrets(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return [item for item, _ in items], any(secret for _, secret in items)
    return value, False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return json.dumps(value, separators=(",", ":"), default=str)


def _full(key: str, name: str) -> str:
    return key if ":" in key else f"{name}:{key}"


def _unquoted(message: str) -> str:
    """A parser's words without the lines of the file it quotes: there may be a secret in them."""
    return ": ".join(line for line in message.split("\n") if not re.match(r" *[0-9]* *\|", line))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml_rs.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{_shown(path)}: no such file; run from the repository's root") from None
    except (yaml_rs.YAMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_shown(path)}: not readable as YAML: {_unquoted(str(error))}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{_shown(path)}: must be a mapping, got {type(data).__name__}")
    return data


def _shown(path: Path) -> str:
    return path.name if path.name == PROJECT_FILE else f"{path.parent.name}/{path.name}"
