"""Two processes over one store, each stopped at its worst moment while the other goes on."""

import base64
import io
import tarfile
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.backups.errors import BackupNotFound
from app.bank.models import Consolidate
from app.bootstrap import Services, build_services
from app.core.errors import StoreUnavailable
from app.core.settings import Settings
from app.notes.models import NotesQuery
from app.spaces.errors import SpaceBusy, SpaceExists, SpaceNotFound
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

Act = Callable[[], Awaitable[object]]


class Pair:
    """Two processes; the first can be held up just before one of its store calls."""

    def __init__(self, store: FaultyStore, clock: FrozenClock, settings: Settings) -> None:
        self.disk = store.inner
        self.clock = clock
        self._settings = settings
        self.slow_store = FaultyStore(store.inner)
        self.slow = build_services(self.slow_store, clock, settings)
        self.quick = build_services(FaultyStore(store.inner), clock, settings)

    def fresh(self) -> Services:
        return build_services(FaultyStore(self.disk), self.clock, self._settings)

    def meanwhile(self, act: Act, *methods: str, key: str) -> None:
        """Let the quick process act right before the slow one first does this to such a key."""

        async def before(method: str, called: str) -> None:
            if method in methods and key in called:
                self.slow_store.before = None
                await act()

        self.slow_store.before = before


@pytest.fixture
def pair(store: FaultyStore, clock: FrozenClock, settings: Settings) -> Pair:
    return Pair(store, clock, settings)


async def read(services: Services) -> list[str]:
    return sorted(note.content for note in (await services.notes.read("alpha", NotesQuery())).notes)


async def consolidate(services: Services) -> None:
    await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await services.runner.idle()


async def back_up(services: Services) -> str:
    return (await services.backups.create("alpha", "", caller=ADMIN, progress=silent)).backup_id


async def restore(services: Services, backup_id: str) -> None:
    await services.backups.restore(backup_id, confirm=True, caller=ADMIN, progress=silent)


async def test_a_slow_deletion_never_touches_the_space_that_took_its_name(pair: Pair) -> None:
    await a_space(pair.quick)
    await a_note(pair.quick, "old")

    async def create_anew() -> None:
        with pytest.raises(SpaceBusy):
            await a_space(pair.quick)
        pair.clock.advance(timedelta(minutes=1))
        await a_space(pair.quick, rules="# New")
        await a_note(pair.quick, "precious")
        await pair.quick.runner.idle()

    await pair.slow.spaces.open("alpha")
    pair.meanwhile(create_anew, "list", key="alpha/")
    await pair.slow.spaces.delete("alpha", confirm=True)

    assert await read(pair.fresh()) == ["precious"]
    assert (await pair.fresh().spaces.rules("alpha")).rules == "# New"


async def test_a_slow_sweep_never_touches_the_space_that_took_the_name(pair: Pair) -> None:
    await a_space(pair.quick)
    await pair.quick.runner.idle()
    pair.slow_store.fail("delete_many", lasting=True)
    with pytest.raises(StoreUnavailable):
        await pair.slow.spaces.delete("alpha", confirm=True)
    pair.slow_store.heal()
    pair.clock.advance(timedelta(minutes=1))

    async def create_anew() -> None:
        pair.clock.advance(timedelta(minutes=1))
        await a_space(pair.quick)
        await a_note(pair.quick, "precious")

    pair.meanwhile(create_anew, "list", key="alpha/")
    await pair.slow.spaces.sweep_deleted()

    assert await read(pair.fresh()) == ["precious"]


async def test_of_two_who_take_a_freed_name_one_has_it_and_loses_nothing(pair: Pair) -> None:
    await a_space(pair.quick)
    await pair.quick.spaces.delete("alpha", confirm=True)

    async def create_first() -> None:
        await a_space(pair.quick)
        await a_note(pair.quick, "precious")

    pair.meanwhile(create_first, "replace", key="alpha/_bank.json")
    with pytest.raises(SpaceBusy):
        await a_space(pair.slow)

    assert await read(pair.fresh()) == ["precious"]


