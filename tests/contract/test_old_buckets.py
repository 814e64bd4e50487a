"""A bucket that 0.2 or 1.3 has written is adopted in place: all of it keeps working, and older tools still read it."""

import asyncio
import base64
import io
import json
import tarfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.backups.errors import BackupNotFound, RestoreTargetExists
from app.bank.history import HistoryStore
from app.bank.models import CommitKind, Consolidate
from app.bootstrap import Services, build_services
from app.core.errors import Situation
from app.core.settings import Settings
from app.main import assemble
from app.notes.models import NotesQuery
from app.spaces.errors import RulesNotFound, SpaceExists, SpaceNotFound
from app.storage.directory import DirectoryStore
from app.storage.memory import MemoryStore
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.old_buckets import (
    BANK,
    LATIN,
    NEW_SYNTHESIS,
    NOTES,
    ODD_BANK,
    ODD_NOTES,
    RULES,
    SYNTHESIS,
    TOKENS,
    OldReader,
    bucket_of_0_2,
    bucket_of_1_3,
    old_note,
    plant,
    snapshot,
)
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")
WRITES = EVERY_CALL[2:]
OLD_BACKUP = "alpha/2026-02-19T12-30-59"
NEW_BACKUP = "alpha/2026-02-20T19-00-00"


@pytest.fixture
def clock() -> FrozenClock:
    """Later than everything in the buckets."""
    return FrozenClock(datetime(2026, 4, 1, tzinfo=UTC))


@pytest.fixture
async def old(store: FaultyStore, services: Services) -> Services:
    """The services over a bucket of 0.2."""
    await plant(store.inner, bucket_of_0_2())
    return services


@pytest.fixture
async def odd(store: FaultyStore, services: Services) -> Services:
    """The services over a bucket of 1.3 with every odd case."""
    await plant(store.inner, bucket_of_1_3())
    return services


async def rolled_forward(services: Services, *space_ids: str) -> None:
    """Let the views be written."""
    for space_id in space_ids:
        await services.bank.open(space_id)
    await services.runner.idle()


async def everything(services: Services, space_id: str) -> dict[str, Any]:
    """All that a user can see of the space."""
    opened = await services.bank.open(space_id)
    bank = await services.bank.read_all(opened)
    info = await services.overview.info(space_id)
    notes = await services.notes.read(space_id, NotesQuery(limit=500))
    rules = await services.spaces.rules(space_id)
    return {"bank": bank, "info": info, "notes": notes, "rules": rules.rules}


async def test_a_space_of_0_2_is_there_with_all_that_it_holds(old: Services) -> None:
    seen = await everything(old, "alpha")

    assert seen["rules"] == RULES.decode()
    assert {file.filename: file.content for file in seen["bank"].files} == {k: v.decode() for k, v in BANK.items()}
    assert seen["bank"].synthesis == "Twelve notes, one decision."
    assert seen["bank"].last_consolidation == "2026-02-20T18:05:12.345678+00:00"
    info = seen["info"]
    assert (info.description, info.owner) == ("R\u00e9\u00e9criture de l'API", "team-api")
    assert info.created_at == "2026-02-18T09:00:00.123456+00:00"
    assert (info.consolidation_count, info.total_notes_processed, info.version) == (3, 31, 1)
    assert (await old.overview.summary("alpha")).synthesis == SYNTHESIS.decode()
    notes = {note.filename: note for note in seen["notes"].notes}
    assert notes.keys() == NOTES.keys()
    decision = notes["20260220T180512_cline-dev_decision_0a1b2c3d.md"]
    assert (decision.agent, decision.category, decision.tags) == ("cline-dev", "decision", ["db", "d\u00e9cision"])
    assert [note.agent for note in seen["notes"].notes] == ["\u00c9lodie", "claude_desktop_2", "cline-dev"]
    todo = notes["20260220T180600_claude_desktop_2_todo_1a1b2c3d.md"]
    assert todo.content == "Fix #43 in v1.2.3.\n\n---\n\nAfter the line."


