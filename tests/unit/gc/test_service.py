"""Old notes, in the three modes."""

from datetime import timedelta

import pytest

from app.bootstrap import Services
from app.gc.models import Collect, Collected
from app.notes.models import NotesQuery
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore


async def collect(services: Services, **request: object) -> Collected:
    return await services.gc.collect(Collect(**request), caller=ADMIN, progress=silent)


async def waiting(services: Services, space_id: str = "alpha") -> list[str]:
    return sorted(note.content for note in (await services.notes.read(space_id, NotesQuery())).notes)


@pytest.fixture
async def left_behind(services: Services, clock: FrozenClock) -> Services:
    """Two old notes by two agents in alpha, one old note in beta, and a recent one in alpha."""
    await a_space(services)
    await a_space(services, "beta")
    await a_note(services, "old 1", caller=a_caller("agent_x"))
    await a_note(services, "old 2", caller=a_caller("dev"))
    await a_note(services, "old 3", space_id="beta")
    clock.advance(timedelta(days=8))
    await a_note(services, "recent 4", caller=a_caller("dev"))
    return services


async def test_a_dry_run_reports_and_changes_nothing(left_behind: Services) -> None:
    report = await collect(left_behind)

    assert (report.status, report.mode, report.total_old_notes) == ("ok", "dry-run", 3)
    alpha = report.spaces["alpha"]
    assert (alpha.total_notes, alpha.old_notes, alpha.by_agent) == (3, 2, {"agent_x": 1, "dev": 1})
    assert alpha.oldest == "20260131T180500"
    assert await waiting(left_behind) == ["old 1", "old 2", "recent 4"]


async def test_old_notes_are_filed_and_recent_ones_stay(left_behind: Services) -> None:
    report = await collect(left_behind, confirm=True)

    assert (report.status, report.action, report.consolidated) == ("ok", "consolidate", 3)
    assert {agent: one.notes_processed for agent, one in report.consolidation_details["alpha"].items()} == {
        "agent_x": 1,
        "dev": 1,
    }
    assert (await waiting(left_behind), await waiting(left_behind, "beta")) == (["recent 4"], [])
    assert (await collect(left_behind, confirm=True)).total_old_notes == 0


async def test_old_notes_are_removed_on_request(left_behind: Services) -> None:
    report = await collect(left_behind, space_id="alpha", confirm=True, delete_only=True)

    assert (report.status, report.action, report.deleted) == ("deleted", "delete", 2)
    assert (await waiting(left_behind), await waiting(left_behind, "beta")) == (["recent 4"], ["old 3"])
    assert (await collect(left_behind, space_id="alpha", confirm=True, delete_only=True)).status == "ok"


async def test_delete_only_without_confirm_deletes_nothing(left_behind: Services) -> None:
    assert (await collect(left_behind, delete_only=True)).mode == "dry-run"
    assert len(await waiting(left_behind)) == 3


async def test_an_unknown_space_has_nothing_old(left_behind: Services) -> None:
    assert (await collect(left_behind, space_id="gamma", confirm=True)).spaces == {}


async def test_a_space_that_fails_is_named_and_the_others_go_on(left_behind: Services, store: FaultyStore) -> None:
    store.fail("create", key="alpha/_history/")

    report = await collect(left_behind, confirm=True)

    assert (report.status, report.consolidated) == ("partial", 2)
    assert report.consolidation_details["alpha"]["agent_x"].code == "store_unavailable"
    assert await waiting(left_behind) == ["old 1", "recent 4"]


async def test_a_damaged_space_is_named_and_the_others_go_on(left_behind: Services, store: FaultyStore) -> None:
    await store.inner.put("alpha/_bank.json", b"{")

    report = await collect(left_behind, confirm=True)

    assert (report.status, report.consolidated, report.failures) == ("partial", 1, {"alpha": "damaged_document"})


async def test_a_foreign_object_is_counted_and_never_old(left_behind: Services, store: FaultyStore) -> None:
    await store.inner.create("alpha/live/README.md", b"put here by hand")
    left_behind.notes.forget("alpha")

    report = await collect(left_behind, confirm=True, delete_only=True)

    assert (report.spaces["alpha"].total_notes, report.spaces["alpha"].old_notes, report.deleted) == (4, 2, 3)
    assert await store.inner.get("alpha/live/README.md") is not None
