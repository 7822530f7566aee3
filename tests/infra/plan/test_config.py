"""Reading project and stack files as the engine does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.plan import config
from infra.plan.config import ConfigError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text(
        "name: shop\nmain: infra\nstackConfigDir: stacks\nconfig:\n  shop:size: {type: integer, default: 3}\n  cloud: {type: string}\n"
    )
    return tmp_path


def stack(root: Path, text: str, name: str = "dev") -> config.StackConfig:
    (root / "stacks" / f"Pulumi.{name}.yaml").write_text(text)
    return config.stack_config(config.project(root), name)


def test_scalars_become_text_and_objects_become_json(root: Path) -> None:
    found = stack(
        root, "config:\n  shop:a: text\n  shop:b: 5\n  shop:c: true\n  shop:d: {x: [1, '2']}\n  aws:region: eu\n"
    )
    assert found.values["shop:a"] == "text"
    assert found.values["shop:b"] == "5"
    assert found.values["shop:c"] == "true"
    assert json.loads(found.values["shop:d"]) == {"x": [1, "2"]}
    assert found.values["aws:region"] == "eu"


def test_defaults_of_the_schema_fill_in_and_a_stack_overrides_them(root: Path) -> None:
    assert stack(root, "config: {}\n").values == {"shop:size": "3"}
    assert stack(root, "config: {'shop:size': 9}\n").values == {"shop:size": "9"}


def test_a_secret_is_replaced_by_a_placeholder_that_follows_its_ciphertext(root: Path) -> None:
    one = stack(root, "config:\n  shop:key: {secure: v1:abc}\n  shop:deep: {inner: {secure: v1:xyz}, plain: 1}\n")
    two = stack(root, "config:\n  shop:key: {secure: v1:abd}\n")
    assert one.secrets == {"shop:key", "shop:deep"}
    assert one.values["shop:key"].startswith(config.PLACEHOLDER)
    assert "abc" not in one.values["shop:key"]
    assert one.values["shop:key"] != two.values["shop:key"]
    assert json.loads(one.values["shop:deep"])["inner"].startswith(config.PLACEHOLDER)


def test_an_unknown_stack_lists_those_there_are(root: Path) -> None:
    stack(root, "config: {}\n", "prod")
    stack(root, "config: {}\n", "dev")
    with pytest.raises(ConfigError, match="no stack 'prd'; the stacks are: dev, prod"):
        config.stack_config(config.project(root), "prd")


def test_a_pattern_means_every_stack_that_matches_once(root: Path) -> None:
    for name in ("aws-1", "aws-2", "gcp"):
        stack(root, "config: {}\n", name)
    assert config.matching(config.project(root), ["aws-*", "aws-1"]) == ["aws-1", "aws-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: [1]\n", "stacks/Pulumi.dev.yaml: config: must be a mapping"),
        ("- a\n", "stacks/Pulumi.dev.yaml: must be a mapping, got list"),
        ("config: {a: b", "stacks/Pulumi.dev.yaml: not readable as YAML"),
        ("config:\n  shop:key: {secure: 5}\n", "stacks/Pulumi.dev.yaml: shop:key: secure: must be the ciphertext"),
    ],
)
def test_a_broken_stack_file_is_named_with_its_key(root: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        stack(root, text)
    assert message in str(raised.value)


def test_of_a_file_that_cannot_be_read_nothing_is_quoted(root: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        stack(root, "config:\n  shop:password: hidden: x\n")
    assert "line 2" in str(raised.value)
    assert "mapping values are not allowed" in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_a_missing_project_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Pulumi\.yaml: no such file; run from the repository's root"):
        config.project(tmp_path)


def test_an_empty_value_is_a_value(root: Path) -> None:
    assert dict(config.own_values(stack(root, "config: {'shop:a': '', 'shop:b': '[x'}\n"), "shop"))["a"] == ""
