"""`fleet up STACK…` against real processes of the CLI's stand-in."""

from __future__ import annotations

import json
import signal
import subprocess

from tests.cli.deploy.conftest import Clone, answered, eventually, resources

LONG = 600
"""Seconds of an operation that nobody waits for: it is killed or interrupted."""


def one(clone: Clone, count: int = 3) -> str:
    """A stack with every layer, up with so many resources."""
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(count), outputs=("foundation", "services"))
    clone.up("dev")
    return "dev"


def layers(clone: Clone, *shards: str) -> None:
    """A foundation, services on it, and shards on both; none is up."""
    clone.stack("base", "foundation")
    clone.program("base", resources(2), outputs=("foundation",))
    clone.stack("svc", "services", foundation="base")
    clone.program("svc", resources(3), outputs=("services",), reads=("base:foundation",))
    for shard in shards:
        clone.stack(f"fleet-{shard}", "fleet", shard=shard, foundation="base", services="svc")
        clone.program(f"fleet-{shard}", resources(4), reads=("base:foundation", "svc:services"))


def begun(clone: Clone) -> list[str]:
    """Stacks in the order in which their `up` was begun."""
    return [call["options"]["--stack"] for call in clone.calls("up")]


def test_a_stack_that_does_not_exist_is_made_previewed_and_brought_up(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(3), outputs=("foundation", "services"))
    shown = clone.run("up", "dev", "--yes")
    assert "dev: does not exist yet; it is made, and its plan shown, when its turn comes" in shown
    assert shown.index("3 to create") < shown.index("bringing up") < shown.index("3 created")
    assert clone.names("dev") == ["d1", "d2", "d3"]
    assert "encryptionsalt" in (clone.root / "stacks" / "Pulumi.dev.yaml").read_text()


def test_up_again_has_nothing_to_do_and_says_so(clone: Clone) -> None:
    assert "dev  no changes" in clone.run("up", one(clone), "--yes")


def test_the_policies_go_with_preview_and_up_and_no_configuration_is_shown(clone: Clone) -> None:
    shown = clone.run("up", one(clone), "--yes")
    for command in ("preview", "up"):
        assert {call["options"]["--policy-pack"] for call in clone.calls(command)} == {"infra/policies/pack"}
    assert "ai-agents-platform:database" not in shown


def test_layers_go_in_order_and_shards_in_waves_after_the_canary(clone: Clone) -> None:
    layers(clone, "s1", "s2", "s3", "s4")
    shown = clone.run("up", "fleet-*", "svc", "base", "--yes", "--canary-shard", "s3", "--wave", "2", "--parallel", "1")
    assert begun(clone) == ["base", "svc", "fleet-s3", "fleet-s1", "fleet-s2", "fleet-s4"]
    assert "3. fleet canary: fleet-s3" in shown
    assert "4. fleet wave 1 of 2: fleet-s1, fleet-s2" in shown


def test_a_layer_whose_plan_is_not_known_yet_is_looked_at_when_its_turn_comes(clone: Clone) -> None:
    layers(clone)
    shown = clone.run("up", "base", "svc", "--yes")
    assert shown.index("svc: does not exist yet") < shown.index("base  2 created") < shown.index("svc: 3 to create")
    assert clone.names("svc") == ["d1", "d2", "d3"]


def test_a_failing_shard_stops_the_later_waves_and_the_summary_goes_on(clone: Clone) -> None:
    layers(clone, "s1", "s2", "s3", "s4")
    clone.up("base", "svc")
    clone.program("fleet-s2", resources(4, fail="quota of pods exceeded"))
    shown = clone.run("up", "fleet-*", "--yes", "--wave", "2", "--parallel", "2", code=1)
    assert set(begun(clone)) == {"base", "svc", "fleet-s1", "fleet-s2", "fleet-s3"}
    assert "fleet-s2: failed: Deployment d1: quota of pods exceeded" in shown
    assert "urn:pulumi:fleet-s2::ai-agents-platform::kubernetes:apps/v1:Deployment::d1" in shown
    assert "fleet-s4  not started" in shown
    # One that ran beside the failing one ended.
    assert clone.names("fleet-s3") == ["d1", "d2", "d3", "d4"]
    assert "Go on with: fleet up fleet-s2 fleet-s4 --wave 2 --yes" in shown
    clone.program("fleet-s2", resources(4))
    clone.run("up", "fleet-s2", "fleet-s4", "--wave", "2", "--yes")
    assert clone.names("fleet-s4") == clone.names("fleet-s2") == ["d1", "d2", "d3", "d4"]


