"""One suite for every object store: what `app/storage/store.py` promises, in memory, in a folder, and on S3 servers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.storage.directory import DirectoryStore
from app.storage.keys import InvalidKey
from app.storage.memory import MemoryStore
from app.storage.s3 import S3Store
from app.storage.signatures import Signature
from app.storage.single_writer import SingleWriterStore, WriterFlag
from app.storage.store import PAGE_SIZE, UNCHANGED, ObjectStore, Page, PreconditionFailed, Stored
from tests.contract.servers import S3Server, SeaweedFS
from tests.contract.store_races import check_counter, check_create_race, check_replace_race
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

pytest_plugins = ["tests.contract.s3_fixtures"]

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Local:
    """A store in this process."""

    make: Callable[[Path], ObjectStore]


@dataclass(frozen=True, slots=True)
class Remote:
    """A store on an S3 server."""

    server: str
    """The fixture that starts it."""
    https: bool = False
    signature: Signature = Signature.V4
    keeps_conditions: bool = True
    """If not, the store is used as the service uses it: by one process that decides by itself."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Where stores may differ."""

    made: Local | Remote
    byte_order: bool = True
    """Does a slash sort as any other character does? Some servers put it first."""
    resolution: timedelta = timedelta(0)
    """Of its clock."""
    knows_its_own: bool = False
    """Does a creator win against its own body? Behind a network it may be that of its own lost attempt."""
    racers: int = 50
    rounds: int = 10
    writers: int = 16
    increments: int = 20


FAR = {"resolution": SECOND, "knows_its_own": True, "rounds": 1, "writers": 4, "increments": 4}
SEAWEEDFS = {**FAR, "byte_order": False, "racers": 5}
"""It lets those who race for one key wait in steps of a second."""
FILES = {
    "memory": Traits(Local(lambda _: MemoryStore(FrozenClock()))),
    "directory": Traits(Local(lambda folder: DirectoryStore(folder / "data", FrozenClock(), fsync=False))),
    "directory-host-clock": Traits(Local(lambda folder: DirectoryStore(folder / "data", SystemClock()))),
    "faulty": Traits(Local(lambda _: FaultyStore(MemoryStore(FrozenClock())))),
}
"""Those that know folders: an object cannot be one as well."""
SERVERS = {
    "moto": Traits(Remote("moto"), **FAR),  # type: ignore[arg-type]
    "seaweedfs-http": Traits(Remote("seaweedfs"), **SEAWEEDFS),  # type: ignore[arg-type]
    "seaweedfs-https": Traits(Remote("seaweedfs", https=True), **SEAWEEDFS),  # type: ignore[arg-type]
    "rclone": Traits(Remote("rclone", keeps_conditions=False), **{**FAR, "byte_order": False, "knows_its_own": False}),  # type: ignore[arg-type]
}
SIGNED = {
    f"seaweedfs-{'https' if https else 'http'}-{signature}": Traits(Remote("seaweedfs", https, signature), **SEAWEEDFS)  # type: ignore[arg-type]
    for https, signature in ((True, Signature.HYBRID), (True, Signature.V2), (False, Signature.V2))
}
STORES = {**FILES, **SERVERS, **SIGNED}
NEAR = [*FILES, "seaweedfs-http"]
"""Where thousands of requests are no burden, and one server that is quick enough."""
IN_ORDER = [name for name, traits in STORES.items() if traits.byte_order]

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


def parameters(names: Sequence[str]) -> list[object]:
    """These stores; the tests of one server are for one worker, so that there are not more servers than needed."""
    found: list[object] = []
    for name in names:
        made = STORES[name].made
        marks = [pytest.mark.xdist_group(f"stores on {made.server}")] if isinstance(made, Remote) else []
        found.append(pytest.param(name, marks=marks, id=name))
    return found


def on(names: Sequence[str]) -> pytest.MarkDecorator:
    """Run on these stores instead of all."""
    return pytest.mark.parametrize("store", parameters(names), indirect=True)


@pytest.fixture(params=parameters([*FILES, *SERVERS]))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = STORES[request.param].made
    if isinstance(made, Local):
        near = made.make(tmp_path)
        async with near.opened():
            yield near
        return
    found = request.getfixturevalue(made.server)
    reached = door_of(found, https=made.https) if isinstance(found, SeaweedFS) else found
    async with on_a_server(reached, made) as far:
        yield far


@pytest.fixture
def traits(request: pytest.FixtureRequest) -> Traits:
    """Of the store under test."""
    return STORES[request.node.callspec.params["store"]]


def door_of(server: SeaweedFS, *, https: bool) -> S3Server:
    return server.https if https else server.http


