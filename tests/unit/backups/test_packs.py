"""The notes of a backup, many in one object: what goes in comes out, and what is damaged is told."""

import asyncio
import gzip
import io
import tarfile
from collections import Counter

import pytest

from app.backups.errors import BackupDamaged
from app.backups.models import Manifest
from app.backups.store import BackupStore
from app.bank.models import Consolidate
from app.bootstrap import Services, build_services
from app.core.archive import pack, unpack
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.models import SpaceRulesUpdate
from tests.builders import ADMIN, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

MANY = 230
FOREIGN = "20260101T000000_older_decision_0a1b2c3d.md"


async def backed_up(services: Services) -> str:
    return (await services.backups.create("alpha", "", caller=ADMIN, progress=silent)).backup_id


async def filled(services: Services, store: FaultyStore) -> dict[str, bytes]:
    """A space whose notes are of three makes; their objects, by path."""
    await a_space(services)
    for number in range(MANY):
        await a_note(services, f"Note {number}: é, \u2028 and --- are kept.")
    await a_note(services, "  with white space around it\n\n")
    await store.inner.put(f"alpha/live/{FOREIGN}", b'---\nagent: "older"\n---\n\nWe chose MySQL 8.\n')
    await services.runner.idle()
    keys = [listed.key async for page in store.inner.list("alpha/live/") for listed in page.objects]
    bodies = {key.removeprefix("alpha/"): (await store.inner.get(key)).body for key in keys}  # type: ignore[union-attr]
    return {path: body for path, body in bodies.items() if not path.endswith(".keep")}


async def manifest_of(store: FaultyStore, backup_id: str) -> Manifest:
    found = await BackupStore(store.inner).find(backup_id)
    assert found is not None
    return found[0]


async def restored(services: Services, store: FaultyStore, backup_id: str) -> dict[str, bytes]:
    """The objects of the notes after the space was deleted and brought back."""
    await services.spaces.delete("alpha", confirm=True)
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    keys = [listed.key async for page in store.inner.list("alpha/live/") for listed in page.objects]
    bodies = {key.removeprefix("alpha/"): (await store.inner.get(key)).body for key in keys}  # type: ignore[union-attr]
    return {path: body for path, body in bodies.items() if not path.endswith(".keep")}


async def test_every_note_comes_back_byte_for_byte(services: Services, store: FaultyStore) -> None:
    notes = await filled(services, store)
    store.forget_calls()

    backup_id = await backed_up(services)

    sent = Counter(method for method, key in store.calls if "/live/" in key)
    manifest = await manifest_of(store, backup_id)
    assert [len(paths) > 90 for paths in manifest.packs.values()] == [True, True]
    assert sum(map(len, manifest.packs.values())) == MANY
    assert sent["copy"] == 2, "one with white space around it, and one of another make"
    assert {path for path in manifest.files if path.startswith("live/")} == {*notes, "live/.keep"}
    assert await restored(services, store, backup_id) == notes


async def test_a_process_that_has_read_nothing_makes_the_same_backup(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    notes = await filled(services, store)
    first = await manifest_of(store, await backed_up(services))

    second = await manifest_of(store, await backed_up(build_services(store, clock, settings)))

    assert (second.files, second.packs) == (first.files, first.packs)
    assert await restored(services, store, second.backup_id) == notes


async def test_an_archive_and_a_deletion_count_files_not_packs(services: Services, store: FaultyStore) -> None:
    notes = await filled(services, store)
    made = await services.backups.create("alpha", "", caller=ADMIN, progress=silent)

    download = await services.backups.download(made.backup_id, caller=ADMIN)
    deleted = await services.backups.delete(made.backup_id, confirm=True, caller=ADMIN)

    assert made.files_backed_up == download.files_count == deleted.files_deleted > len(notes)
    assert [listed async for page in store.inner.list("_backups/") for listed in page.objects] == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(None, id="gone"),
        pytest.param(b"", id="empty"),
        pytest.param(b"no archive", id="garbage"),
        pytest.param(gzip.compress(b"no tar" * 500), id="gzip of no tar"),
        pytest.param(pack({}), id="of nothing"),
        pytest.param(slice(0, -200), id="cut short"),
        pytest.param(slice(100, None), id="without its beginning"),
        pytest.param((b"are kept", b"are lost"), id="a note changed"),
    ],
)
async def test_a_damaged_pack_restores_nothing(
    services: Services, store: FaultyStore, damage: bytes | slice | tuple[bytes, bytes] | None
) -> None:
    await filled(services, store)
    backup_id = await backed_up(services)
    name, paths = next(iter((await manifest_of(store, backup_id)).packs.items()))
    key = f"_backups/{backup_id}/{name}"
    whole: bytes = (await store.inner.get(key)).body  # type: ignore[union-attr]
    await services.spaces.delete("alpha", confirm=True)
    match damage:
        case None:
            await store.inner.delete(key)
        case bytes():
            await store.inner.put(key, damage)
        case slice():
            await store.inner.put(key, whole[damage])
        case old, new:
            changed = {path: body.replace(old, new) for path, body in unpack(whole).items()}
            assert changed != unpack(whole)
            await store.inner.put(key, pack(changed))

    with pytest.raises(BackupDamaged, match="live/"):
        await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    with pytest.raises(BackupDamaged):
        await services.backups.download(backup_id, caller=ADMIN)

    assert await services.spaces.find("alpha") is None
    assert paths, "control: there was something to lose"
    await store.inner.put(key, whole)
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)
    assert (await services.notes.read("alpha", NotesQuery())).matched == MANY + 2


async def test_the_rules_in_a_backup_are_those_of_its_version(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    """Somebody else changes rules and bank while this process waits for the rules."""
    await a_space(services)
    await a_note(services)
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await a_note(services, "Waits.")
    await services.runner.idle()
    other = build_services(FaultyStore(store.inner), clock, settings)
    acted = False

    async def before(method: str, key: str) -> None:
        nonlocal acted
        if (method, key) != ("get", "alpha/_rules.md") or acted:
            return
        acted = True
        for _turn in range(200):
            await asyncio.sleep(0)
        await other.spaces.update_rules("alpha", SpaceRulesUpdate(rules="# Other rules\n"), caller=ADMIN)
        await other.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
        await other.runner.idle()

    store.before = before
    backup_id = await backed_up(services)
    store.before = None

    assert acted, "control: they met"
    manifest = await manifest_of(store, backup_id)
    rules = await store.inner.get(f"_backups/{backup_id}/_rules.md")
    assert (manifest.version, rules.body) == (2, b"# Other rules\n")  # type: ignore[union-attr]


def test_a_link_in_a_pack_is_no_file() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("live/a.md")
        link.type, link.linkname = tarfile.SYMTYPE, "live/b.md"
        tar.addfile(link)

    assert unpack(buffer.getvalue()) == {}


def test_a_pack_is_what_its_files_say() -> None:
    files = {"live/é.md": b"1", "live/empty.md": b"", f"live/{'x' * 200}.md": bytes(range(256)) * 100}

    assert unpack(pack(files)) == files
    assert pack(files) == pack(files)
