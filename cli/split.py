"""Owns `fleet split STACK`: how a layer moves to a stack of its own. Prints; changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import CommandError, Exit
from cli.output import Json, print_json
from cli.planning import recorded, stack_settings

app = typer.Typer(add_completion=False)


@app.command()
def split(
    stack: Annotated[str, typer.Argument(help="The stack that grew.")],
    layer: Annotated[str, typer.Option("--layer", help="Layer to move: foundation, services or fleet.")],
    to: Annotated[str, typer.Option("--to", help="Name of the new stack.")],
    as_json: Json = False,
) -> None:
    """Print the new stack's file, the change to the old one's and the `pulumi state move` that keeps everything alive."""
    import yaml

    from infra import split as splitting
    from infra.settings import LAYERS

    if layer not in LAYERS:
        raise CommandError(f"--layer {layer}: the layers are {', '.join(LAYERS)}", Exit.USAGE)
    spec = stack_settings(stack)
    (plan,) = recorded([stack])
    try:
        found = splitting.split(spec, plan, layer, to)
    except splitting.SplitError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print_json(vars(found))
        return
    print(f"# 1. write stacks/Pulumi.{to}.yaml")
    print(yaml.safe_dump({"config": found.target_config}, sort_keys=False), end="")
    print("# 2. move the state: nothing is created, changed or deleted in the cloud")
    for command in found.commands:
        print(command)
    print(f"# 3. before the last two commands, change stacks/Pulumi.{stack}.yaml")
    for key, value in found.source_changes.items():
        print(f"ai-agents-platform:{key}: {value}")
