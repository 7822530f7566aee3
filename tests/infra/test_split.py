from __future__ import annotations

import pytest

from infra import settings
from infra.plan import record
from infra.split import SplitError, split

VALUES = {
    "cloud": "existing",
    "environment": "dev",
    "data": "in-cluster",
    "components": {"vault": False, "consul": False, "monitoring": False},
}


def test_a_layer_moves_as_one_resource_and_the_new_stack_reads_the_old_one() -> None:
    plan = record(VALUES, "unknown")
    made = split(settings.parse(VALUES), plan, "fleet", "kind-fleet")
    fleet = next(resource.urn for resource in plan.resources if resource.type == "platform:layer:Fleet")
    assert f"pulumi state move --source {plan.stack} --dest kind-fleet '{fleet}'" in made.commands
    assert made.target_config["ai-agents-platform:layers"] == ["fleet"]
    assert made.target_config["ai-agents-platform:stacks"] == {"foundation": plan.stack, "services": plan.stack}
    assert made.source_changes == {"layers": ["foundation", "services"]}


def test_what_the_split_writes_is_a_configuration_that_is_accepted() -> None:
    plan = record(VALUES, "unknown")
    made = split(settings.parse(VALUES), plan, "fleet", "kind-fleet")
    prefix = "ai-agents-platform:"
    spec = settings.parse({key.removeprefix(prefix): value for key, value in made.target_config.items()})
    assert spec.layers == ("fleet",)
    settings.parse({**VALUES, **made.source_changes})


def test_a_stack_that_keeps_layers_above_learns_where_the_moved_one_is() -> None:
    made = split(settings.parse(VALUES), record(VALUES, "unknown"), "foundation", "kind-foundation")
    assert made.source_changes == {"layers": ["services", "fleet"], "stacks": {"foundation": "kind-foundation"}}


def test_a_layer_the_stack_does_not_build_or_its_only_one_is_refused() -> None:
    alone = {**VALUES, "layers": ["fleet"], "stacks": {"foundation": "a", "services": "b"}}
    plan = record(alone, "unknown")
    with pytest.raises(SplitError, match="does not build services"):
        split(settings.parse(alone), plan, "services", "x")
    with pytest.raises(SplitError, match="builds nothing but fleet"):
        split(settings.parse(alone), plan, "fleet", "x")
