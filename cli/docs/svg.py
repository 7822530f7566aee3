"""Owns drawing: boxes in columns with arrows between them, and messages between actors, as SVG text.

Pure and deterministic: no measuring of fonts, so that a picture changes only when what it shows does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_FONT: Final = 'font-family="system-ui, sans-serif"'
_BOX: Final = (170, 46)
_GAP: Final = (110, 18)
_TOP: Final = 64
_INK, _LINE, _FILL, _PALE = "#1f2933", "#52606d", "#e8f0f8", "#f7f9fb"


@dataclass(frozen=True)
class Box:
    """Something in a column: a title and a line below it. Without a key it is room left free."""

    key: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Message:
    """A message from one actor to another; to oneself where both are the same."""

    source: str
    target: str
    text: str
    answer: bool = False


def columns(title: str, groups: Sequence[tuple[str, Sequence[Box]]], arrows: Iterable[tuple[str, str]]) -> str:
    """Columns of boxes, arrows between boxes of different columns drawn as curves, of one column as arcs at its side."""
    width = len(groups) * (_BOX[0] + _GAP[0]) - _GAP[0] + 80
    height = _TOP + max(len(boxes) for _, boxes in groups) * (_BOX[1] + _GAP[1]) + 20
    places = {
        box.key: (40 + column * (_BOX[0] + _GAP[0]), _TOP + row * (_BOX[1] + _GAP[1]))
        for column, (_, boxes) in enumerate(groups)
        for row, box in enumerate(boxes)
    }
    body = [_curve(places[source], places[target]) for source, target in sorted(set(arrows))]
    for column, (name, boxes) in enumerate(groups):
        left = 40 + column * (_BOX[0] + _GAP[0])
        body.append(_text(left + _BOX[0] / 2, 44, name, size=14, bold=True))
        body += [_box(*places[box.key], box) for box in boxes if box.key]
    return _picture(title, width, height, body)


def sequence(title: str, actors: Mapping[str, str], messages: Sequence[Message]) -> str:
    """Actors side by side and what they tell each other, from top to bottom, numbered."""
    step, apart = 46, 210
    across = {actor: 110 + index * apart for index, actor in enumerate(actors)}
    width, height = 220 + (len(actors) - 1) * apart, _TOP + 70 + len(messages) * step
    body = []
    for actor, name in actors.items():
        body.append(
            f'<line x1="{across[actor]}" y1="{_TOP + 30}" x2="{across[actor]}" y2="{height - 16}" stroke="{_LINE}" stroke-dasharray="3 4"/>'
        )
        body.append(_box(across[actor] - _BOX[0] / 2, _TOP - 16, Box(actor, name)))
    for number, message in enumerate(messages, 1):
        body.append(
            _message(across[message.source], across[message.target], _TOP + 56 + number * step - 16, number, message)
        )
    return _picture(title, width, height, body)


def _message(start: float, end: float, y: float, number: int, message: Message) -> str:
    label = f"{number}. {message.text}"
    if start == end:
        return (
            f'<path d="M {start} {y - 10} h 26 v 16 h -24" fill="none" stroke="{_INK}" marker-end="url(#arrow)"/>'
            + _text(start + 34, y + 2, label, anchor="start")
        )
    dash = ' stroke-dasharray="6 4"' if message.answer else ""
    left = min(start, end)
    line = f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" stroke="{_INK}"{dash} marker-end="url(#arrow)"/>'
    return line + _text(left + 10, y - 7, label, anchor="start")


def _curve(source: tuple[float, float], target: tuple[float, float]) -> str:
    middle = _BOX[1] / 2
    if source[0] == target[0]:
        x, depth = source[0] + _BOX[0], 18 + abs(source[1] - target[1]) / 8
        path = f"M {x} {source[1] + middle} C {x + depth} {source[1] + middle}, {x + depth} {target[1] + middle}, {x + 4} {target[1] + middle}"
    else:
        forward = source[0] < target[0]
        x1 = source[0] + (_BOX[0] if forward else 0)
        x2 = target[0] + (-4 if forward else _BOX[0] + 4)
        bend = (x2 - x1) / 2
        path = f"M {x1} {source[1] + middle} C {x1 + bend} {source[1] + middle}, {x2 - bend} {target[1] + middle}, {x2} {target[1] + middle}"
    return f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-opacity="0.6" marker-end="url(#arrow)"/>'


def _box(x: float, y: float, box: Box) -> str:
    shape = f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6" fill="{_FILL}" stroke="{_LINE}"/>'
    middle = x + _BOX[0] / 2
    if not box.note:
        return shape + _text(middle, y + 28, box.title, size=13, bold=True)
    return shape + _text(middle, y + 20, box.title, size=13, bold=True) + _text(middle, y + 37, box.note, size=11)


def _text(x: float, y: float, text: str, *, size: int = 12, bold: bool = False, anchor: str = "middle") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" {_FONT} font-size="{size}" fill="{_INK}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _picture(title: str, width: float, height: float, body: Iterable[str]) -> str:
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M 0 0 L 8 4 L 0 8 z" fill="{_LINE}"/></marker></defs>',
            f'<rect width="{width:g}" height="{height:g}" fill="{_PALE}"/>',
            *body,
            "</svg>\n",
        )
    )
