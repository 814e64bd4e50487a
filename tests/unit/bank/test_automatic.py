"""Consolidation that nobody asks for: when it is due, how often it is done, and by which of several processes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from app.bank.automatic import ACTOR, is_due
from app.bank.history import HistoryStore
from app.bank.ledger import UsageDay, usage_prefix
from app.core.settings import Settings
from app.notes.models import Waiting
from app.spaces.models import Automatic, AutomaticGiven, SpaceUpdate
from app.storage.store import Stored
from tests.builders import ADMIN
from tests.integration.stories import SPACE, Process, Scripted, World, model

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
POLICY = Automatic(enabled=True, notes=5, max_age_minutes=60, quiet_minutes=5, cooldown_minutes=10, daily_runs=3)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def waiting(count: int, *, oldest: float, newest: float) -> Waiting:
    """So many notes, the oldest and the newest of them so many minutes old."""
    return Waiting(count, 100 * count, NOW - minutes(oldest), NOW - minutes(newest))


@pytest.mark.parametrize(
    ("notes", "last", "due"),
    [
        pytest.param(waiting(5, oldest=20, newest=5), None, True, id="enough notes, and quiet"),
        pytest.param(waiting(4, oldest=20, newest=5), None, False, id="too few"),
        pytest.param(waiting(1, oldest=60, newest=60), None, True, id="one, but old"),
        pytest.param(waiting(1, oldest=59, newest=59), None, False, id="one, not old yet"),
        pytest.param(waiting(9, oldest=20, newest=4.9), None, False, id="somebody is still writing"),
        pytest.param(waiting(9, oldest=119, newest=1), None, False, id="still writing for long"),
        pytest.param(waiting(9, oldest=120, newest=1), None, True, id="still writing for too long"),
        pytest.param(waiting(9, oldest=20, newest=6), 9.9, False, id="done a moment ago"),
        pytest.param(waiting(9, oldest=20, newest=6), 10, True, id="done some time ago"),
        pytest.param(waiting(9, oldest=500, newest=6), 9.9, False, id="done a moment ago, whatever the age"),
        pytest.param(Waiting(0, 0, None, None), None, False, id="nothing waits"),
    ],
)
def test_it_is_due_when_enough_waits_and_nobody_is_writing(notes: Waiting, last: float | None, *, due: bool) -> None:
    before = None if last is None else NOW - minutes(last)

    assert is_due(POLICY, notes, before, NOW) is due
    assert is_due(POLICY.model_copy(update={"enabled": False}), notes, before, NOW) is False


class Stage:
    """A space that is to be consolidated by itself, and processes that look at it."""

    def __init__(self) -> None:
        self.world = World()
        self.models: list[Scripted] = []

    async def __aenter__(self) -> Self:
        await self.world.prepare()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.world.audit()

    def process(self, **more: Any) -> Process:
        self.models.append(model(clock=self.world.clock, **more))
        return self.world.process(self.models[-1])

    async def enable(self, **changes: Any) -> None:
        given = AutomaticGiven.model_validate({**POLICY.model_dump(), **changes})
        await self.process().services.spaces.update(SPACE, SpaceUpdate(automatic=given), caller=ADMIN)

    def later(self, number: float) -> None:
        self.world.clock.advance(minutes(number))

    async def notes(self, count: int = 6) -> None:
        for number in range(count):
            await self.world.note(self.process().services, f"Fact {len(self.world.written)}.{number} of (#9{number}).")

    async def runs_today(self) -> int:
        """Runs that count for today's most."""
        day = self.world.clock.now().date().isoformat()
        stored = await self.world.disk.get(f"{usage_prefix(SPACE)}{day}.json")
        return UsageDay.model_validate_json(stored.body).automatic_runs if isinstance(stored, Stored) else 0


async def test_it_is_off_as_long_as_nobody_wants_it() -> None:
    async with Stage() as stage:
        stage.later(10_000)

        assert await stage.process().services.automatic.look() == []

        assert len((await stage.world.audit()).waiting) == 6


async def test_it_files_the_notes_of_everybody_in_its_own_name() -> None:
    async with Stage() as stage:
        await stage.enable()
        process = stage.process()
        assert await process.services.automatic.look() == [], "somebody is still writing"
        stage.later(5)

        assert await process.services.automatic.look() == [SPACE]

        audit = await stage.world.audit()
        assert not audit.waiting
        assert {commit.actor for commit in audit.commits} == {ACTOR}
        assert await stage.runs_today() == 1
        head = (await process.services.spaces.open(SPACE)).head
        assert head.history
        assert await HistoryStore(stage.world.disk).read(head.history)


