"""A rollout's steps on the shipped files: what each leaves of the text, and what it means."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from catalog import registry, versions
from catalog.registry import POOLS_FOLDER, Registry, content_digest
from catalog.schema import AgentSpec
from catalog.versions import Workload
from cli.errors import CommandError
from cli.rollouts import change
from tests.cli.rollouts.conftest import AGENT, Catalog, of_domain

FILES = sorted(path for path in POOLS_FOLDER.glob("*/*.yaml") if path.name != "pool.yaml")
POOL = "business"


def _entry(text: str, agent: str) -> tuple[int, int]:
    """Where an entry's lines begin and end."""
    begin = text.index(f"  - id: {agent}\n")
    end = text.find("\n  - id: ", begin + 1)
    return begin, len(text) if end < 0 else end + 1


def _edited(text: str, agent: str, edit: Callable[[str], str]) -> str:
    begin, end = _entry(text, agent)
    return text[:begin] + edit(text[begin:end]) + text[end:]


def _instructions(entry: str) -> str:
    return re.sub(r"(instructions: \|-?\n)( +)", r"\1\2MARKED: 50% {{braces}} # no comment\n\n\2", entry, count=1)


def _answer(entry: str) -> str:
    return re.sub(r"(      answer:\n)", r"\1        - A point that was not asked for before\n", entry)


def _model(entry: str) -> str:
    if "\n    model: " in entry:
        return re.sub(r"\n    model: .*", "", entry)
    return re.sub(r"(    tags:)", r"    model:\n      max_tokens: 77  # few\n\1", entry)


def _cache(entry: str) -> str:
    if "\n    cache_seconds: " in entry:
        return re.sub(r"\n    cache_seconds: .*", "", entry)
    return entry + "    cache_seconds: 61\n"


def _resources(entry: str) -> str:
    return re.sub(r"(    example:)", r"    resources: {memory_limit: 1Gi}\n\1", entry)


EDITS = (_instructions, _answer, _model, _cache, _resources)


def _changed_lines(before: str, after: str) -> list[str]:
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_start_and_abort_give_the_file_back_and_start_and_promote_the_edited_meaning(
    path: Path, tmp_path: Path
) -> None:
    catalog = of_domain(tmp_path, path.parent.name, path.stem)
    before = catalog.file.read_bytes().decode()
    chosen = random.Random(path.stem)
    agents = [agent.id for agent in registry.load(catalog.folder)]
    agent = chosen.choice([agents[0], agents[-1], chosen.choice(agents)])
    for edit in chosen.sample(EDITS, chosen.randint(1, 4)):
        catalog.edit(lambda text, edit=edit: _edited(text, agent, edit))  # type: ignore[misc]
    edited = catalog.file.read_bytes()
    wanted = registry.load(catalog.folder).require(agent)

    catalog.start(agent)
    begun = catalog.file.read_bytes().decode()
    inside = _entry(begun, agent)
    assert begun[: inside[0]] + begun[inside[1] :] == "".join(
        before[a:b] for a, b in ((0, _entry(before, agent)[0]), (_entry(before, agent)[1], len(before)))
    )
    spec = registry.load(catalog.folder).require(agent)
    assert content_digest(spec) == content_digest(registry.load(catalog.then).require(agent))
    assert spec.rollout is not None
    assert spec.rollout.candidate is not None
    assert content_digest(spec.changed(spec.rollout.candidate)) == content_digest(wanted)

    catalog.move(agent, change.abort)
    assert catalog.file.read_bytes().decode() == before

    catalog.file.write_bytes(edited)
    catalog.start(agent)
    catalog.move(agent, change.promote)
    promoted = registry.load(catalog.folder).require(agent)
    assert content_digest(promoted) == content_digest(wanted)
    assert promoted.rollout is None


@pytest.mark.parametrize("edit", [_instructions, _answer, _model, _cache, _resources])
def test_switching_there_and_back_gives_the_file_back(catalog: Catalog, edit: Callable[[str], str]) -> None:
    before = catalog.file.read_bytes()
    catalog.edit(lambda text: _edited(text, AGENT, edit))
    catalog.start(AGENT, "blue-green")
    for step in (change.promote, change.abort, change.promote, change.abort, change.abort):
        catalog.move(AGENT, step)
    assert catalog.file.read_bytes() == before


