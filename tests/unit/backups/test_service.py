"""Backups, made and restored."""

import asyncio
import base64
import io
import tarfile
from datetime import timedelta

import pytest

from app.backups.errors import BackupBusy, BackupDamaged, BackupNotFound, RestoreTargetExists
from app.backups.store import BackupStore
from app.bank.models import Consolidate
from app.bank.store import sha256
from app.bootstrap import Services, build_services
from app.core.errors import ConfirmationRequired, Forbidden, StoreUnavailable
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import RulesVersionNotFound, SpaceNotFound
from app.spaces.models import SpaceRulesUpdate
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

EVERY_CALL = ("get", "list", "create", "replace", "put", "delete", "delete_many", "copy")


async def filled(services: Services) -> None:
    """A space with a bank of two versions, and notes that wait."""
    await a_space(services)
    await a_note(services, "We chose PostgreSQL 15.")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await a_note(services, "Fix #42 in v1.2.3.", category="todo")
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await a_note(services, "Still waiting, 77.")
    await services.runner.idle()


async def backed_up(services: Services) -> str:
    return (await services.backups.create("alpha", "why", caller=ADMIN, progress=silent)).backup_id


async def state(services: Services) -> dict[str, object]:
    """All that a user can see of the space."""
    opened = await services.bank.open("alpha")
    whole = await services.bank.read_all(opened)
    notes = await services.notes.read("alpha", NotesQuery())
    rules = await services.spaces.rules("alpha")
    return {
        "files": [(file.filename, file.content, file.last_modified) for file in whole.files],
        "synthesis": whole.synthesis,
        "notes": notes.notes,
        "rules": rules.rules,
        "provenance": opened.head.provenance,
        "refs": opened.head.note_refs,
        "version": whole.version,
    }


async def view(services: Services, store: FaultyStore) -> dict[str, bytes]:
    """The plain objects of the space."""
    await services.bank.open("alpha")
    await services.runner.idle()
    keys = [listed.key async for page in store.inner.list("alpha/") for listed in page.objects]
    return {
        key: (await store.inner.get(key)).body  # type: ignore[union-attr]
        for key in keys
        if not key.endswith(("_meta.json", "_bank.json")) and "/_jobs/" not in key
    }


async def test_a_restored_space_is_the_one_that_was_saved(services: Services, store: FaultyStore) -> None:
    await filled(services)
    before, objects = await state(services), await view(services, store)
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)

    restored = await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)

    assert restored.space_id == "alpha"
    assert await state(services) == before
    assert await view(services, store) == objects
    done = await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert (done.notes_processed, done.version) == (1, 3)


async def test_a_restored_space_still_tells_its_former_rules(services: Services) -> None:
    await filled(services)
    first = (await services.spaces.rules("alpha")).rules
    for rules in ("# Second\n", "# Third\n"):
        told = await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules=rules), caller=ADMIN)
    second = told.previous_sha256
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)

    whole = await services.spaces.rules("alpha")
    assert whole.rules == "# Third\n"
    assert [change.previous for change in whole.changes] == [second, sha256(first)]
    assert (await services.spaces.rules("alpha", sha256=second)).rules == "# Second\n"
    assert (await services.spaces.rules("alpha", sha256=sha256(first))).rules == first


async def test_former_rules_in_a_backup_are_verified(services: Services, store: FaultyStore) -> None:
    await filled(services)
    await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules="# Second\n"), caller=ADMIN)
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)
    await store.inner.put(f"_backups/{backup_id}/_rules/{sha256('# Second' + chr(10))}.md", b"changed")

    with pytest.raises(BackupDamaged, match="_rules/"):
        await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)


async def test_a_backup_without_former_rules_is_restored_too(services: Services, store: FaultyStore) -> None:
    """Backups were made so before former rules belonged to them."""
    await filled(services)
    told = await services.spaces.update_rules("alpha", SpaceRulesUpdate(rules="# Second\n"), caller=ADMIN)
    backups = BackupStore(store.inner)
    backup_id = await backed_up(services)
    found = await backups.find(backup_id)
    assert found is not None
    manifest, etag = found
    files = {path: file for path, file in manifest.files.items() if not path.startswith("_rules/")}
    assert len(files) == len(manifest.files) - 2
    await backups.replace(manifest.model_copy(update={"files": files}), etag)
    await backups.remove([f"_backups/{backup_id}/{path}" for path in manifest.files.keys() - files.keys()])
    await services.spaces.delete("alpha", confirm=True)
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)

    assert (await services.spaces.rules("alpha")).rules == "# Second\n"
    with pytest.raises(RulesVersionNotFound):
        await services.spaces.rules("alpha", sha256=told.previous_sha256)


