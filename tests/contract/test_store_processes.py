"""The directory store under several processes, and under processes that are killed."""

import random
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.storage.directory import DirectoryStore
from app.storage.document import Document
from app.storage.store import Stored
from tests.contract.store_processes import (
    InPlaceStore,
    Worker,
    check_survivors,
    count,
    race,
    use_without_permission,
    write_for_ever,
)
from tests.contract.store_races import Counter


def killed_at_work(kind: type[DirectoryStore], folder: Path, seed: int) -> dict[str, str]:
    """Kill three writers in the middle of their work; the last version each key was acknowledged in."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable sequence
    acknowledged: dict[str, str] = {}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(Worker(write_for_ever, folder, f"{seed}-{number}", seed + number, kind=kind))
            for number in range(3)
        ]
        for writer in writers:
            said = [writer.line() for _ in range(chance.randrange(1, 60))]
            # The moment is random, not awaited: it falls into whatever the writer does next.
            time.sleep(chance.uniform(0, 0.004))
            writer.process.kill()
            said += writer.rest()
            writer.process.join()
            assert writer.process.exitcode == -signal.SIGKILL
            acknowledged |= dict(line.split() for line in said)
    return acknowledged


async def test_processes_that_race_to_create_have_one_winner_per_key(tmp_path: Path) -> None:
    with ExitStack() as stack:
        racers = {
            name: stack.enter_context(Worker(race, tmp_path, 60, name))
            for name in (f"racer {number}" for number in range(8))
        }
        for racer in racers.values():
            assert racer.line() == "ready"
        for racer in racers.values():
            racer.talk.send_bytes(b"go")
        won = {name: racer.ended() for name, racer in racers.items()}
    assert sorted((key for keys in won.values() for key in keys), key=int) == [str(number) for number in range(60)]
    store = DirectoryStore(tmp_path, SystemClock())
    async with store.opened():
        for name, keys in won.items():
            for key in keys:
                stored = await store.get(f"race/{key}")
                assert isinstance(stored, Stored)
                assert stored.body == f"{name} has {key}".encode()


async def test_processes_lose_no_change_of_a_document(tmp_path: Path) -> None:
    with ExitStack() as stack:
        counting = [stack.enter_context(Worker(count, tmp_path, "counter.json", 50)) for _ in range(6)]
        assert [process.ended() for process in counting] == [["done"]] * 6
    store = DirectoryStore(tmp_path, SystemClock())
    async with store.opened():
        version = await Document(store, "counter.json", Counter).read()
    assert version is not None
    assert version.model.value == 300


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
async def test_a_killed_writer_loses_no_acknowledged_write_and_tears_nothing(tmp_path: Path, seed: int) -> None:
    acknowledged = killed_at_work(DirectoryStore, tmp_path, seed)
    store = DirectoryStore(tmp_path, SystemClock())
    async with store.opened():
        assert await check_survivors(store, acknowledged) >= len(acknowledged) > 0


async def test_a_store_that_writes_in_place_is_found_out(tmp_path: Path) -> None:
    """Negative control of the test above, with the same processes and the same check."""
    for seed in range(1, 11):
        acknowledged = killed_at_work(InPlaceStore, tmp_path / str(seed), seed)
        store = DirectoryStore(tmp_path / str(seed), SystemClock())
        async with store.opened():
            try:
                await check_survivors(store, acknowledged)
            except AssertionError as error:
                assert "torn" in str(error) or "went back" in str(error)  # noqa: PT017 - any round will do
                return
    pytest.fail("thirty writers were killed while writing in place, and no file was found torn")


async def test_a_write_of_another_process_shows_at_once(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, SystemClock())
    async with store.opened():
        with Worker(write_for_ever, tmp_path, "other", 1) as writer:
            for _ in range(50):
                key, version = writer.line().split()
                stored = await store.get(key)
                assert isinstance(stored, Stored)
                assert int(stored.body.split(b"\n", 2)[1]) >= int(version)
                assert key in [listed.key async for page in store.list("other/") for listed in page.objects]


async def test_a_folder_that_may_not_be_entered_is_refused_and_never_empty() -> None:
    # Not pytest's own temporary folder, which other users cannot reach.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store = DirectoryStore(root, SystemClock())
        async with store.opened():
            await store.create("open/a", b"1")
            await store.create("closed/a", b"1")
        _open_up(root)
        (root / "closed").chmod(0)
        with Worker(use_without_permission, root) as process:
            said = dict(line.split() for line in process.ended())
        (root / "closed").chmod(0o700)
    refused = dict.fromkeys(("get", "list", "create", "replace", "delete"), "StoreRefused")
    assert said == {**refused, "get_open": "Stored"}


def _open_up(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
