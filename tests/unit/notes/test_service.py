"""Live notes, as agents write and read them."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from app.bank.models import Consolidate
from app.bootstrap import Services, build_services
from app.core.errors import StoreUnavailable
from app.core.paging import InvalidCursor
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import SpaceNotFound
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore


async def read(services: Services, **query: object) -> list[str]:
    found = await services.notes.read("alpha", NotesQuery(**query))  # type: ignore[arg-type]
    return [note.content for note in found.notes]


async def test_notes_come_newest_first(services: Services, clock: FrozenClock) -> None:
    await a_space(services)
    for number in range(5):
        await a_note(services, f"note {number}")
        clock.advance(timedelta(microseconds=1))

    assert await read(services) == [f"note {number}" for number in reversed(range(5))]


async def test_an_unknown_space_is_not_an_empty_one(services: Services) -> None:
    with pytest.raises(SpaceNotFound):
        await a_note(services)
    with pytest.raises(SpaceNotFound):
        await read(services)


async def test_an_outage_is_not_an_empty_memory(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await a_note(services)
    store.fail("list", key="alpha/live/")

    with pytest.raises(StoreUnavailable):
        await read(services)
    assert await read(services) == ["We chose PostgreSQL 15."]


async def test_a_label_is_shown_and_the_identity_is_kept(services: Services) -> None:
    await a_space(services)

    written = await a_note(services, agent="reviewer", caller=a_caller("cline"))
    by_admin = await a_note(services, agent="reviewer", caller=ADMIN)

    assert (written.agent, written.identity) == ("reviewer", "cline")
    assert (by_admin.agent, by_admin.identity) == ("reviewer", "reviewer")
    found = await services.notes.read("alpha", NotesQuery(agent="reviewer"))
    assert found.matched == 2


async def test_filters_compare_whole_values_and_instants(services: Services, clock: FrozenClock) -> None:
    await a_space(services)
    await a_note(services, "old", category="todo", caller=a_caller("dev"))
    clock.advance(timedelta(hours=1))
    middle = clock.now()
    await a_note(services, "new", category="issue", caller=a_caller("my_dev_x"))

    assert await read(services, category="todo") == ["old"]
    assert await read(services, agent="dev") == ["old"]
    assert await read(services, since=middle) == ["new"]
    assert await read(services, since=middle + timedelta(microseconds=1)) == []
    assert await read(services, category="nothing") == []


async def test_search_finds_text_in_any_case(services: Services) -> None:
    await a_space(services)
    await a_note(services, "Le Cache est GÉNIAL")
    await a_note(services, "nothing here", tags="génial")

    found = await services.notes.search("alpha", NotesQuery(text="génial"))

    assert [note.content for note in found.notes] == ["Le Cache est GÉNIAL"]
    assert (found.query, found.total, found.matched) == ("génial", 1, 1)


@pytest.mark.parametrize("agent", ["", "agent-a"])
@pytest.mark.parametrize("limit", [1, 2, 7, 500])
async def test_a_cursor_leads_through_every_note_once(
    services: Services, clock: FrozenClock, limit: int, agent: str
) -> None:
    await a_space(services)
    for number in range(12):
        await a_note(services, f"note {number}")
        if number % 3 == 0:
            clock.advance(timedelta(milliseconds=400))

    seen: list[str] = []
    cursor = ""
    while True:
        page = await services.notes.read("alpha", NotesQuery(limit=limit, agent=agent, cursor=cursor))
        assert page.matched == 12
        seen += [note.filename for note in page.notes]
        cursor = page.next_cursor
        if not page.has_more:
            break

    assert len(seen) == len(set(seen)) == 12
    assert cursor == ""


async def test_a_limit_of_zero_tells_whether_there_is_anything(services: Services) -> None:
    await a_space(services)
    assert not (await services.notes.read("alpha", NotesQuery(limit=0))).has_more
    await a_note(services)

    page = await services.notes.read("alpha", NotesQuery(limit=0))

    assert (page.notes, page.has_more, page.matched) == ([], True, 1)
    assert len((await services.notes.read("alpha", NotesQuery(cursor=page.next_cursor))).notes) == 1


async def test_a_cursor_of_somebody_else_is_refused(services: Services) -> None:
    await a_space(services)

    for cursor in ("x", "W10", "WzEsMl0", "!"):
        with pytest.raises(InvalidCursor):
            await services.notes.read("alpha", NotesQuery(cursor=cursor))


async def test_a_note_of_another_process_is_in_the_next_read(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    elsewhere = build_services(store, clock, settings)
    await a_space(services)
    assert await read(services) == []

    for number in range(3):
        await a_note(elsewhere, f"note {number}")
        clock.advance(timedelta(minutes=20))
        assert len(await read(services)) == number + 1


async def test_a_note_of_an_older_tool_is_found_by_a_full_listing(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await a_space(services)
    await a_note(services)
    await read(services)
    await store.inner.create("alpha/live/20200101T000000_old_tool_todo_00000000.md", b"from long ago")

    clock.advance(timedelta(minutes=11))

    assert await read(services) == ["We chose PostgreSQL 15.", "from long ago"]


async def test_an_object_that_vanished_by_hand_does_not_stop_the_rest(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await a_space(services)
    written = []
    for content in ("oldest", "lost", "newest"):
        written.append(await a_note(services, content))
        clock.advance(timedelta(hours=1))
    elsewhere = build_services(store, clock, settings)
    # Numbers need no bodies but those of the oldest and the newest.
    assert (await elsewhere.overview.info("alpha")).live.notes_count == 3
    await store.inner.delete(f"alpha/live/{written[1].filename}")

    found = await elsewhere.notes.read("alpha", NotesQuery())

    assert [note.content for note in found.notes] == ["newest", "oldest"]


async def test_an_undecodable_object_does_not_stop_the_rest(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await store.inner.create("alpha/live/20260131T180500_x_todo_00000000.md", b"\xff\xfe 42")
    await a_note(services, "kept")

    assert "kept" in await read(services)
    assert len(await read(services)) == 2


async def test_a_note_to_a_space_deleted_elsewhere_is_refused(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await a_space(services)
    await a_note(services)
    await build_services(store, clock, settings).spaces.delete("alpha", confirm=True)

    with pytest.raises(SpaceNotFound):
        await a_note(services)
    assert [listed async for page in store.inner.list("alpha/live/") for listed in page.objects] == []


async def test_a_note_to_a_space_recreated_elsewhere_belongs_to_the_new_one(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    elsewhere = build_services(store, clock, settings)
    await a_space(services)
    await a_note(services, "for the former")
    await elsewhere.spaces.delete("alpha", confirm=True)
    await a_space(elsewhere)

    await a_note(services, "for the new")

    assert await read(elsewhere) == ["for the new"]


async def test_a_note_that_overlaps_a_deletion_is_never_seen_again(services: Services, store: FaultyStore) -> None:
    await a_space(services)

    async def delete_first(method: str, key: str) -> None:
        if method == "create" and key.startswith("alpha/live/"):
            store.before = None
            await services.spaces.delete("alpha", confirm=True)

    store.before = delete_first
    with suppress(SpaceNotFound):
        await a_note(services)

    await a_space(services)
    assert await read(services) == []


async def test_a_stray_note_of_a_deleted_space_never_enters_its_successor(
    services: Services, store: FaultyStore
) -> None:
    await a_space(services)
    written = await a_note(services, "secret of the former space")
    key = f"alpha/live/{written.filename}"
    stray = await store.inner.get(key)
    await services.spaces.delete("alpha", confirm=True)
    await a_space(services)

    await store.inner.create(key, stray.body)  # type: ignore[union-attr]
    services.notes.forget("alpha")

    assert await read(services) == []
    done = await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert done.notes_processed == 0


async def test_concurrent_readers_share_a_listing(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()
    await a_note(services)
    store.calls.clear()

    await asyncio.gather(*(read(services) for _ in range(20)))

    listings = [call for call in store.calls if call == ("list", "alpha/live/")]
    assert len(listings) < 20


async def test_a_note_costs_one_write_and_a_warm_read_no_body(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()
    store.calls.clear()

    await a_note(services)
    assert [method for method, _key in store.calls if method != "get"] == ["create"]
    store.calls.clear()

    await read(services)
    assert sorted(store.calls) == [("get", "alpha/_bank.json"), ("list", "alpha/live/")]
