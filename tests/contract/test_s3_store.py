"""The suite of every object store, on S3 servers: a simulated one, and a real one over http and https."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import ClassVar

import pytest

from app.core.clock import SystemClock
from app.storage.s3 import Deadlines, S3Store
from app.storage.signatures import Signature
from app.storage.store import ObjectStore, PreconditionFailed
from tests.contract import test_object_store as suite
from tests.contract.servers import S3Server, SeaweedFS
from tests.contract.store_races import check_counter, check_create_race, check_replace_race

pytest_plugins = ["tests.contract.s3_fixtures"]

DEADLINES = Deadlines(silence=timedelta(seconds=3))
"""SeaweedFS lets those who compete for one key wait, some of them for longer than a test should take."""
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is reached."""

    door: str
    signature: Signature = Signature.V4


MOTO = {"moto": Server("moto")}
PLAIN = {"http": Server("http")}
SIGNED = {
    "https": Server("https"),
    "https-hybrid": Server("https", Signature.HYBRID),
    "https-v2": Server("https", Signature.V2),
    "http-v2": Server("http", Signature.V2),
}


def on(*servers: dict[str, Server]) -> pytest.MarkDecorator:
    """Run the tests of a class on these servers."""
    chosen = {name: server for some in servers for name, server in some.items()}
    return pytest.mark.parametrize("server", chosen.values(), ids=chosen, indirect=True)


@cache
def shared_bucket(server: S3Server) -> str:
    return server.new_bucket()


@pytest.fixture
async def store(server: S3Store) -> S3Store:
    """The store under test, by the name it has in the suite."""
    return server


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[S3Store]:
    """An empty bucket, never used before if the class says so: folders stay behind on some servers."""
    chosen: Server = request.param
    found = request.getfixturevalue("moto" if chosen.door == "moto" else "seaweedfs")
    reached = found if isinstance(found, S3Server) else door_of(found, chosen.door)
    bucket = reached.new_bucket() if request.cls.own_bucket else shared_bucket(reached)
    made = S3Store(reached.options(bucket=bucket, signature=chosen.signature, deadlines=DEADLINES), SystemClock())
    async with made.opened():
        await empty(made)
        yield made


def door_of(server: SeaweedFS, door: str) -> S3Server:
    return server.https if door == "https" else server.http


async def empty(store: ObjectStore) -> None:
    async for page in store.list(""):
        assert await store.delete_many([listed.key for listed in page.objects]) == []


@on(MOTO, PLAIN)
class TestReading(suite.TestReading):
    own_bucket: ClassVar[bool] = False

    async def test_an_object_is_as_old_as_the_store_s_clock_says(self, store: ObjectStore) -> None:
        before = store.now()
        await store.create("a", b"1")
        (page,) = await suite.pages(store)
        written = (await suite.read(store, "a")).last_modified
        assert before - SECOND <= written <= page.date + SECOND
        assert before - SECOND <= page.date <= store.now() + SECOND
        assert page.objects[0].last_modified == written


@on(MOTO, PLAIN)
class TestWriting(suite.TestWriting):
    own_bucket: ClassVar[bool] = True

    # Servers differ in what they make of `a` beside `a/b`, and of `a` after `a/b` is gone: nobody may rely on either.
    test_an_object_is_not_also_a_folder: ClassVar[None] = None  # type: ignore[assignment]
    test_a_folder_without_objects_is_none: ClassVar[None] = None  # type: ignore[assignment]

    async def test_a_second_creator_loses_whatever_its_body(self, store: ObjectStore) -> None:
        etag = await store.create("a", b"1")
        with pytest.raises(PreconditionFailed) as caught:
            await store.create("a", b"2")
        assert caught.value.key == "a"
        # Its own body is the exception: it may come from an attempt of its own whose answer was lost.
        assert await store.create("a", b"1") == etag
        assert (await suite.read(store, "a")).body == b"1"


