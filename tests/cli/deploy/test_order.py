"""The order of stacks: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.deploy.order import Node, OrderError, own_name, reads, reversed_waves, waves
from infra.settings import LAYERS


def fleet(shard: str = "", foundation: str = "base", services: str = "svc") -> Node:
    return Node(("fleet",), {"foundation": foundation, "services": services}, shard)


BASE = {"base": Node(("foundation",), {}), "svc": Node(("services",), {"foundation": "base"})}
SHARDS = {f"shard-{n}": fleet(f"s{n}") for n in range(1, 8)}


def test_foundation_comes_before_services_before_fleet() -> None:
    found = waves(["all", "svc", "base"], {**BASE, "all": fleet()})
    assert [wave.stacks for wave in found] == [("base",), ("svc",), ("all",)]
    assert [wave.name for wave in found] == ["foundation", "services", "fleet"]


def test_shards_go_one_first_then_so_many_at_a_time() -> None:
    found = waves(list(SHARDS), {**BASE, **SHARDS}, canary="s3", size=4)
    assert [wave.stacks for wave in found] == [
        ("shard-3",),
        ("shard-1", "shard-2", "shard-4", "shard-5"),
        ("shard-6", "shard-7"),
    ]
    assert [wave.name for wave in found] == ["fleet canary", "fleet wave 1 of 2", "fleet wave 2 of 2"]


def test_without_a_named_canary_the_first_by_name_is_it() -> None:
    assert waves(list(reversed(SHARDS)), {**BASE, **SHARDS})[0].stacks == ("shard-1",)


@pytest.mark.parametrize("main", ["aws-prod-fleet", "aws-a-fleet"])
def test_a_fleet_without_a_shards_name_is_no_canary_unless_it_is_named(main: str) -> None:
    shards = {f"aws-dedicated-0{n}": fleet(f"d{n}") for n in (1, 2)}
    nodes = {**BASE, **shards, main: fleet()}
    assert waves([main, *shards], nodes)[0].stacks == ("aws-dedicated-01",)
    assert waves([main, *shards], nodes, canary=main)[0].stacks == (main,)


def test_fleets_of_which_none_is_a_shard_still_go_one_first() -> None:
    assert waves(["b", "a"], {**BASE, "a": fleet(), "b": fleet()})[0].stacks == ("a",)


def test_a_canary_that_is_not_asked_for_is_refused() -> None:
    with pytest.raises(OrderError, match="--canary-shard s9: is neither a stack nor the shard"):
        waves(list(SHARDS), {**BASE, **SHARDS}, canary="s9")


def test_what_is_read_and_not_asked_for_still_orders() -> None:
    nodes = {
        "a": Node(("foundation",), {}),
        "m": Node(("foundation", "services"), {}),
        **BASE,
        "z": fleet("", "base", "svc"),
    }
    assert [wave.stacks for wave in waves(["z", "base"], nodes)] == [("base",), ("z",)]


def test_platforms_go_side_by_side() -> None:
    other = {"base2": Node(("foundation",), {}), "svc2": Node(("services",), {"foundation": "base2"})}
    two = {f"x{n}": fleet(f"x{n}", "base2", "svc2") for n in (1, 2)}
    found = waves([*SHARDS, *two], {**BASE, **other, **SHARDS, **two}, size=10)
    assert found[0].stacks == ("shard-1", "x1")
    assert set(found[1].stacks) == {*list(SHARDS)[1:], "x2"}


def test_a_circle_is_refused_and_shown() -> None:
    nodes = {
        "a": Node(("foundation", "fleet"), {"services": "b"}),
        "b": Node(("services",), {"foundation": "a"}),
    }
    with pytest.raises(OrderError, match=r"circle: (a → b → a|b → a → b)"):
        waves(["a"], nodes)


def test_a_reference_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(OrderError, match=r"f reads services from svc, and there is no stacks/Pulumi\.svc\.yaml"):
        waves(["f"], {"f": Node(("fleet",), {"services": "svc"})})


def test_a_stack_that_does_not_build_what_is_read_from_it_is_refused() -> None:
    with pytest.raises(OrderError, match="f reads services from base, which builds foundation"):
        waves(["f"], {"f": Node(("fleet",), {"services": "base"}), **BASE})


def test_references_of_other_projects_are_only_read() -> None:
    assert own_name("acme/network/prod") is None
    assert own_name("acme/ai-agents-platform/prod") == "prod"
    assert reads(Node(("services",), {"foundation": "acme/network/prod"})) == {}
    assert waves(["f"], {"f": Node(("fleet",), {"services": "acme/network/prod"})})[0].stacks == ("f",)


@st.composite
def platforms(draw: st.DrawFn) -> dict[str, Node]:
    """Stacks that read only what is above them in the list, each a layer it builds."""
    nodes: dict[str, Node] = {}
    for number in range(draw(st.integers(1, 12))):
        layers = tuple(draw(st.lists(st.sampled_from(LAYERS), min_size=1, unique=True)))
        reading = {}
        for layer in ("foundation", "services"):
            builders = [name for name, one in nodes.items() if layer in one.layers]
            if layer not in layers and builders and draw(st.booleans()):
                reading[layer] = draw(st.sampled_from(builders))
        nodes[f"stack-{number}"] = Node(layers, reading, draw(st.sampled_from(["", f"shard-{number}"])))
    return nodes


@given(platforms(), st.data(), st.integers(1, 5))
def test_every_stack_is_in_one_wave_after_all_it_reads(nodes: dict[str, Node], data: st.DataObject, size: int) -> None:
    asked = data.draw(st.lists(st.sampled_from(sorted(nodes)), min_size=1, unique=True))
    found = waves(asked, nodes, size=size)
    flat = [stack for wave in found for stack in wave.stacks]
    assert sorted(flat) == sorted(asked)
    place = {stack: number for number, wave in enumerate(found) for stack in wave.stacks}
    for stack in asked:
        for name in reads(nodes[stack]).values():
            assert name not in place or place[name] < place[stack]
    assert [wave.stacks for wave in reversed_waves(asked, nodes, size=size)] == [
        wave.stacks for wave in reversed(found)
    ]


@given(st.integers(1, 30), st.integers(1, 6), st.data())
def test_the_first_wave_of_shards_is_one_and_no_later_one_is_larger_than_asked(
    count: int, size: int, data: st.DataObject
) -> None:
    shards = {f"shard-{n:02}": fleet(f"s{n}") for n in range(count)}
    canary = data.draw(st.sampled_from(["", *shards, *(one.shard for one in shards.values())]))
    found = waves(list(shards), {**BASE, **shards}, canary=canary, size=size)
    assert len(found[0].stacks) == 1
    assert not canary or canary in (found[0].stacks[0], shards[found[0].stacks[0]].shard)
    assert all(len(wave.stacks) <= size for wave in found[1:])