@asynccontextmanager
async def on_a_server(server: S3Server, made: Remote) -> AsyncIterator[ObjectStore]:
    """An empty bucket that was never used before: folders stay behind on some servers."""
    clock = SystemClock()
    options = server.options(bucket=server.new_bucket(), signature=made.signature)
    bucket = S3Store(options, clock)
    async with AsyncExitStack() as stack:
        if made.keeps_conditions:
            await stack.enter_async_context(bucket.opened())
            yield bucket
            return
        flags = S3Store(server.options(bucket=server.new_bucket()), clock)
        await stack.enter_async_context(flags.opened())
        alone = SingleWriterStore(bucket, WriterFlag(flags, clock, "suite"))
        await stack.enter_async_context(alone.opened())
        yield alone


async def empty(store: ObjectStore) -> None:
    async for page in store.list(""):
        assert await store.delete_many([listed.key for listed in page.objects]) == []


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

    async def test_every_write_can_be_read_back_whole(self, store: ObjectStore) -> None:
        for kind, body in BODIES.items():
            created = await store.create(f"{kind}/created", body)
            first = await store.create(f"{kind}/replaced", b"first")
            replaced = await store.replace(f"{kind}/replaced", body, etag=first)
            put = await store.put(f"{kind}/put", body)
            for way, etag in {"created": created, "replaced": replaced, "put": put}.items():
                stored = await read(store, f"{kind}/{way}")
                found = (stored.key, stored.body, stored.etag, stored.size)
                assert found == (f"{kind}/{way}", body, etag, len(body))

    async def test_a_legal_key_works_in_every_method(self, store: ObjectStore) -> None:
        for key in KEYS:
            etag = await store.create(key, b"1")
            etag = await store.replace(key, b"2", etag=etag)
            assert (await read(store, key)).body == b"2", key
            assert await keys(store, key) == [key]
            assert await keys(store) == [key]
            assert await store.copy(key, "copies/1"), key
            assert (await read(store, "copies/1")).body == b"2"
            await store.put(key, b"3")
            await store.delete(key)
            assert await store.get(key) is None, key
            await store.put(key, b"4")
            assert await store.delete_many([key]) == []
            assert await keys(store) == ["copies/1"], key
            await empty(store)

    async def test_the_etag_spares_an_unchanged_body(self, store: ObjectStore) -> None:
        first = await store.create("a", b"1")
        assert await store.get("a", unless=first) is UNCHANGED
        second = await store.replace("a", b"2", etag=first)
        assert second != first
        stored = await store.get("a", unless=first)
        assert isinstance(stored, Stored)
        assert (stored.body, stored.etag) == (b"2", second)
        assert await store.get("a", unless=second) is UNCHANGED

    async def test_an_object_is_as_old_as_the_store_s_clock_says(self, store: ObjectStore, traits: Traits) -> None:
        before = store.now()
        await store.create("a", b"1")
        (page,) = await pages(store)
        after = store.now()
        written = (await read(store, "a")).last_modified
        assert before - SECOND <= written <= page.date + SECOND
        assert before - traits.resolution <= page.date <= after + traits.resolution
        assert page.objects[0].last_modified == written


class TestWriting:
    async def test_a_second_creator_loses_whatever_its_body(self, store: ObjectStore, traits: Traits) -> None:
        etag = await store.create("a", b"1")
        for body in (b"2",) if traits.knows_its_own else (b"2", b"1"):
            with pytest.raises(PreconditionFailed) as caught:
                await store.create("a", body)
            assert caught.value.key == "a"
        if traits.knows_its_own:
            # It may come from an attempt of its own whose answer was lost.
            assert await store.create("a", b"1") == etag
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

    async def test_a_deletion_may_be_of_one_version_only(self, store: ObjectStore) -> None:
        first = await store.create("a", b"1")
        second = await store.replace("a", b"2", etag=first)
        with pytest.raises(PreconditionFailed):
            await store.delete("a", etag=first)
        assert (await read(store, "a")).body == b"2"
        await store.delete("a", etag=second)
        assert await store.get("a") is None
        await store.delete("a", etag=second)

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

    # Servers differ in what they make of `a` beside `a/b`, and of `a` after `a/b` is gone: nobody may rely on either.
    @on(list(FILES))
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

    @on(list(FILES))
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

    @on(NEAR)
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
        # Except for the slash, which some servers sort first.
        names = ["a", "a b", "a-b", "a.md", "b-", "b.d", "b0", "Z", "z", "é", "\uffee", "🧠", "aa"]
        await write(store, names)
        assert await keys(store) == sorted(names, key=str.encode)

    async def test_a_prefix_need_not_end_at_a_slash(self, store: ObjectStore) -> None:
        names = ["ab.md", "ab/live/2025", "ab/live/2026-1", "ab/live/2026-2/x", "abc/live/2026-1"]
        await write(store, names)
        assert await keys(store, "ab/") == names[1:4]
        assert await keys(store, "ab/live/2026") == names[2:4]
        assert sorted(await keys(store, "ab")) == names
        assert await keys(store, "ab/live/2025") == ["ab/live/2025"]
        assert await keys(store, "ab/live/2025/") == []
        assert await keys(store, "b") == []

    async def test_a_listing_starts_after_a_key_that_need_not_exist(self, store: ObjectStore) -> None:
        names = ["a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b"]
        await write(store, names)
        assert await keys(store, start_after="a/2") == names[2:]
        assert await keys(store, start_after="a/20") == names[2:]
        assert await keys(store, start_after="a/3/x") == names[3:]
        assert await keys(store, start_after="a/3/z") == names[4:]
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

    @on(NEAR)
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

    @on(NEAR)
    async def test_many_folders_come_in_pages_too(self, store: ObjectStore) -> None:
        names = [f"s{number:05}/_bank.json" for number in range(PAGE_SIZE + 1)]
        await asyncio.gather(*(store.put(name, b"{}") for name in names))
        found = await pages(store, delimiter="/")
        assert [folder for page in found for folder in page.folders] == [name.split("/")[0] + "/" for name in names]
        assert not [listed for page in found for listed in page.objects]

    async def test_only_a_slash_divides_a_listing(self, store: ObjectStore) -> None:
        with pytest.raises(ValueError, match="divided"):
            await pages(store, delimiter="-")


