"""The process dies at every single store call; another one takes over. Nothing is lost and nothing is doubled."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from app.bank.history import HistoryStore
from app.bank.models import Consolidate
from app.bank.versions.revisions import BankCompact
from app.bootstrap import Services, build_services
from app.core.errors import Situation
from app.core.settings import Settings
from app.gc.models import Collect
from app.storage.memory import MemoryStore
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")
WRITES = ("create", "replace", "put", "delete", "delete_many", "copy")
FACTS = [
    "Release 1.4.2 fixes #731.",
    "The timeout is 30 s.",
    "The timeout is 45 s.",
    "Fix the leak in src/pool.py:42.",
    "Port 8443 is open.",
    "Done: the leak in src/pool.py:42 is fixed.",
]
CATEGORIES = ["progress", "observation", "observation", "todo", "decision", "progress"]

Act = Callable[[Services], Awaitable[object]]


class Lost(AssertionError):
    """A note that was acknowledged is in no place, or in more than one."""


async def consolidate(services: Services) -> object:
    return await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)


async def collect(services: Services) -> object:
    request = Collect(space_id="alpha", max_age_days=0, confirm=True)
    return await services.gc.collect(request, caller=ADMIN, progress=silent)


async def discard(services: Services) -> object:
    request = Collect(space_id="alpha", max_age_days=0, confirm=True, delete_only=True)
    return await services.gc.collect(request, caller=ADMIN, progress=silent)


async def compact(services: Services) -> object:
    await consolidate(services)
    request = BankCompact(filename="decisions.md", target_bytes=1)
    return await services.bank.compact("alpha", request, caller=ADMIN, progress=silent)


async def buried() -> None:
    """End whatever a process that has died still had to do."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """A store, a clock, and the processes that come and go over them."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.disk = MemoryStore(self.clock)
        self.written: list[str] = []

    def process(self) -> tuple[Services, FaultyStore]:
        store = FaultyStore(self.disk)
        return build_services(store, self.clock, Settings.for_tests(consolidation_max_notes=4)), store

    async def prepare(self) -> None:
        """A space with one version, and notes for two more batches."""
        services, _store = self.process()
        await a_space(services)
        for number, (fact, category) in enumerate(zip(FACTS * 2, CATEGORIES * 2, strict=True)):
            if number == 3:
                await consolidate(services)
            written = await a_note(services, f"{fact} Case {number}.", category=category)
            self.written.append(written.filename)
            self.clock.advance(timedelta(seconds=7))
        await services.runner.idle()

    async def crash(self, act: Act, nth: int, methods: tuple[str, ...], *, applied: bool) -> bool:
        """Run in a process that loses its store for good at the nth call; False when it ended before that."""
        services, store = self.process()
        strike = store.fail(methods, nth=nth, applied=applied)

        async def dead(method: str, key: str) -> None:
            if strike.met:
                store.fail(method, key=key)

        store.before = dead
        with suppress(Situation):
            await act(services)
        working = asyncio.create_task(services.runner.idle())
        while not (strike.met or working.done()):  # noqa: ASYNC110 - a fault tells nobody that it has struck
            await asyncio.sleep(0.001)
        await buried()
        return bool(strike.met)

    async def finish(self, act: Act) -> None:
        """Another process comes up, and does what was asked until nothing is left to do."""
        services, _store = self.process()
        for _run in range(5):
            await act(services)
        await services.bank.open("alpha")
        await services.runner.idle()

    async def check(self) -> None:
        """Every acknowledged note is in exactly one place, and the chain of versions has no gap.

        Raises:
            Lost: it is not.
        """
        services, _store = self.process()
        head = (await services.spaces.open("alpha")).head
        places = Counter(note.id for note in await services.notes.pending(await services.spaces.open("alpha")))
        key, version = head.history, head.version
        while key is not None:
            commit = await HistoryStore(self.disk).read(key)
            if commit is None or commit.version != version:
                raise Lost(f"version {version}")
            places.update(note.id for note in commit.consumed)
            key, version = commit.parent, version - 1
        if wrong := {note: places[note] for note in self.written if places[note] != 1}:
            raise Lost(str(wrong))

    async def outcome(self) -> dict[str, bytes]:
        """What people and agents see in the end."""
        keys = [listed.key async for page in self.disk.list("alpha/") for listed in page.objects]
        seen = {}
        for key in keys:
            if key.startswith(("alpha/bank/", "alpha/live/", "alpha/_rules.md")):
                stored = await self.disk.get(key)
                seen[key.rpartition("/")[2] if key.startswith("alpha/live/2") else key] = stored.body  # type: ignore[union-attr]
        return seen


async def ran(act: Act, nth: int = 0, methods: tuple[str, ...] = EVERY_CALL, *, applied: bool = False) -> World | None:
    """A world in which the act was cut short at the nth call and finished by another process."""
    world = World()
    await world.prepare()
    if nth and not await world.crash(act, nth, methods, applied=applied):
        return None
    await world.finish(act)
    await world.check()
    return world


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("act", [consolidate, compact, collect, discard])
async def test_a_crash_at_any_store_call_loses_and_doubles_nothing(act: Act, applied: bool) -> None:  # noqa: FBT001 - a case
    undisturbed = await ran(act)
    assert undisturbed is not None
    expected = await undisturbed.outcome()
    assert any("/archive/" in key for key in expected) == (act is compact)
    methods = WRITES if applied else EVERY_CALL
    nth = 1
    while (world := await ran(act, nth, methods, applied=applied)) is not None:
        assert (nth, await world.outcome()) == (nth, expected)
        nth += 1

    assert nth > 5


async def test_the_check_finds_a_note_removed_before_the_commit() -> None:
    world = World()
    await world.prepare()
    services, store = world.process()

    async def remove_early(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            await world.disk.delete(f"alpha/live/{world.written[5]}")

    store.before = remove_early
    store.fail("replace", key="alpha/_bank.json")
    with pytest.raises(Situation):
        await consolidate(services)

    with pytest.raises(Lost, match=world.written[5]):
        await world.check()


async def test_the_check_finds_a_note_filed_twice() -> None:
    world = World()
    await world.prepare()
    services, _store = world.process()
    opened = await services.spaces.open("alpha")
    forgetful = opened.head.model_copy(update={"note_refs": {}, "consumed": {}, "nonce": "0" * 16})
    await services.spaces.swap(opened, forgetful)
    commit = await HistoryStore(world.disk).read(opened.head.history or "")
    assert commit is not None
    for note in commit.consumed:
        await world.disk.put(note.key, note.object.encode())

    await world.finish(consolidate)

    with pytest.raises(Lost):
        await world.check()
