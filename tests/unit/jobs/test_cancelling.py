"""Stopping jobs, here and from another process."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.core.errors import StoreUnavailable
from app.core.identity import Permission
from app.jobs.errors import Cancelled, JobNotFound, NotYourJob
from app.jobs.models import JobState
from app.jobs.service import JobHandle, JobService, Runner
from app.jobs.store import job_key
from app.storage.document import DamagedDocument
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import SPACE, Leases, Process, Steps, a_caller, ended, heard, short, until_recorded


class TestCancelling:
    """Before the commit point it is free, after it too late."""

    async def test_before_a_commit_it_ends_the_work(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            work = Steps(2)
            job = await here.start(work)
            await work.arrived.get()
            answer = await here.jobs.cancel(job.id, caller=a_caller())
            assert answer.state is JobState.RUNNING
            work.go.release()
            with pytest.raises(Cancelled):
                await ended(job)
            await here.runner.idle()
            found = await here.jobs.get(job.id)
        assert work.committed == []
        assert (found.state, found.cancel_requested) == (JobState.CANCELLED, True)
        assert found.result is not None
        assert found.result["code"] == "cancelled"

    async def test_inside_a_commit_it_waits_for_the_next_point(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            work = Steps(2)

            async def cancel() -> None:
                assert (await here.jobs.cancel(job.id, caller=a_caller())).state is JobState.COMMITTING

            work.inside = cancel
            job = await here.start(work)
            work.go.release()
            work.go.release()
            with pytest.raises(Cancelled):
                await ended(job)
        assert work.committed == [0]

    async def test_inside_the_last_commit_it_is_too_late(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            work = Steps(1)

            async def cancel() -> None:
                await here.jobs.cancel(job.id, caller=a_caller())

            work.inside = cancel
            job = await here.start(work)
            work.go.release()
            assert (await ended(job))["status"] == "ok"
            assert (await here.jobs.get(job.id)).state is JobState.DONE
        assert work.committed == [0]

    async def test_work_that_answers_for_itself_is_cancelled_with_its_result(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            await job.cancelled.wait()
            return {"status": "partial", "code": "cancelled", "notes_processed": 3}

        async with Process(store, clock) as here:
            job = await here.start(work)
            await here.jobs.cancel(job.id, caller=a_caller())
            assert (await ended(job))["notes_processed"] == 3
            assert (await here.jobs.get(job.id)).state is JobState.CANCELLED

    async def test_a_job_that_is_over_stays_as_it_is(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            job = await here.start(short)
            await ended(job)
            await here.runner.idle()
            store.forget_calls()
            answer = await here.jobs.cancel(job.id, caller=a_caller())
        assert (answer.state, answer.message) == (JobState.DONE, "It is over already: done.")
        assert "replace" not in store.counted()

    async def test_only_an_admin_cancels_what_somebody_else_started(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work)
            with pytest.raises(NotYourJob):
                await here.jobs.cancel(job.id, caller=a_caller("another"))
            assert not job.cancelled.is_set()
            await here.jobs.cancel(job.id, caller=a_caller("root", Permission.ADMIN))
            assert job.cancelled.is_set()
            work.go.release()

    async def test_an_unknown_job_cannot_be_cancelled(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            with pytest.raises(JobNotFound):
                await here.jobs.cancel(f"{SPACE}.{'0' * 16}", caller=a_caller())


class TestASlowCall:
    """Whatever the work waits for, it does not wait for it in vain."""

    @pytest.mark.parametrize("ends", ["by itself", "cancelled", "cut off"])
    async def test_it_is_cancelled_with_the_job(self, store: FaultyStore, clock: FrozenClock, ends: str) -> None:
        asked, answer = asyncio.Event(), asyncio.Event()
        closed = []

        async def call() -> str:
            try:
                asked.set()
                await answer.wait()
            except asyncio.CancelledError:
                closed.append("closed")
                raise
            return "an answer"

        async def work(job: JobHandle) -> dict[str, Any]:
            return {"answer": await job.unless_cancelled(call())}

        async with Process(store, clock, drain=0 if ends == "cut off" else 5, grace=0) as here:
            job = await here.start(work)
            async with asyncio.timeout(5):
                await asked.wait()
            if ends == "cancelled":
                await here.jobs.cancel(job.id, caller=a_caller())
                with pytest.raises(Cancelled):
                    await ended(job)
            elif ends == "by itself":
                answer.set()
                assert await ended(job) == {"answer": "an answer"}
        assert closed == ([] if ends == "by itself" else ["closed"])

    async def test_what_it_raises_is_raised(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def call() -> None:
            raise StoreUnavailable

        async def work(job: JobHandle) -> dict[str, Any]:
            await job.unless_cancelled(call())
            return {}

        async with Process(store, clock) as here:
            with pytest.raises(StoreUnavailable):
                await ended(await here.start(work))


class TestReplicas:
    """Two processes over one store."""

    @pytest.mark.parametrize("cancels", [True, False])
    async def test_one_cancels_what_the_other_runs(
        self, store: FaultyStore, clock: FrozenClock, *, cancels: bool
    ) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            work = Steps()
            job = await here.start(work, announced=True)
            await work.arrived.get()
            if cancels:
                answer = await there.jobs.cancel(job.id, caller=a_caller())
                assert answer.message == "It has been asked to stop."
            await here.sleep.wake()
            if cancels:
                async with asyncio.timeout(5):
                    await job.cancelled.wait()
            work.go.release()
            if cancels:
                with pytest.raises(Cancelled):
                    await ended(job)
            else:
                await ended(job)
            await here.runner.idle()
            found = await there.jobs.get(job.id)
        assert found.state is (JobState.CANCELLED if cancels else JobState.DONE)
        assert work.committed == ([] if cancels else [0])

    async def test_a_quiet_job_hears_of_it_too(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            work = Steps()
            job = await here.start(work, announced=True)
            await work.arrived.get()
            await here.sleep.wake()
            await until_recorded(store, job)
            await there.jobs.cancel(job.id, caller=a_caller())
            await here.sleep.wake()
            async with asyncio.timeout(5):
                await job.cancelled.wait()
            work.go.release()

    async def test_a_cancellation_that_comes_too_late_is_no_harm(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            work = Steps()
            job = await here.start(work, announced=True)
            await there.jobs.cancel(job.id, caller=a_caller())
            work.go.release()
            await ended(job)
            await here.runner.idle()
            found = await there.jobs.get(job.id)
        assert (found.state, found.cancel_requested) == (JobState.DONE, True)

    async def test_a_job_that_nobody_runs_any_more_is_interrupted(self, store: FaultyStore, clock: FrozenClock) -> None:
        leases = Leases()
        async with Process(store, clock) as here, Process(store, clock, leases) as there:
            work = Steps()
            job = await here.start(work, announced=True)
            await work.arrived.get()
            assert (await there.jobs.get(job.id)).state is JobState.QUEUED
            assert leases.asked == 0, "a record that was written a moment ago is believed"
            clock.advance(timedelta(minutes=2))
            leases.alive.add(job.id)
            assert (await there.jobs.get(job.id)).state is JobState.QUEUED
            leases.alive.clear()
            assert (await there.jobs.get(job.id)).state is JobState.INTERRUPTED
            assert (await there.jobs.cancel(job.id, caller=a_caller())).state is JobState.INTERRUPTED
            assert [event.event for event in await heard(there.jobs, job.id)] == ["queued", "done"]
            assert leases.asked == 4
            work.go.release()

    async def test_a_job_that_ends_while_it_is_asked_for_is_not_interrupted(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work, announced=True)
            clock.advance(timedelta(minutes=2))

            async def finishes(_space_id: str, _job_id: str) -> bool:
                work.go.release()
                await ended(job)
                return False

            there = JobService(store, Runner(drain=0), clock, is_alive=finishes)
            assert (await there.get(job.id)).state is JobState.DONE

    async def test_an_outage_does_not_look_like_an_unknown_job(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            job = await here.start(short)
            await ended(job)
            await here.runner.idle()
            store.fail("get")
            with pytest.raises(StoreUnavailable):
                await there.jobs.get(job.id)
            assert (await there.jobs.get(job.id)).state is JobState.DONE
            await store.inner.put(job_key(job.id), b"{}")
            with pytest.raises(DamagedDocument):
                await there.jobs.get(job.id)