def test_a_plan_known_only_at_its_turn_is_refused_then_and_what_is_done_stays(clone: Clone) -> None:
    layers(clone)
    clone.up("base", "svc")
    clone.program("svc", resources(20), outputs=("services",), reads=("base:foundation",))
    clone.up("svc")
    clone.program("svc", resources(5), outputs=("services",), reads=("base:foundation",))
    clone.program("base", resources(3), outputs=("foundation",))
    # A state from before base handed anything over: until it is up anew, a preview of svc could only fail.
    state = clone.load("state", "base")
    state["deployment"]["resources"][0]["outputs"] = {}
    clone.save("state", "base", state)
    shown = clone.run("up", "base", "svc", "--yes", code=1)
    assert "svc: its plan needs what base will hand over; it is shown when its turn comes" in shown
    assert "base  1 created" in shown
    assert "svc   refused" in shown
    assert "15 of 20 resources would be deleted or replaced" in shown
    assert "Go on with: fleet up svc --yes" in shown
    assert (len(clone.names("base")), len(clone.names("svc"))) == (3, 20)


def test_much_destruction_is_refused_before_anything_is_touched(clone: Clone) -> None:
    one(clone, 10)
    clone.program("dev", resources(5), outputs=("foundation", "services"))
    shown = clone.run("up", "dev", "--yes", code=1)
    assert "dev: 5 of 10 resources would be deleted or replaced (50 %, allowed 10 %)" in shown
    assert len(clone.names("dev")) == 10
    clone.run("up", "dev", "--yes", "--allow-destroy", "50")
    assert len(clone.names("dev")) == 5


def protected_database(clone: Clone, size: int) -> None:
    database = {"type": "aws:rds/instance:Instance", "name": "db", "inputs": {"size": size}, "protect": True}
    clone.program("dev", [*resources(3), {**database, "replace_on": ["size"]}], outputs=("foundation", "services"))


