"""No filler: 1,500 agents are 1,500 tasks."""

from __future__ import annotations

from catalog import quality
from catalog.registry import Registry


def test_no_two_agents_share_a_name_or_a_description(shipped: Registry) -> None:
    assert len({agent.name.lower() for agent in shipped}) == len(shipped)
    assert len({agent.description.lower() for agent in shipped}) == len(shipped)


def test_no_sentence_is_shared_by_more_than_five_agents(shipped: Registry) -> None:
    assert list(quality.shared_sentences(shipped)) == []


def test_no_two_agents_are_the_same_with_nouns_swapped(shipped: Registry) -> None:
    assert list(quality.similar_pairs(shipped)) == []


def test_the_measures_find_what_they_are_for(shipped: Registry) -> None:
    agent = next(iter(shipped))
    twins = [agent.model_copy(update={"id": f"twin_agent_{number:03d}"}) for number in range(1, 8)]
    assert len(list(quality.similar_pairs(twins))) == 21
    sentences = list(quality.shared_sentences(twins))
    assert sentences
    assert all(len(ids) == 7 for _, ids in sentences)


def test_instructions_are_long_enough_to_say_how_the_work_is_done(shipped: Registry) -> None:
    assert [agent.id for agent in shipped if len(agent.prompt.instructions.split()) < 60] == []
