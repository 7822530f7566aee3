"""Owns the copies of the catalog that processes read: what they serve stays as it was when they were started.

A process that comes back after a crash must serve what it served before, whatever was edited meanwhile; so none of
them reads the catalog itself. Control reads a copy of the whole, each version of agents a folder with one file per
agent, as a pod mounts its ConfigMaps. Who uses which of them is changes.py's.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from catalog.registry import dump_agent
from catalog.versions import Version

_FOLDER = "catalog"
_HEX = 12


def snapshot(state_folder: Path, source: Path) -> Path:
    """A copy of the catalog's files below ``source``, named by their content; ``source`` itself where it is no folder."""
    if not source.is_dir():
        return source
    # Read before it is hashed: the copy is of one moment, whoever edits the catalog meanwhile.
    files = {path.relative_to(source): path.read_bytes() for path in sorted(_catalog_files(source))}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)

    def write(folder: Path) -> None:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.write_bytes(content)

    return _placed(state_folder / _FOLDER / f"whole-{digest.hexdigest()[:_HEX]}", write)


def of_version(state_folder: Path, version: Version, digest: str) -> Path:
    """The folder of a version's agents, ``<agent id>.json`` each; ``digest`` is its content's, of everything it runs by."""

    def write(folder: Path) -> None:
        for agent in version.agents:
            (folder / f"{agent.id}.json").write_bytes(dump_agent(agent))

    return _placed(state_folder / _FOLDER / f"{version.name}-{digest[:_HEX]}", write)


def sweep(state_folder: Path, used: Collection[Path]) -> None:
    """Remove every copy but ``used``, and what a killed process left half written."""
    folder = state_folder / _FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in used:
            shutil.rmtree(path, ignore_errors=True)


def _catalog_files(source: Path) -> Iterator[Path]:
    """What registry.load reads: both of its forms, without the hidden folders behind a mounted ConfigMap."""
    for path in source.rglob("*"):
        is_hidden = any(part.startswith("..") for part in path.relative_to(source).parts)
        if path.suffix in (".yaml", ".yml", ".json") and not is_hidden and path.is_file():
            yield path


def _placed(target: Path, write: Callable[[Path], None]) -> Path:
    """``target`` as ``write`` fills it: there whole or not at all."""
    if not target.is_dir():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        partial = target.parent / f".{secrets.token_hex(4)}"
        partial.mkdir(mode=0o700)
        write(partial)
        os.rename(partial, target)
    return target
