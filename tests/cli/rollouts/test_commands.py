"""fleet rollout, as a person runs it, on a checkout of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.rollouts import status
from tests.cli.rollouts import checkout
from tests.cli.rollouts.checkout import Checkout
from tests.cli.rollouts.conftest import AGENT

NAME = AGENT.replace("_", "-")
FILE = "catalog/pools/business/strategy.yaml"
STACK = "aws-prod-fleet"
STACK_FILE = f"stacks/Pulumi.{STACK}.yaml"
OPENING = "You write business plans"


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return checkout.made(tmp_path_factory.mktemp("rollouts"))


@pytest.fixture
def repository(_made: Checkout) -> Iterator[Checkout]:
    """A checkout with nothing uncommitted."""
    yield _made
    _made.git("checkout", "--quiet", ".")
    _made.git("clean", "--quiet", "--force", "-d")


def _edit(repository: Checkout) -> None:
    repository.replace(FILE, OPENING, f"MARKED {OPENING}")


def test_an_edited_prompt_becomes_a_canary_is_raised_and_promoted(repository: Checkout) -> None:
    _edit(repository)
    edited = (repository.root / FILE).read_bytes()
    shown = repository.fleet("rollout", "start", AGENT, "--dry-run").stdout
    assert shown.startswith(f"--- a/{FILE}\n+++ b/{FILE}\n")
    assert (repository.root / FILE).read_bytes() == edited
    said = repository.fleet("rollout", "start", NAME).stdout
    assert f"Changed {FILE}." in said
    assert "The platform does not run here, so nothing is applied. fleet up applies them here" in said
    added = [line for line in repository.git("diff", "--numstat").split() if line.isdigit()]
    assert added[1] == "0", "only lines of the rollout are added"

    (found,) = json.loads(repository.fleet("rollout", "status", "--json").stdout)
    assert (found["target"], found["strategy"], found["since"]) == (AGENT, "canary", "not committed yet")
    assert [(row["version"], row["role"], row["share"]) for row in found["rows"]] == [
        (NAME, "serving", "90%"),
        (f"{NAME}-canary", "candidate", "10%"),
    ]
    assert found["rows"][1]["changes"] == "prompt"
    repository.fleet("rollout", "promote", AGENT, "--percent", "50", "--no-apply")
    shown = repository.fleet("rollout", "status", AGENT).stdout
    assert shown.count("50%") == 2
    repository.fleet("rollout", "promote", AGENT)
    assert (repository.root / FILE).read_bytes() == edited
    assert "No rollout is under way" in repository.fleet("rollout", "status").stdout


def test_abort_leaves_nothing_behind(repository: Checkout) -> None:
    _edit(repository)
    repository.fleet("rollout", "start", AGENT, "--strategy", "blue-green")
    repository.fleet("rollout", "promote", AGENT)
    assert "previous" in repository.fleet("rollout", "status").stdout
    repository.fleet("rollout", "abort", AGENT)
    repository.fleet("rollout", "abort", AGENT)
    assert repository.git("status", "--porcelain") == ""


def test_a_rollout_is_against_the_commit_that_is_named(repository: Checkout) -> None:
    before = repository.git("rev-parse", "HEAD").strip()
    _edit(repository)
    repository.commit("Edited")
    refused = repository.fleet("rollout", "start", AGENT, code=1)
    assert "nothing that a rollout carries differs from HEAD" in refused.stderr
    repository.fleet("rollout", "start", AGENT, "--against", "HEAD~1")
    repository.fleet("rollout", "abort", AGENT)
    assert repository.git("diff", before, "--", "catalog") == ""
    assert (
        "is no commit of this repository"
        in repository.fleet("rollout", "start", AGENT, "--against", "nonsense", code=2).stderr
    )
    repository.git("reset", "--quiet", "--hard", before)


def test_a_stacks_candidate_is_named_or_edited(repository: Checkout) -> None:
    before = (repository.root / STACK_FILE).read_bytes()
    repository.fleet("rollout", "start", STACK, "--model", "claude-haiku-5-5", "--max-tokens", "100", "--no-apply")
    fleet = yaml.safe_load((repository.root / STACK_FILE).read_text())["config"]["ai-agents-platform:fleet"]
    assert fleet["rollout"] == {
        "strategy": "canary",
        "canaryPercent": 10,
        "candidate": {"model": "claude-haiku-5-5", "maxTokens": 100},
    }
    (found,) = json.loads(repository.fleet("rollout", "status", "--json").stdout)
    assert [row["version"] for row in found["rows"]] == ["pool-business and 2 more", "pool-business-canary and 2 more"]
    _edit(repository)
    crossed = repository.fleet("rollout", "start", AGENT, code=1)
    assert f"stack {STACK}: the whole fleet has two versions, and so has {AGENT} by the catalog" in crossed.stderr
    repository.fleet("rollout", "abort", STACK, "--no-apply")
    assert (repository.root / STACK_FILE).read_bytes() == before

    repository.replace(STACK_FILE, "    requestsPerDay: 50000", "    logLevel: DEBUG\n    requestsPerDay: 50000")
    repository.fleet("rollout", "start", STACK, "--strategy", "blue-green", "--no-apply")
    repository.fleet("rollout", "promote", STACK, "--no-apply")
    fleet = yaml.safe_load((repository.root / STACK_FILE).read_text())["config"]["ai-agents-platform:fleet"]
    assert fleet["logLevel"] == "DEBUG"
    assert fleet["rollout"] == {"strategy": "blue-green", "active": "green", "previous": {"logLevel": "INFO"}}
    repository.fleet("rollout", "finish", STACK, "--no-apply")
    fleet = yaml.safe_load((repository.root / STACK_FILE).read_text())["config"]["ai-agents-platform:fleet"]
    assert fleet["rollout"] == {"strategy": "blue-green", "active": "green"}


def test_a_stack_without_sections_gets_and_loses_them(repository: Checkout) -> None:
    image = "registry.example.com/team/agents@sha256:" + "1" * 64
    path = repository.root / "stacks" / "Pulumi.aws-dev.yaml"
    before = path.read_bytes()
    repository.fleet("rollout", "start", "aws-dev", "--image", image, "--no-apply")
    repository.fleet("rollout", "promote", "aws-dev", "--no-apply")
    config = yaml.safe_load(path.read_text())["config"]
    assert config["ai-agents-platform:images"] == {"runtime": image}
    assert "ai-agents-platform:fleet" not in config
    # What is edited is started against the commit: the section it came with goes back into the candidate.
    repository.fleet("rollout", "start", "aws-dev", "--no-apply")
    config = yaml.safe_load(path.read_text())["config"]
    assert "ai-agents-platform:images" not in config
    assert config["ai-agents-platform:fleet"]["rollout"]["candidate"] == {"image": image}
    repository.fleet("rollout", "abort", "aws-dev", "--no-apply")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["start", "business_plan_agent_9"], 5, f"did you mean {AGENT}"),
        (["start", "stack:business"], 5, "there is no agent, pool or stack 'stack:business'"),
        (["start", AGENT, "--strategy", "sideways"], 2, "it is canary or blue-green"),
        (["start", AGENT, "--model", "m"], 2, "are a stack's"),
        (["start", AGENT], 1, "nothing that a rollout carries differs from HEAD"),
        (["start", STACK], 1, "neither image nor model, maxTokens or logLevel differ from HEAD"),
        (["start", STACK, "--max-tokens", "4096"], 1, "serves that already"),
        (["promote", AGENT], 5, "has one version: fleet rollout start puts another beside it"),
        (["promote", AGENT, "--percent", "95"], 2, "less than or equal to 90"),
        (["finish", "business"], 5, "has one version"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(
    repository: Checkout, arguments: list[str], code: int, said: str
) -> None:
    finished = repository.fleet("rollout", *arguments, code=code)
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr
    assert repository.git("status", "--porcelain") == ""


def test_a_name_that_means_several_things_lists_them(repository: Checkout) -> None:
    (repository.root / "stacks" / "Pulumi.business.yaml").write_text((repository.root / STACK_FILE).read_text())
    finished = repository.fleet("rollout", "status", "business", code=2)
    assert "'business' means several things: say pool:business or stack:business" in finished.stderr
    assert "pool-business" in repository.fleet("rollout", "status", "pool:business").stdout


def test_a_gate_that_cannot_measure_promotes_nothing(repository: Checkout) -> None:
    _edit(repository)
    repository.fleet("rollout", "start", AGENT)
    begun = (repository.root / FILE).read_bytes()
    away = repository.fleet("rollout", "promote", AGENT, "--prometheus", "http://127.0.0.1:9", code=3)
    assert "does not answer" in away.stderr
    nowhere = repository.fleet("rollout", "promote", AGENT, "--gate", code=2)
    assert "for a cluster name its Prometheus" in nowhere.stderr
    assert (repository.root / FILE).read_bytes() == begun


def test_what_a_stack_would_refuse_is_refused_before_a_file_changes(repository: Checkout, tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\nPATH=/usr/bin:/bin exec git "$@"\n')
    git.chmod(0o755)
    _edit(repository)
    edited = (repository.root / FILE).read_bytes()
    built = {"kind-built": "kind", "prod-built": STACK}
    for stack, said, code in (
        ("kind", "images.runtime: is the placeholder", 2),
        ("no-such", "no stack 'no-such'; the stacks are:", 2),
        ("kind-built", "pulumi is not on PATH: install its CLI", 1),
        ("prod-built", "production is changed from what main has: say --no-apply", 1),
    ):
        if stack.endswith("-built"):
            text = (repository.root / "stacks" / f"Pulumi.{built[stack]}.yaml").read_text()
            text = text.replace("123456789012", "210987654321").replace("your-domain.com", "acme.dev")
            text += f"  ai-agents-platform:images: {{runtime: 'registry.acme.dev/a/b@sha256:{'1' * 64}'}}\n"
            (repository.root / "stacks" / f"Pulumi.{stack}.yaml").write_text(text)
        refused = repository.fleet("rollout", "start", AGENT, "--stack", stack, "--yes", code=code, PATH=str(tmp_path))
        assert said in refused.stderr
        assert (repository.root / FILE).read_bytes() == edited
    # The last thing that is asked for is somebody who confirms.
    (tmp_path / "pulumi").write_text("#!/bin/sh\n")
    (tmp_path / "pulumi").chmod(0o755)
    for stack, said in (("no-such", "no stack 'no-such'"), ("kind-built", "nobody is there to confirm the plan")):
        refused = repository.fleet("rollout", "start", AGENT, "--stack", stack, code=2, PATH=str(tmp_path))
        assert said in refused.stderr
        assert (repository.root / FILE).read_bytes() == edited


def test_a_catalog_outside_a_repository_says_so(repository: Checkout, tmp_path: Path) -> None:
    folder = tmp_path / "pools" / "business"
    folder.mkdir(parents=True)
    for name in ("pool.yaml", "strategy.yaml"):
        (folder / name).write_bytes((repository.pools / "business" / name).read_bytes())
    refused = repository.fleet("rollout", "start", AGENT, code=1, CATALOG_PATH=str(folder.parent))
    assert "is in no git repository" in refused.stderr


def test_deployments_of_a_cluster_are_told_in_words() -> None:
    def deployment(name: str, **state: int) -> dict[str, object]:
        return {
            "kind": "Deployment",
            "metadata": {"name": name, "generation": 3},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 3, **state},
        }

    service = {"kind": "Service", "metadata": {"name": NAME}, "spec": {"selector": {"app": f"{NAME}-green"}}}
    behind = {**deployment("late", readyReplicas=2, updatedReplicas=2), "metadata": {"name": "late", "generation": 4}}
    assert status.deployed(
        [deployment(f"{NAME}-green", readyReplicas=2, updatedReplicas=2), deployment(f"{NAME}-blue"), service, behind]
    ) == {
        f"{NAME}-green": f"2/2 ready, 2/2 updated, behind {NAME}",
        f"{NAME}-blue": "0/2 ready, 0/2 updated",
        "late": "2/2 ready, 0/2 updated",
    }