async def test_every_space_is_listed_and_what_is_none_is_not(odd: Services) -> None:
    listed = await odd.overview.list(caller=ADMIN, limit=500, cursor="")

    assert [space.space_id for space in listed.spaces] == ["beta", "damaged", "ruleless", "wrong", "zombie"]
    beta = listed.spaces[0]
    assert (beta.bank_files_count, beta.live_notes_count) == (len(ODD_BANK), len(ODD_NOTES))
    with pytest.raises(SpaceNotFound):
        await odd.spaces.open("half-deleted")


async def test_nothing_of_the_bucket_is_changed_but_the_counters(odd: Services, store: FaultyStore) -> None:
    before = await snapshot(store.inner)
    await odd.overview.list(caller=ADMIN, limit=500, cursor="")
    await rolled_forward(odd, "beta", "damaged", "ruleless", "wrong", "zombie")

    after = await snapshot(store.inner)
    metas = {f"{name}/_meta.json" for name in ("beta", "damaged", "ruleless", "wrong", "zombie")}
    assert {key for key in before if after.get(key) != before[key]} == metas
    meta = json.loads(after["beta/_meta.json"])
    former = json.loads(before["beta/_meta.json"])
    assert {name: meta[name] for name in former} == former, "what others have written there stays"
    (kept,) = (key for key in after if key.startswith("damaged/_outside/"))
    assert after[kept] == before["damaged/_meta.json"]


async def test_a_file_of_any_name_and_any_bytes_is_a_file_of_the_bank(odd: Services, store: FaultyStore) -> None:
    files = {file.filename: file for file in (await odd.bank.read_all(await odd.bank.open("beta"))).files}

    assert files.keys() == ODD_BANK.keys()
    assert {path: file.size for path, file in files.items()} == {path: len(body) for path, body in ODD_BANK.items()}
    readable = {path: body for path, body in ODD_BANK.items() if path not in {"latin.md", "binary.md"}}
    assert {path: files[path].content.encode() for path in readable} == readable
    assert files["latin.md"].content == "# D\ufffdcisions\n\n- \ufffdt\ufffd 2025\n"
    latin = await odd.bank.read(await odd.bank.open("beta"), "latin.md")
    assert latin.content == files["latin.md"].content

    # The view is lost; the next commit writes it anew from the head alone.
    await odd.runner.idle()
    for path in ODD_BANK:
        await store.inner.delete(f"beta/bank/{path}")
    await store.inner.delete("beta/_synthesis.md")
    opened = await odd.spaces.open("beta")
    await odd.spaces.swap(opened, opened.head.model_copy(update={"nonce": "f" * 16}))
    await odd.runner.idle()
    written = await snapshot(store.inner)
    assert {path: written[f"beta/bank/{path}"] for path in ODD_BANK} == ODD_BANK
    assert written["beta/_synthesis.md"] == NEW_SYNTHESIS


async def test_the_bytes_of_an_unreadable_file_stay_in_the_history_when_it_is_edited(
    services: Services, store: FaultyStore
) -> None:
    bucket = bucket_of_0_2()
    bucket["alpha/bank/decisions.md"] = LATIN
    await plant(store.inner, bucket)
    done = await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)

    head = (await services.spaces.open("alpha")).head
    first = await HistoryStore(store).read(head.parent or "")
    assert (done.status, done.notes_processed, head.version) == ("ok", len(NOTES), 2)
    assert "PostgreSQL 15" in head.files["decisions.md"].content
    assert first is not None
    assert (first.kind, first.version, first.parent) == (CommitKind.ADOPT, 1, None)
    assert base64.b64decode(first.changes["decisions.md"].raw or "") == LATIN


async def test_a_folder_that_a_bucket_was_copied_into_is_adopted_like_the_bucket(
    odd: Services, clock: FrozenClock, tmp_path: Path
) -> None:
    directory = DirectoryStore(tmp_path, clock, fsync=False)
    async with directory.opened():
        await plant(directory, bucket_of_1_3())
        copied = build_services(directory, clock, Settings.for_tests())

        assert await everything(copied, "beta") == await everything(odd, "beta")
        await copied.runner.idle()
        now = await snapshot(directory)
        assert {path: now[f"beta/bank/{path}"] for path in ODD_BANK} == ODD_BANK


