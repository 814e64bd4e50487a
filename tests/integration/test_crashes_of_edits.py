"""The process dies at every single store call of an edit by hand, and another one takes over."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta

import pytest

from app.bank.history import HistoryStore
from app.bank.models import Consolidate
from app.bank.versions.revisions import BankRevert, BankWrite
from app.bootstrap import Services, build_services
from app.core.errors import Situation
from app.core.settings import Settings
from app.storage.memory import MemoryStore
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")
WRITES = ("create", "replace", "put", "delete", "delete_many", "copy")
ROUNDS = [
    ["We chose PostgreSQL 15 for billing.", "Release 1.4.2 fixes #731."],
    ["Use Redis 7 as the cache.", "Port 8443 is open.", "Release 1.4.2 fixes #731."],
    ["Logs go to Loki 2.9."],
]

Act = Callable[[Services], Awaitable[object]]


class Lost(AssertionError):
    """A note that was acknowledged is in no place, or in more than one."""


async def consolidate(services: Services) -> object:
    return await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)


async def write(services: Services) -> object:
    return await services.bank.write("alpha", "glossary.md", BankWrite(content="# Glossary\n"), caller=ADMIN)


async def delete(services: Services) -> object:
    with suppress(Situation):
        return await services.bank.delete("alpha", "decisions.md", confirm=True, caller=ADMIN)
    return None


async def undo_a_round(services: Services) -> object:
    return await services.bank.revert("alpha", BankRevert(version=2), caller=ADMIN)


async def go_back(services: Services) -> object:
    return await services.bank.revert("alpha", BankRevert(to_version=1), caller=ADMIN)


async def go_back_to_the_start(services: Services) -> object:
    return await services.bank.revert("alpha", BankRevert(to_version=0), caller=ADMIN)


class World:
    """A store, a clock, and the processes that come and go over them."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.disk = MemoryStore(self.clock)
        self.written: dict[str, str] = {}

    def process(self) -> tuple[Services, FaultyStore]:
        store = FaultyStore(self.disk)
        return build_services(store, self.clock, Settings.for_tests()), store

    async def prepare(self) -> None:
        """A space with three versions, and a note that waits."""
        services, _store = self.process()
        await a_space(services)
        for facts in ROUNDS:
            for fact in facts:
                await self.note(services, fact)
            await consolidate(services)
        await self.note(services, "The timeout is 30 s.")
        await services.runner.idle()
        self.clock.advance(timedelta(minutes=30))

    async def note(self, services: Services, fact: str) -> None:
        self.written[(await a_note(services, fact)).filename] = fact
        self.clock.advance(timedelta(seconds=7))

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
        await services.runner.idle()
        return bool(strike.met)

    async def finish(self, act: Act) -> None:
        """Much later another process comes up, and does what was asked."""
        self.clock.advance(timedelta(minutes=30))
        services, _store = self.process()
        await act(services)
        await services.bank.open("alpha")
        await services.runner.idle()

    async def check(self) -> None:
        """Every acknowledged note waits or is filed, once, under whatever id, and the chain of versions has no gap.

        Raises:
            Lost: it is not.
        """
        services, _store = self.process()
        opened = await services.spaces.open("alpha")
        filed: Counter[str] = Counter()
        origin: dict[str, str] = {}
        commits = []
        key, version = opened.head.history, opened.head.version
        while key is not None:
            commit = await HistoryStore(self.disk).read(key)
            if commit is None or commit.version != version:
                raise Lost(f"version {version}")
            commits.append(commit)
            key, version = commit.parent, version - 1
        for commit in reversed(commits):
            for new in commit.requeued:
                origin[new.id] = origin.get(new.requeued_from, new.requeued_from)
                filed[origin[new.id]] -= 1
            for note in commit.consumed:
                filed[origin.get(note.id, note.id)] += 1
        pending = {note.id for note in await services.notes.pending(opened)}
        # One that was put back waits from then on, even before it has its object.
        waiting = Counter(origin.get(note_id, note_id) for note_id in pending | opened.head.requeue.keys())
        if wrong := [note for note in self.written if sorted((filed[note], waiting[note])) != [0, 1]]:
            raise Lost(str(wrong))

    async def outcome(self) -> dict[str, object]:
        """What people and agents see in the end."""
        seen: dict[str, object] = {}
        waiting = []
        async for page in self.disk.list("alpha/"):
            for listed in page.objects:
                body = (await self.disk.get(listed.key)).body.decode(errors="replace")  # type: ignore[union-attr]
                if listed.key.startswith("alpha/live/2"):
                    waiting.append(body.rpartition("\n")[2])
                elif listed.key.startswith(("alpha/bank/", "alpha/_rules.md")):
                    seen[listed.key] = body
        return {**seen, "waiting": sorted(waiting)}


