"""A space founded in one round trip, over a name under which something older may lie."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.bootstrap import Services, build_services
from app.core.errors import StoreUnavailable
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import SpaceBusy, SpaceExists
from app.spaces.models import About, Head
from app.storage.memory import MemoryStore
from tests.builders import a_note, a_space
from tests.contract.old_buckets import BANK, bucket_of_0_2, plant
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rounds import Rounds

LEFT = "alpha/live/20260101T000000_old_todo_0a1b2c3d.md"
OLD_NOTE = b'---\nagent: "old"\ncategory: "todo"\n---\n\nOf a space that is no more.'
CALLS = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")


async def keys(store: FaultyStore, prefix: str) -> list[str]:
    return [listed.key async for page in store.inner.list(prefix) for listed in page.objects]


async def old_bank(services: Services) -> list[str]:
    return [file.filename for file in (await services.bank.read_all(await services.bank.open("alpha"))).files]


async def contents(services: Services) -> list[str]:
    return [note.content for note in (await services.notes.read("alpha", NotesQuery())).notes]


def a_founding_head() -> Head:
    """As a process leaves it that ends before it has looked around."""
    at = "2026-01-31T18:05:01+00:00"
    return Head(space_id="alpha", incarnation="f" * 16, committed_at=at, nonce="1" * 16, about=About(created_at=at))


async def test_a_space_is_created_in_one_round_trip(services: Services, store: FaultyStore) -> None:
    rounds = Rounds(store)
    await rounds.of(a_space(services))
    assert [sorted(asked) for asked in rounds.rounds] == [["create alpha/_bank.json", "list alpha/"]]


async def test_requests_that_wait_for_each_other_are_more_than_one_round_trip(store: FaultyStore) -> None:
    async def in_turn() -> None:
        await store.get("a")
        await store.get("b")

    rounds = Rounds(store)
    await rounds.of(in_turn())
    assert rounds.rounds == [["get a"], ["get b"]]


async def test_an_older_tools_space_gets_its_place_back(services: Services, store: FaultyStore) -> None:
    await plant(store.inner, bucket_of_0_2())
    with pytest.raises(SpaceExists):
        await a_space(services)
    assert await old_bank(services) == sorted(BANK)
    assert await contents(services)


async def test_no_process_ever_sees_an_older_tools_space_empty(clock: FrozenClock, settings: Settings) -> None:
    """Whatever call of the creation is the last one, and whoever reads then."""
    expected: list[str] = []
    for nth in range(1, 30):
        fresh = FaultyStore(MemoryStore(clock))
        await plant(fresh.inner, bucket_of_0_2())
        one, other = build_services(fresh, clock, settings), build_services(fresh, clock, settings)
        fault = fresh.fail(CALLS, nth=nth, lasting=True)
        with pytest.raises((StoreUnavailable, SpaceExists)):
            await a_space(one)
        fresh.heal()
        bank, notes = await old_bank(other), await contents(other)
        expected = expected or bank
        assert bank == expected != []
        assert notes
        assert (await old_bank(one), await contents(one)) == (bank, notes)
        if not fault.met:
            return
    pytest.fail("no creation came to its end")


async def test_a_note_written_meanwhile_belongs_to_the_space_that_stays(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    """An agent of the creator's process may know the new head before it has given way."""
    await plant(store.inner, bucket_of_0_2())
    before = await contents(build_services(FaultyStore(store.inner), clock, settings))
    looking, written = asyncio.Event(), asyncio.Event()

    async def wait(method: str, key: str) -> None:
        if (method, key) == ("replace", "alpha/_bank.json"):
            looking.set()
            await written.wait()

    # The head of the older space has just been made by the reading above: it is as if nobody had come yet.
    await store.inner.delete("alpha/_bank.json")
    store.before = wait
    creating = asyncio.ensure_future(a_space(services))
    await looking.wait()
    writing = asyncio.ensure_future(a_note(services, "Said in between."))
    await asyncio.sleep(0)
    written.set()
    await writing
    with pytest.raises(SpaceExists):
        await creating
    assert sorted(await contents(services)) == sorted([*before, "Said in between."])


@pytest.mark.parametrize("by_another", [False, True])
async def test_what_an_unfinished_deletion_has_left_is_not_taken_in(
    services: Services,
    store: FaultyStore,
    clock: FrozenClock,
    settings: Settings,
    by_another: bool,  # noqa: FBT001 - a case
) -> None:
    await store.inner.put(LEFT, OLD_NOTE)
    if by_another:
        # The creator came to its end before it could look around.
        await store.inner.create("alpha/_bank.json", a_founding_head().model_dump_json(by_alias=True).encode())
        services = build_services(store, clock, settings)
    else:
        await a_space(services)
    assert await contents(services) == []
    assert LEFT not in await keys(store, "alpha/")
    await a_note(services, "New.")
    assert await contents(services) == ["New."]


async def test_such_a_note_would_be_taken_in_by_a_head_that_nobody_doubts(
    services: Services, store: FaultyStore
) -> None:
    """Negative control: a note of another make that comes later belongs to the space."""
    await a_space(services)
    await store.inner.put(LEFT, OLD_NOTE)
    assert await contents(services) == ["Of a space that is no more."]


async def test_leftovers_that_cannot_be_removed_are_not_shown(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await store.inner.put(LEFT, OLD_NOTE)
    clock.advance(timedelta(seconds=1))
    store.fail("delete_many", lasting=True)
    with pytest.raises(StoreUnavailable):
        await a_space(services)
    for attempt in (contents, old_bank):
        await refused(attempt, services)
    store.heal()
    assert await contents(services) == []


async def refused(attempt: Callable[[Services], Awaitable[list[str]]], services: Services) -> None:
    with pytest.raises((StoreUnavailable, SpaceBusy)):
        await attempt(services)


async def test_a_new_space_is_looked_around_once_by_each_process(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await a_space(services)
    await services.runner.idle()
    other = build_services(store, clock, settings)
    for expected in (["get alpha/_bank.json", "get alpha/_meta.json"], ["get alpha/_bank.json"]):
        store.forget_calls()
        await other.spaces.open("alpha")
        assert [" ".join(call) for call in store.calls] == expected
