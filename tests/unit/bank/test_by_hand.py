"""Files of a bank written, deleted and repaired by people, also while others work on it."""

import asyncio

import pytest

from app.bank.errors import BankBusy, BankFull, FileNameTaken, FileNotFound, VersionNotFound
from app.bank.models import CommitKind
from app.bank.versions.revisions import MAX_BANK, BankWrite
from app.bootstrap import Services
from app.core.errors import ConfirmationRequired, InvalidInput, StaleVersion, StoreUnavailable
from app.spaces.errors import SpaceNotFound
from app.spaces.models import BankFile
from tests.builders import ADMIN, a_space
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.bank.edits_of import Desk

VERBATIM = "---\ntitle: x\n---\r\n# A  \n\n\n* one\n\ttwo \u00e9\u200b\n```\nopen fence"


@pytest.fixture
async def desk(services: Services, store: FaultyStore, clock: FrozenClock) -> Desk:
    await a_space(services)
    return Desk(services, store, clock)


async def test_a_file_says_just_what_was_written(desk: Desk) -> None:
    made = await desk.write("folder/a.md", VERBATIM)
    same = await desk.write("folder/a.md", VERBATIM)
    other = await desk.write("folder/a.md", "# B")

    assert [(one.action, one.version) for one in (made, same, other)] == [
        ("created", 1),
        ("unchanged", 1),
        ("replaced", 2),
    ]
    assert (made.size, made.filename) == (len(VERBATIM.encode()), "folder/a.md")
    assert await desk.files("1") == {"folder/a.md": VERBATIM}
    await desk.demand_view()
    commits = [commit async for commit in desk.chain()]
    assert [(one.kind, one.actor, one.batch) for one in commits] == [(CommitKind.MANUAL, "admin", 0)] * 2


async def test_blocks_that_stay_or_nearly_so_keep_their_sources(desk: Desk) -> None:
    await desk.round("We chose PostgreSQL 15 for billing.", "Release 1.4.2 fixes #731.", "Port 8443 is open.")
    content = (await desk.files())["decisions.md"]
    await desk.write(
        "decisions.md",
        content.replace("PostgreSQL 15 for billing", "PostgreSQL 16 for billing").replace(
            "Port 8443 is open.", "Quite other words stand here now, of nobody."
        ),
    )
    bank = desk.services.bank

    found = await bank.read(await bank.open("alpha"), "decisions.md", provenance=True)

    assert [("PostgreSQL 16" in one.block, one.edited, len(one.notes)) for one in found.provenance] == [
        (True, True, 1),
        (False, False, 1),
    ]
    await desk.round("Logs go to Loki 2.9.")
    found = await bank.read(await bank.open("alpha"), "decisions.md", provenance=True)
    assert sorted(one.edited for one in found.provenance) == [False, False, True]


async def test_what_others_have_written_is_not_overwritten(desk: Desk) -> None:
    await desk.write("a.md", "1")
    await desk.write("b.md", "1")

    # Another file has changed since: this one has not.
    assert (await desk.write("a.md", "2", if_version=1)).version == 3
    with pytest.raises(StaleVersion, match="read it again"):
        await desk.write("a.md", "3", if_version=2)
    with pytest.raises(StaleVersion):
        await desk.write("a.md", "3", if_version=0)
    assert (await desk.write("c.md", "3", if_version=0)).action == "created"
    with pytest.raises(VersionNotFound):
        await desk.write("a.md", "3", if_version=99)
    with pytest.raises(StaleVersion):
        await desk.services.bank.delete("alpha", "a.md", confirm=True, if_version=1, caller=ADMIN)
    assert await desk.files() == {"a.md": "2", "b.md": "1", "c.md": "3"}


async def test_an_etag_names_the_version_that_is_believed_to_be_current(desk: Desk) -> None:
    await desk.write("a.md", "1")
    opened = await desk.services.bank.open("alpha")
    etag = f'"{opened.head.nonce}"'
    write, two = desk.services.bank.write, BankWrite(content="2")

    await write("alpha", "a.md", two, caller=ADMIN, if_match=f'"other", {etag}')
    with pytest.raises(StaleVersion, match="If-Match"):
        await write("alpha", "a.md", BankWrite(content="3"), caller=ADMIN, if_match=etag)
    with pytest.raises(StaleVersion):
        await write("alpha", "new.md", two, caller=ADMIN, if_match="*")
    assert (await desk.files())["a.md"] == "2"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("bank/notes.md", "notes.md"),
        ("no\u200btes.md", "notes.md"),
        ("my\u2013notes.md", "my-notes.md"),
        (" notes.md ", "notes.md"),
    ],
)
async def test_a_name_loses_what_a_name_cannot_hold(desk: Desk, given: str, kept: str) -> None:
    assert (await desk.write(given, "x")).filename == kept


