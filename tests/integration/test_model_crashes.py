"""The process dies, or sleeps too long, at every single store call of a run with a model; another one takes over."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest

from app.core.errors import Situation, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.store import TEXT, OutcomeUnknown, Stored
from tests.integration.stories import FACTS, SPACE, Lost, Process, Scripted, World, by, model

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")
WRITES = ("create", "replace", "put", "delete", "delete_many", "copy")
ANSWERS = f"{SPACE}/_jobs/answers/"
LEASE_IS_OVER = timedelta(seconds=70)
SOAKED = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 21)]
SEEDS = pytest.mark.parametrize("seed", [0, *SOAKED])


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be filed, in which portions, and how good the model is."""

    facts: Sequence[tuple[str, str]]
    batch: int
    author: str

    @classmethod
    def of(cls, seed: int) -> "Case":
        """Two batches by a good model for seed 0; else anything."""
        if not seed:
            return cls(FACTS, 3, "perfect")
        chance = random.Random(seed)  # noqa: S311 - a seed to repeat
        facts = chance.sample(FACTS, len(FACTS))
        return cls(facts, chance.choice([2, 3, 4]), chance.choice(["perfect", "lazy", "lossy", "vague"]))


class Forgetful(MemoryStore):
    """Forgets the answers of the model."""

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        return "" if key.startswith(ANSWERS) else await super().put(key, body, content_type=content_type)


class Careless(MemoryStore):
    """Replaces whatever is there."""

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:  # noqa: ARG002 - that is the fault
        present = await self.get(key)
        assert isinstance(present, Stored)
        return await super().replace(key, body, etag=present.etag, content_type=content_type)


class Run:
    """A world in which one process is cut short and another one finishes."""

    def __init__(self, case: Case, kind: type[MemoryStore] = MemoryStore) -> None:
        self.case = case
        self.world = World(consolidation_batch_size=case.batch)
        self.world.disk = kind(self.world.clock)
        self.models: list[Scripted] = []
        self.unkept = 0
        """Answers that the process which was cut short was given, and had not kept yet."""

    def process(self) -> Process:
        llm = model(clock=self.world.clock, then=by(self.case.author))
        self.models.append(llm)
        return self.world.process(llm)

    @property
    def calls(self) -> int:
        return sum(len(llm.calls) for llm in self.models)

    async def crash(self, nth: int, methods: tuple[str, ...], *, applied: bool) -> bool:
        """Run in a process that dies of its nth call; False when it ended before that."""
        process = self.process()
        struck, killed = asyncio.Event(), asyncio.Event()

        def error(message: str) -> Exception:
            struck.set()
            return OutcomeUnknown(message) if applied else StoreUnavailable(message)

        process.store.fail(methods, nth=nth, applied=applied, error=error)

        async def dead(method: str, key: str) -> None:
            if struck.is_set():
                # It does nothing more, and while it is taken down it reaches nothing more.
                await killed.wait()
                process.store.fail(method, key=key)

        process.store.before = dead
        before = asyncio.all_tasks()
        running = [asyncio.create_task(process.consolidate()), asyncio.create_task(struck.wait())]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if not struck.is_set():
            # What goes on behind the answer may be struck too.
            running.append(asyncio.create_task(process.services.runner.idle()))
            await asyncio.wait(running[1:], return_when=asyncio.FIRST_COMPLETED)
        killed.set()
        await died(before)
        audit = await self.world.audit()
        if audit.waiting:
            self.unkept = self.calls - len(await self.world.keys(ANSWERS))
        return struck.is_set()

    async def finish(self) -> None:
        """Much later another process comes up, and does what was asked."""
        self.world.clock.advance(LEASE_IS_OVER)
        process = self.process()
        for _run in range(2):
            await process.consolidate()
        await process.services.bank.open(SPACE)
        await process.services.runner.idle()

    async def outcome(self) -> dict[str, bytes]:
        """What people and agents see in the end."""
        audit = await self.world.audit()
        assert not audit.waiting
        seen = {path: content.encode() for path, content in audit.bank.items()}
        for key in await self.world.keys():
            if key.startswith((f"{SPACE}/bank/", f"{SPACE}/live/", f"{SPACE}/_rules.md")):
                stored = await self.world.disk.get(key)
                assert isinstance(stored, Stored)
                seen[key] = stored.body
        return seen


