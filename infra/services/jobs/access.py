"""Owns who may read what in Vault: each role with its service account, its policy, and nothing beside.

Data only. A role is bound to one service account and one audience: a token made for anything else, the
default token of a pod among it, logs nobody in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from catalog.contract import VAULT_ANTHROPIC, VAULT_CONTROL, VAULT_DATABASE, VAULT_MOUNT

AUDIENCE = "vault"
"""Audience of the tokens pods log in with."""
RESTORE_AUDIENCE = "vault-restore"
"""Audience of a token that may replace all of Vault's data; only the restore job's pod mounts one."""
PLATFORM, VAULT = "ai-agents", "vault"
"""Namespaces of the service accounts."""
BOOTSTRAP = "bootstrap"


@dataclass(frozen=True)
class Role:
    """A role of Vault's Kubernetes auth and the paths its policy opens, with their capabilities."""

    name: str
    namespace: str
    service_account: str
    paths: dict[str, tuple[str, ...]]
    audience: str = AUDIENCE
    ttl_seconds: int = 1200
    options: dict[str, Any] = field(default_factory=lambda: {"token_type": "batch"})
    """Batch tokens cost Vault no storage: thousands of pods log in every minute. They end by themselves."""

    @property
    def policy(self) -> str:
        """The policy as JSON, which Vault takes as well as HCL."""
        return json.dumps({"path": {path: {"capabilities": list(can)} for path, can in self.paths.items()}}, indent=1)


def _data(path: str) -> str:
    return f"{VAULT_MOUNT}/data/{path}"


_WRITE = ("create", "read", "update")
_ALL = ("create", "read", "update", "delete", "list", "sudo")

ROLES = (
    Role("agent", PLATFORM, "agent", {_data(VAULT_ANTHROPIC): ("read",)}),
    Role("control", PLATFORM, "control", {_data(VAULT_CONTROL): ("read",), _data(VAULT_DATABASE): ("read",)}),
    Role("database-credentials", PLATFORM, "database-credentials", {_data(VAULT_DATABASE): _WRITE}),
    Role("backup", VAULT, "vault-backup", {"sys/storage/raft/snapshot": ("read",)}),
    Role(
        "restore",
        VAULT,
        "vault-backup",
        {"sys/storage/raft/snapshot": ("create", "update"), "sys/storage/raft/snapshot-force": ("create", "update")},
        audience=RESTORE_AUDIENCE,
    ),
    # People: whoever may make tokens of this account in Kubernetes writes the agents' keys, and reads nothing else.
    Role(
        "operator",
        VAULT,
        "vault-operator",
        {_data("agents/*"): _WRITE, f"{VAULT_MOUNT}/metadata/agents/*": ("list", "read")},
    ),
    # The bootstrap itself, after the first time: it may write policies, so it is as good as root while it runs.
    Role(
        BOOTSTRAP,
        VAULT,
        "vault-bootstrap",
        {
            "sys/auth": ("read",),
            "sys/auth/kubernetes": _ALL,
            "auth/kubernetes/*": ("create", "read", "update", "list"),
            "sys/mounts": ("read",),
            f"sys/mounts/{VAULT_MOUNT}": ("create", "read", "update"),
            f"{VAULT_MOUNT}/config": ("create", "read", "update"),
            "sys/policies/acl/*": ("create", "read", "update", "list"),
            "sys/audit": ("read", "sudo"),
            "sys/audit/*": _ALL,
            "sys/rotate/config": _ALL,
        },
        options={"token_type": "service"},
    ),
)
