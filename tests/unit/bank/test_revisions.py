"""The versions of a bank listed, compared and read, through the services."""

from datetime import timedelta

import pytest

from app.bank.errors import FiledNoteNotFound, VersionNotFound
from app.bank.history import record_key
from app.bank.models import BankReadAll
from app.bank.versions.revisions import BankWrite
from app.bootstrap import Services
from app.core.errors import InvalidInput
from app.core.paging import InvalidCursor
from app.spaces.models import ADOPTED
from tests.builders import ADMIN, a_space
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.bank.edits_of import Desk


@pytest.fixture
async def desk(services: Services, store: FaultyStore, clock: FrozenClock) -> Desk:
    await a_space(services)
    return Desk(services, store, clock)


async def thirty(desk: Desk) -> dict[int, BankReadAll]:
    """A history of 30 commits of every kind, and what was read at each version."""
    read = {0: await desk.bank()}
    for number in range(1, 31):
        desk.clock.advance(timedelta(minutes=1))
        match number % 5:
            case 1 | 2:
                await desk.round(f"Fact number {number} holds.", "Release 1.4.2 fixes #731.")
            case 3:
                await desk.write(f"page-{number % 2}.md", f"# Page\n\n- line {number}\n")
            case 4:
                await desk.revert(version=number - 2)
            case _:
                await desk.services.bank.delete("alpha", f"page-{(number - 2) % 2}.md", confirm=True, caller=ADMIN)
        read[number] = await desk.bank()
        assert read[number].version == number
    return read


async def an_orphan(desk: Desk, version: int) -> str:
    """A record that a writer has prepared and never committed."""
    opened = await desk.services.spaces.open("alpha")
    body = await desk.store.inner.get(opened.head.history or "")
    key = record_key("alpha", version, f"{version:016x}")
    await desk.store.inner.create(key, body.body)  # type: ignore[union-attr]
    return key


async def test_every_version_is_read_as_it_was(desk: Desk) -> None:
    read = await thirty(desk)
    # Records that were never committed, under some of the numbers, change nothing.
    for version in (3, 4, 17, 30):
        await an_orphan(desk, version)

    for version, then in read.items():
        assert await desk.bank(str(version)) == then
    async for commit in desk.chain():
        assert await desk.bank(commit.at) == read[commit.version]


async def test_one_file_and_the_list_are_read_as_they_were(desk: Desk) -> None:
    bank = desk.services.bank
    await desk.write("a.md", "# A\n\n- one\n")
    then = await bank.list_files(await bank.open("alpha"))
    await desk.write("a.md", "# A\n\n- two\n")
    await desk.write("b.md", "# B\n")

    opened = await bank.open("alpha")

    assert (await bank.read(await bank.at(opened, "1"), "a.md")).content == "# A\n\n- one\n"
    assert await bank.list_files(await bank.at(opened, "1", contents=False)) == then
    assert await bank.at(opened, "3") is opened
    assert await bank.at(opened, "") is opened


async def test_an_earlier_version_costs_one_read_for_each_record_that_holds_some_of_it(desk: Desk) -> None:
    for number in range(6):
        await desk.write(f"page-{number % 3}.md", f"# Page {number}\n")
    opened = await desk.services.bank.open("alpha")
    await desk.services.runner.idle()
    desk.store.forget_calls()

    await desk.services.bank.at(opened, "5")

    # Files of version 5 are held by versions 3, 4 and 5, and the record of version 5 is the manifest too.
    assert desk.store.counted()["get"] <= 4


async def test_an_instant_names_the_version_that_was_current(desk: Desk) -> None:
    created = desk.clock.now()
    desk.clock.advance(timedelta(hours=1))
    await desk.write("a.md", "1")
    desk.clock.advance(timedelta(hours=1))
    await desk.write("a.md", "2")

    assert (await desk.bank(created.isoformat())).version == 0
    assert (await desk.bank((created + timedelta(minutes=90)).isoformat())).version == 1
    assert (await desk.bank("2030-01-01")).version == 2
    with pytest.raises(VersionNotFound):
        await desk.bank("2020-01-01")
    with pytest.raises(VersionNotFound, match="newest one is 2"):
        await desk.bank("3")


