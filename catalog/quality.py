"""Owns what makes 1,500 agents a product and not filler: measures of sameness between agents' texts.

Pure functions over agents, used by `fleet agents check` and by the tests.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from catalog.schema import AgentSpec

SHARED_SENTENCE_LIMIT = 5
"""Most agents that may share one sentence of their own instructions."""
SIMILARITY_LIMIT = 0.4
"""Most 5-gram Jaccard similarity of two agents' own texts."""
GRAM = 5

_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_WORD = re.compile(r"[a-z0-9]+")


def own_text(agent: AgentSpec) -> str:
    """What the author wrote for this agent: instructions, request and the points of a good answer."""
    return "\n".join((agent.prompt.instructions, agent.prompt.request, *agent.prompt.answer))


def shared_sentences(agents: Iterable[AgentSpec]) -> Iterator[tuple[str, list[str]]]:
    """Sentences (of four words or more) in the instructions of more than SHARED_SENTENCE_LIMIT agents, with their ids."""
    owners: dict[str, set[str]] = defaultdict(set)
    for agent in agents:
        for sentence in _SENTENCE.split(agent.prompt.instructions):
            words = _WORD.findall(sentence.lower())
            if len(words) >= 4:
                owners[" ".join(words)].add(agent.id)
    for sentence, ids in owners.items():
        if len(ids) > SHARED_SENTENCE_LIMIT:
            yield sentence, sorted(ids)


def similar_pairs(agents: Iterable[AgentSpec], limit: float = SIMILARITY_LIMIT) -> Iterator[tuple[float, str, str]]:
    """Pairs of agents whose 5-gram Jaccard similarity is above ``limit``: (similarity, id, id).

    Exact: pairs that share no 5-gram are never compared, so 1,500 agents take about a second.
    """
    grams = {agent.id: _grams(own_text(agent)) for agent in agents}
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for agent_id, own in grams.items():
        for gram in own:
            holders[gram].append(agent_id)
    common: dict[tuple[str, str], int] = defaultdict(int)
    for ids in holders.values():
        for index, left in enumerate(ids):
            for right in ids[index + 1 :]:
                common[left, right] += 1
    for (left, right), shared in common.items():
        similarity = shared / (len(grams[left]) + len(grams[right]) - shared)
        if similarity > limit:
            yield round(similarity, 3), left, right


def _grams(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return set(zip(*(words[offset:] for offset in range(GRAM)), strict=False))