async def test_half_made_and_damaged_spaces_open_with_what_they_have(odd: Services) -> None:
    zombie, damaged, wrong = [await odd.overview.info(name) for name in ("zombie", "damaged", "wrong")]

    assert (zombie.consolidation_count, zombie.total_notes_processed, zombie.description) == (1, 5, "")
    assert zombie.created_at == "2026-04-01T00:00:00+00:00", "the date of its object, when it tells none"
    assert damaged.bank.files == ["notes.md"]
    assert (wrong.description, wrong.consolidation_count) == ("", 0)
    with pytest.raises(RulesNotFound):
        await odd.spaces.rules("zombie")
    await a_note(odd, "It lives.", space_id="damaged")
    assert (await odd.bank.consolidate("damaged", Consolidate(), caller=ADMIN, progress=silent)).notes_processed == 1


async def test_a_note_of_any_shape_is_read_and_none_stops_the_others(odd: Services) -> None:
    found = await odd.notes.read("beta", NotesQuery(limit=500))
    notes = {note.filename: note for note in found.notes}

    def note(digits: str) -> Any:
        (one,) = (one for name, one in notes.items() if digits in name)
        return one

    assert notes.keys() == ODD_NOTES.keys()
    assert note("00000001").agent == 'Jean "le chef" O\'Neil'
    assert (note("00000002").agent, note("00000002").filename) == (
        "\u5c71\u7530",
        "20260221T080001_agent_question_00000002.md",
    )
    assert (note("00000003").agent, note("00000003").content) == ("a---b", "Dashes in a name.")
    assert note("00000004").tags == ["---", "x---y", 'quo"te']
    assert note("00000006").content == "No header at all, #7."
    assert (note("00000006").agent, note("00000006").category) == ("plain", "todo")
    assert note("00000008").content == "\ufffdt\ufffd caf\ufffd"
    assert notes["TODO d'\u00e9quipe.txt"].content == "A name of no tool."
    assert notes["archive/old.md"].content == "In a sub-folder."
    assert (note("0000000c").agent, note("0000000c").tags, note("0000000c").content) == ("single", [], "Bad tags.")
    assert (note("0000000d").agent, note("0000000d").content) == ("crlf", "Windows.")
    searched = await odd.notes.search("beta", NotesQuery(text="dashes"))
    assert {one.filename[-11:-3] for one in searched.notes} == {"00000003", "00000004"}

    done = await odd.bank.consolidate("beta", Consolidate(), caller=ADMIN, progress=silent)
    assert (done.status, done.notes_processed) == ("ok", len(ODD_NOTES))
    assert (await odd.notes.read("beta", NotesQuery())).notes == []


async def test_the_notes_of_a_name_belong_to_the_token_of_that_name(old: Services) -> None:
    done = await old.bank.consolidate("alpha", Consolidate(), caller=a_caller("cline-dev"), progress=silent)

    assert done.notes_processed == 1
    assert (await old.notes.read("alpha", NotesQuery())).matched == 2


async def test_thousands_of_notes_are_read_at_once(services: Services, store: FaultyStore) -> None:
    bucket = bucket_of_0_2()
    start = datetime(2026, 2, 22, tzinfo=UTC)
    for number in range(2000):
        at = (start + timedelta(seconds=number)).isoformat(timespec="microseconds")
        name, body = old_note(f"agent_{number % 7}", "progress", f"Step {number}.", at=at, digits=f"{number:08x}")
        bucket[f"alpha/live/{name}"] = body
    await plant(store.inner, bucket)

    newest = await services.notes.read("alpha", NotesQuery(limit=50))
    assert [note.content for note in newest.notes[:2]] == ["Step 1999.", "Step 1998."]
    assert (newest.matched, newest.has_more) == (2003, True)
    assert store.counted()["get"] < 100, "bodies that are not asked for are not read"
    assert (await services.notes.search("alpha", NotesQuery(text="step 1234"))).matched == 1
    assert (await services.overview.info("alpha")).live.notes_count == 2003


async def test_the_name_of_an_old_space_is_taken(old: Services) -> None:
    with pytest.raises(SpaceExists):
        await a_space(old, "alpha")
    with pytest.raises(RestoreTargetExists):
        await old.backups.restore(NEW_BACKUP, confirm=True, caller=ADMIN, progress=silent)
    assert (await old.overview.info("alpha")).version == 1


