"""Owns what is refused unless it is asked for by name: much destruction, protected resources, production from elsewhere.

Pure: what a preview showed and what the checkout is in, refusals out. Each names stack, resources and the option.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.deploy.changes import Changes, Holding, Message, kind_of, name_of, short

DEFAULT_SHARE = 10
"""Percent of a stack's resources that may go in one run."""
FREE = 2
"""So many may always go: in a small stack one resource is already a large share."""
_LISTED = 10


@dataclass(frozen=True)
class Allowed:
    """What the person who runs the command took responsibility for."""

    share: int = DEFAULT_SHARE
    protected: frozenset[str] = frozenset()
    """URNs, or names where they are meant wherever they occur."""
    checkout: bool = False
    written: frozenset[str] = frozenset()
    """Files, below the checkout, that the command itself has just made differ from a clean one, as it was asked to."""

    def lifts(self, urn: str) -> bool:
        """Whether the protection of a resource may be lifted."""
        return urn in self.protected or name_of(urn) in self.protected


@dataclass(frozen=True)
class Checkout:
    """What the program is run from."""

    branch: str | None
    """None where HEAD is detached, as in CI."""
    commit: str
    upstream: str
    """What the commit was looked for in: origin/main, or main where there is no such remote."""
    is_upstream: bool
    """Whether ``upstream`` has the commit."""
    dirty: tuple[str, ...] = ()
    """Files that differ from the commit."""


def listed(urns: Iterable[str]) -> str:
    """The first resources by type and name, one a line, and how many more there are."""
    all_of_them = sorted(urns)
    lines = [f"    {short(urn)}" for urn in all_of_them[:_LISTED]]
    if len(all_of_them) > _LISTED:
        lines.append(f"    and {len(all_of_them) - _LISTED} more")
    return "\n".join(lines)


def destruction(
    stack: str, held: Holding, changes: Changes, allowed: Allowed, ended: frozenset[str] = frozenset()
) -> list[str]:
    """The refusal of a run that deletes or replaces more than the allowed share of what the stack holds.

    A replaced ConfigMap does not count: they are immutable here, so that is how a prompt changes, and the new one
    is there before the old one goes. A deleted one does. Nor does it count that what is ``ended`` is deleted: it
    belongs to versions that end, of agents that go on (see endings).
    """
    leaving = {urn for urn in changes.having("delete") if urn in held.resources}
    deleted = leaving - ended
    replaced = {urn for urn in changes.having("replace") if urn in held.resources and kind_of(urn) != "ConfigMap"}
    gone = deleted | replaced
    percent = 100 * len(gone) / max(1, len(held.resources))
    if len(gone) <= FREE or percent <= allowed.share:
        return []
    needed = -(-100 * len(gone) // max(1, len(held.resources)))
    beside = f", beside {len(leaving & ended)} of versions that end" if leaving & ended else ""
    return [
        f"{stack}: {len(gone)} of {len(held.resources)} resources would be deleted or replaced ({percent:.0f} %, allowed "
        f"{allowed.share} %){beside}:\n{listed(gone)}\n  if that is meant: --allow-destroy {needed}"
    ]


def endangered(held: Holding, changes: Changes) -> frozenset[str]:
    """Protected resources that a run would delete or replace: by its steps, or because the engine refused them.

    The engine refuses by a message that quotes the resource, which need not be the one the message is about: one
    that must go along with another is quoted too.
    """
    quoted = {
        urn
        for fault in changes.faults
        if about_protection(fault)
        for urn in held.protected
        if f"'{urn}'" in fault.text or f'"{urn}"' in fault.text
    }
    return changes.protected | quoted


def about_protection(fault: Message) -> bool:
    """Whether the engine refused something because it is protected."""
    return "pulumi state unprotect" in fault.text


def protection(stack: str, urns: Iterable[str], allowed: Allowed) -> list[str]:
    """The refusal of deleting or replacing what is protected and was not named."""
    refused = sorted(urn for urn in urns if not allowed.lifts(urn))
    if not refused:
        return []
    return [
        f"{stack}: protected resources would be deleted or replaced:\n{listed(refused)}\n"
        f"  look at why (fleet preview {stack} --against REF); if it is meant, by name: "
        + " ".join(f"--allow-protected {name_of(urn)}" for urn in refused[:_LISTED])
    ]


def standing(stack: str, held: Holding) -> list[str]:
    """The refusal of taking a stack down while it holds what is protected."""
    if not held.protected:
        return []
    return [
        f"{stack}: holds protected resources, which are not taken down:\n{listed(held.protected)}\n"
        f"  copy what they hold; then set deletionProtection: false in stacks/Pulumi.{stack}.yaml and run fleet up {stack}, "
        f"or, in production, which refuses that setting, lift it one by one: pulumi state unprotect --stack {stack} 'URN'"
    ]


def from_elsewhere(production: Sequence[str], checkout: Checkout | None, allowed: Allowed) -> list[str]:
    """The refusal of changing production from anything but what main has: uncommitted, another branch, unpushed."""
    if not production or allowed.checkout:
        return []
    reasons = []
    if checkout is None:
        reasons.append("this folder is no git checkout, so nobody can tell what would be deployed")
    else:
        dirty = [name for name in checkout.dirty if name not in allowed.written]
        if dirty:
            more = f" and {len(dirty) - _LISTED} more" if len(dirty) > _LISTED else ""
            reasons.append(f"files differ from the commit: {', '.join(dirty[:_LISTED])}{more}")
        if checkout.branch not in (None, "main"):
            reasons.append(f"the branch is {checkout.branch}, not main")
        elif not checkout.is_upstream:
            reasons.append(f"{checkout.upstream} does not have commit {checkout.commit}")
    if not reasons:
        return []
    return [
        f"{', '.join(production)}: production is changed only from a clean checkout of main, and "
        + "; ".join(reasons)
        + "\n  merge it first; if it is meant: --allow-checkout"
    ]
