"""Owns the reference of settings: stack files, environment variables of processes and of the command, dynamic settings."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from catalog.contract import CONSUL_SETTINGS
from cli.docs.markdown import ROW, code, keys, made_by, table
from infra.settings import PROJECT, PlatformSpec
from runtime.dynamic import DynamicSettings
from runtime.settings import AgentSettings, ControlSettings, ProcessSettings

COMMAND: Final = {
    "FLEET_STATE": "Folder of the embedded target's state; default: `.fleet/` in the repository.",
    "FLEET_PORT": "Port for HTTP on 127.0.0.1, as `fleet up --port`.",
    "FLEET_TLS_PORT": "Port for HTTPS on 127.0.0.1, as `fleet up --tls-port`.",
    "FLEET_URL": "Platform that `fleet run`, `users`, `keys` and `limits` speak to; default: the embedded target.",
    "FLEET_API_KEY": "API key they use; default: the embedded target's operator.",
    "CONSUL_HTTP_TOKEN": "Token of `fleet settings`, where `CONSUL_HTTP_TOKEN_FILE` names no file.",
    "FLEET_VENV": "Where the locked environment is made; default: `.venv` in the repository.",
    "FLEET_PYTHON": "Python that the environment is made with; default: the first one of 3.11 or newer on PATH.",
    "FLEET_DEBUG": "Show the traceback of an error that should not happen.",
    "FLEET_CI_COMMIT": "Commit that `fleet ci` names in a post; default: the run's own.",
    "FLEET_CI_AUTHOR": "Who `fleet ci` writes as, where another token than the workflow's is used.",
    "NO_COLOR": "Print without colours.",
}
"""Environment variables of the command itself."""


def page() -> str:
    """docs/reference/settings.md."""
    shared = set(ProcessSettings.model_fields)
    return "\n".join(
        (
            made_by("infra/settings.py, infra/sections.py, runtime/settings.py and runtime/dynamic.py"),
            "# Settings\n",
            "Three things are configured: a stack, a process, and what an operator may change while processes run.\n",
            "## Stack files\n",
            f"Keys of `stacks/Pulumi.<stack>.yaml`, below `{PROJECT}:`. A dotted key is a key within a section: "
            "`cluster.access` is `access` under `cluster`. An unknown key is refused, and so is everything else that "
            "is wrong, all at once, before any resource is registered.\n",
            table(ROW, (key.row for key in keys(PlatformSpec))),
            "## Environment of every process\n",
            "Read once at the start. In a cluster the program sets them; on your machine `fleet up` does.\n",
            _variables(ProcessSettings, set()),
            "## Environment of an agent process\n",
            "Also:\n",
            _variables(AgentSettings, shared),
            "## Environment of a control process\n",
            f"Also ({code('PORT')} has another default: {code(ControlSettings.model_fields['port'].default)}):\n",
            _variables(ControlSettings, shared),
            "## Dynamic settings\n",
            f"One JSON document, under `{CONSUL_SETTINGS}` in Consul's key-value store where `CONSUL_HTTP_ADDR` is set, "
            "else in the file that `DYNAMIC_SETTINGS_FILE` names. Processes follow it within seconds, without a restart. "
            "A document that does not parse is logged, and the last good one stays in force. No document means defaults.\n",
            table(ROW, (key.row for key in keys(DynamicSettings))),
            "## Environment of the command\n",
            table(("Variable", "Meaning"), ((code(name), meaning) for name, meaning in COMMAND.items())),
        )
    )


def _variables(model: type[BaseModel], known: set[str]) -> str:
    rows = [key for key in keys(model) if key.name not in known]
    return table(
        ("Variable", *ROW[1:]), ((code(key.name.upper()), *key.row[1:]) for key in sorted(rows, key=lambda k: k.name))
    )
