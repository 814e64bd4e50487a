"""Migrations: run once, in order, whoever comes, and whatever breaks off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.errors import Situation, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.migrations import LEDGER, Migrations, MigrationsPending, load, migrations_folder
from app.storage.rehearsal import Rehearsal
from app.storage.store import ObjectStore, Page, PreconditionFailed, Stored
from tests.contract.old_buckets import TOKENS, bucket_of_0_2, plant, snapshot
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")
AT_ONCE = timedelta(0)
STEP = '''"""One step."""

async def upgrade(store):
    for number in range({writes}):
        await store.put(f"log/{name}-{{number}}", b"{body}")
'''


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore(FrozenClock()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations, and files that are none."""
    for name in ("0002_second", "0001_first"):
        (tmp_path / f"{name}.py").write_text(STEP.format(name=name, writes=2, body="x"), encoding="utf-8")
    (tmp_path / "README.md").write_text("# Migrations\n", encoding="utf-8")
    (tmp_path / "helper.py").write_text("raise RuntimeError\n", encoding="utf-8")
    return tmp_path


def migrations(store: ObjectStore, folder: Path, by: str = "replica") -> Migrations:
    return Migrations(store, by, folder=folder, pause=AT_ONCE)


async def ledger(store: ObjectStore) -> list[str]:
    stored = await store.get(LEDGER)
    assert isinstance(stored, Stored)
    return [applied["name"] for applied in json.loads(stored.body)["applied"]]


async def test_each_runs_once_in_the_order_of_the_numbers(store: FaultyStore, folder: Path) -> None:
    steps = await migrations(store, folder).run()

    assert [step.name for step in steps] == ["0001_first", "0002_second"]
    written = [key for method, key in store.calls if method == "put"]
    assert written == ["log/0001_first-0", "log/0001_first-1", "log/0002_second-0", "log/0002_second-1"]
    stored = await store.get(LEDGER)
    assert isinstance(stored, Stored)
    assert [{**one, "at": one["at"][:10]} for one in json.loads(stored.body)["applied"]] == [
        {"name": "0001_first", "at": "2026-01-31", "by": "replica"},
        {"name": "0002_second", "at": "2026-01-31", "by": "replica"},
    ]
    store.forget_calls()
    assert await migrations(store, folder).run() == []
    assert store.calls == [("get", LEDGER)]
    assert not list(folder.glob("**/__pycache__"))


async def test_a_new_one_runs_alone(store: FaultyStore, folder: Path) -> None:
    await migrations(store, folder).run()
    (folder / "0003_third.py").write_text(STEP.format(name="0003_third", writes=1, body="x"), encoding="utf-8")

    assert [step.name for step in await migrations(store, folder).run()] == ["0003_third"]
    (folder / "0003_third.py").unlink()
    assert await migrations(store, folder).run() == []
    assert await ledger(store) == ["0001_first", "0002_second", "0003_third"]


async def test_many_replicas_write_each_down_once(store: FaultyStore, folder: Path) -> None:
    await asyncio.gather(*(migrations(store, folder, by=f"replica-{number}").run() for number in range(5)))

    assert await ledger(store) == ["0001_first", "0002_second"]


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
async def test_one_cut_short_at_any_call_is_finished_by_the_next_process(applied: bool) -> None:  # noqa: FBT001 - a case
    undisturbed = MemoryStore(FrozenClock())
    await plant(undisturbed, bucket_of_0_2())
    await Migrations(undisturbed, "replica").run()
    expected = without_nonce(await snapshot(undisturbed))
    assert len([key for key in expected if key.startswith("_system/tokens/")]) == len(TOKENS)
    methods = EVERY_CALL[2:] if applied else EVERY_CALL
    nth, struck = 1, True
    while struck:
        store = FaultyStore(MemoryStore(FrozenClock()))
        await plant(store.inner, bucket_of_0_2())
        fault = store.fail(methods, nth=nth, applied=applied)
        with suppress(Situation):
            await Migrations(store, "replica").run()
        struck = bool(fault.met)
        store.heal()
        await Migrations(store, "replica").run()
        assert (nth, without_nonce(await snapshot(store.inner))) == (nth, expected)
        nth += 1

    assert nth > len(TOKENS)


def without_nonce(objects: dict[str, bytes]) -> dict[str, bytes]:
    """The ledger's nonces are random by design."""
    ledger_ = json.loads(objects[LEDGER])
    del ledger_["nonce"], ledger_["last_changes"]
    return {**objects, LEDGER: json.dumps(ledger_).encode()}


async def test_the_comparison_after_a_crash_sees_a_lost_token(store: FaultyStore) -> None:
    await plant(store.inner, bucket_of_0_2())
    await Migrations(store, "replica").run()
    expected = without_nonce(await snapshot(store.inner))
    await store.inner.delete("_system/tokens/" + TOKENS["revoked"].hash.removeprefix("sha256:") + ".json")
    # The ledger says that it is done, so nothing brings it back.
    await Migrations(store, "replica").run()

    assert without_nonce(await snapshot(store.inner)) != expected


