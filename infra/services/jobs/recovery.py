"""Owns the recovery keys of Vault between runs: a document in a secret store, and a spool beside it.

One generation for each time a Vault was initialized, newest first, and none is thrown away with the next: a
snapshot of an older Vault can only be opened with that Vault's keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from .stores import SecretStore

KEPT = 5
"""Generations kept."""


@dataclass(frozen=True)
class Generation:
    """The keys of one initialized Vault."""

    kind: str
    """``recovery`` where a cloud's key unseals, ``unseal`` where these do."""
    keys: Sequence[str]
    """Base64."""
    threshold: int
    initialized_at: str
    root_token: str = ""
    """Only until the bootstrap that initialized has finished."""

    @classmethod
    def new(cls, kind: str, keys: Sequence[str], threshold: int, root_token: str) -> Generation:
        """One initialized now."""
        return cls(kind, list(keys), threshold, datetime.now(UTC).isoformat(timespec="seconds"), root_token)


class Recovery:
    """All generations, read and written as one document."""

    remedy = "write that Vault's recovery keys into the store, in the form the bootstrap keeps them"

    def __init__(self, store: SecretStore, spool: SecretStore | None = None) -> None:
        self._store = store
        self._spool = spool
        self._direct: Generation | None = None
        self._known: list[Generation] | None = None

    @property
    def place(self) -> str:
        """What to call the store in a message."""
        return type(self._store).__name__

    def generations(self, kind: str = "") -> list[Generation]:
        """All that are known, newest first; with ``kind`` only those."""
        if self._known is None:
            self._known = _parse(self._store.read())
        return [generation for generation in self._known if kind in ("", generation.kind)]

    def try_to_write(self) -> None:
        """Write the document as it is. Raises the store's errors."""
        self._write(self.generations())

    def spool(self, generation: Generation) -> None:
        """Keep a new generation where the next attempt finds it, before the store is asked."""
        if self._spool is None:
            self._direct = generation
        else:
            self._spool.write(json.dumps(asdict(generation)))

    def collect(self) -> None:
        """Move a spooled generation into the store. Nothing to move is fine. Raises the store's errors."""
        text = self._spool.read() if self._spool else None
        generation = Generation(**json.loads(text)) if text else self._direct
        if generation is None:
            return
        if all(known.keys != generation.keys for known in self.generations()):
            self._write([generation, *self.generations()][:KEPT])
        if self._spool is not None:
            self._spool.write("")

    def forget_root_tokens(self) -> None:
        """Take the root tokens out of the document."""
        if any(generation.root_token for generation in self.generations()):
            self._write([replace(generation, root_token="") for generation in self.generations()])

    def _write(self, generations: list[Generation]) -> None:
        self._store.write(json.dumps({"generations": [asdict(generation) for generation in generations]}))
        self._known = generations


def _parse(text: str | None) -> list[Generation]:
    return [Generation(**entry) for entry in json.loads(text)["generations"]] if text else []
