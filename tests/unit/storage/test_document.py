import asyncio
from datetime import timedelta
from functools import partial

import pytest

from app.core.errors import Conflict, StoreUnavailable
from app.core.schema import Record
from app.storage.document import REMEMBERED, ROUNDS, DamagedDocument, Document
from app.storage.memory import MemoryStore
from app.storage.store import OutcomeUnknown, Stored
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

KEY = "s/_usage/2026-01-31.json"
AT_ONCE = timedelta(0)


class Tally(Record):
    nonce: str = ""
    value: int = 0


def plus(number: int, tally: Tally | None) -> Tally:
    current = tally or Tally()
    return current.model_copy(update={"value": current.value + number})


def plus_one(tally: Tally | None) -> Tally:
    return plus(1, tally)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore(FrozenClock()))


@pytest.fixture
def document(store: FaultyStore) -> Document[Tally]:
    return Document(store, KEY, Tally, pause=AT_ONCE)


async def test_an_absent_document_is_read_as_none(document: Document[Tally]) -> None:
    assert await document.read() is None


async def test_the_first_change_creates_and_later_ones_replace(store: FaultyStore, document: Document[Tally]) -> None:
    first = await document.change(plus_one)
    second = await document.change(plus_one)
    assert first is not None
    assert second is not None
    assert (first.value, second.value) == (1, 2)
    assert store.calls == [("get", KEY), ("create", KEY), ("get", KEY), ("replace", KEY)]
    version = await document.read()
    assert version is not None
    assert version.model == second


async def test_no_two_versions_have_equal_bytes(store: FaultyStore, document: Document[Tally]) -> None:
    etags = set()
    for difference in (1, 1, -1):
        await document.change(partial(plus, difference))
        stored = await store.get(KEY)
        assert isinstance(stored, Stored)
        etags.add(stored.etag)
    assert len(etags) == 3


async def test_nothing_is_written_when_nothing_changes(store: FaultyStore, document: Document[Tally]) -> None:
    assert await document.change(lambda _: None) is None
    assert await document.change(lambda tally: tally) is None
    written = await document.change(plus_one)
    store.forget_calls()
    assert await document.change(lambda tally: tally) == written
    assert await document.change(lambda _: None) == written
    assert store.counted() == {"get": 2}


async def test_a_faster_writer_is_not_overwritten(store: FaultyStore, document: Document[Tally]) -> None:
    other = Document(store.inner, KEY, Tally, pause=AT_ONCE)
    overtaken: list[int] = []

    async def be_faster(method: str, _key: str) -> None:
        if method in {"create", "replace"} and len(overtaken) < ROUNDS - 1:
            overtaken.append(1)
            await other.change(lambda tally: plus(100, tally))

    store.before = be_faster
    changed = await document.change(plus_one)
    assert changed is not None
    assert changed.value == 100 * (ROUNDS - 1) + 1
    assert store.counted() == {"get": ROUNDS, "create": 1, "replace": ROUNDS - 1}


async def test_a_writer_that_never_gets_its_turn_is_told(store: FaultyStore, document: Document[Tally]) -> None:
    other = Document(store.inner, KEY, Tally, pause=AT_ONCE)

    async def be_faster(method: str, _key: str) -> None:
        if method in {"create", "replace"}:
            await other.change(lambda tally: plus(100, tally))

    store.before = be_faster
    with pytest.raises(Conflict):
        await document.change(plus_one)
    version = await document.read()
    assert version is not None
    assert version.model.value == 100 * ROUNDS


async def test_changes_of_one_process_wait_for_each_other(store: FaultyStore, document: Document[Tally]) -> None:
    await asyncio.gather(*(document.change(plus_one) for _ in range(40)))
    version = await document.read()
    assert version is not None
    assert version.model.value == 40
    assert store.counted()["replace"] == 39


async def test_what_a_change_raises_ends_it(store: FaultyStore, document: Document[Tally]) -> None:
    def refuse(_: Tally | None) -> Tally:
        raise PermissionError

    with pytest.raises(PermissionError):
        await document.change(refuse)
    assert store.counted() == {"get": 1}
    await document.change(plus_one)


async def test_a_damaged_document_is_neither_absent_nor_overwritten(
    store: FaultyStore, document: Document[Tally]
) -> None:
    await store.create(KEY, b'{"value": "many"}')
    with pytest.raises(DamagedDocument):
        await document.read()
    with pytest.raises(DamagedDocument):
        await document.change(plus_one)
    stored = await store.get(KEY)
    assert isinstance(stored, Stored)
    assert stored.body == b'{"value": "many"}'


async def test_an_outage_is_not_an_absent_document(store: FaultyStore, document: Document[Tally]) -> None:
    store.fail("get")
    with pytest.raises(StoreUnavailable):
        await document.change(plus_one)
    assert store.counted() == {"get": 1}


async def value(store: FaultyStore) -> int:
    version = await Document(store, KEY, Tally).read()
    assert version is not None
    return version.model.value


@pytest.mark.parametrize("method", ["create", "replace"])
async def test_a_change_whose_answer_was_lost_is_made_once(
    store: FaultyStore, document: Document[Tally], method: str
) -> None:
    if method == "replace":
        await document.change(plus_one)
    before = 1 if method == "replace" else 0
    store.fail(method, applied=True)
    changed = await document.change(plus_one)
    assert changed is not None
    assert changed.value == before + 1 == await value(store)


@pytest.mark.parametrize("others", [1, REMEMBERED - 1])
async def test_a_change_that_was_lost_and_overtaken_is_not_made_again(
    store: FaultyStore, document: Document[Tally], others: int
) -> None:
    await document.change(plus_one)
    other = Document(FaultyStore(store.inner), KEY, Tally, pause=AT_ONCE)

    async def overtaken(_method: str, _key: str) -> None:
        """Others go on from the change before its writer learns anything."""
        if store.counted()["get"] == reads + 2:
            store.before = None
            for _ in range(others):
                await other.change(plus_one)

    reads = store.counted()["get"]
    store.before = overtaken
    store.fail("replace", applied=True)
    await document.change(plus_one)
    assert await value(store) == 1 + 1 + others


async def test_a_document_names_so_many_of_its_changes(document: Document[Tally]) -> None:
    for _ in range(REMEMBERED + 1):
        await document.change(plus_one)
    version = await document.read()
    assert version is not None
    assert len((version.model.model_extra or {})["last_changes"]) == REMEMBERED


async def test_nobody_can_tell_while_the_store_is_away(store: FaultyStore, document: Document[Tally]) -> None:
    await document.change(plus_one)
    store.fail("replace", applied=True)
    store.fail("get", nth=2)
    with pytest.raises(OutcomeUnknown):
        await document.change(plus_one)
    assert await value(store) == 2


async def test_fields_of_a_later_version_are_kept(store: FaultyStore, document: Document[Tally]) -> None:
    await store.create(KEY, b'{"nonce": "0", "value": 1, "colour": "blue"}')
    await document.change(plus_one)
    stored = await store.get(KEY)
    assert isinstance(stored, Stored)
    assert b'"colour":"blue"' in stored.body


def test_a_model_without_a_nonce_is_refused(store: FaultyStore) -> None:
    class Plain(Record):
        value: int = 0

    with pytest.raises(TypeError, match="nonce"):
        Document(store, KEY, Plain)