async def test_an_old_space_can_be_deleted_and_its_name_used_again(old: Services, store: FaultyStore) -> None:
    await old.spaces.delete("alpha", confirm=True)

    with pytest.raises(SpaceNotFound):
        await old.spaces.open("alpha")
    assert [key for key in await snapshot(store.inner) if key.startswith("alpha/")] == ["alpha/_bank.json"]
    await a_space(old, "alpha")
    assert (await everything(old, "alpha"))["notes"].notes == []


async def test_only_an_absent_head_costs_another_request(old: Services, store: FaultyStore) -> None:
    await old.spaces.open("alpha")
    store.forget_calls()
    await old.spaces.open("alpha")
    assert store.calls == [("get", "alpha/_bank.json")]
    store.forget_calls()
    assert await old.spaces.find("nowhere") is None
    assert store.calls == [("get", "nowhere/_bank.json"), ("get", "nowhere/_meta.json")]


async def test_an_outage_never_makes_an_old_space_look_empty(old: Services, store: FaultyStore) -> None:
    for key in ("alpha/_meta.json", "alpha/bank/decisions.md", "alpha/_synthesis.md", "alpha/_history/"):
        store.fail(EVERY_CALL, key=key)
        with pytest.raises(Situation) as raised:
            await old.spaces.open("alpha")
        assert raised.value.status == 503
        store.heal()

    assert len((await everything(old, "alpha"))["bank"].files) == len(BANK)


# An older tool, which stays in use beside the service for reading.


async def test_an_older_tool_reads_what_the_service_has_written(old: Services, store: FaultyStore) -> None:
    await a_note(old, "Line one.\n---\nLine three, #99.", category="issue", tags="a---b,\u00e9t\u00e9",
                 caller=a_caller('Zo\u00e9-"dev"---x'))  # fmt: skip
    await old.bank.consolidate("alpha", Consolidate(), caller=a_caller("cline-dev"), progress=silent)
    await rolled_forward(old, "alpha")

    reader = OldReader(await snapshot(store.inner))
    assert reader.spaces() == ["alpha"]
    meta = reader.meta("alpha")
    assert (meta["space_id"], meta["description"], meta["owner"]) == (
        "alpha",
        "R\u00e9\u00e9criture de l'API",
        "team-api",
    )
    assert (meta["consolidation_count"], meta["total_notes_processed"], meta["version"]) == (4, 32, 1)
    assert meta["created_at"] == "2026-02-18T09:00:00.123456+00:00"
    bank = {file.filename: file.content for file in (await old.bank.read_all(await old.bank.open("alpha"))).files}
    assert reader.bank("alpha") == bank
    assert "PostgreSQL 15" in bank["decisions.md"]
    assert reader.synthesis("alpha").startswith("---\nconsolidated_at: ")
    notes = reader.notes("alpha")
    assert len(notes) == 3
    (ours,) = (note for name, note in notes.items() if "_issue_" in name)
    assert (ours.category, ours.tags) == ("issue", ["a---b", "\u00e9t\u00e9"])
    assert ours.content == "Line one.\n---\nLine three, #99."


async def test_the_older_tool_of_these_tests_is_not_indulgent() -> None:
    careless = b'---\nagent: "a---b"\ncategory: "issue"\ntags: []\n---\n\nText.'
    objects = {**bucket_of_0_2(), "alpha/live/x.md": careless}

    assert OldReader(objects).notes("alpha")["x.md"].content != "Text."
    with pytest.raises(KeyError):
        OldReader({"zombie/_meta.json": b"{}"}).meta("zombie")
    with pytest.raises(UnicodeDecodeError):
        OldReader(bucket_of_1_3()).bank("beta")


# Crashes and races.


async def settled(disk: MemoryStore, space_id: str) -> dict[str, Any]:
    """What is left in the store of a space, without what is random by design."""
    objects = {key: body for key, body in (await snapshot(disk)).items() if key.startswith(f"{space_id}/")}
    head = json.loads(objects.pop(f"{space_id}/_bank.json"))
    meta = json.loads(objects.pop(f"{space_id}/_meta.json"))
    for name in ("nonce", "incarnation"):
        del head[name]
    meta.pop("bank_nonce", None)
    meta.pop("bank_incarnations", None)
    return {"head": head, "meta": meta, "objects": objects}