@pytest.mark.parametrize(
    "name", ["notes.txt", "notes", "a/b/c/d/e.md", "a.md/b.md", ".hidden.md", "a b.md", "x" * 90 + ".md"]
)
async def test_a_name_that_no_file_can_have_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await desk.write(name, "x")
    assert refused.value.faults[0].field == "filename"
    assert await desk.files() == {}


async def test_a_name_that_differs_only_in_its_case_is_taken(desk: Desk) -> None:
    await desk.write("Notes.md", "x")
    with pytest.raises(FileNameTaken, match=r"Notes\.md"):
        await desk.write("notes.md", "y")
    await desk.write("folder/notes.md", "z")
    assert len(await desk.files()) == 2


async def test_a_file_goes_away_and_earlier_versions_have_it_still(desk: Desk) -> None:
    await desk.write("a.md", "1")
    bank = desk.services.bank
    with pytest.raises(ConfirmationRequired):
        await bank.delete("alpha", "a.md", confirm=False, caller=ADMIN)
    with pytest.raises(FileNotFound):
        await bank.delete("alpha", "b.md", confirm=True, caller=ADMIN)

    done = await bank.delete("alpha", "a.md", confirm=True, caller=ADMIN)

    assert (done.files_deleted, done.version, await desk.files()) == (1, 2, {})
    assert await desk.files("1") == {"a.md": "1"}
    await desk.demand_view()


async def test_the_bank_has_a_size(desk: Desk) -> None:
    opened = await desk.services.spaces.open("alpha")
    big = BankFile(content="x" * MAX_BANK, sha256="0" * 64, bytes=MAX_BANK, modified_at="", history=None)
    await desk.services.spaces.swap(opened, opened.head.model_copy(update={"files": {"big.md": big}}))

    with pytest.raises(BankFull):
        await desk.write("a.md", "1")
    assert (await desk.write("big.md", "1")).action == "replaced"
    assert (await desk.write("a.md", "1")).action == "created"


async def test_nothing_is_written_to_a_space_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(SpaceNotFound):
        await desk.services.bank.write("beta", "a.md", BankWrite(content=""), caller=ADMIN)