def test_a_field_that_was_taken_away_comes_back_with_its_meaning(catalog: Catalog) -> None:
    for folder in (catalog.folder, catalog.then):
        path = folder / POOL / "strategy.yaml"
        path.write_text(_edited(path.read_text(), AGENT, lambda entry: _model(_cache(entry))))
    catalog.edit(lambda text: _edited(text, AGENT, lambda entry: entry.replace("    cache_seconds: 61\n", "")))
    catalog.start(AGENT, "blue-green")
    started = catalog.file.read_text()
    assert "        cache_seconds: 0\n" in started
    catalog.move(AGENT, change.promote)
    assert registry.load(catalog.folder).require(AGENT).cache_seconds == 0
    for _ in range(2):
        catalog.move(AGENT, change.abort)
    assert registry.load(catalog.folder) == registry.load(catalog.then)


def test_a_promoted_edit_of_a_field_that_was_there_is_the_edited_file(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, lambda entry: _answer(_instructions(entry))))
    edited = catalog.file.read_bytes()
    catalog.start(AGENT)
    catalog.move(AGENT, change.promote)
    assert catalog.file.read_bytes() == edited


def test_a_finished_agent_keeps_the_colour_it_may_serve_by(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, _instructions))
    edited = catalog.file.read_text()
    catalog.start(AGENT, "blue-green")
    catalog.move(AGENT, change.promote)
    catalog.move(AGENT, change.finish)
    kept = "    rollout:\n      strategy: blue-green\n      active: green\n"
    assert catalog.file.read_text() == _edited(edited, AGENT, lambda entry: entry + kept)


def test_other_edits_of_the_entry_stay_where_they_are(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, lambda entry: _cache(entry).replace("tags: [", "tags: [fresh, ")))
    catalog.start(AGENT)
    agent = registry.load(catalog.folder).require(AGENT)
    assert "fresh" in agent.tags
    assert agent.cache_seconds == 0


def test_a_rollout_that_was_stated_keeps_its_lines_and_comments(catalog: Catalog) -> None:
    stated = "    rollout:\n      # ours\n      strategy: canary  # always\n      canary_percent: 33\n"
    for folder in (catalog.folder, catalog.then):
        path = folder / POOL / "strategy.yaml"
        path.write_text(_edited(path.read_text(), AGENT, lambda entry: entry + stated))
    before = catalog.file.read_bytes()
    catalog.edit(lambda text: _edited(text, AGENT, _instructions))
    edited = catalog.file.read_bytes()
    catalog.start(AGENT, None)  # type: ignore[arg-type]
    rollout = catalog.target(AGENT).rollout
    assert rollout is not None
    assert rollout.canary_percent == 33
    assert stated in catalog.file.read_text()
    catalog.move(AGENT, change.abort)
    assert catalog.file.read_bytes() == before
    catalog.file.write_bytes(edited)
    catalog.start(AGENT, "canary")
    catalog.move(AGENT, change.promote)
    assert catalog.file.read_bytes() == edited


def test_a_candidate_written_by_hand_in_braces_is_promoted(catalog: Catalog) -> None:
    stated = "    rollout: {strategy: canary, candidate: {cache_seconds: 60, model: {max_tokens: 9}}}\n"
    catalog.edit(lambda text: _edited(text, AGENT, lambda entry: entry + stated))
    catalog.move(AGENT, change.promote)
    agent = registry.load(catalog.folder).require(AGENT)
    assert (agent.cache_seconds, agent.model.max_tokens) == (60, 9)
    assert agent.rollout is not None
    assert (agent.rollout.strategy, agent.rollout.other) == ("canary", None)


def test_the_share_of_a_canary_is_one_line(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, _cache))
    catalog.start(AGENT, percent=20)
    before = catalog.file.read_text()
    catalog.move(AGENT, lambda target: change.share(target, 50))
    assert _changed_lines(before, catalog.file.read_text())[1:] == [
        "-      canary_percent: 20",
        "+      canary_percent: 50",
    ]