async def test_a_slow_view_never_removes_notes_that_were_restored(pair: Pair) -> None:
    await a_space(pair.slow)
    await pair.slow.runner.idle()
    await a_note(pair.slow, "precious")
    backup_id = await back_up(pair.quick)

    async def delete_and_restore() -> None:
        await pair.quick.spaces.delete("alpha", confirm=True)
        await restore(pair.quick, backup_id)

    # The first listing of the view, after the commit.
    async def once_committed(method: str, key: str) -> None:
        if method == "list" and key == "alpha/live/" and (await pair.quick.spaces.open("alpha")).head.version == 1:
            pair.slow_store.before = None
            await delete_and_restore()

    pair.slow_store.before = once_committed
    await consolidate(pair.slow)

    assert await read(pair.fresh()) == ["precious"]


async def test_a_slow_view_never_writes_over_a_newer_one(pair: Pair) -> None:
    await a_space(pair.slow)
    await pair.slow.runner.idle()
    await a_note(pair.slow, "first fact")

    async def commit_again() -> None:
        pair.clock.advance(timedelta(seconds=1))
        await a_note(pair.quick, "second fact 42")
        await consolidate(pair.quick)

    pair.meanwhile(commit_again, "create", "replace", key="alpha/bank/decisions.md")
    await consolidate(pair.slow)

    head = (await pair.slow.spaces.open("alpha")).head
    stored = await pair.disk.get("alpha/bank/decisions.md")
    assert head.version == 2
    assert stored.body.decode() == head.files["decisions.md"].content  # type: ignore[union-attr]


async def test_a_restore_that_was_taken_for_dead_writes_into_nothing_new(pair: Pair) -> None:
    await a_space(pair.slow, rules="# Old")
    await a_note(pair.slow, "old note")
    await pair.slow.runner.idle()
    backup_id = await back_up(pair.slow)
    await pair.slow.spaces.delete("alpha", confirm=True)

    async def create_anew() -> None:
        pair.clock.advance(timedelta(minutes=16))
        await a_space(pair.quick, rules="# New")
        await pair.quick.runner.idle()

    pair.meanwhile(create_anew, "create", key="alpha/live/")
    with pytest.raises(SpaceBusy):
        await restore(pair.slow, backup_id)

    assert (await pair.fresh().spaces.rules("alpha")).rules == "# New"
    assert await read(pair.fresh()) == []


async def test_restored_notes_are_read_at_once_by_every_process(pair: Pair) -> None:
    await a_space(pair.slow)
    await a_note(pair.slow, "restored")
    pair.clock.advance(timedelta(minutes=20))
    backup_id = await back_up(pair.slow)
    await consolidate(pair.slow)
    assert await read(pair.quick) == []
    pair.clock.advance(timedelta(minutes=1))

    await pair.slow.spaces.delete("alpha", confirm=True)
    await restore(pair.slow, backup_id)

    assert await read(pair.slow) == ["restored"]
    assert await read(pair.quick) == ["restored"]


async def test_notes_of_a_former_space_are_never_served_from_memory(pair: Pair) -> None:
    await a_space(pair.slow)
    await pair.disk.create("alpha/live/20260131T170000_tool_todo_00000000.md", b"without a header")
    assert await read(pair.quick) == ["without a header"]

    await pair.slow.spaces.delete("alpha", confirm=True)
    await a_space(pair.slow)

    assert await read(pair.quick) == []
    assert (await pair.quick.overview.info("alpha")).live.notes_count == 0


async def test_a_clock_that_is_set_back_hides_no_note(pair: Pair) -> None:
    await a_space(pair.slow)
    await a_note(pair.slow, "before")
    assert await read(pair.quick) == ["before"]

    pair.clock.set(pair.clock.now() - timedelta(hours=1))
    await a_note(pair.slow, "after")

    assert await read(pair.quick) == ["after", "before"]


async def test_a_writer_that_was_suspended_hides_no_note(pair: Pair) -> None:
    await a_space(pair.slow)

    async def sleep() -> None:
        pair.clock.advance(timedelta(minutes=6))
        assert await read(pair.quick) == []

    pair.meanwhile(sleep, "create", key="alpha/live/")
    written = await a_note(pair.slow, "late")

    assert await read(pair.quick) == ["late"]
    assert written.timestamp > "2026-01-31T18:10"
    assert len([one async for page in pair.disk.list("alpha/live/2") for one in page.objects]) == 1


