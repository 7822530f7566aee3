"""Owns writing a new agent into a domain's YAML file: as text at its end, so that nothing else of the file changes."""

from __future__ import annotations

import re
from pathlib import Path

from catalog.schema import AGENTS_PER_POOL
from cli.errors import CommandError, Exit

_ID = re.compile(r"^\s*-?\s*id:\s*[\"']?([a-z][a-z0-9_]*_agent_([0-9]{3}))", re.MULTILINE)

# Valid as it stands, so that the catalog loads while the author writes.
_ENTRY = """\
  - id: {id}
    name: {name} {number}
    description: "Describe in one or two sentences what {name} {number} does and for whom; it must be unique."
    prompt:
      instructions: |-
        Write here who the agent is, what it knows and how {name} {number} works through a task: the order of steps, what it must not assume, what it asks for when facts are missing, and where its judgement ends. Say what a professional in this task would say to a capable newcomer.
      request: "Open the user turn by naming both inputs: {{subject}} for {{audience}}."
      answer:
        - First point of a good answer
        - Second point of a good answer
        - Third point of a good answer
    inputs:
      subject: {{description: "What the task is about", default: "the subject named in the task", example: "a realistic subject"}}
      audience: {{description: "Who will read the answer", default: "a professional reader", example: "a head of department"}}
    tags: [{tag}]
    example: "Write a realistic task here, as a user would put it."
"""


def next_number(pool: Path) -> int:
    """The lowest number no agent of the pool has. Raises CommandError where all 500 are taken."""
    taken = {int(number) for path in pool.glob("*.yaml") for _, number in _ID.findall(path.read_text("utf-8"))}
    free = next((number for number in range(1, AGENTS_PER_POOL + 1) if number not in taken), None)
    if free is None:
        raise CommandError(f"{pool}: all {AGENTS_PER_POOL} numbers are taken; an agent must go before another can come")
    return free


def append(path: Path, number: int, name: str) -> tuple[str, int]:
    """Add an entry at the end of the file's agents; its id and the line it begins at. Raises CommandError for a name without letters."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:38].strip("_")
    if not re.match(r"[a-z]", words):
        raise CommandError(f"--name {name!r}: begin with a letter; its words make the agent's id", Exit.USAGE)
    if '"' in name or "\\" in name or ":" in name or "#" in name or "\n" in name or len(name) > 60:
        raise CommandError(
            f"--name {name!r}: at most 60 characters, none of them a quotation mark, \\, : or #", Exit.USAGE
        )
    text = path.read_text("utf-8")
    text += "" if text.endswith("\n") else "\n"
    if not re.search(r"^agents:\s*$", text, re.MULTILINE):
        raise CommandError(f"{path}: has no block list of agents (a line `agents:` followed by entries) to add to")
    after = re.search(r"^agents:\s*\n((?:[ \t#].*\n|\n|- .*\n)*)(.*)", text, re.MULTILINE)
    if after is None or after[2].strip():
        raise CommandError(f"{path}: something follows the list of agents; move agents: to the end of the file")
    agent_id = f"{words}_agent_{number:03d}"
    indented = re.search(r"^( *)- id:", text, re.MULTILINE)
    entry = _ENTRY.format(id=agent_id, name=name, number=number, tag=words.replace("_", "-")[:40].strip("-"))
    if indented is not None and indented[1] != "  ":
        entry = re.sub(r"^ {2}", indented[1], entry, flags=re.MULTILINE)
    path.write_text(text + entry, "utf-8")
    return agent_id, text.count("\n") + 1
