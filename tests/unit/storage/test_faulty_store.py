from datetime import timedelta

import pytest

from app.core.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.store import PAGE_SIZE, OutcomeUnknown, Stored, StoreRefused
from tests.fakes.clock import START, FrozenClock
from tests.fakes.faulty_store import WRITES, FaultyStore


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore(FrozenClock()))


async def test_the_nth_call_fails_before_it_takes_effect(store: FaultyStore) -> None:
    fault = store.fail("create", nth=2)
    await store.create("a", b"1")
    with pytest.raises(StoreUnavailable):
        await store.create("b", b"1")
    await store.create("c", b"1")
    assert await store.get("b") is None
    assert fault.met == 1


async def test_a_lost_answer_hides_a_write_that_happened(store: FaultyStore) -> None:
    store.fail("create", applied=True)
    with pytest.raises(OutcomeUnknown):
        await store.create("a", b"1")
    assert isinstance(await store.get("a"), Stored)


async def test_calls_are_counted_across_the_chosen_methods_and_keys(store: FaultyStore) -> None:
    store.fail(WRITES, nth=2, key="s/")
    await store.create("other", b"1")
    await store.put("s/a", b"1")
    await store.get("s/a")
    with pytest.raises(StoreUnavailable):
        await store.delete("s/a")


async def test_a_lasting_fault_ends_all_writing_until_it_is_healed(store: FaultyStore) -> None:
    store.fail(WRITES, nth=2, lasting=True, error=StoreRefused)
    await store.create("a", b"1")
    for _ in range(3):
        with pytest.raises(StoreRefused):
            await store.create("b", b"1")
    assert isinstance(await store.get("a"), Stored)
    store.heal()
    await store.create("b", b"1")


async def test_every_request_is_remembered_and_each_page_is_one(store: FaultyStore) -> None:
    for number in range(PAGE_SIZE + 1):
        await store.inner.put(f"s/{number:05}", b"")
    assert len([page async for page in store.list("s/")]) == 2
    await store.copy("s/00000", "t")
    await store.delete_many(["s/00001", "s/00002"])
    assert store.calls == [("list", "s/"), ("list", "s/"), ("copy", "t"), ("delete_many", "s/00001")]
    assert store.counted() == {"list": 2, "copy": 1, "delete_many": 1}
    await store.inner.put("s/more", b"")
    await store.inner.put("s/most", b"")
    store.fail("list", nth=2)
    with pytest.raises(StoreUnavailable):
        assert [page async for page in store.list("s/")]


async def test_a_hook_runs_before_each_call(store: FaultyStore) -> None:
    async def write_first(method: str, key: str) -> None:
        assert method == "get"
        await store.inner.create(key, b"just in time")

    store.before = write_first
    stored = await store.get("a")
    assert isinstance(stored, Stored)
    assert stored.body == b"just in time"


def test_a_fault_that_could_never_strike_is_refused(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="no such method"):
        store.fail("write")
    with pytest.raises(ValueError, match="number 1"):
        store.fail("create", nth=0)


def test_time_passes_only_when_told() -> None:
    clock = FrozenClock()
    before = clock.monotonic()
    assert clock.now() == START
    clock.advance(timedelta(minutes=1))
    clock.set(START)
    assert (clock.now(), clock.monotonic() - before) == (START, 60.0)