@pytest.mark.parametrize("methods", [("list",), ("get",)])
async def test_an_export_holds_a_note_that_is_filed_meanwhile(pair: Pair, methods: tuple[str, ...]) -> None:
    await a_space(pair.quick)
    await a_note(pair.quick, "fact one")

    pair.meanwhile(lambda: consolidate(pair.quick), *methods, key="alpha/live/")
    export = await pair.slow.overview.export("alpha")

    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(export.archive_base64))) as tar:
        whole = b"".join(file.read() for member in tar if (file := tar.extractfile(member)))
    assert b"fact one" in whole


@pytest.mark.parametrize("methods", [("list",), ("get",)])
async def test_a_backup_holds_a_note_that_is_filed_meanwhile(pair: Pair, methods: tuple[str, ...]) -> None:
    await a_space(pair.quick)
    await a_note(pair.quick, "fact one")

    pair.meanwhile(lambda: consolidate(pair.quick), *methods, key="alpha/live/")
    backup_id = await back_up(pair.slow)
    await pair.quick.spaces.delete("alpha", confirm=True)
    await restore(pair.quick, backup_id)

    opened = await pair.quick.bank.open("alpha")
    assert any("fact one" in file.content for file in (await pair.quick.bank.read_all(opened)).files)


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_lost_reply_during_a_restore_is_recognised(pair: Pair, nth: int) -> None:
    await a_space(pair.slow)
    await pair.slow.runner.idle()
    backup_id = await back_up(pair.slow)
    await pair.slow.spaces.delete("alpha", confirm=True)
    fault = pair.slow_store.fail("replace", key="alpha/_bank.json", nth=nth, applied=True)

    await restore(pair.slow, backup_id)

    assert fault.met == 1
    assert await pair.fresh().spaces.find("alpha") is not None


async def test_a_deletion_during_a_commit_leaves_no_text_behind(pair: Pair) -> None:
    await a_space(pair.slow)
    await a_note(pair.slow, "a secret, 42")

    async def delete() -> None:
        await pair.quick.spaces.delete("alpha", confirm=True)

    pair.meanwhile(delete, "replace", key="alpha/_bank.json")
    with pytest.raises(SpaceNotFound):
        await pair.slow.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    await pair.slow.runner.idle()

    assert [one.key async for page in pair.disk.list("alpha/") for one in page.objects] == ["alpha/_bank.json"]


async def test_a_backup_of_a_former_space_is_hidden_when_its_successor_is_deleted_too(pair: Pair) -> None:
    await a_space(pair.quick)
    backup_id = await back_up(pair.quick)
    await pair.quick.spaces.delete("alpha", confirm=True)
    await a_space(pair.quick)
    await pair.quick.spaces.delete("alpha", confirm=True)

    reader = a_caller("reader", "read")
    assert (await pair.quick.backups.list("", caller=reader, limit=500, cursor="")).backups == []
    with pytest.raises(BackupNotFound):
        await pair.quick.backups.download(backup_id, caller=reader)


async def test_a_space_of_an_older_tool_is_not_created_over(pair: Pair) -> None:
    await pair.disk.create("alpha/_meta.json", b'{"space_id": "alpha"}')

    with pytest.raises(SpaceExists):
        await a_space(pair.quick)


async def test_a_lagging_view_is_looked_after_once_and_not_by_every_reader(pair: Pair) -> None:
    await a_space(pair.quick)
    await pair.quick.runner.idle()
    pair.slow_store.fail(("put", "create", "replace"), lasting=True)
    pair.slow_store.forget_calls()

    for _reader in range(50):
        await pair.slow.bank.open("alpha")
    await pair.slow.runner.idle()

    # Once to see that the space is a new one, and once for the view.
    assert len([call for call in pair.slow_store.calls if call == ("get", "alpha/_meta.json")]) == 2
