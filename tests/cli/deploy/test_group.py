"""The shell wrapper: cloud stacks need the engine's SDK, the platform on this machine does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_wrapper import Clone as Wrapped


@pytest.mark.parametrize(
    ("arguments", "group"),
    [
        (("up",), "local"),
        (("up", "--detach", "--port", "9000"), "local"),
        (("down",), "local"),
        (("up", "aws-dev"), "infra"),
        (("up", "--yes", "--wave", "2", "*-fleet"), "infra"),
        (("down", "aws-dev", "--yes"), "infra"),
        (("refresh", "aws-dev"), "infra"),
        (("drift", "aws-dev"), "infra"),
    ],
)
def test_a_stack_gets_the_group_that_holds_the_engines_sdk(
    arguments: tuple[str, ...], group: str, tmp_path: Path
) -> None:
    clone = Wrapped(tmp_path)
    assert clone.run(*arguments).stdout == f"{list(arguments)}\n"
    assert clone.installs == [group]
