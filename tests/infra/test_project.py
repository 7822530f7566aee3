from __future__ import annotations

from infra import project


def test_pulumi_yaml_is_what_the_settings_say() -> None:
    assert project.PATH.read_text("utf-8") == project.text(), "run: python -m infra.project"


def test_every_declared_key_but_the_two_that_must_be_given_has_a_default() -> None:
    without = [key for key, declared in project.project()["config"].items() if "default" not in declared]
    assert without == ["cloud", "environment"]


def test_every_declared_key_has_a_type_the_engine_knows_and_a_description() -> None:
    for key, declared in project.project()["config"].items():
        assert declared["type"] in ("string", "integer", "boolean", "array"), key
        assert declared["description"], key
