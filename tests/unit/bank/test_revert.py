"""Earlier versions undone, through the services."""

from datetime import timedelta

import pytest

from app.bank.errors import VersionNotFound
from app.bank.models import CommitKind, Consolidate
from app.bank.versions.revisions import BankRevert
from app.bootstrap import Services, build_services
from app.core.errors import InvalidInput
from app.core.settings import Settings
from app.notes.models import NotesQuery
from tests.builders import ADMIN, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.bank.edits_of import Desk

FIRST = ["We chose PostgreSQL 15 for billing.", "Release 1.4.2 fixes #731."]
SECOND = ["Use Redis 7 as the cache.", "Port 8443 is open."]
THIRD = ["Logs go to Loki 2.9.", "The timeout is 30 s."]


@pytest.fixture
async def desk(services: Services, store: FaultyStore, clock: FrozenClock) -> Desk:
    await a_space(services)
    return Desk(services, store, clock)


async def test_the_last_round_is_undone_and_its_notes_wait_again(desk: Desk) -> None:
    await desk.round(*FIRST)
    before = await desk.bank()
    await desk.round(*SECOND)

    done = await desk.revert(version=2)

    assert (done.status, done.mode, done.kind, done.version, done.conflicts) == ("ok", "applied", "revert", 3, [])
    after = await desk.bank()
    assert [(file.filename, file.content) for file in after.files] == [
        (file.filename, file.content) for file in before.files
    ]
    assert after.synthesis == before.synthesis
    assert await desk.waiting() == sorted(SECOND)
    assert sorted(await desk.live()) == sorted(done.notes_requeued)
    await desk.demand_view()


