"""Following a job: live where it runs, by what is stored everywhere else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.jobs.errors import JobNotFound
from app.jobs.follow import KEEP_ALIVE
from app.jobs.keeper import SAVE_EVERY, TOUCH_EVERY
from app.jobs.models import JobEvent, JobState
from app.jobs.service import JobService
from app.jobs.store import job_key
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import SPACE, Leases, Process, Steps, a_caller, heard, recorded, short

WHOLE = ["queued", "committed", "committed", "done"]


async def opened(jobs: JobService, job_id: str, after: int = 0) -> AsyncIterator[JobEvent | None]:
    events = await jobs.events(job_id, after=after)
    assert events is not None
    return events


async def next_of(events: AsyncIterator[JobEvent | None]) -> JobEvent:
    """The next thing that happened; that nothing did does not count."""
    async with asyncio.timeout(5):
        while (event := await anext(events)) is None:
            pass
    return event


async def test_a_live_job_is_followed_event_by_event(store: FaultyStore, clock: FrozenClock) -> None:
    async with Process(store, clock) as here:
        work = Steps(2)
        job = await here.start(work)
        events = await opened(here.jobs, job.id)
        assert (await next_of(events)).event == "queued"
        work.go.release()
        first = await next_of(events)
        assert (first.id, first.event, first.data) == (2, "committed", {"version": 1})
        work.go.release()
        assert [(await next_of(events)).event for _ in range(2)] == ["committed", "done"]
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_quiet_stream_says_that_it_is_open(store: FaultyStore, clock: FrozenClock) -> None:
    async with Process(store, clock, keep_alive=0) as here:
        work = Steps()
        job = await here.start(work)
        events = await opened(here.jobs, job.id)
        assert (await next_of(events)).event == "queued"
        assert [await anext(events) for _ in range(3)] == [None, None, None]
        work.go.release()
        assert (await next_of(events)).event == "committed"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_whoever_comes_back_gets_what_was_missed_and_no_more(
    store: FaultyStore, clock: FrozenClock, *, elsewhere: bool
) -> None:
    async with Process(store, clock) as here, Process(store, clock) as there:
        jobs = there.jobs if elsewhere else here.jobs
        work = Steps(2)
        job = await here.start(work)
        work.go.release()
        work.go.release()
        await job.result()
        await here.runner.idle()
        assert [event.event for event in await heard(jobs, job.id)] == WHOLE
        assert [event.id for event in await heard(jobs, job.id, after=2)] == [3, 4]
        (done,) = await heard(jobs, job.id, after=3)
        assert done.data == {"state": "done", "result": {"status": "ok", "steps": 2}}
        assert await jobs.events(job.id, after=4) is None
        assert await jobs.events(job.id, after=99) is None


async def test_several_followers_hear_the_same_and_one_that_leaves_disturbs_nobody(
    store: FaultyStore, clock: FrozenClock
) -> None:
    async with Process(store, clock) as here:
        work = Steps(2)
        job = await here.start(work)
        followers = [asyncio.create_task(heard(here.jobs, job.id)) for _ in range(3)]
        await work.arrived.get()
        followers[0].cancel()
        work.go.release()
        work.go.release()
        async with asyncio.timeout(5):
            left, *stayed = await asyncio.gather(*followers, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    for events in stayed:
        assert isinstance(events, list)
        assert [event.event for event in events] == WHOLE


async def test_a_job_is_followed_from_another_process(store: FaultyStore, clock: FrozenClock) -> None:
    async with Process(store, clock) as here, Process(store, clock) as there:
        work = Steps(2)
        job = await here.start(work, announced=True)
        events = await opened(there.jobs, job.id)
        assert (await next_of(events)).event == "queued"
        waiting = asyncio.create_task(next_of(events))
        work.go.release()
        assert await work.arrived.get() == 0
        assert await work.arrived.get() == 1
        await here.sleep.wake()
        await there.sleep.wake_until(waiting)
        assert (await waiting).data == {"version": 1}
        rest = asyncio.create_task(next_of(events))
        work.go.release()
        await here.runner.idle()
        await there.sleep.wake_until(rest)
        assert (await rest).event == "committed"
        assert (await next_of(events)).event == "done"


async def test_a_distant_follower_looks_less_often_while_nothing_happens_and_says_that_it_is_there(
    store: FaultyStore, clock: FrozenClock
) -> None:
    leases = Leases()
    async with Process(store, clock) as here, Process(store, clock, leases) as there:
        work = Steps()
        job = await here.start(work, announced=True)
        leases.alive.add(job.id)
        events = await opened(there.jobs, job.id)
        assert (await next_of(events)).event == "queued"
        waiting = asyncio.ensure_future(anext(events))
        await there.sleep.wake_until(waiting)
        assert await waiting is None
        pauses = there.sleep.pauses
        assert pauses[:3] == [1.0, 1.5, 2.25]
        assert max(pauses) <= 5.0
        assert sum(pauses) >= KEEP_ALIVE > sum(pauses[:-1])
        work.go.release()


@pytest.mark.parametrize("is_alive", [True, False])
async def test_a_distant_follower_learns_that_nobody_runs_the_job_any_more(
    store: FaultyStore, clock: FrozenClock, *, is_alive: bool
) -> None:
    leases = Leases()
    async with Process(store, clock) as here, Process(store, clock, leases) as there:
        work = Steps()
        job = await here.start(work, announced=True)
        leases.alive.add(job.id)
        events = await opened(there.jobs, job.id)
        assert (await next_of(events)).event == "queued"
        clock.advance(timedelta(minutes=2))
        if not is_alive:
            leases.alive.clear()
        waiting = asyncio.ensure_future(next_of(events))
        await there.sleep.wake_until(waiting, seconds=120)
        assert waiting.done() is not is_alive
        assert 0 < leases.asked <= 5
        if is_alive:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        else:
            event = await waiting
            assert (event.event, event.data["state"]) == ("done", JobState.INTERRUPTED)
        work.go.release()


@pytest.mark.parametrize("runs", [True, False])
async def test_a_job_that_needs_no_lease_is_believed_as_long_as_its_process_runs(
    store: FaultyStore, clock: FrozenClock, *, runs: bool
) -> None:
    async with Process(store, clock) as here, Process(store, clock) as there:
        work = Steps()
        job = await here.start(work, announced=True)
        states = set()
        store.forget_calls()
        for _ in range(40):
            clock.advance(timedelta(seconds=SAVE_EVERY))
            if runs:
                await here.sleep.wake()
                await here.sleep.asleep()
            states.add((await there.jobs.get(job.id)).state)
        writes = [key for method, key in store.calls if method == "replace"]
        assert len(writes) == (8 if runs else 0)  # once since it began, and then every fifteen seconds
        assert (JobState.INTERRUPTED in states) is not runs
        work.go.release()
        await job.result()
    assert (await recorded(store, job.id)).state is JobState.DONE


async def test_a_wish_to_stop_is_heard_when_the_record_is_written_for_its_age(
    store: FaultyStore, clock: FrozenClock
) -> None:
    async with Process(store, clock) as here, Process(store, clock) as there:
        work = Steps()
        job = await here.start(work, announced=True)
        await here.sleep.wake()
        await here.sleep.asleep()
        await there.jobs.cancel(job.id, caller=a_caller())
        clock.advance(timedelta(seconds=TOUCH_EVERY))
        await here.sleep.wake()
        await here.sleep.asleep()
        assert job.cancelled.is_set()
        assert (await recorded(store, job.id)).cancel_requested
        work.go.release()


@pytest.mark.parametrize("happens", ["outage", "removed"])
async def test_a_distant_stream_ends_when_the_record_cannot_be_read(
    store: FaultyStore, clock: FrozenClock, happens: str
) -> None:
    async with Process(store, clock) as here, Process(store, clock) as there:
        work = Steps()
        job = await here.start(work, announced=True)
        events = await opened(there.jobs, job.id)
        await next_of(events)
        waiting = asyncio.ensure_future(anext(events))
        if happens == "outage":
            store.fail("get")
        else:
            await store.inner.delete(job_key(job.id))
        await there.sleep.wake()
        with pytest.raises(StopAsyncIteration):
            await waiting
        work.go.release()


async def test_there_is_nothing_to_follow_of_an_unknown_job(store: FaultyStore, clock: FrozenClock) -> None:
    async with Process(store, clock) as here:
        with pytest.raises(JobNotFound):
            await here.jobs.events(f"{SPACE}.{'0' * 16}")
        job = await here.start(short)
        assert [event.event for event in await heard(here.jobs, job.id)] == ["queued", "planned", "done"]