async def adopted_after_a_crash(nth: int, methods: tuple[str, ...], *, applied: bool) -> dict[str, Any] | None:
    """The space after a process died at its nth call and another one went on; None when it ended before that."""
    clock = FrozenClock(datetime(2026, 4, 1, tzinfo=UTC))
    disk = MemoryStore(clock)
    await plant(disk, bucket_of_1_3())
    store = FaultyStore(disk)
    dying = build_services(store, clock, Settings.for_tests())
    strike = store.fail(methods, nth=nth, applied=applied)

    async def dead(method: str, key: str) -> None:
        if strike.met:
            store.fail(method, key=key)

    store.before = dead
    if nth:
        with suppress(Situation):
            await rolled_forward(dying, "beta")
        await dying.runner.idle()
    if nth and not strike.met:
        return None
    next_process = build_services(disk, clock, Settings.for_tests())
    await rolled_forward(next_process, "beta")
    return await settled(disk, "beta")


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
async def test_an_adoption_cut_short_at_any_call_is_finished_by_the_next_process(applied: bool) -> None:  # noqa: FBT001 - a case
    methods = WRITES if applied else EVERY_CALL
    expected = await adopted_after_a_crash(10_000, EVERY_CALL, applied=False)
    assert expected is None, "an undisturbed process never meets that call"
    clock = FrozenClock(datetime(2026, 4, 1, tzinfo=UTC))
    disk = MemoryStore(clock)
    await plant(disk, bucket_of_1_3())
    await rolled_forward(build_services(disk, clock, Settings.for_tests()), "beta")
    expected = await settled(disk, "beta")
    nth = 1
    while (found := await adopted_after_a_crash(nth, methods, applied=applied)) is not None:
        assert (nth, found) == (nth, expected)
        nth += 1

    assert nth > 2


async def test_the_comparison_after_a_crash_sees_a_lost_file(old: Services, store: FaultyStore) -> None:
    assert isinstance(store.inner, MemoryStore)
    await rolled_forward(old, "alpha")
    expected = await settled(store.inner, "alpha")
    opened = await old.spaces.open("alpha")
    files = {path: file for path, file in opened.head.files.items() if path != "decisions.md"}
    await old.spaces.swap(opened, opened.head.model_copy(update={"files": files, "nonce": "f" * 16}))
    await old.runner.idle()

    assert await settled(store.inner, "alpha") != expected


async def test_processes_that_adopt_at_once_agree_on_one_head(store: FaultyStore, clock: FrozenClock) -> None:
    await plant(store.inner, bucket_of_1_3())
    processes = [build_services(store, clock, Settings.for_tests()) for _ in range(8)]

    opened = await asyncio.gather(*(process.spaces.open("beta") for process in processes))

    assert len({(one.head.incarnation, one.etag) for one in opened}) == 1
    assert store.counted()["create"] > 1, "they did race"
    assert len([key for key in await snapshot(store.inner) if key.startswith("beta/_history/")]) == 1


async def test_a_loser_that_saw_other_files_leaves_no_record(store: FaultyStore, clock: FrozenClock) -> None:
    await plant(store.inner, bucket_of_0_2())
    slow, fast = (build_services(one, clock, Settings.for_tests()) for one in (store, store.inner))

    async def overtake(method: str, key: str) -> None:
        if (method, key) == ("create", "alpha/_bank.json"):
            store.before = None
            await store.inner.put("alpha/bank/late.md", b"Written by a server that still ran.")
            await fast.spaces.open("alpha")

    store.before = overtake
    opened = await slow.spaces.open("alpha")

    assert "late.md" in opened.head.files
    assert [key for key in await snapshot(store.inner) if "/_history/" in key] == [opened.head.history]


async def test_a_loser_leaves_the_record_that_the_winner_has_built_upon(store: FaultyStore, clock: FrozenClock) -> None:
    await plant(store.inner, bucket_of_0_2())
    slow, fast = (build_services(one, clock, Settings.for_tests()) for one in (store, store.inner))

    async def overtake(method: str, key: str) -> None:
        if (method, key) == ("create", "alpha/_bank.json"):
            store.before = None
            await fast.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)

    store.before = overtake
    head = (await slow.spaces.open("alpha")).head

    assert (head.version, head.parent is not None) == (2, True)
    assert await HistoryStore(store).read(head.parent or "") is not None