async def test_an_earlier_round_is_undone_and_the_later_ones_are_kept(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.round(*SECOND)
    await desk.round(*THIRD)

    done = await desk.revert(version=2)

    text = await desk.text()
    assert all(fact in text for fact in FIRST + THIRD)
    assert not any(fact in text for fact in SECOND)
    assert (done.conflicts, len(done.notes_requeued), done.notes_kept) == ([], 2, [])
    assert await desk.waiting() == sorted(SECOND)
    await desk.demand_view()
    head = (await desk.services.spaces.open("alpha")).head
    cited = {one for blocks in head.provenance.values() for ids in blocks.values() for one in ids}
    assert len(cited) == 4


async def test_notes_put_back_are_filed_again_once(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.round(*SECOND)
    await desk.round(*THIRD)
    await desk.revert(version=2)

    again = await desk.round()

    assert (again.notes_processed, await desk.waiting()) == (2, [])
    text = await desk.text()
    assert [text.count(fact) for fact in FIRST + SECOND + THIRD] == [1] * 6
    head = (await desk.services.spaces.open("alpha")).head
    assert head.requeue == {}
    assert await desk.live() == []


async def test_a_note_put_back_keeps_its_words_its_time_and_its_author(desk: Desk) -> None:
    note_id = await desk.note("We chose PostgreSQL 15.\n\n- reason: JSONB")
    (before,) = (await desk.services.notes.read("alpha", NotesQuery())).notes
    await desk.round()

    done = await desk.revert(version=1)

    (after,) = (await desk.services.notes.read("alpha", NotesQuery())).notes
    assert after.filename == done.notes_requeued[0] != note_id
    assert after.model_dump(exclude={"filename"}) == before.model_dump(exclude={"filename"})
    body = (await desk.store.inner.get(f"alpha/live/{after.filename}")).body.decode()  # type: ignore[union-attr]
    assert f'requeued_from: "{note_id}"' in body


async def test_what_was_changed_since_stays_and_is_reported(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.round(*SECOND)
    (path,) = [path for path, content in (await desk.files()).items() if "Redis" in content]
    content = (await desk.files())[path]
    await desk.write(path, content.replace("Use Redis 7 as the cache.", "Use Redis 7 as the shared cache."))

    done = await desk.revert(version=2)

    text = await desk.text()
    assert "Use Redis 7 as the shared cache." in text
    assert SECOND[1] not in text
    assert done.status == "partial"
    (clash,) = done.conflicts
    assert (clash.filename, "Redis 7" in clash.reason) == (path, True)
    assert (len(done.notes_requeued), len(done.notes_kept)) == (1, 1)
    assert await desk.waiting() == [SECOND[1]]


async def test_undoing_twice_changes_nothing(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.revert(version=1)

    again = await desk.revert(version=1)

    assert (again.mode, again.version, again.notes_requeued) == ("unchanged", 2, [])
    assert await desk.waiting() == sorted(FIRST)


async def test_a_revert_can_be_undone(desk: Desk) -> None:
    await desk.round(*FIRST)
    before = await desk.files()
    reverted = await desk.revert(version=1)

    done = await desk.revert(version=2)

    assert sorted(done.notes_withdrawn) == sorted(reverted.notes_requeued)
    assert (await desk.files(), await desk.waiting(), await desk.live()) == (before, [], [])
    await desk.demand_view()


async def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    ids = [await desk.note(fact) for fact in FIRST]
    await desk.round()
    before = await desk.files()

    done = await desk.revert(version=1, dry_run=True)

    assert (done.mode, done.version, done.notes_requeued) == ("dry-run", 1, ids)
    assert done.files_changed == list(before)
    assert (await desk.files(), await desk.waiting()) == (before, [])


async def test_a_hand_edit_is_undone_and_a_deleted_file_comes_back(desk: Desk) -> None:
    await desk.write("glossary.md", "# Glossary\n\n- API: words\n")
    await desk.services.bank.delete("alpha", "glossary.md", confirm=True, caller=ADMIN)
    assert await desk.files() == {}
    await desk.round(*FIRST)

    await desk.revert(version=2)

    assert (await desk.files())["glossary.md"] == "# Glossary\n\n- API: words\n"
    await desk.revert(version=1)
    assert "glossary.md" not in await desk.files()
    await desk.demand_view()


async def test_the_whole_bank_goes_back_to_a_version(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.round(*SECOND)
    then = await desk.bank()
    await desk.round(*THIRD)
    await desk.write("glossary.md", "# Glossary\n")

    done = await desk.revert(to_version=2)

    now = await desk.bank()
    assert {file.filename: file.content for file in now.files} == {file.filename: file.content for file in then.files}
    assert (now.synthesis, now.version, done.kind, done.undone) == (then.synthesis, 5, "restore", 2)
    assert await desk.waiting() == sorted(THIRD)
    await desk.demand_view()
    commits = [commit async for commit in desk.chain()]
    assert (commits[0].kind, commits[0].undoes, len(commits)) == (CommitKind.RESTORE, 2, 5)


async def test_going_back_to_the_very_start_and_forth_again(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.round(*SECOND)
    then = await desk.bank()

    await desk.revert(to_version=0)
    assert (await desk.files(), await desk.waiting()) == ({}, sorted(FIRST + SECOND))
    assert (await desk.bank()).synthesis == ""
    await desk.demand_view()
    assert await desk.store.inner.get("alpha/_synthesis.md") is None

    done = await desk.revert(to_version=2)
    now = await desk.bank()
    assert {file.filename: file.content for file in now.files} == {file.filename: file.content for file in then.files}
    assert (now.synthesis, await desk.waiting(), await desk.live()) == (then.synthesis, [], [])
    assert len(done.notes_withdrawn) == 4
    await desk.demand_view()


async def test_notes_removed_on_purpose_stay_removed_when_the_bank_goes_back(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.note("An old remark, 42.")
    notes = await desk.services.notes.pending(await desk.services.spaces.open("alpha"))
    await desk.services.bank.drop("alpha", notes, actor="admin")
    await desk.round(*SECOND)

    await desk.revert(to_version=1)

    assert await desk.waiting() == sorted(SECOND)
    assert (await desk.revert(version=2)).notes_requeued
    assert await desk.waiting() == sorted([*SECOND, "An old remark, 42."])


async def test_a_duplicate_that_joined_a_block_waits_again_alone(desk: Desk) -> None:
    await desk.round("Release 1.4.2 fixes #731.")
    text = await desk.text()
    await desk.round("Release 1.4.2 fixes #731.")

    done = await desk.revert(version=2)

    assert (await desk.text(), len(done.notes_requeued)) == (text, 1)
    head = (await desk.services.spaces.open("alpha")).head
    assert [len(ids) for blocks in head.provenance.values() for ids in blocks.values()] == [1]


async def test_a_block_that_a_later_note_joined_stays_for_that_note(desk: Desk) -> None:
    await desk.round("Release 1.4.2 fixes #731.", "Port 8443 is open.")
    await desk.round("Release 1.4.2 fixes #731.")

    done = await desk.revert(version=1)

    text = await desk.text()
    assert ("1.4.2" in text, "8443" in text, done.conflicts) == (True, False, [])
    assert await desk.waiting() == ["Port 8443 is open.", "Release 1.4.2 fixes #731."]
    await desk.round()
    assert (await desk.text()).count("1.4.2") == 1


async def test_a_round_that_was_put_back_and_filed_again_is_not_undone_with_its_first_version(desk: Desk) -> None:
    await desk.round(*FIRST)
    await desk.revert(version=1)
    await desk.round()
    files = await desk.files()

    done = await desk.revert(version=1)

    assert (done.mode, await desk.files(), await desk.waiting()) == ("unchanged", files, [])


async def test_a_backup_holds_notes_that_were_put_back_and_have_no_objects_yet(desk: Desk) -> None:
    await desk.round(*FIRST)
    dying = FaultyStore(desk.store.inner)
    doomed = build_services(dying, desk.clock, Settings.for_tests())
    dying.fail("create", key="alpha/live/", lasting=True)
    await doomed.bank.revert("alpha", BankRevert(version=1), caller=ADMIN)
    made = await doomed.backups.create("alpha", "", caller=ADMIN, progress=silent)
    await desk.services.spaces.delete("alpha", confirm=True)
    await desk.services.backups.restore(made.backup_id, confirm=True, caller=ADMIN, progress=silent)

    await desk.bank()
    await desk.services.runner.idle()

    assert await desk.waiting() == sorted(FIRST)
    assert (await desk.round()).notes_processed == 2


async def test_a_process_that_knew_the_queue_before_sees_notes_whose_objects_came_late(
    desk: Desk, settings: Settings
) -> None:
    await desk.round(*FIRST)
    elsewhere = build_services(desk.store.inner, desk.clock, settings)
    # The process that reverts dies before it has made the objects of the notes.
    dying = FaultyStore(desk.store.inner)
    doomed = Desk(build_services(dying, desk.clock, settings), dying, desk.clock)
    dying.fail("create", key="alpha/live/", lasting=True)
    await doomed.revert(version=1)
    assert await desk.live() == []
    assert (await elsewhere.notes.read("alpha", NotesQuery())).total == 0
    desk.clock.advance(timedelta(minutes=30))
    assert (await elsewhere.notes.read("alpha", NotesQuery())).total == 0

    await desk.bank()
    await desk.services.runner.idle()

    assert (await elsewhere.notes.read("alpha", NotesQuery())).total == 2
    done = await elsewhere.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert done.notes_processed == 2


@pytest.mark.parametrize("wanted", [{}, {"version": 1, "to_version": 1}])
async def test_exactly_one_version_must_be_named(desk: Desk, wanted: dict[str, int]) -> None:
    await desk.round(*FIRST)
    with pytest.raises(InvalidInput, match="either"):
        await desk.revert(**wanted)


@pytest.mark.parametrize("wanted", [{"version": 2}, {"to_version": 2}])
async def test_a_version_that_never_was_is_named(desk: Desk, wanted: dict[str, int]) -> None:
    await desk.round(*FIRST)
    with pytest.raises(VersionNotFound, match="newest one is 1"):
        await desk.revert(**wanted)
