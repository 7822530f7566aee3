"""Owns the committed lists of logical names, one per shipped stack (``stacks/names/<stack>.txt``).

A logical name is what the engine knows a resource by: one that changes unannounced replaces the resource. The
lists make every such change visible in review. Agents are not listed one by one: adding one to the catalog is
no renaming, so what a dedicated agent or a domain is named stands once, as a pattern.
"""

from __future__ import annotations

import re
from pathlib import Path

from infra.plan.config import ROOT
from infra.plan.plan import Plan

FOLDER = ROOT / "stacks" / "names"
ANNOUNCE = "If it is meant: add an alias or run the printed `pulumi state` commands, write the lists again with `fleet stacks --write-names`, and say so in the pull request."

_AGENT = re.compile(r"[a-z0-9-]+-agent-[0-9]{3}")
_CATALOG = re.compile(r"(?<=-catalog-)[a-z0-9-]+$")


def listed(plan: Plan) -> list[str]:
    """``type name`` lines of a plan, agents and domains as patterns, sorted."""
    return sorted({f"{item.type} {_pattern(item.name)}" for item in plan.resources})


def _pattern(name: str) -> str:
    if name.startswith("fleet-"):
        rest = name.removeprefix("fleet-")
        agent = _AGENT.match(rest)
        if agent:
            return f"fleet-<agent>{rest[agent.end() :]}"
    return _CATALOG.sub("<domain>", name)


def committed(stack: str, folder: Path = FOLDER) -> list[str] | None:
    """The committed list of a stack; None where there is none."""
    path = folder / f"{stack}.txt"
    return path.read_text("utf-8").split("\n")[:-1] if path.is_file() else None


def write(plan: Plan, folder: Path = FOLDER) -> Path:
    """Write a stack's list and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.stack}.txt"
    path.write_text("".join(f"{line}\n" for line in listed(plan)), "utf-8")
    return path


def unannounced(plan: Plan, folder: Path = FOLDER) -> str:
    """What differs from the committed list, and how to announce it; empty where nothing does."""
    before = committed(plan.stack, folder)
    if before is None:
        return f"stacks/names/{plan.stack}.txt is missing: write it with `fleet stacks --write-names`"
    now = listed(plan)
    lines = [f"- {line}" for line in before if line not in set(now)] + [
        f"+ {line}" for line in now if line not in set(before)
    ]
    if not lines:
        return ""
    return f"the logical names of {plan.stack} changed:\n" + "\n".join(f"  {line}" for line in lines) + f"\n{ANNOUNCE}"
