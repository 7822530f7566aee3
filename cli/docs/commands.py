"""Owns the reference of the command line: every command of COMMANDS with its arguments and options."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer.main

from cli.__main__ import COMMANDS
from cli.docs.markdown import code, made_by, table
from cli.errors import EPILOG


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words ("agents list"), with its Typer object."""
    for name, (location, _, _) in COMMANDS.items():
        module, attribute = location.split(":")
        command = typer.main.get_command(getattr(import_module(module), attribute))
        within = getattr(command, "commands", None)
        if within:
            yield from ((f"{name} {inner}", each) for inner, each in within.items())
        else:
            yield name, command


def page() -> str:
    """docs/reference/cli.md."""
    parts = [
        made_by("cli/"),
        "# Command line\n",
        "`./fleet` makes its environment on first use and then runs the command. `./fleet COMMAND --help` says what "
        "this page says. Results for scripts come with `--json`.\n",
        f"{EPILOG}\n",
    ]
    known = list(commands())
    for section, names in groupby(COMMANDS, key=lambda name: COMMANDS[name][2]):
        parts.append(f"## {section}\n")
        for name in names:
            parts += [_described(words, command) for words, command in known if words.split()[0] == name]
    return "\n".join(parts)


def _described(words: str, command: Any) -> str:
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    usage = " ".join(["fleet", words, *(_placeholder(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    purpose = command.help or COMMANDS[words.split()[0]][1]
    lines = [f"### fleet {words}\n", f"```text\n{usage}\n```\n", f"{purpose}\n"]
    rows = [(_names(each), _kind(each), _default(each), each.help or "") for each in (*arguments, *options)]
    if rows:
        lines.append(table(("Argument or option", "Takes", "Default", "Meaning"), rows))
    return "\n".join(lines)


def _placeholder(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    many = "" if argument.nargs == 1 or name.endswith("…") else "…"
    return f"{name}{many}" if argument.required else f"[{name}{many}]"


def _names(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return code(parameter.metavar or parameter.name.upper())
    return ", ".join(code(option) for option in (*parameter.opts, *parameter.secondary_opts))


def _kind(parameter: Any) -> str:
    if parameter.metavar and parameter.opts[0].startswith("-"):
        return code(cell_safe(parameter.metavar))
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(code(value) for value in get_args(kind))
    return {"bool": "", "int": "whole number", "float": "number", "str": "text", "Path": "path"}.get(
        getattr(kind, "__name__", ""), "text"
    )


def cell_safe(text: str) -> str:
    """A placeholder without the bar, which ends a cell even within code on some renderers."""
    return text.replace("|", " or ")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = "" if parameter.default in (None, False, "", []) or callable(parameter.default) else code(parameter.default)
    variable = f"or {code(parameter.envvar)}" if parameter.envvar else ""
    return " ".join(part for part in (shown, variable) if part)
