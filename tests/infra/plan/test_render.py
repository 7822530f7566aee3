"""Rendered files are what the program registers, the same every time, and hold no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from catalog import registry as catalog
from infra import settings
from infra.plan import record, render
from infra.plan.plan import redacted
from tests.infra.plan.builders import plan, resource


def fleet(**values: Any) -> dict[str, Any]:
    return {
        "cloud": "aws", "environment": "prod", "region": "eu-central-1", "account": "123456789012", "layers": ["fleet"],
        "stacks": {"foundation": "aws-prod-foundation", "services": "aws-prod-services"}, **values,
    }  # fmt: skip


def dedicated() -> dict[str, Any]:
    chosen = [agent.id for agent in catalog.load()][:4]
    return fleet(fleet={"isolation": "dedicated", "shard": "a", "agents": chosen}, components={"consul": False})


def comparable(value: Any) -> Any:
    """Environment entries and lists of volumes have an order; mappings do not."""
    return redacted(value)


@pytest.mark.parametrize("values", [fleet(), dedicated()], ids=["pooled", "dedicated"])
def test_the_quick_way_renders_exactly_what_the_program_registers(values: dict[str, Any]) -> None:
    recorded = {
        item.get("kind") + "/" + item.get("metadata.name"): comparable(item.inputs)
        for item in record(values, "known").objects
    }
    quick = {
        f"{item['kind']}/{item['metadata']['name']}": item
        for _, items in render.fleet_objects(settings.parse(values))
        for item in items
    }
    assert quick == recorded


def test_files_are_the_same_every_time_and_parse_to_what_they_were_made_of(tmp_path: Path) -> None:
    spec = settings.parse(dedicated())
    first, second = render.fleet(spec), render.fleet(spec)
    assert first == second
    render.write(first, tmp_path)
    read = [item for path in sorted(tmp_path.rglob("*.yaml")) for item in pyyaml.safe_load_all(path.read_text())]
    made = [dict(item) for _, items in render.fleet_objects(spec) for item in items]
    assert sorted(map(str, read)) == sorted(
        str(pyyaml.safe_load(pyyaml.safe_dump(item, sort_keys=False))) for item in made
    )
    assert len(read) == first.objects == 4 * 5 + 1


def test_rendering_again_takes_away_what_is_no_longer_there(tmp_path: Path) -> None:
    render.write(render.Rendered({"fleet/a.yaml": "a: 1\n", "fleet/b.yaml": "b: 1\n"}, 2, 0), tmp_path)
    render.write(render.Rendered({"fleet/a.yaml": "a: 2\n"}, 1, 0), tmp_path)
    assert [path.name for path in tmp_path.rglob("*.yaml")] == ["a.yaml"]
    assert (tmp_path / "fleet" / "a.yaml").read_text() == "a: 2\n"


def test_values_of_another_stack_are_named() -> None:
    notes = render.fleet(settings.parse(fleet())).files[render.NOTES]
    assert "services.vault_address of stack aws-prod-services" in notes


def test_a_release_is_its_chart_version_and_values_and_secrets_are_not_written() -> None:
    secret = {"$secret": "aa"}
    release = {
        "chart": "vault",
        "version": "0.34.1",
        "name": "vault",
        "namespace": "vault",
        "repositoryOpts": {"repo": "https://helm.example"},
        "values": {"server": {"key": secret}},
    }
    known = plan(
        resource("kubernetes:helm.sh/v3:Release", "vault", release),
        resource("kubernetes:core/v1:Secret", "s", {"kind": "Secret", "stringData": {"password": secret}}),
    )
    rendered = render.plan(
        known, plan(resource("kubernetes:core/v1:Secret", "s", {"stringData": {"password": {"$unknown": True}}}))
    )
    assert (rendered.objects, rendered.releases) == (1, 1)
    read = pyyaml.safe_load(rendered.files["services/releases/vault.yaml"])
    assert read == {
        "chart": "vault",
        "version": "0.34.1",
        "repository": "https://helm.example",
        "name": "vault",
        "namespace": "vault",
        "values": {"server": {"key": "[secret]"}},
    }
    assert pyyaml.safe_load(rendered.files["services/s.yaml"])["stringData"] == {"password": "[secret]"}
    assert "s: stringData.password" in rendered.files[render.NOTES]
