"""Owns the process entry: ``python -m runtime agent|control|migrate|create-admin``.

Settings come from the environment; one that is wrong is named, with what to do, and the process exits with 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import orjson
import structlog
from fastapi import FastAPI
from pydantic import ValidationError

from catalog.registry import CatalogError
from runtime import logs
from runtime.settings import AgentSettings, ControlSettings, ProcessSettings, StartError

_COMMANDS = {
    "agent": "serve agents",
    "control": "serve the control plane",
    "migrate": "bring the database to the newest schema",
    "create-admin": "create the first administrator and print the credentials, once, as JSON",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for settings or a catalog that are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime", description="The platform's processes. Configured by environment variables."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in _COMMANDS.items():
        commands.add_parser(name, help=purpose, description=purpose)
    command = parser.parse_args(arguments).command
    try:
        return _run(command)
    except ValidationError as error:
        print(
            f"cannot start {command}: the settings are not right\n" + "\n".join(f"  {line}" for line in explain(error)),
            file=sys.stderr,
        )
    except (CatalogError, StartError) as error:
        print(f"cannot start {command}: {error}", file=sys.stderr)
    return 2


def explain(error: ValidationError) -> list[str]:
    """One line per wrong setting: the variable, what is wrong, what it is for. Values are never repeated."""
    known_models: dict[str, type[ProcessSettings]] = {
        "AgentSettings": AgentSettings,
        "ControlSettings": ControlSettings,
    }
    model = known_models.get(error.title)
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        known = model.model_fields.get(field.lower()) if model else None
        message = "is required" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
        purpose = f" ({known.description})" if known and known.description else ""
        lines.append(f"{field.upper()}: {message}{purpose}" if field else message)
    return lines


def _run(command: str) -> int:
    if command == "agent":
        from runtime.agent.app import create_app as create_agent_app
        from runtime.agent.served import service_name

        settings = AgentSettings()
        return _serve(settings, service_name(settings), lambda: create_agent_app(settings))
    control = ControlSettings()
    if command == "control":
        from runtime.control.app import create_app as create_control_app

        return _serve(control, control.service_name or "control", lambda: create_control_app(control))
    logs.configure(command, control.log_level)
    from runtime.control.store.credentials import with_password

    control = with_password(control)
    if command == "migrate":
        from runtime.control.store import migrate

        migrate.upgrade(control.database_url.get_secret_value())
    else:
        from runtime.control import bootstrap

        sys.stdout.buffer.write(orjson.dumps(bootstrap.create_admin(control), option=orjson.OPT_APPEND_NEWLINE))
    return 0


def _serve(settings: ProcessSettings, name: str, factory: Callable[[], FastAPI]) -> int:
    from runtime.serve import serve

    levels = logs.configure(name, settings.log_level)
    app = factory()
    dynamic = getattr(app.state, "dynamic", None)
    if dynamic is not None:
        dynamic.subscribe(lambda current: levels.set(current.log_level or settings.log_level, current.agent_log_levels))
    structlog.get_logger().info("Starting", host=settings.host, port=settings.port)
    serve(app, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