async def test_it_works_without_a_model_too() -> None:
    async with Stage() as stage:
        await stage.enable()
        stage.later(5)

        assert await stage.world.process(None).services.automatic.look() == [SPACE]

        assert not (await stage.world.audit()).waiting


async def test_it_lets_some_time_pass_between_two_runs_whoever_did_the_first() -> None:
    async with Stage() as stage:
        await stage.enable()
        process = stage.process()
        stage.later(5)
        await process.consolidate()
        await stage.notes()
        stage.later(6)

        assert await process.services.automatic.look() == [], "consolidated by hand a moment ago"
        stage.later(5)
        assert await process.services.automatic.look() == [SPACE]


async def test_it_does_not_try_again_at_once_what_has_failed() -> None:
    async with Stage() as stage:
        await stage.enable()
        process = stage.process()
        fault = process.store.fail("replace", key=f"{SPACE}/_bank.json")
        stage.later(5)

        assert await process.services.automatic.look() == []
        assert fault.met == 1
        assert await process.services.automatic.look() == []
        assert fault.met == 1
        stage.later(10)
        assert await process.services.automatic.look() == [SPACE]


async def test_it_stops_for_the_day_when_it_has_run_often_enough() -> None:
    async with Stage() as stage:
        await stage.enable(daily_runs=2)
        process = stage.process()
        for _run in range(2):
            await stage.notes()
            stage.later(12)
            assert await process.services.automatic.look() == [SPACE]
        await stage.notes()
        stage.later(12)

        assert await process.services.automatic.look() == []
        assert await stage.runs_today() == 2
        assert (await process.consolidate()).notes_processed == 6, "who asks is not refused"
        await stage.notes()
        stage.later(24 * 60)
        assert await process.services.automatic.look() == [SPACE]


async def test_of_two_processes_one_does_the_work_and_only_its_run_counts() -> None:
    async with Stage() as stage:
        await stage.enable()
        stage.later(5)
        go_on = asyncio.Event()
        first, second = stage.process(hold=go_on), stage.process()
        asked, unasked = stage.models[-2:]
        looking = asyncio.create_task(first.services.automatic.look())
        async with asyncio.timeout(20):
            await asked.asked.wait()

        assert await second.services.automatic.look() == []
        assert await stage.runs_today() == 1
        go_on.set()
        assert await looking == [SPACE]

        assert unasked.calls == []
        assert len({commit.job_id for commit in (await stage.world.audit()).commits}) == 1


async def test_a_space_that_cannot_be_read_keeps_no_other_from_it() -> None:
    async with Stage() as stage:
        await stage.enable()
        stage.later(5)
        await stage.world.disk.put("aaa/_bank.json", b"not a head")

        assert await stage.process().services.automatic.look() == [SPACE]


async def test_a_deleted_space_is_left_alone() -> None:
    stage = Stage()
    await stage.world.prepare()
    await stage.enable()
    stage.later(5)
    process = stage.process()
    await process.services.spaces.delete(SPACE, confirm=True)

    assert await process.services.automatic.look() == []


async def test_it_keeps_to_the_budget_of_the_space() -> None:
    stage = Stage()
    stage.world.settings = Settings.for_tests(llm_daily_calls=1, consolidation_batch_size=3)
    async with stage:
        await stage.enable()
        stage.later(5)
        process = stage.process()

        assert await process.services.automatic.look() == [SPACE]

        assert len(stage.models[-1].calls) == 1
        assert not (await stage.world.audit()).waiting
        assert ADMIN.name not in {commit.actor for commit in (await stage.world.audit()).commits}


async def test_what_files_nothing_is_tried_ever_more_rarely() -> None:
    async with Stage() as stage:
        stage.world.settings = Settings.for_tests(consolidation_on_uncovered="leave")
        await stage.enable()
        process = stage.process(then="no")
        stage.later(5)
        tried = []
        for _look in range(18):
            assert await process.services.automatic.look() == []
            tried.append(await stage.runs_today())
            stage.later(5)

        assert (tried[0], tried[3], tried[-1]) == (1, 1, 3), "again after 20 minutes, and after 40 more"
