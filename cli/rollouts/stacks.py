"""Owns the rollouts of whole stacks: where a stack's file says what its fleet is, and what its versions are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CommandError, Exit
from cli.rollouts.moves import Before, Name, Slot
from cli.rollouts.target import Files, Meaning, Target, keys_before
from cli.rollouts.text import Block, New
from infra import settings
from infra.plan import config
from infra.plan.config import ConfigError, Project
from infra.sections import FleetChanges, FleetSettings, ImageSettings
from infra.settings import PlatformSpec

# Name of a field within the changes → section and key where the serving version has it.
_FIELDS: Mapping[str, tuple[str, str]] = {
    "image": ("images", "runtime"),
    "model": ("fleet", "model"),
    "maxTokens": ("fleet", "maxTokens"),
    "logLevel": ("fleet", "logLevel"),
}


@dataclass(frozen=True)
class StackTarget(Target):
    """A stack's whole fleet."""

    project: Project | None = None
    spec: PlatformSpec | None = None

    @property
    def path(self) -> Path:
        """The stack's file."""
        assert self.project is not None
        return self.project.stacks / f"Pulumi.{self.name}.yaml"

    def owner(self) -> Block | New:
        """See Target."""
        return self._section(self.files, self.path, "fleet")

    def slot(self, name: Name) -> Slot:
        """See Target."""
        section, key = _FIELDS[name[0]]
        default = getattr(FleetSettings() if section == "fleet" else ImageSettings(), _python(key))
        return Slot(
            self._section(self.files, self.path, section), key, name, f'"{default}"' if default == "" else str(default)
        )

    def meaning(self, spec: PlatformSpec) -> Meaning:
        """What a stack's settings say of it."""
        serving = serving_of(spec)
        rollout = spec.fleet.rollout
        changes = rollout.other if rollout else None
        fleet = spec.fleet.model_copy(update={"rollout": None, "model": "", "max_tokens": 0, "log_level": ""})
        rest = spec.model_copy(update={"fleet": fleet, "images": spec.images.model_copy(update={"runtime": ""})})
        return Meaning(serving, other_of(serving, changes), rest)

    def texts(self, names: Iterable[Name], path: Path) -> Before:
        """How the named fields are written in another file of the stack."""
        files = Files()
        found: dict[Name, Any] = {}
        for name in names:
            section, key = _FIELDS[name[0]]
            block = self._section(files, path, section)
            found[name] = (block.value(key), keys_before(block, key)) if isinstance(block, Block) else (None, ())
        return dict(sorted(found.items(), key=lambda one: len(one[1][1])))

    def _section(self, files: Files, path: Path, section: str) -> Block | New:
        root = files.document(path).root
        values = root.block("config")
        if values is None:
            raise CommandError(f"{path}: has no config")
        for key in (f"{settings.PROJECT}:{section}", section):
            if key in values:
                return values.block_or_new(key)
        return values.block_or_new(f"{settings.PROJECT}:{section}")


def serving_of(spec: PlatformSpec) -> dict[str, object]:
    """What a rollout of the fleet may change, as it serves now."""
    return {name: getattr(getattr(spec, section), _python(key)) for name, (section, key) in _FIELDS.items()}


def other_of(serving: Mapping[str, object], changes: FleetChanges | None) -> dict[str, object] | None:
    """The same of the version beside it."""
    if changes is None:
        return None
    stated = {name: getattr(changes, _python(name)) for name in _FIELDS}
    return {**serving, **{name: value for name, value in stated.items() if value is not None}}


def stack(name: str) -> StackTarget:
    """A stack's target. Raises CommandError with every problem of its file."""
    project = config.project()
    spec = stack_spec(project, name)
    return StackTarget("stack", name, spec.fleet.rollout, "canaryPercent", project=project, spec=spec)


def stack_spec(project: Project, name: str) -> PlatformSpec:
    """A stack's validated settings. Raises CommandError with every problem of its file."""
    try:
        return settings.parse(dict(config.own_values(config.stack_config(project, name), project.name)))
    except (ConfigError, settings.SettingsError) as error:
        raise CommandError(str(error), Exit.USAGE) from None


def stack_names() -> list[str]:
    """Names of the stacks there are; none where this is no project."""
    try:
        return config.stacks(config.project())
    except ConfigError:
        return []


def stacks_under_way() -> Iterator[StackTarget]:
    """Stacks with two versions; files that cannot be read are left out."""
    for name in stack_names():
        try:
            found = stack(name)
        except CommandError:
            continue
        if found.is_under_way:
            yield found


def _python(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