@on(MOTO, PLAIN)
class TestListing(suite.TestListing):
    own_bucket: ClassVar[bool] = True

    # These take thousands of requests: below, on the faster server alone.
    test_a_long_listing_comes_in_pages: ClassVar[None] = None  # type: ignore[assignment]
    test_many_folders_come_in_pages_too: ClassVar[None] = None  # type: ignore[assignment]
    test_each_write_and_each_deletion_shows_at_once: ClassVar[None] = None  # type: ignore[assignment]

    async def test_keys_come_in_the_order_of_their_bytes(self, store: ObjectStore) -> None:
        # Except for the slash, which some servers sort first.
        names = ["a", "a b", "a-b", "a.md", "b-", "b.d", "b0", "Z", "z", "é", "\uffee", "🧠", "aa"]
        await suite.write(store, names)
        assert await suite.keys(store) == sorted(names, key=str.encode)

    async def test_a_prefix_need_not_end_at_a_slash(self, store: ObjectStore) -> None:
        names = ["ab.md", "ab/live/2025", "ab/live/2026-1", "ab/live/2026-2/x", "abc/live/2026-1"]
        await suite.write(store, names)
        assert await suite.keys(store, "ab/") == names[1:4]
        assert await suite.keys(store, "ab/live/2026") == names[2:4]
        assert sorted(await suite.keys(store, "ab")) == names
        assert await suite.keys(store, "ab/live/2025") == ["ab/live/2025"]
        assert await suite.keys(store, "ab/live/2025/") == []
        assert await suite.keys(store, "b") == []

    async def test_a_listing_starts_after_a_key_that_need_not_exist(self, store: ObjectStore) -> None:
        names = ["a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b"]
        await suite.write(store, names)
        assert await suite.keys(store, start_after="a/2") == names[2:]
        assert await suite.keys(store, start_after="a/20") == names[2:]
        assert await suite.keys(store, start_after="a/3/x") == names[3:]
        assert await suite.keys(store, start_after="a/3/z") == names[4:]
        assert await suite.keys(store, start_after="a/4") == ["b"]
        assert await suite.keys(store, start_after="b") == []
        assert await suite.keys(store, "a/3", start_after="a/3/x") == ["a/3/y"]
        assert await suite.keys(store, "a/", start_after="0") == names[:5]
        assert await suite.keys(store, "a/", start_after="z") == []

    async def test_a_delimiter_shows_folders_instead_of_what_lies_in_them(self, store: ObjectStore) -> None:
        await suite.write(store, ["one/_bank.json", "one/live/a", "one/live/b", "two/_bank.json", "root.md", "one.md"])
        (page,) = await suite.pages(store, delimiter="/")
        assert [listed.key for listed in page.objects] == ["one.md", "root.md"]
        assert list(page.folders) == ["one/", "two/"]
        (page,) = await suite.pages(store, "one/", delimiter="/")
        assert [listed.key for listed in page.objects] == ["one/_bank.json"]
        assert list(page.folders) == ["one/live/"]
        (page,) = await suite.pages(store, "o", delimiter="/")
        assert list(page.folders) == ["one/"]


@on(PLAIN)
class TestManyRequests:
    own_bucket: ClassVar[bool] = True

    async def test_a_long_listing_comes_in_pages(self, store: ObjectStore) -> None:
        await suite.TestListing().test_a_long_listing_comes_in_pages(store)

    async def test_many_folders_come_in_pages_too(self, store: ObjectStore) -> None:
        await suite.TestListing().test_many_folders_come_in_pages_too(store)

    async def test_each_write_and_each_deletion_shows_at_once(self, store: ObjectStore) -> None:
        await suite.TestListing().test_each_write_and_each_deletion_shows_at_once(store)


@on(SIGNED)
class TestSignatures:
    """Every method with every kind of key, since it is there that signatures and encodings go wrong."""

    own_bucket: ClassVar[bool] = False

    async def test_every_method_takes_every_legal_key(self, store: ObjectStore) -> None:
        for key in suite.KEYS:
            await suite.TestReading().test_a_legal_key_works_in_every_method(store, key)
            await empty(store)

    async def test_every_write_can_be_read_back_whole(self, store: ObjectStore) -> None:
        for body in suite.BODIES.values():
            await suite.TestReading().test_every_write_can_be_read_back_whole(store, body)
            await empty(store)

    async def test_a_listing_starts_where_it_is_told_to(self, store: ObjectStore) -> None:
        await TestListing().test_a_listing_starts_after_a_key_that_need_not_exist(store)


@on(PLAIN)
class TestNames:
    own_bucket: ClassVar[bool] = False

    async def test_a_name_no_store_can_hold_is_refused_by_every_method(self, store: ObjectStore) -> None:
        for key in suite.BAD_KEYS:
            await suite.TestNames().test_a_name_no_store_can_hold_is_refused_by_every_method(store, key)
            await empty(store)

    async def test_a_prefix_no_key_can_have_is_refused(self, store: ObjectStore) -> None:
        for prefix in suite.BAD_PREFIXES:
            await suite.TestNames().test_a_prefix_no_key_can_have_is_refused(store, prefix)


@on(MOTO, PLAIN)
class TestRaces:
    own_bucket: ClassVar[bool] = False

    async def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        await check_create_race(store, "s/created")

    async def test_one_of_many_writers_wins(self, store: ObjectStore) -> None:
        await check_replace_race(store, "s/replaced")

    async def test_no_change_of_a_document_is_lost_or_made_twice(self, store: ObjectStore) -> None:
        await check_counter(store, "s/counter.json", writers=4, increments=4)