async def died(before: set["asyncio.Task[object]"]) -> None:
    """Nothing of a process outlives it."""
    late = asyncio.all_tasks() - before
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def undisturbed(case: Case) -> tuple[dict[str, bytes], int]:
    """What everybody should see in the end, and how many calls it takes."""
    run = Run(case)
    await run.world.prepare(case.facts)
    await run.finish()
    return await run.outcome(), run.calls


async def ran(case: Case, nth: int, *, applied: bool, kind: type[MemoryStore] = MemoryStore) -> Run | None:
    """A run that was cut short at the nth call and finished by another process; None when it has no such call."""
    run = Run(case, kind)
    await run.world.prepare(case.facts)
    if not await run.crash(nth, WRITES if applied else EVERY_CALL, applied=applied):
        return None
    await run.finish()
    run.world.clock.advance(timedelta(days=2))
    await run.world.process(None).services.jobs.sweep(SPACE)
    assert not await run.world.keys(ANSWERS), "answers that nobody came for go away by themselves"
    return run


async def check_every_crash(seed: int, *, applied: bool, kind: type[MemoryStore] = MemoryStore) -> int:
    """Let it crash at each call; how many there were.

    Raises:
        AssertionError: something is lost or doubled, differs, or was paid twice.
    """
    case = Case.of(seed)
    expected, calls = await undisturbed(case)
    nth = 0
    while (run := await ran(case, nth + 1, applied=applied, kind=kind)) is not None:
        nth += 1
        assert (nth, await run.outcome()) == (nth, expected)
        assert 0 <= run.unkept <= 1
        assert (nth, run.calls) == (nth, calls + run.unkept)
    return nth


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@SEEDS
async def test_a_crash_at_any_store_call_loses_doubles_and_pays_nothing_twice(seed: int, applied: bool) -> None:  # noqa: FBT001 - a case
    assert await check_every_crash(seed, applied=applied) > 12


async def test_the_check_finds_answers_that_are_paid_for_twice() -> None:
    with pytest.raises(AssertionError):
        await check_every_crash(0, applied=True, kind=Forgetful)


async def sleep_too_long(case: Case, nth: int, kind: type[MemoryStore] = MemoryStore) -> Run | None:
    """A run that is held up before its nth write until another process has taken over and finished."""
    run = Run(case, kind)
    await run.world.prepare(case.facts)
    slow = run.process()
    writes = 0

    async def before(method: str, _key: str) -> None:
        nonlocal writes
        writes += method in WRITES
        if method in WRITES and writes == nth:
            writes += 1
            await run.finish()

    slow.store.before = before
    with suppress(Situation):
        await slow.consolidate()
    await slow.services.runner.idle()
    if writes <= nth:
        return None
    await run.finish()
    return run


async def check_every_sleep(seed: int, kind: type[MemoryStore] = MemoryStore) -> int:
    """Let it sleep before each write; how many there were.

    Raises:
        AssertionError: something is lost or doubled, or differs.
    """
    case = Case.of(seed)
    expected, _calls = await undisturbed(case)
    nth = 0
    while (run := await sleep_too_long(case, nth + 1, kind)) is not None:
        nth += 1
        assert (nth, await run.outcome()) == (nth, expected)
    return nth


@SEEDS
async def test_a_process_that_sleeps_before_any_write_and_comes_back_changes_nothing(seed: int) -> None:
    assert await check_every_sleep(seed) > 8


async def test_the_check_finds_a_store_that_replaces_whatever_is_there() -> None:
    with pytest.raises((Lost, AssertionError)):
        await check_every_sleep(0, Careless)
