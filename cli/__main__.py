"""Owns the `fleet` command: which commands there are. Each is imported when it is called, so that `--help` and `up` stay quick.

A command is an object ``app: typer.Typer`` of a module; to add one, add its line to COMMANDS.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from cli.errors import EPILOG, CommandError, Exit

RUN, AGENTS, ACCOUNTS, WORK = "Run the platform here", "Agents", "Users and limits", "Work on the platform"
PLANS = "Clouds and clusters"
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("cli.up:app", "Start the whole platform on this machine.", RUN),
    "down": ("cli.platform:down_app", "Stop it, letting requests end.", RUN),
    "status": ("cli.platform:status_app", "What runs, and whether it is well.", RUN),
    "logs": ("cli.platform:logs_app", "What the parts say.", RUN),
    "settings": ("cli.settings:app", "Change what processes follow without a restart.", RUN),
    "backup": ("cli.backup:backup_app", "Copy its state into one file.", RUN),
    "restore": ("cli.backup:restore_app", "Take a copy back.", RUN),
    "agents": ("cli.agents:app", "List, search, show, check and write agents of the catalog.", AGENTS),
    "run": ("cli.run:app", "Give an agent a task.", AGENTS),
    "users": ("cli.accounts:users_app", "Create and manage users.", ACCOUNTS),
    "keys": ("cli.accounts:keys_app", "Create and revoke API keys.", ACCOUNTS),
    "limits": ("cli.accounts:limits_app", "See and set requests a minute.", ACCOUNTS),
    "stacks": ("cli.stacks:app", "The stacks there are, with layers, size and cost.", PLANS),
    "preview": (
        "cli.preview:app",
        "What a stack would be, and what a change does to it, without cloud or credentials.",
        PLANS,
    ),
    "cost": ("cli.cost:app", "What a stack costs a month.", PLANS),
    "check": ("cli.check:app", "Check a stack against the policies.", PLANS),
    "render": ("cli.render:app", "Write a stack's Kubernetes objects as YAML.", PLANS),
    "doctor": ("cli.doctor:app", "What stands between a stack and `pulumi up`.", PLANS),
    "refresh": ("cli.refresh:app", "Take over into a stack's state what its cloud really has.", PLANS),
    "drift": ("cli.drift:app", "What changed in a stack's cloud without the program.", PLANS),
    "rollout": ("cli.rollout:app", "See, promote or abort a new version that takes over step by step.", PLANS),
    "rollback": ("cli.rollback:app", "Return the catalog to the version before, and apply it.", PLANS),
    "split": ("cli.split:app", "How to move a layer to a stack of its own.", PLANS),
    "graph": ("cli.graph:app", "Draw a stack as a diagram.", PLANS),
    "test": ("cli.checks:test_app", "Lint, type-check and test.", WORK),
    "bench": ("cli.bench:app", "Measure.", WORK),
    "lock": ("cli.checks:lock_app", "Resolve the dependency groups into requirements/.", WORK),
    "ci": ("cli.ci:app", "What the workflows run: comments, issues, targets, image pins.", WORK),
    "docs": ("cli.docs:app", "Write the handbook's generated pages.", WORK),
    "version": ("cli.version:app", "Versions of the platform and of what it runs.", WORK),
}
"""name → (module:attribute, one line of help, section of the help)."""


class LazyGroup(typer.core.TyperGroup):
    """Commands of COMMANDS: help needs their names alone, a call imports its module."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, purpose, section) in COMMANDS.items():
            self.commands[name] = typer.core.TyperCommand(name, help=purpose, rich_help_panel=section)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The called command, imported."""
        name, _, rest = super().resolve_command(ctx, args)
        if name not in COMMANDS:
            return name, _, rest
        location, purpose, _ = COMMANDS[name]
        module, attribute = location.split(":")
        command = typer.main.get_command(getattr(import_module(module), attribute))
        command.name = name
        command.help = command.help or purpose
        command.epilog = command.epilog or EPILOG
        return name, command, rest


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    help="AI Agents Platform: 1,500 agents behind one API.",
)


@app.callback()
def _root() -> None:
    """AI Agents Platform: 1,500 agents behind one API."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        code = app(arguments, prog_name="fleet", standalone_mode=False)
    except CommandError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) had enough. What Python would flush at exit has nowhere to go.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:
        return _usage(error)
    return code if isinstance(code, int) else Exit.OK


def _usage(error: Exception) -> int:
    """Typer's own errors, which show themselves; anything else is a defect of ours, whose place FLEET_DEBUG=1 shows."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return int(getattr(error, "exit_code", Exit.USAGE))
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return Exit.INTERRUPTED
    if os.environ.get("FLEET_DEBUG"):
        raise error
    print(
        f"fleet: this should not happen: {type(error).__name__}: {error} (FLEET_DEBUG=1 shows where)", file=sys.stderr
    )
    return Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