# Backups.


async def test_backups_without_a_manifest_are_listed(old: Services, odd: Services) -> None:
    listed = await old.backups.list("", caller=a_caller("r", "read", spaces=("alpha",)), limit=500, cursor="")

    assert [one.backup_id for one in listed.backups] == [OLD_BACKUP, NEW_BACKUP]
    newest = listed.backups[1]
    tree = {key: body for key, body in bucket_of_0_2().items() if key.startswith(f"_backups/{NEW_BACKUP}/")}
    assert (newest.legacy, newest.current, newest.description) == (True, True, "")
    assert (newest.files_count, newest.total_size) == (len(tree), sum(map(len, tree.values())))
    assert (newest.timestamp, newest.created_at) == ("2026-02-20T19-00-00", "2026-02-20T19:00:00+00:00")
    stranger = a_caller("s", "read", spaces=("other",))
    assert (await odd.backups.list("", caller=stranger, limit=500, cursor="")).backups == []


async def test_backups_of_a_former_space_are_for_admins(old: Services, store: FaultyStore) -> None:
    for key in (f"_backups/alpha/2026-02-17T00-00-00/{name}" for name in ("_meta.json", "bank/former.md")):
        await store.inner.put(key, b"{}")
    for key in await snapshot(store.inner):
        if key.startswith("_backups/alpha/2026-02-20"):
            await store.inner.put(key.replace("/alpha/", "/gone/"), b"{}")
    reader = a_caller("r", "read")

    listed = await old.backups.list("", caller=reader, limit=500, cursor="")
    assert [one.backup_id for one in listed.backups] == [OLD_BACKUP, NEW_BACKUP]
    with pytest.raises(BackupNotFound):
        await old.backups.download("gone/2026-02-20T19-00-00", caller=reader)
    everything_ = await old.backups.list("", caller=ADMIN, limit=500, cursor="")
    assert [one.current for one in everything_.backups] == [False, True, True, False]
    await old.spaces.delete("alpha", confirm=True)
    await a_space(old, "alpha")
    assert (await old.backups.list("alpha", caller=reader, limit=500, cursor="")).backups == []


async def test_an_old_backup_is_downloaded_whole(odd: Services) -> None:
    backup_id = "beta/2026-03-31T23-59-59"
    download = await odd.backups.download(backup_id, caller=a_caller("r", "read"))

    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(download.archive_base64))) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    prefix = f"_backups/{backup_id}/"
    assert found == {key.removeprefix(prefix): body for key, body in bucket_of_1_3().items() if key.startswith(prefix)}


async def restored(services: Services, backup_id: str) -> None:
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)


async def test_an_old_backup_brings_its_space_back(odd: Services, store: FaultyStore) -> None:
    before = await everything(odd, "beta")
    await odd.runner.idle()
    objects = await snapshot(store.inner)
    await odd.spaces.delete("beta", confirm=True)

    await restored(odd, "beta/2026-03-31T23-59-59")

    after = await everything(odd, "beta")
    assert {name: after[name] for name in ("notes", "rules")} == {name: before[name] for name in ("notes", "rules")}
    assert [(one.filename, one.content) for one in after["bank"].files] == [
        (one.filename, one.content) for one in before["bank"].files
    ]
    await odd.runner.idle()
    view = {key: body for key, body in bucket_of_1_3().items() if key.startswith("beta/") and "_meta" not in key}
    now = await snapshot(store.inner)
    assert {key: now[key] for key in view} == view
    assert json.loads(now["beta/_meta.json"])["graph_memory"] == json.loads(objects["beta/_meta.json"])["graph_memory"]
    (listed,) = (await odd.backups.list("beta", caller=a_caller("r", "read"), limit=500, cursor="")).backups
    assert listed.legacy
    assert (await odd.bank.consolidate("beta", Consolidate(), caller=ADMIN, progress=silent)).notes_processed == len(
        ODD_NOTES
    )


