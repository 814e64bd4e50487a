"""One suite for every object store: what `app/storage/store.py` promises."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.storage.directory import DirectoryStore
from app.storage.keys import InvalidKey
from app.storage.memory import MemoryStore
from app.storage.store import PAGE_SIZE, UNCHANGED, ObjectStore, Page, PreconditionFailed, Stored
from tests.contract.store_races import check_counter, check_create_race, check_replace_race
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "memory": lambda _: MemoryStore(FrozenClock()),
    "directory": lambda folder: DirectoryStore(folder / "data", FrozenClock(), fsync=False),
    "directory-host-clock": lambda folder: DirectoryStore(folder / "data", SystemClock()),
    "faulty": lambda _: FaultyStore(MemoryStore(FrozenClock())),
}
BODIES = {
    "empty": b"",
    "one byte": b"x",
    "not text": bytes(range(256)),
    "accents": "déjà vu, 記憶".encode(),
    "a megabyte": b"0123456789abcdef" * 65_536,
}
KEYS = [
    "a",
    "space/live/20260131T180500_agent_todo_0a1b2c3d.md",
    "with space/and 'quotes' & signs + % # ?.md",
    "accents/déjà/記憶/🧠.md",
    ".hidden/.keep",
    "..a/...",
    "x" * 255,
    "/".join(["y" * 127] * 8),
    "-", "~", "*",
]  # fmt: skip
BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a/../../b", "/etc/passwd",
    "a\\b", "..\\a", "a\x00", "a\nb", "\x7f", "\ud800", ".store", ".store/tmp/a", "a/.store/b",
    "x" * 256, "é" * 128, "/".join(["y" * 127] * 9),
]  # fmt: skip
BAD_PREFIXES = ["/", "//", "../", "a/../b", "./", ".store/", ".store/locks/0", "a//", "a\x00", "a\\", "\ud800"]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = STORES[request.param](tmp_path)
    async with made.opened():
        yield made


async def pages(store: ObjectStore, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> list[Page]:
    found = [page async for page in store.list(prefix, start_after=start_after, delimiter=delimiter)]
    assert found, "a listing has at least one page"
    assert all(len(page.objects) + len(page.folders) <= PAGE_SIZE for page in found)
    return found


async def keys(store: ObjectStore, prefix: str = "", *, start_after: str = "") -> list[str]:
    return [listed.key for page in await pages(store, prefix, start_after=start_after) for listed in page.objects]


async def write(store: ObjectStore, names: Sequence[str]) -> None:
    for name in names:
        await store.create(name, name.encode())


async def read(store: ObjectStore, key: str) -> Stored:
    stored = await store.get(key)
    assert isinstance(stored, Stored)
    return stored


class TestReading:
    async def test_what_was_never_written_is_absent(self, store: ObjectStore) -> None:
        assert await store.get("nothing") is None
        assert await store.get("no/folder/either") is None
        assert await store.get("nothing", unless="0" * 32) is None

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    async def test_every_write_can_be_read_back_whole(self, store: ObjectStore, body: bytes) -> None:
        created = await store.create("s/created", body)
        assert await read(store, "s/created") == Stored(
            "s/created", body, created, (await read(store, "s/created")).last_modified
        )
        first = await store.create("s/replaced", b"first")
        replaced = await store.replace("s/replaced", body, etag=first)
        put = await store.put("s/put", body)
        for key, etag in {"s/replaced": replaced, "s/put": put}.items():
            stored = await read(store, key)
            assert (stored.key, stored.body, stored.etag, stored.size) == (key, body, etag, len(body))

    @pytest.mark.parametrize("key", KEYS)
    async def test_a_legal_key_works_in_every_method(self, store: ObjectStore, key: str) -> None:
        etag = await store.create(key, b"1")
        etag = await store.replace(key, b"2", etag=etag)
        assert (await read(store, key)).body == b"2"
        assert await keys(store, key) == [key]
        assert await keys(store) == [key]
        assert await store.copy(key, "copies/1")
        assert (await read(store, "copies/1")).body == b"2"
        await store.put(key, b"3")
        await store.delete(key)
        assert await store.get(key) is None
        await store.put(key, b"4")
        assert await store.delete_many([key]) == []
        assert await keys(store) == ["copies/1"]

    async def test_the_etag_spares_an_unchanged_body(self, store: ObjectStore) -> None:
        first = await store.create("a", b"1")
        assert await store.get("a", unless=first) is UNCHANGED
        second = await store.replace("a", b"2", etag=first)
        assert second != first
        stored = await store.get("a", unless=first)
        assert isinstance(stored, Stored)
        assert (stored.body, stored.etag) == (b"2", second)
        assert await store.get("a", unless=second) is UNCHANGED

    async def test_an_object_is_as_old_as_the_store_s_clock_says(self, store: ObjectStore) -> None:
        before = store.now()
        await store.create("a", b"1")
        (page,) = await pages(store)
        after = store.now()
        second = timedelta(seconds=1)
        assert before - second <= (await read(store, "a")).last_modified <= page.date + second
        assert before <= page.date <= after
        assert page.objects[0].last_modified == (await read(store, "a")).last_modified


class TestWriting:
    async def test_a_second_creator_loses_whatever_its_body(self, store: ObjectStore) -> None:
        await store.create("a", b"1")
        for body in (b"2", b"1"):
            with pytest.raises(PreconditionFailed) as caught:
                await store.create("a", body)
            assert caught.value.key == "a"
        assert (await read(store, "a")).body == b"1"

    async def test_a_writer_that_read_an_older_version_loses(self, store: ObjectStore) -> None:
        first = await store.create("a", b"1")
        second = await store.replace("a", b"2", etag=first)
        for stale in (first, "", "*", f'"{second}"'):
            with pytest.raises(PreconditionFailed):
                await store.replace("a", b"3", etag=stale)
        assert (await read(store, "a")).body == b"2"

    async def test_what_is_absent_cannot_be_replaced(self, store: ObjectStore) -> None:
        etag = await store.create("a", b"1")
        await store.delete("a")
        for key in ("a", "no/folder"):
            with pytest.raises(PreconditionFailed):
                await store.replace(key, b"2", etag=etag)
            assert await store.get(key) is None

    async def test_a_deleted_object_can_be_created_again(self, store: ObjectStore) -> None:
        await store.create("a", b"1")
        await store.delete("a")
        await store.create("a", b"2")
        assert (await read(store, "a")).body == b"2"

    async def test_a_put_overwrites(self, store: ObjectStore) -> None:
        first = await store.put("a", b"1")
        second = await store.put("a", b"2")
        assert first != second
        with pytest.raises(PreconditionFailed):
            await store.replace("a", b"3", etag=first)
        await store.replace("a", b"3", etag=second)

    async def test_deleting_what_is_absent_is_a_success(self, store: ObjectStore) -> None:
        await store.delete("a")
        await store.delete("no/folder")
        assert await store.delete_many([]) == []
        assert await store.delete_many(["a", "no/folder"]) == []

    async def test_many_are_deleted_at_once_and_no_others(self, store: ObjectStore) -> None:
        names = [f"s/{folder}/{number}" for folder in "ab" for number in range(20)]
        await write(store, [*names, "s/a-kept", "kept"])
        assert await store.delete_many([*names, "s/a/absent"]) == []
        assert await keys(store) == ["kept", "s/a-kept"]

    async def test_a_copy_is_independent_of_its_source(self, store: ObjectStore) -> None:
        etag = await store.create("s/a", b"1")
        assert await store.copy("s/a", "copies/s/a")
        await store.replace("s/a", b"2", etag=etag)
        assert (await read(store, "copies/s/a")).body == b"1"
        assert await store.copy("s/a", "copies/s/a")
        await store.delete("s/a")
        assert (await read(store, "copies/s/a")).body == b"2"

    async def test_what_is_absent_is_not_copied(self, store: ObjectStore) -> None:
        assert not await store.copy("s/a", "copies/s/a")
        assert await keys(store) == []

    async def test_an_object_is_not_also_a_folder(self, store: ObjectStore) -> None:
        etag = await store.create("a/b", b"1")
        await store.create("c", b"1")
        for method in (store.create, store.put):
            for key in ("a", "a/b/c", "a/b/c/d", "c/d"):
                with pytest.raises(InvalidKey):
                    await method(key, b"2")
        with pytest.raises(InvalidKey):
            await store.copy("c", "a")
        with pytest.raises(PreconditionFailed):
            await store.replace("a", b"2", etag=etag)
        assert await store.get("a") is None
        assert await store.get("a/b/c") is None
        await store.delete("a")
        await store.delete("a/b/c")
        assert await store.delete_many(["a", "a/b/c"]) == []
        assert await keys(store) == ["a/b", "c"]

    async def test_a_folder_without_objects_is_none(self, store: ObjectStore) -> None:
        await store.create("a/b/c", b"1")
        await store.delete("a/b/c")
        await store.create("a", b"2")
        assert (await read(store, "a")).body == b"2"

    async def test_a_cancelled_write_happens_whole_or_not_at_all(self, store: ObjectStore) -> None:
        for number in range(20):
            writing = asyncio.ensure_future(store.create(f"a{number}", b"body"))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
            settled = await store.get(f"a{number}")
            assert settled is None or (isinstance(settled, Stored) and settled.body == b"body")
            if not writing.cancelled():
                assert settled is not None
            # Nothing is written behind the caller's back.
            assert (await store.get(f"a{number}") is None) == (settled is None)


class TestListing:
    async def test_an_empty_store_answers_with_an_empty_page(self, store: ObjectStore) -> None:
        for delimiter in ("", "/"):
            (page,) = await pages(store, delimiter=delimiter)
            assert not page.objects
            assert not page.folders
            (page,) = await pages(store, "no/such/folder/", delimiter=delimiter)
            assert not page.objects

    async def test_each_write_and_each_deletion_shows_at_once(self, store: ObjectStore) -> None:
        for number in range(30):
            etag = await store.create("s/a", b"1-%d" % number)
            for _ in range(2):
                (page,) = await pages(store, "s/")
                assert [(listed.key, listed.etag, listed.size) for listed in page.objects] == [
                    ("s/a", etag, len(b"1-%d" % number))
                ]
                etag = await store.replace("s/a", b"2-%d" % number, etag=etag)
            await store.delete("s/a")
            assert await keys(store, "s/") == []
            assert await store.get("s/a") is None

    async def test_keys_come_in_the_order_of_their_bytes(self, store: ObjectStore) -> None:
        names = ["a", "a b", "a-b", "a.md", "b/a", "b/b/c", "b-", "b.d/e", "b0", "Z", "z", "é", "\uffee", "🧠", "aa/a"]
        await write(store, names)
        assert await keys(store) == sorted(names, key=str.encode)

    async def test_a_prefix_need_not_end_at_a_slash(self, store: ObjectStore) -> None:
        await write(store, ["ab/live/2026-1", "ab/live/2026-2/x", "ab/live/2025", "abc/live/2026-1", "ab.md"])
        assert await keys(store, "ab/") == ["ab/live/2025", "ab/live/2026-1", "ab/live/2026-2/x"]
        assert await keys(store, "ab/live/2026") == ["ab/live/2026-1", "ab/live/2026-2/x"]
        assert await keys(store, "ab") == sorted(await keys(store))
        assert await keys(store, "ab/live/2025") == ["ab/live/2025"]
        assert await keys(store, "ab/live/2025/") == []
        assert await keys(store, "b") == []

    async def test_a_listing_starts_after_a_key_that_need_not_exist(self, store: ObjectStore) -> None:
        names = ["a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b"]
        await write(store, names)
        assert await keys(store, start_after="a/2") == names[2:]
        assert await keys(store, start_after="a/20") == names[2:]
        assert await keys(store, start_after="a/3") == names[2:]
        assert await keys(store, start_after="a/3/x") == names[3:]
        assert await keys(store, start_after="a/3/z") == names[4:]
        assert await keys(store, start_after="a") == names
        assert await keys(store, start_after="a/4") == ["b"]
        assert await keys(store, start_after="b") == []
        assert await keys(store, "a/3", start_after="a/3/x") == ["a/3/y"]
        assert await keys(store, "a/", start_after="0") == names[:5]
        assert await keys(store, "a/", start_after="z") == []

    async def test_a_delimiter_shows_folders_instead_of_what_lies_in_them(self, store: ObjectStore) -> None:
        await write(store, ["one/_bank.json", "one/live/a", "one/live/b", "two/_bank.json", "root.md", "one.md"])
        (page,) = await pages(store, delimiter="/")
        assert [listed.key for listed in page.objects] == ["one.md", "root.md"]
        assert list(page.folders) == ["one/", "two/"]
        (page,) = await pages(store, "one/", delimiter="/")
        assert [listed.key for listed in page.objects] == ["one/_bank.json"]
        assert list(page.folders) == ["one/live/"]
        (page,) = await pages(store, "o", delimiter="/")
        assert list(page.folders) == ["one/"]
        (page,) = await pages(store, start_after="one/live/a", delimiter="/")
        assert list(page.folders) == ["one/", "two/"]
        (page,) = await pages(store, start_after="one/live/b", delimiter="/")
        assert list(page.folders) == ["two/"]
        await store.delete("two/_bank.json")
        (page,) = await pages(store, delimiter="/")
        assert list(page.folders) == ["one/"]

    async def test_a_long_listing_comes_in_pages(self, store: ObjectStore) -> None:
        names = [f"s/live/{number:05}" for number in range(PAGE_SIZE + 1)]
        await asyncio.gather(*(store.put(name, name.encode()) for name in names))
        assert await keys(store, "s/") == names
        assert [len(page.objects) for page in await pages(store, "s/") if page.objects] == [1000, 1]
        assert await keys(store, "s/", start_after=names[500]) == names[501:]
        (page,) = await pages(store, delimiter="/")
        assert list(page.folders) == ["s/"]
        async for page in store.list("s/"):
            # What is gone when its page is made is not shown.
            await store.delete_many([listed.key for listed in page.objects])
        assert await keys(store) == []

    async def test_many_folders_come_in_pages_too(self, store: ObjectStore) -> None:
        names = [f"s{number:05}/_bank.json" for number in range(PAGE_SIZE + 1)]
        await asyncio.gather(*(store.put(name, b"{}") for name in names))
        found = await pages(store, delimiter="/")
        assert [folder for page in found for folder in page.folders] == [name.split("/")[0] + "/" for name in names]
        assert not [listed for page in found for listed in page.objects]

    async def test_only_a_slash_divides_a_listing(self, store: ObjectStore) -> None:
        with pytest.raises(ValueError, match="divided"):
            await pages(store, delimiter="-")


class TestNames:
    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_a_name_no_store_can_hold_is_refused_by_every_method(self, store: ObjectStore, key: str) -> None:
        await store.create("good", b"1")
        for attempt in (
            store.get(key), store.create(key, b""), store.put(key, b""), store.replace(key, b"", etag="0"),
            store.delete(key), store.delete_many(["good", key]), store.copy(key, "target"), store.copy("good", key),
        ):  # fmt: skip
            with pytest.raises(InvalidKey):
                await attempt
        assert await keys(store) == ["good"]

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    async def test_a_prefix_no_key_can_have_is_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(InvalidKey):
            await pages(store, prefix)


class TestRaces:
    async def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        for number in range(10):
            await check_create_race(store, f"s/created/{number}")

    async def test_one_of_many_writers_wins(self, store: ObjectStore) -> None:
        for number in range(10):
            await check_replace_race(store, f"s/replaced/{number}")

    async def test_no_change_of_a_document_is_lost_or_made_twice(self, store: ObjectStore) -> None:
        await check_counter(store, "s/counter.json", writers=16, increments=20)

    async def test_a_delete_does_not_slip_into_a_replace(self, store: ObjectStore) -> None:
        for number in range(30):
            etag = await store.create("a", b"old %d" % number)
            outcomes = await asyncio.gather(
                store.replace("a", b"new %d" % number, etag=etag), store.delete("a"), return_exceptions=True
            )
            # Whichever came first, the deletion was acknowledged: the object is gone.
            assert outcomes[1] is None
            assert await store.get("a") is None


class CarelessStore(MemoryStore):
    """A store that accepts conditions and ignores them, as several S3-like servers do."""

    async def create(self, key: str, body: bytes, *, content_type: str = "") -> str:
        return await self.put(key, body, content_type=content_type)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:  # noqa: ARG002 - the fault
        return await self.put(key, body, content_type=content_type)


class HastyStore(MemoryStore):
    """A store that checks conditions, and writes a moment later: a sequence of calls shows nothing wrong."""

    async def create(self, key: str, body: bytes, *, content_type: str = "") -> str:
        if await self.get(key) is not None:
            raise PreconditionFailed(key)
        return await self.put(key, body, content_type=content_type)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:
        if await self.get(key, unless=etag) is not UNCHANGED:
            raise PreconditionFailed(key)
        return await self.put(key, body, content_type=content_type)


@pytest.mark.parametrize("faulty", [CarelessStore, HastyStore])
class TestTheRacesThemselves:
    """Negative controls: what does not keep the promises must not pass."""

    async def test_a_create_race_unmasks_it(self, faulty: type[MemoryStore]) -> None:
        with pytest.raises(AssertionError, match="won"):
            await check_create_race(faulty(FrozenClock()), "a")

    async def test_a_replace_race_unmasks_it(self, faulty: type[MemoryStore]) -> None:
        with pytest.raises(AssertionError, match="won"):
            await check_replace_race(faulty(FrozenClock()), "a")

    async def test_a_counter_unmasks_it(self, faulty: type[MemoryStore]) -> None:
        with pytest.raises(AssertionError):
            await check_counter(faulty(FrozenClock()), "a", writers=16, increments=20)


async def test_a_sequence_of_calls_does_not_unmask_a_hasty_store() -> None:
    store = HastyStore(FrozenClock())
    etag = await store.create("a", b"1")
    with pytest.raises(PreconditionFailed):
        await store.create("a", b"2")
    await store.replace("a", b"2", etag=etag)
    with pytest.raises(PreconditionFailed):
        await store.replace("a", b"3", etag=etag)
