"""Consolidation as its callers see it, on a store that fails and on one that others write to."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import pytest

from app.bank.errors import BankBusy, ConsolidationRunning, FileNotFound, OtherAgent
from app.bank.history import HistoryStore
from app.bank.models import Commit, CommitKind, Consolidate, Consolidated
from app.bootstrap import Services, build_services
from app.core.errors import StoreUnavailable
from app.core.identity import Caller
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import SpaceNotFound
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

Write = Callable[..., Awaitable[list[str]]]

FACTS = ["Release 1.4.2 fixes #731.", "The timeout is 30 s.", "Use src/app.py:42 for TLS.", "Port 8443 is open."]


async def consolidate(services: Services, agent: str = "", caller: Caller = ADMIN) -> Consolidated:
    return await services.bank.consolidate("alpha", Consolidate(agent=agent), caller=caller, progress=silent)


async def bank(services: Services) -> str:
    opened = await services.bank.open("alpha")
    return "\n".join(file.content for file in (await services.bank.read_all(opened)).files)


async def waiting(services: Services) -> list[str]:
    return [note.content for note in (await services.notes.read("alpha", NotesQuery())).notes]


async def history(services: Services, store: FaultyStore) -> list[Commit]:
    """The chain of commits that the head leads to, newest first."""
    chain: list[Commit] = []
    key = (await services.spaces.open("alpha")).head.history
    while key is not None:
        commit = await HistoryStore(store.inner).read(key)
        assert commit is not None
        chain.append(commit)
        key = commit.parent
    return chain


@pytest.fixture
def write(services: Services, clock: FrozenClock) -> Write:
    """Writes facts, a moment apart, and gives their ids."""

    async def written(facts: Iterable[str] = FACTS) -> list[str]:
        ids = []
        for fact in facts:
            ids.append((await a_note(services, fact)).filename)
            clock.advance(timedelta(milliseconds=1))
        return ids

    return written


async def test_notes_leave_the_queue_and_enter_the_bank(write: Write, services: Services, store: FaultyStore) -> None:
    await a_space(services)
    ids = await write()

    done = await consolidate(services)

    assert (done.status, done.notes_processed, done.notes_remaining, done.version) == ("ok", 4, 0, 1)
    assert done.bank_files_created > 0
    assert await waiting(services) == []
    text = await bank(services)
    assert all(fact in text for fact in FACTS)
    (commit,) = await history(services, store)
    assert sorted(note.id for note in commit.consumed) == sorted(ids)
    assert all(fact in note.object for note, fact in zip(commit.consumed, FACTS, strict=True))


async def test_every_note_can_be_traced_from_the_bank(write: Write, services: Services) -> None:
    await a_space(services)
    ids = await write()
    await consolidate(services)

    head = (await services.spaces.open("alpha")).head

    cited = {note for blocks in head.provenance.values() for notes in blocks.values() for note in notes}
    assert cited == set(ids) == set(head.note_refs)


async def test_the_plain_view_is_the_bank(write: Write, services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await write()
    await consolidate(services)
    head = (await services.spaces.open("alpha")).head

    for path, file in head.files.items():
        stored = await store.inner.get(f"alpha/bank/{path}")
        assert stored.body.decode() == file.content  # type: ignore[union-attr]
    meta = json.loads((await store.inner.get("alpha/_meta.json")).body)  # type: ignore[union-attr]
    assert (meta["consolidation_count"], meta["total_notes_processed"], meta["bank_version"]) == (1, 4, 1)
    live = [listed.key async for page in store.inner.list("alpha/live/") for listed in page.objects]
    assert live == ["alpha/live/.keep"]


async def test_nothing_to_do_is_said(services: Services) -> None:
    await a_space(services)

    done = await consolidate(services)

    assert (done.status, done.notes_processed, done.version, done.message) == ("ok", 0, 0, "No note was waiting.")


async def test_an_agent_files_its_own_notes(services: Services) -> None:
    await a_space(services)
    await a_note(services, "mine 1", caller=a_caller("dev"))
    await a_note(services, "theirs 2", caller=a_caller("my_dev_x"))

    done = await consolidate(services, caller=a_caller("dev"))

    assert (done.notes_processed, await waiting(services)) == (1, ["theirs 2"])
    with pytest.raises(OtherAgent, match="admin"):
        await consolidate(services, "my_dev_x", caller=a_caller("dev"))
    assert (await consolidate(services, "my_dev_x")).notes_processed == 1


async def test_more_notes_than_a_run_takes_are_named(
    write: Write, services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await a_space(services)
    await write()
    services = build_services(store, clock, Settings.for_tests(consolidation_max_notes=3))

    first, second = await consolidate(services), await consolidate(services)

    assert (first.status, first.notes_processed, first.notes_remaining, first.code) == ("partial", 3, 1, "limit")
    assert (second.status, second.notes_processed, second.notes_remaining) == ("ok", 1, 0)


async def test_a_second_consolidation_is_told_of_the_first(write: Write, services: Services) -> None:
    await a_space(services)
    await write()

    results = await asyncio.gather(consolidate(services), consolidate(services), return_exceptions=True)

    assert sum(isinstance(result, ConsolidationRunning) for result in results) == 1
    assert (await consolidate(services)).status == "ok"


async def test_two_processes_file_each_note_once(
    write: Write, services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    elsewhere = build_services(store, clock, settings)
    await a_space(services)
    ids = await write([f"fact number {number}" for number in range(40)])

    done = await asyncio.gather(consolidate(services), consolidate(elsewhere))

    assert sum(one.notes_processed for one in done) == 40
    consumed = [note.id for commit in await history(services, store) for note in commit.consumed]
    assert sorted(consumed) == sorted(ids)
    text = await bank(services)
    assert all(text.count(f"fact number {number}\n") == 1 for number in range(40))


async def test_a_caller_who_goes_away_changes_nothing(write: Write, services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await write()

    committing = asyncio.Event()

    async def announce(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            committing.set()

    store.before = announce
    call = asyncio.create_task(consolidate(services))
    await committing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await services.runner.idle()

    assert await waiting(services) == []


async def test_a_lost_reply_at_the_commit_point_is_recognised(
    write: Write, services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    await write()
    fault = store.fail("replace", key="alpha/_bank.json", applied=True)

    done = await consolidate(services)

    assert fault.met == 1
    assert (done.status, done.notes_processed, done.version) == ("ok", 4, 1)
    assert len(await history(services, store)) == 1


async def test_a_failed_commit_leaves_bank_and_notes_as_they_were(
    write: Write, services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    await write()
    store.fail("replace", key="alpha/_bank.json")

    with pytest.raises(StoreUnavailable):
        await consolidate(services)

    assert (await bank(services), len(await waiting(services))) == ("", 4)
    assert (await consolidate(services)).notes_processed == 4


async def test_a_bank_that_others_keep_changing_is_busy_and_loses_nothing(
    write: Write, services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    await write()
    rounds = 0

    async def meddle(method: str, key: str) -> None:
        nonlocal rounds
        if method == "create" and "/_history/" in key:
            rounds += 1
            opened = await services.spaces.open("alpha")
            await services.spaces.swap(opened, opened.head.model_copy(update={"nonce": f"{rounds:016x}"}))

    store.before = meddle

    with pytest.raises(BankBusy):
        await consolidate(services)
    store.before = None
    assert len(await waiting(services)) == 4
    records = [listed.key async for page in store.inner.list("alpha/_history/") for listed in page.objects]
    assert records == []


async def test_a_space_deleted_during_a_consolidation_stays_deleted(
    write: Write, services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    await write()

    async def delete_first(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            store.before = None
            await services.spaces.delete("alpha", confirm=True)

    store.before = delete_first

    with pytest.raises(SpaceNotFound):
        await consolidate(services)
    await services.runner.idle()
    assert await services.spaces.find("alpha") is None


async def test_a_view_edited_by_hand_is_kept_aside(write: Write, services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await write(FACTS[:2])
    await consolidate(services)
    path = next(iter((await services.spaces.open("alpha")).head.files))
    await store.inner.put(f"alpha/bank/{path}", b"# My own words")

    await a_note(services, "Something new, 99.")
    await consolidate(services)

    kept = [listed.key async for page in store.inner.list("alpha/_outside/") for listed in page.objects]
    assert [(await store.inner.get(key)).body for key in kept] == [b"# My own words"]  # type: ignore[union-attr]
    assert "99" in (await store.inner.get(f"alpha/bank/{path}")).body.decode()  # type: ignore[union-attr]


async def test_dropped_notes_stay_in_the_history(write: Write, services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await write()
    notes = await services.notes.pending(await services.spaces.open("alpha"))

    dropped = await services.bank.drop("alpha", notes[:3], actor="admin")

    assert (dropped, await waiting(services)) == (3, [FACTS[3]])
    (commit,) = await history(services, store)
    assert (commit.kind, len(commit.consumed), commit.changes) == (CommitKind.GC, 3, {})
    assert FACTS[0] in commit.consumed[0].object


async def test_a_file_that_is_not_there_is_named(services: Services) -> None:
    await a_space(services)

    with pytest.raises(FileNotFound, match=r"nothing\.md"):
        await services.bank.read(await services.bank.open("alpha"), "nothing.md")
