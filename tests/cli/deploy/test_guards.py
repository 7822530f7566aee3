"""What is refused: pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cli.deploy.changes import (
    Changes,
    Holding,
    Message,
    Outcome,
    Pending,
    Step,
    counted,
    gathered,
    holding,
    plain,
    short,
)
from cli.deploy.guards import (
    FREE,
    Allowed,
    Checkout,
    about_protection,
    destruction,
    endangered,
    from_elsewhere,
    protection,
    standing,
)
from cli.deploy.run import Look

CLEAN = Checkout("main", "abc1234", "origin/main", True)


def urn(name: str, kind: str = "kubernetes:apps/v1:Deployment") -> str:
    return f"urn:pulumi:dev::ai-agents-platform::platform:layer:Fleet${kind}::{name}"


def step(op: str, name: str, kind: str = "kubernetes:apps/v1:Deployment", *, protected: bool = False) -> Step:
    return Step("ended", op, urn(name, kind), kind, protected=protected)


def held(*urns: str, protected: frozenset[str] = frozenset()) -> Holding:
    return Holding(frozenset(urns), protected)


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 100))
def test_destruction_is_refused_exactly_above_the_share_and_the_named_option_permits_it(
    total: int, wanted: int, share: int
) -> None:
    gone = min(total, wanted)
    changes = Changes({}, tuple(step("delete" if n % 2 else "replace", f"d{n}") for n in range(gone)))
    holds = held(*(urn(f"d{n}") for n in range(total)))
    refused = destruction("dev", holds, changes, Allowed(share))
    assert bool(refused) == (gone > FREE and 100 * gone > share * total)
    if refused:
        needed = int(refused[0].rpartition("--allow-destroy ")[2])
        assert destruction("dev", holds, changes, Allowed(needed)) == []


def test_a_refusal_names_the_first_ten_and_how_many_more() -> None:
    changes = Changes({}, tuple(step("delete", f"d{n:02}") for n in range(14)))
    (text,) = destruction("dev", held(*(urn(f"d{n:02}") for n in range(20))), changes, Allowed())
    assert text.startswith("dev: 14 of 20 resources would be deleted or replaced (70 %, allowed 10 %)")
    assert "Deployment d09" in text
    assert "Deployment d10" not in text
    assert "and 4 more" in text


def test_a_replaced_config_map_does_not_count_and_a_deleted_one_does() -> None:
    kind = "kubernetes:core/v1:ConfigMap"
    holds = held(*(urn(f"m{n}", kind) for n in range(10)))
    replaced = Changes({}, tuple(step("replace", f"m{n}", kind) for n in range(10)))
    deleted = Changes({}, tuple(step("delete", f"m{n}", kind) for n in range(10)))
    assert destruction("dev", holds, replaced, Allowed()) == []
    assert destruction("dev", holds, deleted, Allowed()) != []


def test_components_and_what_the_stack_never_held_do_not_count() -> None:
    changes = Changes({}, tuple(step("delete", f"group-{n}") for n in range(9)))
    assert destruction("dev", held(urn("d1")), changes, Allowed()) == []


def test_a_protected_resource_is_found_by_its_step_and_by_the_engines_words() -> None:
    holds = held(urn("db"), urn("db2"), protected=frozenset({urn("db"), urn("db2")}))
    by_step = Changes({}, (step("replace", "db", protected=True),))
    words = f'unable to replace resource "{urn("db")}" as part of replacing "{urn("x")}"; use: `pulumi state unprotect \'{urn("db")}\'`'
    by_words = Changes({}, (), (Message("error", words, urn("x")),))
    assert endangered(holds, by_step) == endangered(holds, by_words) == {urn("db")}
    assert about_protection(by_words.faults[0])


def test_a_protected_resource_that_is_only_updated_is_not_endangered() -> None:
    assert endangered(held(urn("db")), Changes({}, (step("update", "db", protected=True),))) == frozenset()


def test_protection_is_lifted_by_name_or_urn_alone() -> None:
    (refused,) = protection("dev", [urn("db"), urn("cache")], Allowed(protected=frozenset({"db"})))
    assert "--allow-protected cache" in refused
    assert "Deployment db\n" not in refused
    assert protection("dev", [urn("db")], Allowed(protected=frozenset({urn("db")}))) == []


def test_a_stack_with_protected_resources_is_not_taken_down() -> None:
    (refused,) = standing("dev", held(protected=frozenset({urn("db")})))
    assert "Deployment db" in refused
    assert "deletionProtection: false in stacks/Pulumi.dev.yaml" in refused
    assert standing("dev", held(urn("db"))) == []


def test_production_is_changed_from_what_main_has() -> None:
    assert from_elsewhere(["prod"], CLEAN, Allowed()) == []
    assert from_elsewhere(["prod"], Checkout(None, "abc", "origin/main", True), Allowed()) == []
    assert from_elsewhere([], Checkout("x", "abc", "main", False, ("a",)), Allowed()) == []


def test_production_from_elsewhere_is_refused_with_every_reason_and_the_option() -> None:
    (text,) = from_elsewhere(["prod"], Checkout("feature", "abc", "origin/main", False, ("infra/x.py",)), Allowed())
    assert "files differ from the commit: infra/x.py" in text
    assert "the branch is feature, not main" in text
    assert "--allow-checkout" in text
    (text,) = from_elsewhere(["prod"], Checkout("main", "abc", "origin/main", False), Allowed())
    assert "origin/main does not have commit abc" in text
    (text,) = from_elsewhere(["prod"], Checkout(None, "abc", "main", False), Allowed())
    assert "main does not have commit abc" in text
    assert "no git checkout" in from_elsewhere(["prod"], None, Allowed())[0]
    assert from_elsewhere(["prod"], None, Allowed(checkout=True)) == []


def test_what_the_command_itself_wrote_is_no_dirt_and_anything_beside_it_is() -> None:
    mine = Allowed(written=frozenset({"a.yaml"}))
    assert from_elsewhere(["prod"], Checkout("main", "abc", "origin/main", True, ("a.yaml",)), mine) == []
    (text,) = from_elsewhere(["prod"], Checkout("main", "abc", "origin/main", True, ("a.yaml", "b.yaml")), mine)
    assert "files differ from the commit: b.yaml\n" in text
    (text,) = from_elsewhere(["prod"], Checkout("feature", "abc", "origin/main", True, ("a.yaml",)), mine)
    assert "the branch is feature" in text


def test_a_plan_counts_as_confirmed_only_where_the_same_goes() -> None:
    confirmed = Look(Outcome(Changes({"delete": 1}, (step("delete", "d1"),))))
    assert confirmed.confirmed_by(confirmed)
    assert not Look(Outcome(Changes({"delete": 1}, (step("delete", "d2"),)))).confirmed_by(confirmed)
    assert not Look(Outcome(Changes({"delete": 2}, (step("delete", "d1"),)))).confirmed_by(confirmed)
    assert not Look(confirmed.outcome, ("refused",)).confirmed_by(confirmed)
    assert not Look(Outcome(confirmed.outcome.changes, "failed")).confirmed_by(confirmed)
    assert not confirmed.confirmed_by(None)


def test_an_exported_deployment_says_what_is_held_protected_pending_and_handed_over() -> None:
    root = {"urn": "urn:root", "type": "pulumi:pulumi:Stack", "outputs": {"foundation": {}}}
    provider = {"urn": "urn:p", "type": "pulumi:providers:aws", "custom": True}
    database = {"urn": urn("db"), "type": "aws:rds:Instance", "custom": True, "protect": True, "parent": "urn:root"}
    leaving = {"urn": urn("old"), "type": "t", "custom": True, "delete": True}
    pending = [
        {"type": "creating", "resource": {"urn": urn("x")}},
        {"type": "updating", "resource": {"urn": urn("db")}},
    ]
    found = holding({"resources": [root, provider, database, leaving], "pending_operations": pending})
    assert found.resources == found.protected == {urn("db")}
    assert found.pending == (Pending(urn("x"), "creating"), Pending(urn("db"), "updating"))
    assert found.pending_creates == (urn("x"),)
    assert found.outputs == {"foundation"}
    assert found.parents == {urn("db"): "urn:root"}
    assert holding({}) == Holding()


def test_general_words_of_the_engine_give_way_to_a_resources_own() -> None:
    said = [Message("error", "no quota", urn("d1")), Message("error", "update failed")]
    assert gathered(said).faults == (said[0],)
    assert gathered(said[1:]).faults == (said[1],)


def test_colours_go_and_kinds_stay() -> None:
    assert plain("<{%fg 1%}>error: <{%reset%}>no\x1b[31m quota\x1b[0m\n") == "error: no quota"
    assert short(urn("pool")) == "Deployment pool"
    assert counted({"update": 2, "create": 1200}) == "1,200 created · 2 updated"
    assert counted({}) == "no changes"
