"""Owns Consul's policies and the platform's tokens: ``python -m jobs.consul_bootstrap``, any number of times.

A policy for each role: agents and control read the dynamic settings and register themselves, operators write
the settings, Prometheus reads each server's metrics. Token secrets are made by the program and mounted; a changed secret replaces its token.

Environment: CONSUL_HTTP_ADDR, CONSUL_CACERT, BOOTSTRAP_TOKEN_FILE, TOKENS (a folder with one file a role).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from catalog.contract import CONSUL_SETTINGS

from .stores import SettingError, required
from .web import CallError, call_json

SYNCED = "k8s-"
"""What services synced from Kubernetes are named by; nobody else may register under it."""
WAIT_SECONDS = 300.0

_READ = 'service_prefix "" { policy = "read" }\nnode_prefix "" { policy = "read" }\n'
POLICIES: Mapping[str, str] = {
    # Agents register under their own names, of which there are 1,500; never under another part's.
    "agent": (
        f'key "{CONSUL_SETTINGS}" {{ policy = "read" }}\n'
        'node_prefix "" { policy = "read" }\n'
        'service_prefix "" { policy = "write" }\n'
        f'service_prefix "{SYNCED}" {{ policy = "read" }}\n'
        'service "control" { policy = "read" }\n'
        'service "consul" { policy = "read" }\n'
    ),
    "control": f'key "{CONSUL_SETTINGS}" {{ policy = "read" }}\n{_READ}service "control" {{ policy = "write" }}\n',
    "operator": f'key "{CONSUL_SETTINGS}" {{ policy = "write" }}\n{_READ}',
    # /v1/agent/metrics asks for agent:read (Consul's documentation, Metrics - Agent HTTP API), and nothing asks for less.
    "prometheus": 'agent_prefix "" { policy = "read" }\n',
}
"""Rules by role."""


@dataclass(frozen=True)
class Settings:
    """What a bootstrap is told."""

    address: str
    bootstrap_token: str
    secrets: Mapping[str, str]
    """Token secrets (UUIDs) by role."""
    ca: Path | None = None
    wait_seconds: float = WAIT_SECONDS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SettingError, OSError."""
        folder = Path(required(environment, "TOKENS"))
        ca = environment.get("CONSUL_CACERT")
        return cls(
            address=required(environment, "CONSUL_HTTP_ADDR").rstrip("/"),
            bootstrap_token=Path(required(environment, "BOOTSTRAP_TOKEN_FILE")).read_text("ascii").strip(),
            secrets={role: (folder / role).read_text("ascii").strip() for role in POLICIES},
            ca=Path(ca) if ca else None,
        )


def bootstrap(settings: Settings, report: Callable[[str], None]) -> None:
    """Write policies and tokens; ``report`` hears of each change before it is made. Raises CallError."""
    report("wait until Consul has a leader")
    _wait_for_leader(settings)
    known = {policy["Name"]: policy["ID"] for policy in _call(settings, "GET", "/acl/policies")}
    tokens = {token["AccessorID"] for token in _call(settings, "GET", "/acl/tokens")}
    for role, rules in POLICIES.items():
        _policy(settings, role, rules, known.get(role), report)
        _token(settings, role, tokens, report)
    report("done")


def accessor(role: str) -> str:
    """A role's token by its public id, the same in every Consul."""
    return str(uuid5(NAMESPACE_URL, f"ai-agents-platform/consul/{role}"))


def _policy(settings: Settings, role: str, rules: str, identifier: str | None, report: Callable[[str], None]) -> None:
    body = {"Name": role, "Description": f"AI agents platform: {role}", "Rules": rules}
    if identifier is None:
        report(f"make policy {role}")
        _call(settings, "PUT", "/acl/policy", body)
    elif _call(settings, "GET", f"/acl/policy/{identifier}")["Rules"] != rules:
        report(f"change policy {role}")
        _call(settings, "PUT", f"/acl/policy/{identifier}", {**body, "ID": identifier})


def _token(settings: Settings, role: str, tokens: set[str], report: Callable[[str], None]) -> None:
    name, secret = accessor(role), settings.secrets[role]
    if name in tokens:
        token = _call(settings, "GET", f"/acl/token/{name}")
        if token["SecretID"] == secret and [policy["Name"] for policy in token["Policies"] or ()] == [role]:
            return
        report(f"remove the old token of {role}")
        _call(settings, "DELETE", f"/acl/token/{name}")
    report(f"make the token of {role}")
    body = {"AccessorID": name, "SecretID": secret, "Description": role, "Policies": [{"Name": role}]}
    _call(settings, "PUT", "/acl/token", body)


def _wait_for_leader(settings: Settings) -> None:
    end = time.monotonic() + settings.wait_seconds
    while True:
        try:
            if _call(settings, "GET", "/status/leader"):
                return
        except CallError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise CallError("GET", f"{settings.address}/v1/status/leader", 0, "Consul has no leader")
        time.sleep(1)


def _call(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    headers = {"X-Consul-Token": settings.bootstrap_token}
    data = json.dumps(body).encode() if body is not None else None
    return call_json(method, f"{settings.address}/v1{path}", headers=headers, body=data, ca=settings.ca)


def main() -> int:
    """The job; 1 where it has to be tried again, with the reason."""
    try:
        bootstrap(Settings.from_environment(os.environ), lambda step: print(f"consul-bootstrap: {step}", flush=True))
    except (CallError, SettingError, OSError) as error:
        print(f"consul-bootstrap: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