def test_a_protected_resource_is_replaced_only_when_it_is_named(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    protected_database(clone, 1)
    clone.up("dev")
    protected_database(clone, 2)
    shown = clone.run("up", "dev", "--yes", code=1)
    assert "dev: protected resources would be deleted or replaced:\n    Instance db" in shown
    assert "--allow-protected db" in shown
    assert not clone.calls("state")
    assert "1 replaced" in clone.run("up", "dev", "--yes", "--allow-protected", "db")
    assert clone.load("state", "dev")["deployment"]["resources"][-1]["protect"] is True


def test_protection_is_put_back_where_the_run_comes_to_nothing(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    protected_database(clone, 1)
    clone.up("dev")
    protected_database(clone, 2)
    program = clone.load("program", "dev")
    program["resources"] = [{**each, "replace_on": ["size"], "inputs": {"size": 2}} for each in program["resources"]]
    clone.save("program", "dev", program)
    assert "4 of 4 resources" in clone.run("up", "dev", "--yes", "--allow-protected", "db", code=1)
    assert [call["words"][1] for call in clone.calls("state")] == ["unprotect", "protect"]
    listed = clone.load("state", "dev")["deployment"]["resources"]
    assert [each["urn"].rpartition("::")[2] for each in listed if each.get("protect")] == ["db"]


def test_production_comes_from_main_or_from_a_person_who_says_so(clone: Clone) -> None:
    clone.stack("live", "foundation", "services", "fleet", environment="prod")
    clone.program("live", resources(1))
    shown = clone.run("up", "live", "--yes", code=1)
    assert "live: production is changed only from a clean checkout of main" in shown
    assert not clone.calls()
    clone.run("up", "live", "--yes", "--allow-checkout")
    assert clone.names("live") == ["d1"]


def killed_while(clone: Clone, kind: str) -> None:
    """Bring dev up, and kill both fleet and the engine while an operation of that kind is under way: a LONG one."""
    process = clone.start("up", "dev", "--yes", start_new_session=True)
    eventually(lambda: clone.load("state", "dev") and kind in clone.pending("dev") and clone.load("cloud", "dev"))
    process.kill()
    for engine in clone.engines():
        engine.kill()
        engine.wait()
    process.communicate()


def test_killed_while_updating_up_again_converges_once_the_dead_lock_is_cancelled(clone: Clone) -> None:
    one(clone)
    changed = [{**each, "inputs": {"size": 2}} for each in resources(3)]
    slowly = [{**each, "seconds": LONG} for each in changed]
    clone.program("dev", slowly, outputs=("foundation", "services"))
    killed_while(clone, "updating")
    clone.program("dev", changed, outputs=("foundation", "services"))
    shown = clone.run("up", "dev", "--yes", code=1)
    assert "the backend has the stack locked" in shown
    assert "of this machine is gone: it was killed, and the lock is what it left" in shown
    assert "pulumi cancel --stack dev --yes" in shown
    subprocess.run(["pulumi", "cancel", "--stack", "dev", "--yes"], env=clone.environment, check=True)
    shown = clone.run("up", "dev", "--yes")
    assert "dev: 1 interrupted operation; asking its cloud how they ended" in shown
    assert clone.pending("dev") == []
    assert set(map(str, clone.load("cloud", "dev").values())) == {"{'size': 2}"}


def test_an_interrupted_create_is_never_forgotten_silently(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(2, seconds=LONG))
    killed_while(clone, "creating")
    (orphan,) = clone.load("cloud", "dev")
    subprocess.run(["pulumi", "cancel", "--stack", "dev", "--yes"], env=clone.environment, check=True)
    clone.program("dev", resources(2))
    shown = clone.run("up", "dev", "--yes", code=1)
    assert "dev: was interrupted while creating, and whether these exist only their cloud can say" in shown
    assert "--adopt d1=ID" in shown
    assert "--forget d1" in shown
    assert clone.pending("dev") == ["creating"]
    clone.run("up", "dev", "--yes", "--adopt", f"d1={orphan}")
    assert clone.pending("dev") == []
    assert clone.names("dev") == ["d1", "d2"]
    # Adopted, not made a second time.
    assert len(clone.load("cloud", "dev")) == 2


def test_what_became_of_an_interrupted_create_is_asked_in_a_terminal(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(2, seconds=LONG))
    killed_while(clone, "creating")
    (orphan,) = clone.load("cloud", "dev")
    subprocess.run(["pulumi", "cancel", "--stack", "dev", "--yes"], env=clone.environment, check=True)
    clone.program("dev", resources(2))
    code, shown = answered(clone, "up", "dev", answer="\n")
    assert (code, clone.pending("dev")) == (1, ["creating"]), shown
    code, shown = answered(clone, "up", "dev", answer=f"{orphan}\nyes\nyes\n")
    assert (code, clone.names("dev")) == (0, ["d1", "d2"]), shown
    assert orphan in clone.load("cloud", "dev")


def test_an_interrupted_create_that_came_to_nothing_is_made_again(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(2, seconds=LONG))
    killed_while(clone, "creating")
    subprocess.run(["pulumi", "cancel", "--stack", "dev", "--yes"], env=clone.environment, check=True)
    clone.save("cloud", "dev", {})
    clone.program("dev", resources(2))
    clone.run("up", "dev", "--yes", "--forget", "all")
    assert clone.names("dev") == ["d1", "d2"]
    assert (clone.pending("dev"), len(clone.load("cloud", "dev"))) == ([], 2)


def test_a_stack_is_never_changed_twice_at_once(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(2, seconds=LONG))
    first = clone.start("up", "dev", "--yes", start_new_session=True)
    eventually(lambda: clone.load("state", "dev") and clone.pending("dev"))
    assert f"(process {first.pid}) since" in clone.run("up", "dev", "--yes", code=1)
    first.kill()
    first.communicate()
    # The engine it started works on, and still holds the stack.
    assert "is gone, but the engine it started still works" in clone.run("up", "dev", "--yes", code=1)
    for engine in clone.engines():
        # Two signals that do not merge into one: it ends at once, and in good order.
        engine.send_signal(signal.SIGINT)
        engine.send_signal(signal.SIGTERM)
        engine.wait()
    clone.program("dev", resources(2))
    assert "being changed" not in clone.run("up", "dev", "--yes", "--forget", "all")


def test_one_interrupt_lets_operations_end_and_up_again_goes_on(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    # Longer than the interrupt takes on its way to the engine.
    clone.program("dev", resources(4, seconds=6))
    process = clone.start("up", "dev", "--yes")
    eventually(lambda: clone.load("state", "dev") and clone.pending("dev"))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert "Interrupted: operations under way may end" in output
    assert "dev  cancelled after 1 created" in output
    assert "Go on with: fleet up dev --yes" in output
    assert clone.names("dev") == ["d1"]
    assert clone.pending("dev") == []
    clone.program("dev", resources(4))
    clone.run("up", "dev", "--yes")
    assert len(clone.names("dev")) == 4


def test_a_second_interrupt_does_not_wait(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.program("dev", resources(2, seconds=LONG))
    process = clone.start("up", "dev", "--yes")
    eventually(lambda: clone.load("state", "dev") and clone.pending("dev"))
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert any(line.startswith("Interrupted: ") for line in process.stdout)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert "dev  cancelled (" in output
    assert clone.pending("dev") == ["creating"]


def test_the_plan_is_shown_and_confirmed_in_a_terminal(clone: Clone) -> None:
    one(clone)
    clone.program("dev", resources(5), outputs=("foundation", "services"))
    code, shown = answered(clone, "up", "dev", answer="no\n")
    assert (code, len(clone.names("dev"))) == (1, 3)
    assert "2 to create" in shown
    assert "not confirmed: nothing was changed" in shown
    code, shown = answered(clone, "up", "dev", answer="yes\n")
    assert code == 0, shown
    assert len(clone.names("dev")) == 5


def test_nobody_to_confirm_is_refused_before_the_engine_is_asked(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    assert "nobody is there to confirm" in clone.run("up", "dev", code=2)
    # What is wrong with the question itself is said first.
    assert "no stack 'dve'" in clone.run("up", "dve", code=2)
    assert not clone.calls()


def test_events_for_scripts_are_json_lines(clone: Clone) -> None:
    one(clone)
    clone.program("dev", [*resources(4), *[{**each, "name": "bad", "fail": "no such image"} for each in resources(1)]])
    process = clone.start("up", "dev", "--yes", "--json")
    output, errors = process.communicate(timeout=300)
    events = [json.loads(line) for line in output.splitlines()]
    assert (process.returncode, errors) == (1, "")
    assert [event["event"] for event in events] == ["plan", "began", "step", "fault", "step", "result", "summary"]
    assert events[-1]["stacks"][0]["faults"][0]["message"] == "no such image"


def test_without_the_cli_it_says_how_to_get_it_and_what_works(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.environment["PATH"] = "/nonexistent"
    shown = clone.run("up", "dev", "--yes", code=1)
    assert "https://www.pulumi.com/docs/install/" in shown
    assert "fleet preview, cost, check, render, graph and doctor work without it" in shown


def test_a_cli_that_is_too_old_is_refused(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    clone.environment["STAND_IN_VERSION"] = "3.100.0"
    assert "fleet needs Pulumi's CLI 3.206.0 or newer" in clone.run("up", "dev", "--yes", code=1)


def test_what_only_an_example_may_have_is_refused_offline(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    path = clone.root / "stacks" / "Pulumi.dev.yaml"
    path.write_text(path.read_text().replace("acme.io", "example.com"))
    assert "dev: ai-agents-platform:domain: agents.example.com is an example" in clone.run("up", "dev", "--yes", code=2)
    assert not clone.calls()


def test_options_of_this_machine_and_of_stacks_do_not_mix(clone: Clone) -> None:
    clone.stack("dev", "foundation", "services", "fleet")
    assert "--port: for the platform on this machine" in clone.run("up", "dev", "--yes", "--port", "9000", code=2)
    assert "--yes: for cloud stacks: name a STACK" in clone.run("up", "--yes", code=2)
    assert "--yes: for cloud stacks: name a STACK" in clone.run("down", "--yes", code=2)
