"""A head that cannot be read any more: nothing passes for empty, and without it the space is there as its view says."""

import pytest

from app.bank.models import Consolidate
from app.bootstrap import build_services
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.storage.document import DamagedDocument
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

HEAD = "alpha/_bank.json"


async def test_a_space_whose_head_was_removed_has_its_bank_and_the_notes_that_wait(
    store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    services = build_services(store, clock, settings)
    await a_space(services)
    await a_note(services, "We chose PostgreSQL 15.")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await a_note(services, "Upgrade host-9.", category="todo")
    await services.runner.idle()
    before = await services.bank.read_all(await services.bank.open("alpha"))
    rules = (await services.spaces.rules("alpha")).rules
    await store.inner.put(HEAD, b'{"space_id": "al')

    broken = build_services(store, clock, settings)
    with pytest.raises(DamagedDocument, match="adopted"):
        await broken.bank.open("alpha")
    await store.inner.delete(HEAD)
    rebuilt = build_services(store, clock, settings)
    after = await rebuilt.bank.read_all(await rebuilt.bank.open("alpha"))

    assert [(file.filename, file.content) for file in after.files] == [
        (file.filename, file.content) for file in before.files
    ]
    assert (await rebuilt.spaces.rules("alpha")).rules == rules
    waiting = await rebuilt.notes.read("alpha", NotesQuery())
    assert ([note.content for note in waiting.notes], waiting.matched) == (["Upgrade host-9."], 1)
    done = await rebuilt.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert (done.notes_processed, done.version) == (1, 2)
    whole = await rebuilt.bank.read_all(await rebuilt.bank.open("alpha"))
    assert sum(file.content.count("PostgreSQL 15") for file in whole.files) == 1


async def test_notes_of_a_deleted_space_are_not_those_of_one_that_an_older_tool_makes_in_its_place(
    store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    services = build_services(store, clock, settings)
    await a_space(services)
    note = await a_note(services, "Of the former space.")
    await services.runner.idle()
    left = await store.inner.get(f"alpha/live/{note.filename}")
    await services.spaces.delete("alpha", confirm=True)
    await store.inner.delete(HEAD)
    await store.inner.put(f"alpha/live/{note.filename}", left.body)  # type: ignore[union-attr]
    await store.inner.put("alpha/_meta.json", b'{"space_id": "alpha", "description": "another"}')

    anew = build_services(store, clock, settings)
    assert (await anew.notes.read("alpha", NotesQuery())).notes == []