def _workload(found: Registry, name: str) -> Workload:
    listed = versions.workloads(found, found.pools, is_dedicated=lambda agent: agent.isolation == "dedicated")
    return next(one for one in listed if one.name == name)


def _colours(found: Registry, name: str) -> dict[str, list[str]]:
    return {v.name: [content_digest(agent) for agent in v.agents] for v in _workload(found, name).versions}


def test_promoting_blue_green_changes_no_colour_but_which_one_serves(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, lambda entry: _cache(_instructions(entry))))
    catalog.start(AGENT, "blue-green")
    name = AGENT.replace("_", "-")
    first = registry.load(catalog.folder)
    assert _workload(first, name).serving.name == f"{name}-blue"
    for step, serves in ((change.promote, "green"), (change.abort, "blue"), (change.promote, "green")):
        catalog.move(AGENT, step)
        now = registry.load(catalog.folder)
        assert _colours(now, name) == _colours(first, name)
        assert _workload(now, name).serving.name == f"{name}-{serves}"


def _of_pool(catalog: Catalog) -> list[str]:
    catalog.pool.write_text(catalog.pool.read_text() + "concurrency: 99\n")
    agents = [agent.id for agent in registry.load(catalog.folder)][3:6]
    for agent, edit in zip(agents, (_instructions, _model, _cache), strict=True):
        catalog.edit(lambda text, agent=agent, edit=edit: _edited(text, agent, edit))  # type: ignore[misc]
    return agents


def test_a_pools_rollout_carries_its_changed_agents_and_its_own_settings(catalog: Catalog) -> None:
    before = (catalog.file.read_bytes(), catalog.pool.read_bytes())
    agents = _of_pool(catalog)
    edited = registry.load(catalog.folder)
    changes = catalog.start(f"pool:{POOL}", "blue-green")
    # The pool's file first: whatever ends the command in between, an edit is in one of the two.
    assert list(changes) == [catalog.pool, catalog.file]
    started = registry.load(catalog.folder)
    assert started.digest() == registry.load(catalog.then).digest()
    workload = _workload(started, f"pool-{POOL}")
    assert workload.other is not None
    assert workload.other.pool is not None
    assert workload.other.pool.concurrency == 99
    assert [content_digest(a) for a in workload.other.agents] == [content_digest(a) for a in edited]
    rollout = catalog.target(POOL).rollout
    assert rollout is not None
    assert set(yaml.safe_load(catalog.pool.read_text())["rollout"]["candidate"]["agents"]) == set(agents)

    colours = _colours(started, f"pool-{POOL}")
    catalog.move(POOL, change.promote)
    promoted = registry.load(catalog.folder)
    assert promoted.digest() == edited.digest()
    assert _colours(promoted, f"pool-{POOL}") == colours
    for _ in range(2):
        catalog.move(POOL, change.abort)
    assert (catalog.file.read_bytes(), catalog.pool.read_bytes()) == before


def test_a_finished_pool_keeps_the_colour_it_serves_by(catalog: Catalog) -> None:
    _of_pool(catalog)
    edited = registry.load(catalog.folder).digest()
    catalog.start(POOL, "blue-green")
    catalog.move(POOL, change.promote)
    catalog.move(POOL, change.finish)
    found = registry.load(catalog.folder)
    assert [v.name for v in _workload(found, f"pool-{POOL}").versions] == [f"pool-{POOL}-green"]
    assert found.digest() == edited
    assert "until fleet rollout" not in catalog.pool.read_text()