async def test_an_edit_by_hand_in_the_midst_of_a_consolidation_survives_it(desk: Desk) -> None:
    await desk.round("We chose PostgreSQL 15.")
    content = (await desk.files())["decisions.md"]
    await desk.note("Release 1.4.2 fixes #731.")

    async def meddle(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            desk.store.before = None
            await desk.write("decisions.md", content + "\nMy own words.\n")
            await desk.write("other.md", "# Other\n")

    desk.store.before = meddle
    done = await desk.round()

    assert (done.status, done.version) == ("ok", 4)
    files = await desk.files()
    assert "My own words." in files["decisions.md"]
    assert "1.4.2" in files["decisions.md"]
    assert files["other.md"] == "# Other\n"
    assert await desk.waiting() == []


async def test_a_consolidation_in_the_midst_of_an_edit_by_hand_survives_it(desk: Desk) -> None:
    await desk.round("We chose PostgreSQL 15.")
    await desk.note("Release 1.4.2 fixes #731.")

    async def meddle(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            desk.store.before = None
            await desk.round()

    desk.store.before = meddle
    assert (await desk.write("other.md", "# Other\n")).version == 3
    assert "1.4.2" in await desk.text()

    await desk.note("Port 8443 is open.")
    desk.store.before = meddle
    with pytest.raises(StaleVersion):
        await desk.write("decisions.md", "mine", if_version=3)
    assert "8443" in await desk.text()


async def test_edits_at_the_same_time_are_all_kept(desk: Desk) -> None:
    await asyncio.gather(*(desk.write(f"page-{number}.md", "x") for number in range(4)), desk.round("Port 8443."))
    assert (len(await desk.files()), await desk.version()) == (5, 5)


async def test_a_bank_that_others_keep_changing_is_busy(desk: Desk) -> None:
    rounds = 0

    async def meddle(method: str, key: str) -> None:
        nonlocal rounds
        if method == "create" and "/_history/" in key:
            rounds += 1
            opened = await desk.services.spaces.open("alpha")
            await desk.services.spaces.swap(opened, opened.head.model_copy(update={"nonce": f"{rounds:016x}"}))

    desk.store.before = meddle
    with pytest.raises(BankBusy):
        await desk.write("a.md", "1")
    desk.store.before = None
    assert (rounds, await desk.files()) == (5, {})
    records = [listed.key async for page in desk.store.inner.list("alpha/_history/") for listed in page.objects]
    assert records == []


async def test_a_store_that_does_not_answer_keeps_the_bank_as_it_was(desk: Desk) -> None:
    await desk.write("a.md", "1")
    desk.store.fail("replace", key="alpha/_bank.json")
    with pytest.raises(StoreUnavailable):
        await desk.write("a.md", "2")
    assert await desk.files() == {"a.md": "1"}


async def test_a_lost_reply_is_no_second_version(desk: Desk) -> None:
    fault = desk.store.fail("replace", key="alpha/_bank.json", applied=True)
    assert (await desk.write("a.md", "1")).version == 1
    assert (fault.met, await desk.version()) == (1, 1)


async def test_a_caller_who_goes_away_changes_nothing(desk: Desk) -> None:
    committing = asyncio.Event()

    async def announce(method: str, key: str) -> None:
        if method == "create" and "/_history/" in key:
            committing.set()

    desk.store.before = announce
    call = asyncio.create_task(desk.write("a.md", "1"))
    await committing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await desk.services.runner.idle()
    assert await desk.files() == {"a.md": "1"}


async def drifted(desk: Desk) -> None:
    """A bank as other tools have left it."""
    opened = await desk.services.spaces.open("alpha")
    contents = {
        "decisions.md": "# Decisions\n\n- PostgreSQL 15\n- PostgreSQL 15\n",
        "decis\u200bions.md": "# Decisions\n\n- Redis 7\n- PostgreSQL 15\n",
        "Decisions.md": "# Decisions\n\n## Cache\n\n- five minutes\n",
        "my\u2010notes.md": "# Notes\n\n## A\n\n- x1\n\n## B\n\n- y1\n\n## A\n\n- x1\n- z1\n",
        "fine.md": "# Fine\n\n- a\n",
        "strange name": "as it is\n",
    }
    files = {
        path: BankFile(content=text, sha256=f"{at:064x}", bytes=len(text.encode()), modified_at="", history=None)
        for at, (path, text) in enumerate(contents.items())
    }
    await desk.services.spaces.swap(opened, opened.head.model_copy(update={"files": files, "nonce": "2" * 16}))


async def test_a_dry_repair_says_what_is_wrong_and_changes_nothing(desk: Desk) -> None:
    await drifted(desk)
    before = await desk.files()

    found = await desk.services.bank.repair("alpha", dry_run=True, caller=ADMIN)

    assert (found.mode, found.files_scanned, found.files_ok, found.files_to_repair) == ("dry-run", 6, 2, 4)
    assert {(one.filename, one.becomes, one.action) for one in found.repairs} == {
        ("decis\u200bions.md", "decisions.md", "merged"),
        ("Decisions.md", "decisions.md", "merged"),
        ("my\u2010notes.md", "my-notes.md", "renamed"),
    }
    assert {(one.filename, one.kind, one.text) for one in found.duplicates} >= {
        ("decisions.md", "block", "- PostgreSQL 15"),
        ("my-notes.md", "section", "A"),
    }
    assert (await desk.files(), await desk.version()) == (before, 0)


async def test_a_repair_loses_no_word(desk: Desk) -> None:
    await drifted(desk)

    done = await desk.services.bank.repair("alpha", dry_run=False, caller=ADMIN)

    assert (done.mode, done.version) == ("applied", 1)
    files = await desk.files()
    assert sorted(files) == ["decisions.md", "fine.md", "my-notes.md", "strange name"]
    assert files["decisions.md"] == "# Decisions\n\n- PostgreSQL 15\n\n- Redis 7\n\n## Cache\n\n- five minutes\n"
    assert files["my-notes.md"] == "# Notes\n\n## A\n\n- x1\n\n- z1\n\n## B\n\n- y1\n"
    await desk.demand_view()
    again = await desk.services.bank.repair("alpha", dry_run=False, caller=ADMIN)
    assert (again.files_to_repair, again.version, again.message) == (0, 1, "Nothing is wrong with names or contents.")


async def test_a_repair_keeps_the_sources(desk: Desk) -> None:
    await desk.round("We chose PostgreSQL 15.")
    opened = await desk.services.spaces.open("alpha")
    head = opened.head
    moved = head.model_copy(
        update={
            "files": {"decis\u200bions.md": head.files["decisions.md"]},
            "provenance": {"decis\u200bions.md": head.provenance["decisions.md"]},
            "nonce": "3" * 16,
        }
    )
    await desk.services.spaces.swap(opened, moved)

    await desk.services.bank.repair("alpha", dry_run=False, caller=ADMIN)

    assert (await desk.services.spaces.open("alpha")).head.provenance == head.provenance