async def prepared() -> World:
    world = World()
    await world.prepare()
    return world


async def ran(
    start: World, act: Act, nth: int = 0, methods: tuple[str, ...] = EVERY_CALL, *, applied: bool = False
) -> World | None:
    """A world in which the act was cut short at the nth call and finished by another process."""
    world = deepcopy(start)
    if nth and not await world.crash(act, nth, methods, applied=applied):
        return None
    await world.finish(act)
    await world.check()
    return world


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("act", [write, delete, undo_a_round, go_back, go_back_to_the_start])
async def test_a_crash_at_any_store_call_loses_and_doubles_nothing(act: Act, applied: bool) -> None:  # noqa: FBT001 - a case
    start = await prepared()
    undisturbed = await ran(start, act)
    assert undisturbed is not None
    expected = await undisturbed.outcome()
    methods = WRITES if applied else EVERY_CALL
    nth = 1
    while (world := await ran(start, act, nth, methods, applied=applied)) is not None:
        assert (nth, await world.outcome()) == (nth, expected)
        nth += 1

    assert nth > 3


@pytest.mark.parametrize("act", [undo_a_round, go_back])
async def test_whoever_comes_after_a_crash_finishes_it_without_being_asked_again(act: Act) -> None:
    start = await prepared()
    undisturbed = await ran(start, act)
    assert undisturbed is not None
    expected = await undisturbed.outcome()
    world = await prepared()
    services, store = world.process()
    store.fail("create", key="alpha/live/", lasting=True)
    await act(services)
    await world.check()

    async def look(services: Services) -> object:
        return await services.bank.open("alpha")

    await world.finish(look)

    assert await world.outcome() == expected
    await world.check()


async def test_notes_put_back_and_filed_again_are_in_the_bank_once() -> None:
    world = await ran(await prepared(), undo_a_round)
    assert world is not None
    await world.finish(consolidate)
    await world.check()
    services, _store = world.process()
    opened = await services.bank.open("alpha")
    text = "\n".join(file.content for file in (await services.bank.read_all(opened)).files)
    assert all(text.count(fact) == 1 for fact in set(world.written.values()))
    assert await services.notes.pending(opened) == []


async def test_the_check_finds_a_note_that_was_put_back_in_vain() -> None:
    world = await prepared()
    services, _store = world.process()
    await undo_a_round(services)
    opened = await services.spaces.open("alpha")
    for note_id in opened.head.requeue:
        await world.disk.delete(f"alpha/live/{note_id}")
    await services.spaces.swap(opened, opened.head.model_copy(update={"requeue": {}, "nonce": "0" * 16}))

    with pytest.raises(Lost):
        await world.check()


async def test_the_check_finds_a_note_that_waits_although_it_is_filed() -> None:
    world = await prepared()
    services, _store = world.process()
    opened = await services.spaces.open("alpha")
    forgetful = opened.head.model_copy(update={"note_refs": {}, "consumed": {}, "nonce": "0" * 16})
    await services.spaces.swap(opened, forgetful)
    commit = await HistoryStore(world.disk).read(opened.head.history or "")
    assert commit is not None
    await world.disk.put(commit.consumed[0].key, commit.consumed[0].object.encode())

    with pytest.raises(Lost):
        await world.check()