async def test_a_token_that_has_its_object_keeps_it(store: FaultyStore) -> None:
    await plant(store.inner, bucket_of_0_2())
    key = "_system/tokens/" + TOKENS["everywhere"].hash.removeprefix("sha256:") + ".json"
    await store.put(key, b"changed since")

    await Migrations(store, "replica").run()

    assert (await snapshot(store.inner))[key] == b"changed since"


async def test_a_dry_run_names_each_write_and_makes_none(store: FaultyStore, folder: Path) -> None:
    await plant(store.inner, bucket_of_0_2())
    before = await snapshot(store.inner)

    dry = await Migrations(store, "replica").run(dry_run=True)
    two = await migrations(store, folder).run(dry_run=True)

    assert await snapshot(store.inner) == before
    [step] = dry
    assert {key for method, key in step.writes if method == "create"} == {
        f"_system/tokens/{token.hash.removeprefix('sha256:')}.json" for token in TOKENS.values()
    }
    assert [(one.name, len(one.writes)) for one in two] == [("0001_first", 2), ("0002_second", 2)]
    await Migrations(store, "replica").run()
    after = await snapshot(store.inner)
    assert {key for key in after if key not in before} == {key for _method, key in step.writes} | {LEDGER}


async def test_the_service_is_not_ready_until_the_store_answers(store: FaultyStore, folder: Path) -> None:
    running = migrations(store, folder)
    running.demand()
    store.fail(EVERY_CALL, lasting=True)

    async def watch(method: str, _key: str) -> None:
        # Every attempt begins by reading the ledger.
        if method == "get" and not healed:
            attempts.append(method)

    attempts: list[str] = []
    healed = False
    store.before = watch
    async with running.opened():
        assert running.state == "store_unavailable"
        with pytest.raises(MigrationsPending):
            running.demand()
        while len(attempts) < 3:  # noqa: ASYNC110 - the store calls are all there is to see
            await asyncio.sleep(0)
        healed = True
        store.heal()
        while running.state != "ok":  # noqa: ASYNC110 - the state is all there is to see
            await asyncio.sleep(0)
        running.demand()
    assert await ledger(store) == ["0001_first", "0002_second"]


async def test_a_faulty_one_holds_the_service_back_and_those_before_it_count(store: FaultyStore, folder: Path) -> None:
    (folder / "0002_second.py").write_text("async def upgrade(store):\n    raise ZeroDivisionError\n", encoding="utf-8")
    running = migrations(store, folder)

    async with running.opened():
        assert running.state == "failed"

    assert await ledger(store) == ["0001_first"]


def test_a_folder_that_makes_no_sense_is_refused(folder: Path) -> None:
    (folder / "0003_none.py").write_text("def upgrade(store):\n    return None\n", encoding="utf-8")
    with pytest.raises(ValueError, match="0003_none"):
        load(folder)
    (folder / "0003_none.py").rename(folder / "0001_again.py")
    with pytest.raises(ValueError, match="same number"):
        load(folder)
    with pytest.raises(FileNotFoundError):
        load(folder / "nowhere")


def test_the_migrations_of_the_service_are_found() -> None:
    names = [migration.name for migration in load(migrations_folder())]

    assert names[0] == "0001_initial_layout"
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]


async def pages(listing: AsyncIterator[Page]) -> tuple[list[str], list[str]]:
    found = [page async for page in listing]
    return [one.key for page in found for one in page.objects], [name for page in found for name in page.folders]


async def test_a_rehearsal_shows_its_own_writes_and_keeps_the_stores_rules(store: FaultyStore) -> None:
    for key in ("a/1", "a/2", "b"):
        await store.put(key, b"there")
    before = await snapshot(store.inner)
    trial = Rehearsal(store)

    with pytest.raises(PreconditionFailed):
        await trial.create("a/1", b"again")
    etag = await trial.create("a/0", b"new")
    with pytest.raises(PreconditionFailed):
        await trial.replace("a/0", b"newer", etag="other")
    await trial.replace("a/0", b"newer", etag=etag)
    await trial.delete("a/2")
    assert await trial.copy("a/0", "c/0")
    assert not await trial.copy("nowhere", "c/1")

    assert await pages(trial.list("")) == (["a/0", "a/1", "b", "c/0"], [])
    assert await pages(trial.list("", delimiter="/")) == (["b"], ["a/", "c/"])
    assert await pages(trial.list("a/", start_after="a/0")) == (["a/1"], [])
    assert await pages(trial.list("z")) == ([], [])
    found = await trial.get("a/0")
    assert isinstance(found, Stored)
    assert found.body == b"newer"
    assert await trial.get("a/2") is None
    assert trial.writes == [("create", "a/0"), ("replace", "a/0"), ("delete", "a/2"), ("copy", "c/0")]
    assert await snapshot(store.inner) == before


async def test_a_rehearsal_over_a_store_that_is_down_says_so(store: FaultyStore) -> None:
    store.fail(EVERY_CALL, lasting=True)

    with pytest.raises(StoreUnavailable):
        await Migrations(store, "replica").run(dry_run=True)
