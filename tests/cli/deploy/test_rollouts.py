"""fleet rollout on a cloud stack, from its start to its end, against the CLI's stand-in running the repository's program.

The stack is small (a pool of one domain), so that a version which ends is a large share of what the stack holds.
"""

from __future__ import annotations

import json
import shutil
import subprocess

from catalog.registry import POOLS_FOLDER
from tests.cli.deploy.conftest import Clone

AGENT, NEIGHBOUR = "business_plan_agent_009", "merger_integration_plan_agent_010"
NAME = AGENT.replace("_", "-")
FILE = "catalog/pools/business/strategy.yaml"
OPENING = "You write business plans"


def git(clone: Clone, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=clone.root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(clone: Clone) -> None:
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "as it is")


def replace(clone: Clone, old: str, new: str, path: str = FILE) -> None:
    """Replace the first ``old`` in a file, which must be there. A new file: the one there is linked to the original."""
    text = (clone.root / path).read_text()
    assert old in text
    (clone.root / path).unlink()
    (clone.root / path).write_text(text.replace(old, new, 1))


def fleet_stack(clone: Clone, *, environment: str = "dev") -> str:
    """A stack of agents alone, up and committed."""
    folder = clone.root / "catalog" / "pools" / "business"
    folder.mkdir(parents=True)
    for name in ("pool.yaml", "strategy.yaml"):
        shutil.copy(POOLS_FOLDER / "business" / name, folder / name)
    clone.stack("base", "foundation", environment=environment)
    clone.stack("svc", "services", environment=environment, foundation="base")
    clone.stack("live", "fleet", environment=environment, foundation="base", services="svc")
    clone.program("live", [], record=True)
    git(clone, "init", "--quiet", "--initial-branch", "main")
    commit(clone)
    clone.run("up", "live", "--yes")
    # The backend's salt was written into the stack's file.
    commit(clone)
    return "live"


def deployments(clone: Clone) -> set[str]:
    """Logical names of the Deployments in the state, without the fleet's name and their own kind."""
    return {
        name.removeprefix("fleet-").removesuffix("-deployment")
        for name in clone.names("live")
        if name.endswith("-deployment")
    }


def rollout(clone: Clone, *arguments: str, code: int = 0) -> str:
    return clone.run("rollout", *arguments, "--stack", "live", "--yes", code=code)


def test_a_pooled_agents_canary_is_promoted_and_another_aborted(clone: Clone) -> None:
    fleet_stack(clone)
    replace(clone, OPENING, f"MARKED {OPENING}")
    rollout(clone, "start", AGENT)
    assert deployments(clone) == {"business", NAME, f"{NAME}-canary"}
    shown = rollout(clone, "promote", AGENT)
    assert "Control has its catalog from svc: fleet up brings it there too." in shown
    # Ten of sixteen resources, and their component: far above the share, and no destruction.
    assert "11 to delete · 1 to replace (16 resources now)" in shown
    assert deployments(clone) == {"business"}
    assert any("MARKED" in json.dumps(content) for content in clone.load("cloud", "live").values())

    commit(clone)
    replace(clone, "MARKED", "WORSE")
    rollout(clone, "start", AGENT, "--strategy", "blue-green")
    assert deployments(clone) == {"business", f"{NAME}-blue", f"{NAME}-green"}
    rollout(clone, "abort", AGENT)
    assert deployments(clone) == {"business"}
    assert not any("WORSE" in json.dumps(content) for content in clone.load("cloud", "live").values())


def test_a_pools_colours_begin_switch_and_end(clone: Clone) -> None:
    fleet_stack(clone)
    replace(clone, OPENING, f"MARKED {OPENING}")
    rollout(clone, "start", "business", "--strategy", "blue-green")
    assert deployments(clone) == {"business-blue", "business-green"}
    rollout(clone, "promote", "business")
    rollout(clone, "finish", "business")
    assert deployments(clone) == {"business-green"}


def test_a_whole_stacks_new_model_is_tried_and_taken_back(clone: Clone) -> None:
    fleet_stack(clone)
    rollout(clone, "start", "live", "--log-level", "DEBUG", "--strategy", "blue-green")
    assert deployments(clone) == {"business-blue", "business-green"}
    rollout(clone, "abort", "live")
    assert deployments(clone) == {"business"}