async def test_a_live_space_is_never_overwritten(services: Services) -> None:
    await filled(services)
    backup_id = await backed_up(services)

    with pytest.raises(RestoreTargetExists):
        await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    with pytest.raises(ConfirmationRequired):
        await services.backups.restore(backup_id, confirm=False, caller=ADMIN, progress=silent)


async def test_two_backups_of_one_second_have_names_of_their_own(services: Services) -> None:
    await filled(services)

    ids = await asyncio.gather(*(backed_up(services) for _ in range(5)))

    assert len(set(ids)) == 5
    listed = await services.backups.list("alpha", caller=ADMIN, limit=500, cursor="")
    assert [one.backup_id for one in listed.backups] == sorted(ids)
    assert {one.description for one in listed.backups} == {"why"}


async def test_a_list_shows_what_the_token_reaches(services: Services) -> None:
    await filled(services)
    await backed_up(services)
    limited = a_caller("b", "read", spaces=("beta",))

    listed = await services.backups.list("", caller=limited, limit=500, cursor="")

    assert (listed.backups, listed.total, listed.filtered_by_token) == ([], 0, True)
    with pytest.raises(Forbidden):
        await services.backups.list("alpha", caller=limited, limit=500, cursor="")


async def test_backups_of_a_former_space_are_for_admins(services: Services) -> None:
    await filled(services)
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)
    await a_space(services)
    reader = a_caller("reader", "read")

    assert (await services.backups.list("", caller=reader, limit=500, cursor="")).backups == []
    with pytest.raises(BackupNotFound):
        await services.backups.download(backup_id, caller=reader)
    (listed,) = (await services.backups.list("", caller=ADMIN, limit=500, cursor="")).backups
    assert not listed.current


async def test_a_damaged_backup_restores_nothing(services: Services, store: FaultyStore) -> None:
    await filled(services)
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)
    await store.inner.put(f"_backups/{backup_id}/_rules.md", b"changed")

    with pytest.raises(BackupDamaged, match=r"_rules\.md"):
        await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)

    assert await services.spaces.find("alpha") is None
    await a_space(services)


async def test_an_archive_holds_the_files_of_the_backup(services: Services) -> None:
    await filled(services)
    backup_id = await backed_up(services)

    download = await services.backups.download(backup_id, caller=a_caller("r", "read"))

    archive = base64.b64decode(download.archive_base64)
    streamed = b"".join([piece async for piece in await services.backups.archive(backup_id, caller=ADMIN)])
    assert streamed == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
    assert len(names) == download.files_count
    assert {"_bank.json", "_rules.md", "_meta.json", "_synthesis.md", "bank/.keep"} <= set(names)


async def test_a_deleted_backup_is_gone(services: Services, store: FaultyStore) -> None:
    await filled(services)
    backup_id = await backed_up(services)

    deleted = await services.backups.delete(backup_id, confirm=True, caller=ADMIN)

    assert deleted.files_remaining == 0
    assert [listed async for page in store.inner.list("_backups/") for listed in page.objects] == []
    with pytest.raises(BackupNotFound):
        await services.backups.delete(backup_id, confirm=True, caller=ADMIN)


@pytest.mark.parametrize("nth", range(1, 40))
async def test_a_backup_cut_short_is_never_listed_and_is_swept(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings, nth: int
) -> None:
    await filled(services)
    fault = store.fail(EVERY_CALL, nth=nth, lasting=True)
    cut = False
    try:
        await backed_up(services)
    except (StoreUnavailable, BackupBusy):
        cut = True
        assert fault.met
    store.heal()
    restarted = build_services(store, clock, settings)

    listed = await restarted.backups.list("", caller=ADMIN, limit=500, cursor="")
    assert len(listed.backups) == (0 if cut else 1)
    clock.advance(timedelta(hours=25))
    await restarted.backups.sweep_aborted()
    left = [item async for page in store.inner.list("_backups/") for item in page.objects]
    assert bool(left) is not cut


@pytest.mark.parametrize("nth", range(1, 60))
async def test_a_restore_cut_short_is_invisible_and_can_be_repeated(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings, nth: int
) -> None:
    await filled(services)
    before = await state(services)
    backup_id = await backed_up(services)
    await services.spaces.delete("alpha", confirm=True)
    store.fail(EVERY_CALL, nth=nth, lasting=True)
    try:
        await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    except StoreUnavailable:
        store.heal()
        clock.advance(timedelta(minutes=1))
        restarted = build_services(store, clock, settings)
        with pytest.raises(SpaceNotFound):
            await restarted.spaces.open("alpha")
        await restarted.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    store.heal()

    assert await state(build_services(store, clock, settings)) == before
