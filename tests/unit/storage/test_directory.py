import asyncio
import fcntl
import os
import resource
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.directory import ABANDONED, LOCKS, DirectoryStore
from app.storage.keys import InvalidKey
from app.storage.store import UNCHANGED, PreconditionFailed, Stored
from tests.fakes.clock import START, FrozenClock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[DirectoryStore]:
    made = DirectoryStore(root, FrozenClock(), patience=timedelta(0))
    async with made.opened():
        yield made


async def keys(store: DirectoryStore, prefix: str = "") -> list[str]:
    return [listed.key async for page in store.list(prefix) for listed in page.objects]


async def read(store: DirectoryStore, key: str) -> bytes:
    stored = await store.get(key)
    assert isinstance(stored, Stored)
    return stored.body


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporaries(root: Path) -> list[str]:
    return names_in(root / ".store" / "tmp")


def write_file(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(b"")


class TestLayout:
    async def test_an_object_is_a_plain_file_for_its_owner_alone(self, store: DirectoryStore, root: Path) -> None:
        await store.create("s/live/note.md", b"# A note\n")
        path = root / "s" / "live" / "note.md"
        assert path.read_bytes() == b"# A note\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.stat().st_nlink == 1
        assert path.stat().st_mtime == START.timestamp()

    async def test_a_write_leaves_nothing_but_its_object(self, store: DirectoryStore, root: Path) -> None:
        etag = await store.create("a", b"1")
        await store.replace("a", b"2", etag=etag)
        await store.put("a", b"3")
        with pytest.raises(PreconditionFailed):
            await store.create("a", b"4")
        with pytest.raises(PreconditionFailed):
            await store.replace("a", b"4", etag=etag)
        with pytest.raises(InvalidKey):
            await store.put("a/b", b"4")
        assert temporaries(root) == []
        assert names_in(root) == [".store", "a"]

    async def test_what_another_tool_writes_is_seen(self, store: DirectoryStore, root: Path) -> None:
        await store.create("s/a.md", b"1")
        (root / "s" / "a.md").write_bytes(b"2")
        (root / "s" / "b.md").write_bytes(b"3")
        assert await read(store, "s/a.md") == b"2"
        assert await keys(store, "s/") == ["s/a.md", "s/b.md"]

    async def test_names_that_are_no_keys_are_not_listed(self, store: DirectoryStore, root: Path) -> None:
        await store.create("s/a", b"1")
        (root / "s" / ".store").mkdir()
        for name in (b"b\\c", b"b\nc", b"\xff", b".store/x"):
            write_file(root / "s", name)
        assert await keys(store) == ["s/a"]

    async def test_locks_are_few_however_many_keys_there_are(self, store: DirectoryStore, root: Path) -> None:
        for number in range(50):
            await store.put(f"a{number}", b"1")
            await store.delete(f"a{number}")
        names = names_in(root / ".store" / "locks")
        assert 0 < len(names) <= 50
        assert all(int(name, 16) < LOCKS for name in names)

    async def test_deep_keys_are_listed(self, store: DirectoryStore) -> None:
        key = "/".join("d" * 512)
        await store.create(key, b"1")
        assert await keys(store) == [key]
        await store.delete(key)
        await store.create("d", b"2")
        assert await keys(store) == ["d"]

    async def test_listing_and_reading_agree_on_the_etag(self, store: DirectoryStore) -> None:
        etag = await store.create("a", b"1")
        for _ in range(2):
            assert [listed.etag async for page in store.list("") for listed in page.objects] == [etag]
            assert await store.get("a", unless=etag) is UNCHANGED


class TestOpening:
    async def test_temporary_files_that_lost_their_writer_are_removed(self, root: Path) -> None:
        clock = FrozenClock()
        store = DirectoryStore(root, clock)
        async with store.opened():
            pass
        for name, age in (("old", ABANDONED + timedelta(seconds=1)), ("young", ABANDONED - timedelta(seconds=1))):
            path = root / ".store" / "tmp" / name
            path.write_bytes(b"half a bo")
            written = (START - age).timestamp()
            os.utime(path, (written, written))
        async with store.opened():
            assert temporaries(root) == ["young"]

    async def test_objects_outlive_their_process(self, root: Path) -> None:
        first = DirectoryStore(root, FrozenClock())
        async with first.opened():
            await first.create("a", b"1")
        second = DirectoryStore(root, FrozenClock())
        async with second.opened():
            assert await read(second, "a") == b"1"

    async def test_a_root_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "data").symlink_to("disk")
        store = DirectoryStore(tmp_path / "data", FrozenClock())
        async with store.opened():
            await store.create("a", b"1")
            assert await keys(store) == ["a"]

    async def test_a_root_that_is_a_file_is_an_outage(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(b"")
        with pytest.raises(StoreUnavailable):
            async with DirectoryStore(tmp_path / "data", FrozenClock()).opened():
                pass


class TestLinks:
    """No key leads out of the root, whatever lies in it."""

    @pytest.fixture
    def outside(self, tmp_path: Path, root: Path, store: DirectoryStore) -> Path:  # noqa: ARG002 - it makes the root
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        (root / "folder").symlink_to(outside)
        (root / "file").symlink_to(outside / "secret")
        (root / "nowhere").symlink_to(outside / "new")
        (root / "pipe").mkdir()
        os.mkfifo(root / "pipe" / "a")
        return outside

    @pytest.mark.parametrize("key", ["folder/secret", "folder/new", "file", "nowhere", "pipe/a"])
    async def test_no_method_follows_one(self, store: DirectoryStore, outside: Path, key: str) -> None:
        await store.create("good", b"1")
        for attempt in (
            store.get(key), store.get(key, unless="0"), store.create(key, b"x"), store.put(key, b"x"),
            store.replace(key, b"x", etag="0"), store.delete(key), store.copy(key, "copied"), store.copy("good", key),
        ):  # fmt: skip
            with pytest.raises(InvalidKey):
                await attempt
        assert await store.delete_many([key, "good"]) == [key]
        assert names_in(outside) == ["secret"]
        assert (outside / "secret").read_bytes() == b"secret"

    async def test_no_listing_follows_one(self, store: DirectoryStore, outside: Path) -> None:
        assert (outside / "secret").exists()
        await store.create("good", b"1")
        assert await keys(store) == ["good"]
        (page,) = [page async for page in store.list("", delimiter="/")]
        assert list(page.folders) == []
        with pytest.raises(InvalidKey):
            await keys(store, "folder/")


class TestOutages:
    async def test_a_vanished_root_is_not_an_empty_store(self, store: DirectoryStore, root: Path) -> None:
        await store.create("s/a", b"1")
        shutil.move(root, root.with_name("elsewhere"))
        await _assert_unavailable(store)
        # The mount point of a disk that went away is still a folder.
        shutil.copytree(root.with_name("elsewhere") / ".store" / "tmp", root)
        await _assert_unavailable(store)
        assert names_in(root) == []

    async def test_a_store_that_was_not_opened_does_not_answer(self, tmp_path: Path) -> None:
        await _assert_unavailable(DirectoryStore(tmp_path, FrozenClock()))

    @pytest.mark.parametrize("folder", ["tmp", "locks"])
    async def test_a_write_that_cannot_be_made_is_an_outage(
        self, store: DirectoryStore, root: Path, folder: str
    ) -> None:
        etag = await store.create("s/a", b"1")
        shutil.rmtree(root / ".store" / folder)
        for attempt in (store.replace("s/a", b"2", etag=etag), store.put("s/a", b"2")):
            with pytest.raises(StoreUnavailable):
                await attempt
        if folder == "tmp":
            with pytest.raises(StoreUnavailable):
                await store.create("s/b", b"2")
        else:
            with pytest.raises(StoreUnavailable):
                await store.delete("s/a")
            assert await store.delete_many(["s/a"]) == ["s/a"]
        assert await read(store, "s/a") == b"1"
        assert await keys(store) == ["s/a"]

    async def test_a_body_the_disk_does_not_take_leaves_no_trace(self, store: DirectoryStore, root: Path) -> None:
        etag = await store.create("s/a", b"1")
        with _files_limited_to(10_000):
            for attempt in (
                store.create("s/b", b"x" * 20_000),
                store.put("s/b", b"x" * 20_000),
                store.replace("s/a", b"x" * 20_000, etag=etag),
            ):
                with pytest.raises(StoreUnavailable):
                    await attempt
            # Negative control: what the disk does take is written.
            await store.create("s/c", b"x" * 5_000)
        assert temporaries(root) == []
        assert await keys(store) == ["s/a", "s/c"]
        assert await read(store, "s/a") == b"1"

    async def test_a_lock_kept_by_another_process_is_an_outage_with_an_end(
        self, store: DirectoryStore, root: Path
    ) -> None:
        etag = await store.put("a", b"1")
        with _locks_held(root):
            for attempt in (store.put("a", b"2"), store.replace("a", b"2", etag=etag), store.delete("a")):
                with pytest.raises(StoreUnavailable, match="locked"):
                    await attempt
            assert await store.delete_many(["a"]) == ["a"]
            assert await read(store, "a") == b"1"
            await store.create("b", b"1")
        await store.replace("a", b"2", etag=etag)

    async def test_a_cancelled_writer_waits_until_its_write_is_settled(self, root: Path) -> None:
        store = DirectoryStore(root, SystemClock())
        async with store.opened():
            await store.put("a", b"1")
            with _locks_held(root) as held:
                writing = asyncio.ensure_future(store.put("a", b"2"))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                writing.cancel()
                done, _ = await asyncio.wait([writing], timeout=0.05)
                assert not done
                held.close()
                async with asyncio.timeout(5):
                    with pytest.raises(asyncio.CancelledError):
                        await writing
            assert await read(store, "a") == b"2"


async def _assert_unavailable(store: DirectoryStore) -> None:
    for attempt in (
        store.get("s/a"), store.create("s/b", b""), store.put("s/b", b""), store.replace("s/a", b"", etag="0"),
        store.delete("s/a"), store.delete_many(["s/a"]), store.copy("s/a", "b"), keys(store), keys(store, "s/"),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable):
            await attempt


@contextmanager
def _files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _locks_held(root: Path) -> Iterator[ExitStack]:
    """Hold every lock that exists, as another process would."""
    with ExitStack() as held:
        for path in (root / ".store" / "locks").iterdir():
            lock = held.enter_context(path.open("wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield held