def test_a_merged_promotion_goes_through_a_bare_up_and_an_agent_removed_beside_it_does_not(clone: Clone) -> None:
    fleet_stack(clone)
    for agent in (AGENT, NEIGHBOUR):
        replace(clone, f"  - id: {agent}\n", f"  - id: {agent}\n    isolation: dedicated\n")
    clone.up("live")
    commit(clone)
    replace(clone, OPENING, f"MARKED {OPENING}")
    rollout(clone, "start", AGENT)
    neighbour = NEIGHBOUR.replace("_", "-")
    assert deployments(clone) == {"business", NAME, f"{NAME}-canary", neighbour}
    clone.run("rollout", "promote", AGENT, "--no-apply")

    whole = (clone.root / FILE).read_text()
    entries = whole.split("  - id: ")
    (gone,) = [entry for entry in entries if entry.startswith(f"{NEIGHBOUR}\n")]
    replace(clone, f"  - id: {gone}", "")
    shown = clone.run("up", "live", "--yes", code=1)
    assert "5 of 21 resources would be deleted or replaced (24 %, allowed 10 %), beside 5 of versions that end" in shown
    assert f"Deployment fleet-{neighbour}-deployment" in shown
    assert f"Deployment fleet-{NAME}-canary-deployment" not in shown.partition("would be deleted")[2]

    (clone.root / FILE).write_text(whole)
    clone.up("live")
    assert deployments(clone) == {"business", NAME, neighbour}


def test_production_is_returned_from_a_clean_main_by_confirmation_alone_and_moved_on_by_leave(clone: Clone) -> None:
    fleet_stack(clone, environment="prod")
    replace(clone, OPENING, f"MARKED {OPENING}")
    begun = (clone.root / FILE).read_text()
    assert "say --no-apply, commit and merge" in rollout(clone, "start", AGENT, code=1)
    assert (clone.root / FILE).read_text() == begun
    clone.run("rollout", "start", AGENT, "--no-apply")
    commit(clone)
    clone.up("live")
    assert deployments(clone) == {"business", NAME, f"{NAME}-canary"}
    committed = (clone.root / FILE).read_text()

    (clone.root / "stray").write_text("of no commit")
    assert "files differ from the commit: stray\n" in rollout(clone, "abort", AGENT, code=1)
    assert (clone.root / FILE).read_text() == committed
    (clone.root / "stray").unlink()
    git(clone, "switch", "--quiet", "--create", "elsewhere")
    assert "the branch is elsewhere, not main" in rollout(clone, "abort", AGENT, code=1)
    git(clone, "switch", "--quiet", "main")

    shown = rollout(clone, "abort", AGENT)
    assert "until main has it, the next deployment from main brings back what was before" in shown
    assert deployments(clone) == {"business"}
    # Anything else goes on being refused from what the command left.
    assert f"files differ from the commit: {FILE}" in clone.run("up", "live", "--yes", code=1)


def test_production_goes_back_to_the_commit_before_and_not_to_one_that_main_never_had(clone: Clone) -> None:
    fleet_stack(clone, environment="prod")
    git(clone, "switch", "--quiet", "--create", "unreviewed")
    replace(clone, OPENING, f"UNREVIEWED {OPENING}")
    commit(clone)
    replace(clone, "UNREVIEWED", "WORSE")
    commit(clone)
    git(clone, "switch", "--quiet", "main")
    # Main never was what the branch was before its review, though it has it in its history.
    git(clone, "merge", "--quiet", "--no-ff", "--no-edit", "unreviewed")
    clone.up("live")
    refused = clone.run("rollback", "live", "--to", "unreviewed^", "--yes", code=1)
    assert "production is changed from what main has" in refused
    assert git(clone, "status", "--porcelain") == ""
    clone.run("rollback", "live", "--yes")
    contents = json.dumps(clone.load("cloud", "live"))
    assert OPENING in contents
    assert "WORSE" not in contents
    assert "UNREVIEWED" not in contents


def test_an_abort_that_fails_in_the_cloud_says_the_command_that_goes_on(clone: Clone) -> None:
    fleet_stack(clone, environment="prod")
    replace(clone, OPENING, f"MARKED {OPENING}")
    clone.run("rollout", "start", AGENT, "--no-apply")
    commit(clone)
    clone.up("live")
    clone.program("live", [], record=True, fail={"fleet-routes": "the cluster is away"})
    shown = rollout(clone, "abort", AGENT, code=1)
    assert "the cluster is away" in shown
    assert "Go on with: fleet up live --allow-checkout --yes" in shown
    clone.program("live", [], record=True)
    clone.run("up", "live", "--allow-checkout", "--yes")
    assert deployments(clone) == {"business"}