async def test_what_an_old_deletion_has_left_is_not_mixed_into_a_restored_space(
    services: Services, store: FaultyStore
) -> None:
    bucket = bucket_of_0_2()
    del bucket["alpha/_meta.json"], bucket["alpha/_rules.md"]
    bucket |= {"alpha/bank/left.md": b"left", "alpha/bank/decisions.md": b"# Newer\n"}
    await plant(store.inner, bucket)

    await restored(services, NEW_BACKUP)

    seen = await everything(services, "alpha")
    assert {one.filename: one.content.encode() for one in seen["bank"].files} == BANK
    assert {note.filename for note in seen["notes"].notes} == NOTES.keys()


async def test_a_backup_of_today_holds_an_adopted_space_byte_by_byte(odd: Services, store: FaultyStore) -> None:
    created = await odd.backups.create("beta", "today", caller=ADMIN, progress=silent)
    await rolled_forward(odd, "beta")
    await odd.spaces.delete("beta", confirm=True)
    await restored(odd, created.backup_id)
    await rolled_forward(odd, "beta")

    now = await snapshot(store.inner)
    assert {path: now[f"beta/bank/{path}"] for path in ODD_BANK} == ODD_BANK
    assert {name: now[f"beta/live/{name}"] for name in ODD_NOTES} == ODD_NOTES
    listed = (await odd.backups.list("beta", caller=ADMIN, limit=500, cursor="")).backups
    assert [(one.legacy, one.current) for one in listed] == [(True, True), (False, True)]


async def test_what_is_no_backup_of_an_older_tool_is_not_listed(services: Services, store: FaultyStore) -> None:
    for key in (
        "_backups/alpha/2026-02-20T19-00-00/live/late.md",
        "_backups/alpha/2026-02-20T19-00-01/_meta.json",
        "_backups/alpha/2026-02-20T19-00-01/_bank.json",
        "_backups/alpha/2026-13-20T19-00-00/_meta.json",
        "_backups/alpha/notes/_meta.json",
    ):
        await store.inner.put(key, b"{}")

    assert (await services.backups.list("", caller=ADMIN, limit=500, cursor="")).backups == []


async def test_an_old_backup_is_deleted_and_a_crash_leaves_no_half_of_it(settings: Settings) -> None:
    nth, struck = 1, True
    while struck:
        clock = FrozenClock(datetime(2026, 4, 1, tzinfo=UTC))
        store = FaultyStore(MemoryStore(clock))
        await plant(store.inner, bucket_of_0_2())
        fault = store.fail(EVERY_CALL, nth=nth, lasting=True)
        with suppress(Situation):
            await build_services(store, clock, settings).backups.delete(OLD_BACKUP, confirm=True, caller=ADMIN)
        struck = bool(fault.met)
        store.heal()
        next_process = build_services(store, clock, settings)
        listed = (await next_process.backups.list("alpha", caller=ADMIN, limit=500, cursor="")).backups
        whole = [one for one in listed if one.backup_id == OLD_BACKUP]
        assert all(one.files_count == len(NOTES) + len(BANK) + 5 for one in whole)
        if not whole:
            await next_process.backups.sweep_aborted()
            assert not [key for key in await snapshot(store) if key.startswith(f"_backups/{OLD_BACKUP}/")]
        nth += 1

    assert nth > 4
    assert not whole


async def test_a_restore_of_an_old_backup_cut_short_is_invisible_and_can_be_repeated(settings: Settings) -> None:
    nth, struck = 1, True
    while struck:
        clock = FrozenClock(datetime(2026, 4, 1, tzinfo=UTC))
        store = FaultyStore(MemoryStore(clock))
        await plant(store.inner, bucket_of_0_2())
        services = build_services(store, clock, settings)
        await services.spaces.delete("alpha", confirm=True)
        fault = store.fail(EVERY_CALL, nth=nth, lasting=True)
        with suppress(Situation):
            await restored(services, NEW_BACKUP)
        struck = bool(fault.met)
        store.heal()
        next_process = build_services(store, clock, settings)
        if struck:
            assert await next_process.spaces.find("alpha") is None
            clock.advance(timedelta(minutes=1))
            await restored(next_process, NEW_BACKUP)
        seen = await everything(next_process, "alpha")
        assert {file.filename for file in seen["bank"].files} == BANK.keys()
        assert {note.filename for note in seen["notes"].notes} == NOTES.keys()
        nth += 4

    assert nth > 20


# Tokens, and the whole over REST.


