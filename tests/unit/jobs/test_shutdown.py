"""Jobs when their process ends."""

import asyncio
from typing import Any, Final

import pytest

from app.jobs.errors import Interrupted, ShuttingDown
from app.jobs.models import JobState
from app.jobs.service import JobHandle
from app.jobs.store import answer_key
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import SPACE, Process, Steps, ended, heard, recorded, short

SHA: Final = "0" * 64


class TestShutdown:
    """The end of a process is not the end of what is known."""

    async def test_work_that_ends_in_time_is_done(self, store: FaultyStore, clock: FrozenClock) -> None:
        work = Steps()
        async with Process(store, clock) as here:
            job = await here.start(work)
            work.go.release()
        record = await recorded(store, job.id)
        assert record.state is JobState.DONE

    async def test_work_that_does_not_is_asked_to_stop_and_recorded_as_interrupted(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            await job.cancelled.wait()
            job.check_cancelled()
            return {}

        async with Process(store, clock, drain=0) as here:
            job = await here.start(work)
            await asyncio.sleep(0)
        record = await recorded(store, job.id)
        assert (record.state, record.cancel_requested) == (JobState.INTERRUPTED, False)
        with pytest.raises(Interrupted):
            await ended(job)

    async def test_work_that_will_not_stop_is_cut_off_and_recorded_as_interrupted(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        kept, never = asyncio.Event(), asyncio.Event()

        async def work(job: JobHandle) -> dict[str, Any]:
            await job.keep_answer(SHA, "paid for")
            kept.set()
            await never.wait()
            return {}

        async with Process(store, clock, drain=0, grace=0) as here:
            job = await here.start(work, announced=True)
            async with asyncio.timeout(5):
                await kept.wait()
        record = await recorded(store, job.id)
        assert record.state is JobState.INTERRUPTED
        assert await store.inner.get(answer_key(SPACE, SHA)) is not None

    async def test_a_commit_that_has_begun_is_finished(self, store: FaultyStore, clock: FrozenClock) -> None:
        inside = asyncio.Event()
        work = Steps()

        async def commit() -> None:
            inside.set()
            await job.cancelled.wait()

        work.inside = commit
        async with Process(store, clock, drain=0) as here:
            job = await here.start(work)
            work.go.release()
            async with asyncio.timeout(5):
                await inside.wait()
        assert work.committed == [0]
        record = await recorded(store, job.id)
        assert record.state is JobState.DONE

    async def test_a_process_that_ends_takes_no_new_work_and_ends_its_streams(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work)
            following = asyncio.create_task(heard(here.jobs, job.id))
            await work.arrived.get()
            here.jobs.drain()
            async with asyncio.timeout(5):
                events = await following
            assert "done" not in [event.event for event in events]
            with pytest.raises(ShuttingDown):
                await here.start(short)
            work.go.release()
            await ended(job)