async def test_what_an_older_tool_had_before_is_not_said_to_be_nothing(desk: Desk) -> None:
    opened = await desk.services.spaces.open("alpha")
    await desk.services.spaces.swap(opened, opened.head.model_copy(update={"lineage": [ADOPTED], "nonce": "1" * 16}))
    await desk.write("a.md", "1")
    await desk.write("a.md", "2")

    with pytest.raises(VersionNotFound):
        await desk.bank("0")
    assert (await desk.bank("1")).version == 1


async def test_the_history_is_told_newest_first_page_by_page(desk: Desk) -> None:
    await thirty(desk)
    await an_orphan(desk, 29)
    bank = desk.services.bank
    opened = await bank.open("alpha")

    found = []
    cursor, pages = "", 0
    while True:
        page = await bank.history(opened, limit=7, cursor=cursor, filename="")
        found += page.versions
        pages += 1
        if not page.has_more:
            break
        cursor = page.next_cursor

    assert ([one.version for one in found], pages) == (list(range(30, 0, -1)), 5)
    assert (found[-1].kind, found[-1].notes_filed, found[-1].actor) == ("consolidation", 2, "admin")
    reverted = next(one for one in found if one.version == 4)
    assert (reverted.kind, reverted.undoes, reverted.notes_requeued) == ("revert", 2, 2)
    written = next(one for one in found if one.version == 3)
    assert (written.kind, written.files_changed, written.edits, written.job_id) == ("manual", ["page-1.md"], 1, "")


async def test_the_history_of_one_file(desk: Desk) -> None:
    await desk.write("a.md", "1")
    await desk.write("b.md", "1")
    await desk.write("a.md", "2")
    bank = desk.services.bank

    found = await bank.history(await bank.open("alpha"), limit=50, cursor="", filename="a.md")

    assert ([one.version for one in found.versions], found.has_more) == ([3, 1], False)
    first = await bank.history(await bank.open("alpha"), limit=1, cursor="", filename="a.md")
    second = await bank.history(await bank.open("alpha"), limit=1, cursor=first.next_cursor, filename="a.md")
    assert [one.version for one in (*first.versions, *second.versions)] == [3, 1]


async def test_a_foreign_cursor_is_refused(desk: Desk) -> None:
    bank = desk.services.bank
    with pytest.raises(InvalidCursor):
        await bank.history(await bank.open("alpha"), limit=5, cursor="nonsense", filename="")


async def test_a_space_without_versions_has_an_empty_history(desk: Desk) -> None:
    bank = desk.services.bank
    opened = await bank.open("alpha")
    found = await bank.history(opened, limit=50, cursor="", filename="")
    assert (found.versions, found.has_more, found.version) == ([], False, 0)
    assert (await bank.diff(opened, "", "")).files == []


async def test_two_versions_are_compared(desk: Desk) -> None:
    bank = desk.services.bank
    await desk.write("a.md", "# A\n\n- one\n- two\n")
    ids = [await desk.note("Release 1.4.2 fixes #731.")]
    await desk.round()
    await desk.write("a.md", "# A\n\n- one\n- three")
    await bank.delete("alpha", "decisions.md", confirm=True, caller=ADMIN)

    last = await bank.diff(await bank.open("alpha"), "", "")
    whole = await bank.diff(await bank.open("alpha"), "1", "4")
    middle = await bank.diff(await bank.open("alpha"), "1", "3")

    assert [(one.filename, one.change) for one in last.files] == [("decisions.md", "deleted")]
    assert (last.from_version, last.to_version, last.notes_filed) == (3, 4, [])
    (file,) = whole.files
    assert (file.filename, file.change, file.lines_added, file.lines_removed) == ("a.md", "updated", 1, 1)
    assert file.diff == (
        "--- a/a.md\n+++ b/a.md\n@@ -1,4 +1,4 @@\n # A\n \n - one\n-- two\n+- three\n\\ No newline at end of file\n"
    )
    assert whole.notes_filed == ids
    assert [(one.filename, one.change) for one in middle.files] == [("a.md", "updated"), ("decisions.md", "created")]
    with pytest.raises(InvalidInput, match="exchange"):
        await bank.diff(await bank.open("alpha"), "3", "1")


