"""The copies of the catalog that processes read."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog import registry
from cli.local import content, serving
from tests.e2e.rollouts import AGENTS, Catalog


def test_a_snapshot_is_the_catalog_as_it_was_whatever_is_edited_afterwards(catalog: Catalog, tmp_path: Path) -> None:
    first = content.snapshot(tmp_path, catalog.folder)
    before = registry.load(first)
    assert before == registry.load(catalog.folder)
    catalog.prompts = dict.fromkeys(AGENTS, "two")
    catalog.write()
    second = content.snapshot(tmp_path, catalog.folder)
    assert registry.load(first) == before != registry.load(second)
    catalog.prompts = dict.fromkeys(AGENTS, "one")
    catalog.write()
    assert content.snapshot(tmp_path, catalog.folder) == first, "the same content is the same copy"


def test_a_snapshot_takes_a_mounted_catalog_too_without_its_hidden_folders(catalog: Catalog, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    data = mounted / "..2026_11_23"
    data.mkdir(parents=True)
    for agent in registry.load(catalog.folder):
        (data / f"{agent.id}.json").write_bytes(registry.dump_agent(agent))
        (mounted / f"{agent.id}.json").symlink_to(data / f"{agent.id}.json")
    copy = content.snapshot(tmp_path, mounted)
    assert sorted(path.name for path in copy.iterdir()) == sorted(f"{agent}.json" for agent in AGENTS)
    assert registry.load(copy).agents == registry.load(catalog.folder).agents


def test_a_folder_that_is_not_there_is_left_to_the_catalog_to_say(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert content.snapshot(tmp_path, missing) == missing
    with pytest.raises(registry.CatalogError, match="no such folder"):
        registry.load(content.snapshot(tmp_path, missing))


def test_each_version_has_its_own_agents_and_what_is_unused_goes(catalog: Catalog, tmp_path: Path) -> None:
    catalog.roll("canary", candidate=catalog.changes("two"))
    whole = content.snapshot(tmp_path, catalog.folder)
    (workload,) = serving.workloads(registry.load(whole))
    places = [content.of_version(tmp_path, version, serving.digest(version)) for version in workload.versions]
    loaded = [registry.load(place) for place in places]
    assert [{agent.prompt.answer[0] for agent in each} for each in loaded] == [{"version=one"}, {"version=two"}]
    assert [place.name.rsplit("-", 1)[0] for place in places] == ["pool-business", "pool-business-canary"]
    (tmp_path / "catalog" / ".half-written").mkdir()
    content.sweep(tmp_path, {whole, places[0]})
    assert set((tmp_path / "catalog").iterdir()) == {whole, places[0]}
    content.sweep(tmp_path / "elsewhere", ())  # where nothing was ever written


def test_a_version_is_another_where_its_agents_or_their_number_at_once_change(catalog: Catalog) -> None:
    def digest() -> str:
        (workload,) = serving.workloads(registry.load(catalog.folder))
        return serving.digest(workload.serving)

    first = digest()
    catalog.roll("canary", candidate=catalog.changes("two"))
    assert digest() == first, "a canary beside it changes nothing about the version that serves"
    catalog.pool = {"concurrency": 7}
    catalog.write()
    assert digest() != first