async def test_old_tokens_keep_their_rights(old: Services) -> None:
    async with old.opened():
        callers = {name: await old.tokens.authenticate(token.text) for name, token in TOKENS.items()}
        listed = await old.tokens.list(limit=500)

    assert {name for name, caller in callers.items() if caller is None} == {"revoked", "expired"}
    everywhere, alpha, admin = (callers[name] for name in ("everywhere", "only-alpha", "ancient admin"))
    unknown, nowhere, none = (callers[name] for name in ("unknown rights", "nowhere", "no rights"))
    assert everywhere and alpha and admin and unknown and nowhere and none  # noqa: PT018 - for the type checker
    assert everywhere.sees("alpha") and everywhere.sees("future")  # noqa: PT018 - one fact
    assert (alpha.sees("alpha"), alpha.sees("beta")) == (True, False)
    assert (admin.is_admin, everywhere.is_admin) == (True, False)
    assert (sorted(unknown.permissions), unknown.sees("alpha"), unknown.sees("beta")) == (["read"], True, False)
    assert (none.permissions, nowhere.sees("alpha")) == (frozenset(), False)
    shown = {token.name: token for token in listed.tokens}
    assert shown.keys() == TOKENS.keys()
    assert {name for name, token in shown.items() if token.revoked} == {"revoked"}
    assert shown["everywhere"].last_used_at is not None
    assert shown["ends later"].expires_at == "2027-01-11T10:00:00+00:00"
    assert shown["everywhere"].created_at == "2026-01-10T10:00:00.000001+00:00"


async def test_an_old_registry_that_cannot_be_read_is_no_empty_one(services: Services, store: FaultyStore) -> None:
    await store.inner.put("_system/tokens.json", b'{"version": 1, "tokens"')

    async with services.opened():
        assert (await services.ready())["migrations"] == "damaged_document"
        with pytest.raises(Situation) as raised:
            await services.authenticator.authenticate(TOKENS["everywhere"].text)
        assert (raised.value.status, raised.value.code()) == (503, "migrations_pending")
        assert await services.authenticator.authenticate(BOOTSTRAP_KEY) is not None
    await store.inner.delete("_system/tokens.json")
    async with services.opened():
        assert (await services.ready())["migrations"] == "ok"
        assert await services.authenticator.authenticate(TOKENS["everywhere"].text) is None


async def test_an_outage_at_the_start_makes_no_old_token_unknown(old: Services, store: FaultyStore) -> None:
    token = TOKENS["only-alpha"].text
    store.fail(("get", "create"), key="_system/migrations.json", lasting=True)
    async with old.opened():
        assert (await old.ready())["migrations"] == "store_unavailable"
        with pytest.raises(Situation, match="brought up to this version"):
            await old.authenticator.authenticate(token)
    store.heal()
    async with old.opened():
        assert await old.authenticator.authenticate(token) is not None


async def test_a_client_of_the_old_server_goes_on_over_rest(
    store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    await plant(store.inner, bucket_of_0_2())
    app = assemble(build_services(store, clock, settings), store, settings)
    bearer = {"Authorization": f"Bearer {TOKENS['only-alpha'].text}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost:8002/api/v1", headers=bearer
        ) as client,
    ):
        assert (await client.get("http://localhost:8002/ready")).json()["checks"]["migrations"] == "ok"
        spaces = (await client.get("/spaces")).json()["spaces"]
        assert [(one["space_id"], one["live_notes_count"]) for one in spaces] == [("alpha", 3)]
        assert (await client.get("/spaces/alpha/notes")).json()["total"] == 3
        posted = await client.post("/spaces/alpha/notes", json={"category": "todo", "content": "Go on."})
        assert posted.status_code == 201
        assert (await client.get("/spaces/beta")).status_code == 403
        filed = await client.post("/spaces/alpha/bank/consolidate")
        assert filed.json()["notes_processed"] == 1
        backups = (await client.get("/backups")).json()["backups"]
        assert [one["legacy"] for one in backups] == [True, True]
        clone = {"space_id": "alpha", "description": "", "rules": ""}
        assert (await client.post("/spaces", json=clone)).json()["code"] == "space_exists"
        refused = await client.get("/spaces", headers={"Authorization": f"Bearer {TOKENS['revoked'].text}"})
        assert refused.status_code == 401
