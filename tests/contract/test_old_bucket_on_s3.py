"""A bucket of 0.2 on a real S3 server: opened by the service, used, and read again by its own rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.bank.models import Consolidate
from app.bootstrap import Services, build_services
from app.core.clock import SystemClock
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import SpaceExists
from app.storage.s3 import S3Store
from tests.builders import a_caller, a_note, a_space, silent
from tests.contract.old_buckets import BANK, RULES, OldReader, bucket_of_0_2, plant, snapshot
from tests.contract.servers import S3Server, SeaweedFS

pytest_plugins = ["tests.contract.s3_fixtures"]


@asynccontextmanager
async def serving(server: S3Server, bucket: str, settings: Settings) -> AsyncIterator[tuple[Services, S3Store]]:
    """The services of a process on a bucket."""
    clock = SystemClock()
    store = S3Store(server.options(bucket=bucket), clock)
    async with store.opened():
        services = build_services(store, clock, settings)
        try:
            yield services, store
        finally:
            await services.runner.idle()


async def notes(services: Services) -> dict[str, str]:
    """The waiting notes, by their file's name."""
    return {note.filename: note.content for note in (await services.notes.read("alpha", NotesQuery())).notes}


@pytest.mark.parametrize("door", ["http", "https"])
async def test_it_is_opened_used_and_read_again_by_its_own_rules(
    seaweedfs: SeaweedFS, settings: Settings, door: str
) -> None:
    server: S3Server = getattr(seaweedfs, door)
    bucket = server.new_bucket()
    async with serving(server, bucket, settings) as (services, store):
        before = bucket_of_0_2()
        await plant(store, before)
        # The name is taken, and whoever tries it does the space no harm.
        with pytest.raises(SpaceExists):
            await a_space(services)
        bank = await services.bank.read_all(await services.bank.open("alpha"))
        assert {file.filename: file.content for file in bank.files} == {k: v.decode() for k, v in BANK.items()}
        assert (await services.spaces.rules("alpha")).rules == RULES.decode()
        waiting = await notes(services)
        assert waiting.keys() == OldReader(before).notes("alpha").keys()
        await services.runner.idle()
        after = await snapshot(store)
        changed = {key for key in before if after.get(key) != before[key]}
        assert changed <= {"alpha/_meta.json"}, "opening it leaves all as it is but the counters"
        written = await a_note(services, "The depot has 12 doors (#77).", caller=a_caller("cline-dev"))

    # Another process goes on, and files what its agent wrote.
    async with serving(server, bucket, settings) as (services, store):
        assert (await notes(services)).keys() == {*waiting, written.filename}
        done = await services.bank.consolidate("alpha", Consolidate(), caller=a_caller("cline-dev"), progress=silent)
        assert done.notes_remaining == 0
        await services.bank.open("alpha")
        await services.runner.idle()
        bank = await services.bank.read_all(await services.bank.open("alpha"))
        left = await notes(services)
        reader = OldReader(await snapshot(store))

    assert reader.spaces() == ["alpha"]
    assert reader.bank("alpha") == {file.filename: file.content for file in bank.files}
    assert any("12 doors (#77)" in content for content in reader.bank("alpha").values())
    assert reader.meta("alpha")["consolidation_count"] == 4
    assert {name: note.content for name, note in reader.notes("alpha").items()} == left
    assert written.filename not in left