class TestOrder:
    """What only shows where a slash sorts as any other character does."""

    @on(IN_ORDER)
    async def test_keys_come_in_the_order_of_their_bytes(self, store: ObjectStore) -> None:
        names = ["a", "a b", "a-b", "a.md", "b/a", "b/b/c", "b-", "b.d/e", "b0", "Z", "z", "é", "\uffee", "🧠", "aa/a"]
        await write(store, names)
        assert await keys(store) == sorted(names, key=str.encode)

    @on(IN_ORDER)
    async def test_a_prefix_need_not_end_at_a_slash(self, store: ObjectStore) -> None:
        await write(store, ["ab/live/2026-1", "ab/live/2026-2/x", "ab/live/2025", "abc/live/2026-1", "ab.md"])
        assert await keys(store, "ab/") == ["ab/live/2025", "ab/live/2026-1", "ab/live/2026-2/x"]
        assert await keys(store, "ab/live/2026") == ["ab/live/2026-1", "ab/live/2026-2/x"]
        assert await keys(store, "ab") == sorted(await keys(store))
        assert await keys(store, "ab/live/2025") == ["ab/live/2025"]
        assert await keys(store, "ab/live/2025/") == []
        assert await keys(store, "b") == []

    @on(IN_ORDER)
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

    @on(list(FILES))
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


@on(NEAR)
class TestNames:
    async def test_a_name_no_store_can_hold_is_refused_by_every_method(self, store: ObjectStore) -> None:
        await store.create("good", b"1")
        for key in BAD_KEYS:
            for attempt in (
                store.get(key), store.create(key, b""), store.put(key, b""), store.replace(key, b"", etag="0"),
                store.delete(key), store.delete_many(["good", key]), store.copy(key, "target"), store.copy("good", key),
            ):  # fmt: skip
                with pytest.raises(InvalidKey):
                    await attempt
        assert await keys(store) == ["good"]

    async def test_a_prefix_no_key_can_have_is_refused(self, store: ObjectStore) -> None:
        for prefix in BAD_PREFIXES:
            with pytest.raises(InvalidKey):
                await pages(store, prefix)


@on(list(SIGNED))
class TestSignatures:
    """Every method with every kind of key, since it is there that signatures and encodings go wrong."""

    async def test_every_method_takes_every_legal_key(self, store: ObjectStore) -> None:
        await TestReading().test_a_legal_key_works_in_every_method(store)

    async def test_every_write_can_be_read_back_whole(self, store: ObjectStore) -> None:
        await TestReading().test_every_write_can_be_read_back_whole(store)

    async def test_a_listing_starts_where_it_is_told_to(self, store: ObjectStore) -> None:
        await TestListing().test_a_listing_starts_after_a_key_that_need_not_exist(store)


class TestRaces:
    async def test_one_of_many_creators_wins(self, store: ObjectStore, traits: Traits) -> None:
        for number in range(traits.rounds):
            await check_create_race(store, f"s/created/{number}", racers=traits.racers)

    async def test_one_of_many_writers_wins(self, store: ObjectStore, traits: Traits) -> None:
        for number in range(traits.rounds):
            await check_replace_race(store, f"s/replaced/{number}", racers=traits.racers)

    async def test_no_change_of_a_document_is_lost_or_made_twice(self, store: ObjectStore, traits: Traits) -> None:
        await check_counter(store, "s/counter.json", writers=traits.writers, increments=traits.increments)

    async def test_a_delete_does_not_slip_into_a_replace(self, store: ObjectStore, traits: Traits) -> None:
        for number in range(3 * traits.rounds):
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
