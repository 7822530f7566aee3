"""Owns what is seen while the engine works: a table that moves on a terminal, lines elsewhere, JSON for scripts.

Engine threads report into it; one lock keeps lines whole.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.deploy.changes import PAST, Changes, Event, Message, Step, counted, short, types_of
from cli.deploy.show import Result, faults_text, result_data, result_text
from infra.settings import LAYERS

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LINE_SECONDS = 10.0
"""So often a stack says how far it is where nobody watches."""

_LAYER = "platform:layer:"
"""Start of the type of a layer's component, under which all of the layer is."""


def layer_of(urn: str) -> str:
    """The layer a resource is in, by the chain of its parents' types in its URN; "" for what is in none."""
    outermost = types_of(urn)[0]
    return outermost.removeprefix(_LAYER).lower() if outermost.startswith(_LAYER) else ""


def by_layer(changes: Changes) -> Counter[str]:
    """How many resources of each layer a plan changes."""
    return Counter(layer_of(step.urn) for step in changes.steps if step.op in PAST)


@dataclass
class Row:
    """How far one stack is."""

    total: int
    planned: Mapping[str, int] = field(default_factory=dict)
    """Layer → resources that change, as the plan said."""
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    """Layer → resources that are through."""
    failed: int = 0
    current: dict[str, None] = field(default_factory=dict)
    """URNs under way, oldest first."""
    text: str = ""
    """services 12/12 · fleet 29/196 · 40 created · 1 failed · now Deployment pool-business; 41/208 without layers."""

    @property
    def done(self) -> int:
        """Resources that are through."""
        return sum(self.counts.values()) + self.failed

    def _text(self) -> str:
        layers = [layer for layer in LAYERS if self.planned.get(layer) or self.layers[layer]]
        parts = [f"{layer} {_share(self.layers[layer], self.planned.get(layer, 0))}" for layer in layers]
        parts = parts or [_share(self.done, self.total)]
        parts += [counted(self.counts)] if self.counts else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"now {short(next(iter(self.current)))}"] if self.current else []
        return " · ".join(parts)

    def take(self, step: Step) -> None:
        """Count a step of the engine."""
        if step.phase == "begun":
            if step.op != "same":
                self.current[step.urn] = None
        else:
            self.current.pop(step.urn, None)
            if step.phase == "failed" or step.op in PAST:
                self.layers[layer_of(step.urn)] += 1
            if step.phase == "failed":
                self.failed += 1
            elif step.op in PAST:
                self.counts[step.op] += 1
        self.text = self._text()


def _share(done: int, total: int) -> str:
    """12/97; 12 alone where more are through than a plan knew of."""
    return f"{done}/{total}" if total >= done else str(done)


class Board:
    """Where a run reports to."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._lock = threading.RLock()
        self._rows: dict[str, Row] = {}
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """A line or more for people; nothing where scripts read."""
        with self._lock:
            if self.as_json or not text:
                return
            if self._live is not None:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, flush=True)

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        """An event for scripts, one JSON object a line; nothing where people read."""
        if self.as_json:
            with self._lock:
                print(json.dumps({"event": event, **data}, ensure_ascii=False), flush=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """While stacks are worked on: on a terminal a table stands below the lines."""
        if self.as_json or not sys.stdout.isatty():
            yield
            return
        from rich.live import Live

        with Live(get_renderable=self._table, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def began(self, stack: str, verb: str, plan: Changes) -> None:
        """A stack is being worked on; ``plan`` is what is going to change."""
        planned = by_layer(plan)
        with self._lock:
            self._rows[stack] = Row(plan.total, planned)
        self.say(f"{stack}: {verb} …")
        layers = {layer: planned[layer] for layer in LAYERS if planned[layer]}
        self.emit("began", {"stack": stack, "total": plan.total, "layers": layers})

    def event(self, stack: str, event: Event) -> None:
        """What the engine says of a stack that began."""
        with self._lock:
            row = self._rows[stack]
            if isinstance(event, Step):
                row.take(event)
                if event.phase != "begun" and event.op in PAST:
                    step = {"op": event.op, "urn": event.urn, "phase": event.phase}
                    self.emit("step", {"stack": stack, "layer": layer_of(event.urn), **step})
                self._tell_now_and_then(stack, row)
            elif isinstance(event, Message) and event.severity == "error" and event.urn:
                self.say(f"{stack}: failed: {faults_text([event]).strip()}")
                self.emit("fault", {"stack": stack, "urn": event.urn, "message": event.text})

    def tick(self) -> None:
        """Time passed: whoever works silently says how far it is."""
        with self._lock:
            for stack, row in self._rows.items():
                self._tell_now_and_then(stack, row)

    def ended(self, result: Result) -> None:
        """A stack is through, or not."""
        with self._lock:
            self._rows.pop(result.stack, None)
        self.say(result_text(result))
        if result.problem:
            self.say(f"  {result.problem}")
        self.emit("result", result_data(result))

    def _tell_now_and_then(self, stack: str, row: Row) -> None:
        if self._live is None and time.monotonic() - row.told >= LINE_SECONDS:
            row.told = time.monotonic()
            self.say(f"{stack}: {row.text}")

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        # Called under the console's own lock: taking ours here could wait for a line that waits for the console.
        table = Table(box=None, pad_edge=False, show_header=False)
        for stack, row in self._rows.copy().items():
            seconds = f"{time.monotonic() - row.began:.0f} s"
            table.add_row(Text(stack), Text(seconds), Text(row.text, overflow="ellipsis", no_wrap=True))
        return table
