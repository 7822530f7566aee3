"""What the code has is in the handbook, and what the handbook has is in the code."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import yaml
from prometheus_client import CollectorRegistry

from catalog.contract import Env, ErrorCode, Metric
from cli.__main__ import COMMANDS, main
from cli.docs import PAGES
from cli.docs.commands import commands
from cli.docs.markdown import keys
from cli.docs.measures import measured
from cli.docs.openapi import documents, operations
from cli.docs.settings import COMMAND
from infra.policies import POLICIES
from infra.services.monitoring import log_rules
from infra.services.monitoring.alerts import ALERTS
from infra.services.monitoring.rules import RECORDINGS
from infra.settings import PlatformSpec
from runtime.dynamic import DynamicSettings
from runtime.metrics import AgentMetrics, ControlMetrics
from runtime.settings import AgentSettings, ControlSettings
from tests.docs.handbook import DOCS, ROOT, Page, page, written

INSIDE = {"FLEET_PROGRESS_FD", "FLEET_PODS"}
"""Variables that one process of the command sets for another, or the bench for itself."""
BY_HAND = pytest.mark.parametrize("each", written(), ids=lambda each: each.name)


def test_every_generated_page_and_picture_is_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["docs", "--check"])
    assert code == 0, capsys.readouterr().out


def test_a_page_that_fell_behind_is_named_and_not_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.docs.PAGES", {"reference/errors.md": "tests.docs.test_reference:_other"})
    before = (DOCS / "reference" / "errors.md").read_text("utf-8")
    assert main(["docs", "--check"]) == 1
    assert "docs/reference/errors.md" in capsys.readouterr().out
    assert (DOCS / "reference" / "errors.md").read_text("utf-8") == before


def _other() -> str:
    return "something else"


def test_every_error_code_is_documented_and_no_other() -> None:
    assert set(page("reference/errors.md").first_column("Codes")) == set(ErrorCode)


def test_every_metric_is_documented_and_no_other() -> None:
    guide = page("reference/metrics.md")
    shown = set(guide.first_column("Agent processes")) | set(guide.first_column("Control processes"))
    assert shown == set(Metric)


def test_every_metric_of_the_contract_is_exposed() -> None:
    registry, control = CollectorRegistry(), CollectorRegistry()
    AgentMetrics(registry, (), lambda _: True)
    ControlMetrics(control)
    assert {name for each in (registry, control) for name, *_ in measured(each)} == set(Metric)


def test_every_recording_rule_is_documented_and_no_other() -> None:
    recorded = {rule.record for rules in RECORDINGS.values() for rule in rules}
    recorded |= {rule.record for rule in log_rules.RECORDINGS}
    assert set(page("reference/metrics.md").first_column("Recording rules")) == recorded


def test_every_alert_has_its_section_in_the_runbook_and_no_section_is_of_none() -> None:
    text = page("RUNBOOK.md").section("Alerts")
    sections = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert len(sections) == len(set(sections))
    assert set(sections) == {alert.name for alert in ALERTS}


def test_every_alerts_link_leads_to_its_section() -> None:
    for alert in ALERTS:
        url = alert.manifest()["annotations"]["runbook_url"]
        path, _, anchor = url.removeprefix("docs/").partition("#")
        assert anchor in page(path).anchors, url


def test_every_policy_is_documented_and_no_other() -> None:
    shown = page("reference/policies.md").first_column("Policies")
    assert sorted(shown) == sorted(policy.id for policy in POLICIES)


def test_every_key_of_a_stack_file_is_documented_and_no_other() -> None:
    declared = set(yaml.safe_load((ROOT / "Pulumi.yaml").read_text("utf-8"))["config"])
    # The engine requires every declared key without a default, so these are not.
    undeclared = {key.name for key in keys(PlatformSpec) if key.kind == "secret"} | {"deletionProtection"}
    undeclared |= {key.name for key in keys(PlatformSpec) if key.name.startswith("fleet.rollout.")}
    assert set(page("reference/settings.md").first_column("Stack files")) == declared | undeclared


def test_every_variable_of_a_process_is_documented_and_no_other() -> None:
    guide = page("reference/settings.md")
    shown = {
        name
        for section in ("of every process", "of an agent process", "of a control process")
        for name in guide.first_column(f"Environment {section}")
    }
    read = {name.upper() for model in (AgentSettings, ControlSettings) for name in model.model_fields}
    assert shown == read
    assert set(Env) <= shown


def test_every_dynamic_setting_is_documented_and_no_other() -> None:
    assert set(page("reference/settings.md").first_column("Dynamic settings")) == set(DynamicSettings.model_fields)


def test_every_variable_of_the_command_is_documented_and_no_other() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "cli").rglob("*.py") if "docs" not in path.parts]
    texts.append((ROOT / "fleet").read_text("utf-8"))
    read = set(re.findall(r"\bFLEET_[A-Z_]*[A-Z]\b", "\n".join(texts))) - INSIDE
    assert read == {name for name in COMMAND if name.startswith("FLEET_")}
    assert set(page("reference/settings.md").first_column("Environment of the command")) == set(COMMAND)


def test_every_command_is_documented_and_no_other() -> None:
    shown = [title.removeprefix("fleet ") for level, title in page("reference/cli.md").headings if level == 3]
    assert sorted(shown) == sorted(words for words, _ in commands())
    assert {words.split()[0] for words in shown} == set(COMMANDS)


def test_every_operation_of_the_api_is_documented_and_no_other() -> None:
    shown = [title for level, title in page("api/reference.md").headings if level == 3]
    assert sorted(shown) == sorted(f"{method} {path}" for each in documents() for method, path, _ in operations(each))


@BY_HAND
def test_every_command_line_in_a_page_is_one_of_fleets(each: Page) -> None:
    known = dict(commands())
    for words in each.commands:
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, words
        options = {
            option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        if name != "test":  # Its arguments are pytest's.
            assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= options, words


@BY_HAND
def test_every_command_named_in_a_sentence_is_one_of_fleets(each: Page) -> None:
    named = {found[1] for span in each.spans if (found := re.match(r"(?:\./)?fleet ([a-z]+)", span))}
    assert named <= set(COMMANDS)


def test_the_deployment_guides_offline_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    found = [words for words in page("DEPLOYMENT_GUIDE.md").commands if words[0] in ("cost", "graph", "split")]
    assert {words[0] for words in found} == {"cost", "graph", "split"}
    for words in found:
        assert main(words) == 0, words
        assert capsys.readouterr().out.strip()


@BY_HAND
def test_every_series_in_a_query_exists(each: Page) -> None:
    series = {*Metric, *(f"{name}_{part}" for name in Metric for part in ("bucket", "sum", "count"))}
    recorded = {rule.record for rules in RECORDINGS.values() for rule in rules}
    for block in each.blocks:
        if block.language == "promql":
            assert set(re.findall(r"\b(?:agent|control)_[a-z_]+\b", block.text)) - {"agent_id"} <= series
            assert set(re.findall(r"\b[a-z]+:[a-z0-9_]+(?::[a-z0-9_]+)?", block.text)) <= recorded


@BY_HAND
def test_every_setting_named_in_a_sentence_exists(each: Page) -> None:
    sections = {field.alias: field.annotation for field in PlatformSpec.model_fields.values()}
    wrong = []
    for span in each.spans:
        section, _, key = span.partition(".")
        keys = getattr(sections.get(section), "model_fields", None)
        if keys is None or not re.fullmatch(r"[a-z]+\.[a-zA-Z]+", span) or section == "model":
            continue
        if key not in {field.alias for field in keys.values()}:
            wrong.append(span)
    assert wrong == []


@BY_HAND
def test_every_variable_named_in_a_sentence_exists(each: Page) -> None:
    known = {*Env, *COMMAND, *ErrorCode, "KUBECONFIG", "AWS_PROFILE", "FLEET_USERNAME", "FLEET_PASSWORD"}
    known |= {name.upper() for model in (AgentSettings, ControlSettings) for name in model.model_fields}
    named = {span.partition("=")[0] for span in each.spans if re.fullmatch(r"[A-Z]+(_[A-Z]+)+(=.*)?", span)}
    assert named <= known


@BY_HAND
def test_every_stack_named_in_a_sentence_is_shipped(each: Page) -> None:
    shipped = {path.stem.removeprefix("Pulumi.") for path in (ROOT / "stacks").glob("Pulumi.*.yaml")}
    named = {
        span for span in each.spans if re.fullmatch(r"(aws|gcp|azure)-(dev|staging|prod|dedicated)[a-z0-9-]*", span)
    }
    assert named <= shipped


@pytest.mark.parametrize("name", [name for name in PAGES if name.endswith(".svg")])
def test_every_picture_is_well_formed_says_what_it_shows_and_is_shown(name: str) -> None:
    root = ElementTree.fromstring((DOCS / name).read_text("utf-8"))
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    assert any(name.rpartition("/")[2] in each.text for each in written())