async def test_every_part_of_a_file_leads_to_the_words_it_was_made_of(desk: Desk) -> None:
    bank = desk.services.bank
    fact = "We chose PostgreSQL 15.\n\nFor its JSONB indexes."
    note_id = await desk.note(fact)
    await desk.round()
    opened = await bank.open("alpha")

    found = await bank.read(opened, "decisions.md", provenance=True)

    (block,) = found.provenance
    assert (block.section, block.edited) == (["Decisions"], False)
    assert "PostgreSQL 15" in block.block
    (source,) = block.notes
    assert (source.id, source.agent, source.category) == (note_id, "agent-a", "decision")
    whole = await bank.note(opened, note_id)
    assert (whole.content, whole.version, whole.kind, whole.requeued_from) == (fact, 1, "consolidation", "")
    with pytest.raises(FiledNoteNotFound):
        await bank.note(opened, "nothing.md")


async def test_a_note_that_was_put_back_leads_to_what_it_was(desk: Desk) -> None:
    note_id = await desk.note("We chose PostgreSQL 15.")
    await desk.round()
    (again,) = (await desk.revert(version=1)).notes_requeued
    await desk.round()

    found = await desk.services.bank.note(await desk.services.bank.open("alpha"), again)

    assert (found.requeued_from, found.content, found.version) == (note_id, "We chose PostgreSQL 15.", 3)


async def test_sources_are_footnotes_beside_the_text(desk: Desk) -> None:
    bank = desk.services.bank
    ids = [await desk.note("We chose PostgreSQL 15."), await desk.note("Release 1.4.2 fixes #731.")]
    await desk.round()
    await bank.write(
        "alpha",
        "decisions.md",
        BankWrite(content=(await desk.files())["decisions.md"] + "\nA remark of ours.\n"),
        caller=ADMIN,
    )
    opened = await bank.open("alpha")

    plain = await bank.read(opened, "decisions.md")
    found = await bank.read(opened, "decisions.md", sources=True)

    lines = found.content.splitlines()
    assert [line for line in lines if line.startswith("[^n")] == [
        f"[^n1]: 2026-01-31T18:05:07 agent-a decision {ids[0]}",
        f"[^n2]: 2026-01-31T18:05:14 agent-a decision {ids[1]}",
    ]
    assert "A remark of ours." in lines
    assert found.size == len(found.content.encode()) > plain.size
    assert plain.content == (await desk.files())["decisions.md"]


async def test_records_that_no_head_leads_to_are_swept_after_a_day(desk: Desk) -> None:
    read = await thirty(desk)
    orphans = [await an_orphan(desk, version) for version in (3, 17, 30, 31)]
    assert await desk.services.bank.sweep("alpha") == 0
    desk.clock.advance(timedelta(hours=25))
    young = await an_orphan(desk, 5)

    assert await desk.services.bank.sweep("alpha") == 3

    left = {listed.key async for page in desk.store.inner.list("alpha/_history/") for listed in page.objects}
    # One of a number that the bank has not reached may still be committed.
    assert left & {*orphans, young} == {orphans[3], young}
    assert len(left) == 32
    for version, then in read.items():
        assert await desk.bank(str(version)) == then


async def test_nothing_is_swept_of_a_space_that_is_gone(desk: Desk) -> None:
    await desk.write("a.md", "1")
    await desk.services.spaces.delete("alpha", confirm=True)
    desk.clock.advance(timedelta(hours=25))
    await desk.services.bank.sweep_all()
    assert await desk.services.bank.sweep("alpha") == 0
