"""Random histories: rounds, reverts, returns to earlier versions, in any order. Each fact waits or is in the bank."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from app.bank.models import Consolidate
from app.bank.versions.revisions import BankRevert, BankReverted
from app.bootstrap import Services
from app.notes.models import NotesQuery
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock

CATEGORIES = ["decision", "progress", "observation", "insight", "todo"]
WORDS = [
    "cache",
    "queue",
    "parser",
    "schema",
    "token",
    "index",
    "billing",
    "export",
    "theme",
    "proxy",
    "mailer",
    "audit",
]


class Life:
    """A space to which anything may happen."""

    def __init__(self, services: Services, clock: FrozenClock, seed: int) -> None:
        self.services = services
        self.clock = clock
        self.chance = random.Random(seed)  # noqa: S311 - the same histories each time
        self.facts: list[str] = []

    async def step(self) -> None:
        self.clock.advance(timedelta(seconds=self.chance.randrange(1, 4000)))
        version = (await self.services.spaces.open("alpha")).head.version
        match self.chance.randrange(6):
            case 0 if version:
                await self.undo(BankRevert(version=self.chance.randint(1, version)))
            case 1 if version:
                await self.undo(BankRevert(to_version=self.chance.randint(0, version)))
            case 2:
                await self.consolidate()
            case _:
                for _number in range(self.chance.randint(1, 3)):
                    await self.note()
                if self.chance.random() < 0.7:
                    await self.consolidate()

    async def note(self) -> None:
        number = len(self.facts)
        first, second = self.chance.sample(WORDS, 2)
        fact = f"Ticket X{number:03d} moves the {first} beside the {second}."
        self.facts.append(fact)
        await a_note(self.services, fact, category=self.chance.choice(CATEGORIES))
        self.clock.advance(timedelta(seconds=1))

    async def consolidate(self) -> None:
        await self.services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)

    async def undo(self, request: BankRevert) -> BankReverted:
        return await self.services.bank.revert("alpha", request, caller=ADMIN)

    async def check(self) -> None:
        opened = await self.services.bank.open("alpha")
        text = "\n".join(file.content for file in (await self.services.bank.read_all(opened)).files)
        waiting = Counter(
            note.content for note in (await self.services.notes.read("alpha", NotesQuery(limit=500))).notes
        )
        wrong = {
            fact: (text.count(fact), waiting[fact]) for fact in self.facts if text.count(fact) + waiting[fact] != 1
        }
        assert wrong == {}
        cited = {one for blocks in opened.head.provenance.values() for ids in blocks.values() for one in ids}
        assert len(cited) == len(self.facts) - waiting.total()


@pytest.mark.parametrize("seed", range(12))
async def test_each_fact_waits_or_is_in_the_bank(services: Services, clock: FrozenClock, seed: int) -> None:
    await a_space(services)
    life = Life(services, clock, seed)
    read = {}
    for _step in range(25):
        await life.step()
        await life.check()
        opened = await services.bank.open("alpha")
        read[opened.head.version] = await services.bank.read_all(opened)
    await services.runner.idle()
    opened = await services.bank.open("alpha")
    for version, then in read.items():
        past = await services.bank.at(opened, str(version))
        assert await services.bank.read_all(past) == then