@pytest.mark.parametrize(
    ("prepare", "step", "said"),
    [
        (lambda c: None, lambda c: c.start(AGENT), "nothing that a rollout carries differs from HEAD"),
        (lambda c: None, lambda c: c.move(AGENT, change.abort), "has one version"),
        (lambda c: c.start(AGENT), lambda c: c.start(AGENT), "has two versions already"),
        (lambda c: c.start(AGENT), lambda c: c.move(AGENT, change.finish), "still tries its candidate"),
        (lambda c: c.start(AGENT), lambda c: c.start(POOL), "finish or abort one of them"),
        (lambda c: c.start(AGENT, "blue-green"), lambda c: c.move(AGENT, lambda t: change.share(t, 5)), "no share to change"),
        (lambda c: c.start(AGENT, percent=5), lambda c: c.move(AGENT, lambda t: change.share(t, 5)), "has 5% already"),
        (lambda c: None, lambda c: c.start(AGENT, "rolling"), "applies the change as it is"),
        (lambda c: None, lambda c: c.start(AGENT, "blue-green", percent=5), "--percent is a canary's"),
        (lambda c: c.start(AGENT, "blue-green") and c.move(AGENT, change.promote), lambda c: c.move(AGENT, change.promote), "promoted already"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_fit_is_refused_and_changes_nothing(
    catalog: Catalog, prepare: Callable[[Catalog], object], step: Callable[[Catalog], object], said: str
) -> None:
    if said not in ("nothing that a rollout carries differs from HEAD", "has one version"):
        catalog.edit(lambda text: _edited(text, AGENT, _cache))
    prepare(catalog)
    if "finish or abort" in said:
        other = next(agent.id for agent in registry.load(catalog.folder) if agent.id != AGENT)
        catalog.edit(lambda text: _edited(text, other, _cache))
    before = (catalog.file.read_bytes(), catalog.pool.read_bytes())
    with pytest.raises(CommandError, match=said):
        step(catalog)
    assert (catalog.file.read_bytes(), catalog.pool.read_bytes()) == before
    assert sorted(path.name for path in catalog.file.parent.iterdir()) == ["pool.yaml", "strategy.yaml"]


def test_a_step_that_would_break_the_catalog_is_refused_with_its_own_error(catalog: Catalog) -> None:
    # A version that others repeat by its anchor cannot go alone.
    first, second = (agent.id for agent in list(registry.load(catalog.folder))[:2])

    def shared(text: str) -> str:
        text = _edited(text, first, lambda entry: entry + "    model: &shared {max_tokens: 50}\n")
        return _edited(text, second, lambda entry: entry + "    model: *shared\n")

    catalog.edit(shared)
    catalog.start(first)
    before = catalog.file.read_bytes()
    with pytest.raises(
        CommandError, match=r"so nothing was changed: the catalog has 1 problem:\n  business/strategy.yaml"
    ):
        catalog.move(first, change.abort)
    assert catalog.file.read_bytes() == before


def test_a_file_that_changes_meanwhile_is_not_replaced(catalog: Catalog) -> None:
    catalog.edit(lambda text: _edited(text, AGENT, _cache))
    changes = change.start(catalog.target(AGENT), catalog.then, change.Asked("canary"), "HEAD")
    catalog.edit(lambda text: text + "# more\n")
    mine = catalog.file.read_bytes()
    with pytest.raises(CommandError, match="was changed meanwhile"):
        change.write(changes)
    assert catalog.file.read_bytes() == mine


def test_a_shown_change_has_the_lines_that_git_has(tmp_path: Path) -> None:
    text = "a: one\u2028two\x0cthree\nb: x"
    shown = change.unified({tmp_path / "f.yaml": (text.encode(), f"{text}y\n".encode())}, tmp_path)
    assert shown.split("\n")[2:] == [
        "@@ -1,2 +1,2 @@",
        " a: one\u2028two\x0cthree",
        "-b: x",
        "\\ No newline at end of file",
        "+b: xy",
        "",
    ]


def test_a_new_agent_has_no_version_before_it(catalog: Catalog) -> None:
    path = catalog.then / POOL / "strategy.yaml"
    text = path.read_text()
    begin, end = _entry(text, AGENT)
    path.write_text(text[:begin] + text[end:])
    with pytest.raises(CommandError, match="is not in HEAD: what is new has no version before it"):
        catalog.start(AGENT)


def test_every_field_of_a_version_can_be_carried() -> None:
    from catalog.rollout import AgentChanges
    from cli.rollouts import agents

    assert set(agents.AGENT_FIELDS) == set(AgentChanges.model_fields)
    optional = {name for name in agents.AGENT_FIELDS if not AgentSpec.model_fields[name].is_required()}
    assert set(agents.ABSENT) == optional
