"""One project under one set of rules with one author, played and measured."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.core.logging import configure_logging
from tests.eval.memories import MEMORIES
from tests.eval.metrics import Metrics, alive, measure
from tests.eval.playing import AUTHORS, Bank, Played, play
from tests.eval.story import Story, a_story

CONCATENATION: Final = "concatenation"
ROUNDS: Final = (1, 5, 20)
"""After which the bank is looked at."""


@dataclass(frozen=True)
class Task:
    """What is to be played."""

    author: str
    seed: int
    memory: int
    rounds: int
    size: int


@dataclass(frozen=True)
class Result:
    """What came of it."""

    author: str
    metrics: Metrics
    told: tuple[float, ...] = ()
    """Share of the first round that is still told after each of the rounds."""
    current: tuple[float, ...] = ()
    """Share of facts that are current then."""
    calls: int = 0
    repairs: int = 0
    refused: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)


def result_of(task: Task) -> Result:
    """Play a project and measure what becomes of it."""
    configure_logging(level="ERROR")
    story = a_story(task.seed, rounds=task.rounds, size=task.size)
    memory = MEMORIES[task.memory]
    if task.author == CONCATENATION:
        return Result(task.author, measure(story, concatenated(story, Played(memory))))
    played = asyncio.run(play(story, memory, AUTHORS[task.author]))
    looks = [alive(story, played, min(at, task.rounds)) for at in ROUNDS]
    return Result(
        task.author,
        measure(story, played),
        told=tuple(told for told, _ in looks),
        current=tuple(current for _, current in looks),
        calls=played.calls,
        repairs=played.repairs,
        refused=played.refused.total(),
        statuses=dict(played.statuses),
    )


def concatenated(story: Story, played: Played) -> Played:
    """The simplest of all memories: every note as it is, one after the other."""
    played.ids = {told.number: f"note-{told.number}" for told in story.notes}
    lines = [f"- {told.at:%Y-%m-%d} {' '.join(told.content.split())}\n" for told in story.notes]
    played.banks = [Bank({"notes.md": "".join(["# Notes\n\n", *lines])}, {})]
    return played
