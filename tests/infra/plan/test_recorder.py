"""What the recorder keeps of a program, and how it answers."""

from __future__ import annotations

import pytest

from infra.plan import PlanError, record
from infra.plan.plan import is_secret, is_unknown
from infra.plan.recording import Mode

HERE = "tests.infra.plan.programs"
VALUES = {"token": {"secure": "v1:ciphertext"}}
MODES: tuple[Mode, Mode] = ("known", "unknown")


@pytest.mark.parametrize("mode", MODES)
def test_a_request_is_kept_completely(mode: Mode) -> None:
    plan = record(VALUES, mode, program=f"{HERE}:everything")
    first, second = plan.one("kubernetes:core/v1:Secret"), plan.one(name="second")
    box = plan.one("platform:workloads:Box")
    assert first.parent == second.parent == box.urn
    assert first.urn.endswith("platform:workloads:Box$kubernetes:core/v1:Secret::first")
    assert first.protect
    assert not second.protect
    assert first.provider.rpartition("::")[0].endswith("pulumi:providers:kubernetes::cluster")
    assert second.dependencies == (first.urn, plan.one(name="password").urn) or first.urn in second.dependencies
    assert second.property_dependencies["data"]
    assert second.aliases == ({"name": "former"},)
    assert second.ignore_changes == ("data",)
    assert second.retain_on_delete
    assert second.delete_before_replace
    assert second.timeouts == {"create": "5m"}
    assert first.inputs["plain"] == [1, 2.5, True, "text"]
    assert box.outputs == {"size": 3}
    assert box.is_component
    assert plan.outputs["layers"] == ["fleet"]


@pytest.mark.parametrize("mode", MODES)
def test_secrets_are_digests_and_never_in_clear(mode: Mode) -> None:
    plan = record(VALUES, mode, program=f"{HERE}:everything")
    assert is_secret(plan.one("kubernetes:core/v1:Secret").get("stringData.password"))
    assert is_secret(plan.one(name="second").get("data.secret"))
    assert is_secret(plan.outputs["password"])
    text = str(plan.as_dict())
    assert "random-password-" not in text
    assert "pulumi-secret-" not in text


def test_computed_values_are_unknown_as_in_a_first_preview_or_plausible() -> None:
    unknown = record(VALUES, "unknown", program=f"{HERE}:everything").one(name="second")
    known = record(VALUES, "known", program=f"{HERE}:everything").one(name="second")
    assert is_unknown(unknown.get("data.id"))
    assert known.get("data.id") == "first"
    assert unknown.get("data.length") == known.get("data.length") == 20


def test_recording_twice_gives_the_same_plan() -> None:
    first, second = (record(VALUES, "known", program=f"{HERE}:everything", fresh=True) for _ in range(2))
    assert first.resources == second.resources


def test_a_duplicate_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        PlanError, match=r"two resources have the URN urn:pulumi:.*::same: give one of them another logical name"
    ):
        record({}, program=f"{HERE}:twice")


def test_another_stacks_outputs_are_what_the_caller_says() -> None:
    plan = record({}, program=f"{HERE}:reads", references={"elsewhere": {"answer": {"a": "42"}}})
    assert plan.one(name="reader").get("data.a") == "42"


def test_another_stacks_outputs_are_unknown_in_a_first_preview() -> None:
    assert is_unknown(record({}, "unknown", program=f"{HERE}:reads").one(name="reader").get("data"))


def test_an_output_that_the_other_stack_lacks_fails_naming_it() -> None:
    with pytest.raises(PlanError, match="answer"):
        record({}, program=f"{HERE}:reads", references={"elsewhere": {"other": 1}})


def test_a_provider_function_is_refused() -> None:
    with pytest.raises(
        PlanError, match="invokes aws:index/getAvailabilityZones:getAvailabilityZones, which needs a provider"
    ):
        record({}, program=f"{HERE}:invokes")


def test_a_mistake_of_the_program_says_where_it_is() -> None:
    with pytest.raises(PlanError, match="KeyError: 'missing'") as raised:
        record({}, program=f"{HERE}:fails")
    assert "programs.py" in raised.value.where
    assert "site-packages" not in raised.value.where


def test_what_a_program_prints_is_not_in_its_plan() -> None:
    assert [item.name for item in record({}, program=f"{HERE}:prints")] == ["printed"]


def test_a_program_sees_what_its_stack_exported_before() -> None:
    plan = record({}, program=f"{HERE}:previous", state={"layers": ["foundation"]})
    assert plan.one(name="had").get("data.outputs.layers") == ["foundation"]


def test_refused_settings_come_back_as_every_problem_and_no_traceback() -> None:
    with pytest.raises(PlanError) as raised:
        record({"cloud": "aws", "environment": "prod", "nonsense": 1, "domain": "??"})
    assert raised.value.kind == "refused"
    assert {key for key, _ in raised.value.problems} >= {"nonsense", "domain"}
    assert "Traceback" not in str(raised.value)


def test_a_layer_that_was_taken_away_is_refused() -> None:
    values = {
        "cloud": "existing", "environment": "dev", "data": "in-cluster", "layers": ["fleet"],
        "stacks": {"foundation": "f", "services": "s"},
    }  # fmt: skip
    with pytest.raises(PlanError) as raised:
        record(values, state={"layers": ["services", "fleet"]})
    assert [key for key, _ in raised.value.problems] == ["layers"]
    assert "services" in str(raised.value)
