"""Starting jobs, and what becomes of their outcome."""

import asyncio
import json
from datetime import timedelta
from typing import Any, Final

import pytest

from app.core.errors import Conflict, InternalError, NotFound, StoreUnavailable
from app.core.ids import space_of_job
from app.jobs.errors import JobNotFound
from app.jobs.keeper import SAVE_EVERY
from app.jobs.models import JobRecord, JobState
from app.jobs.service import JobHandle
from app.jobs.store import job_key
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import SPACE, Process, Steps, ended, recorded, short, stored, until_recorded

SHA: Final = "0" * 64


class TestStarting:
    """A job, and what it costs."""

    async def test_a_short_job_is_one_write_at_its_end(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            job = await here.start(short)
            assert await ended(job) == {"status": "ok"}
            await here.runner.idle()
        assert store.calls == [("create", job_key(job.id))]
        record = await recorded(store, job.id)
        assert (record.state, record.result, record.kind) == (JobState.DONE, {"status": "ok"}, "consolidation")
        assert record.attempted == "record"

    async def test_an_announced_job_is_known_to_others_at_once_and_costs_two_writes(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            work = Steps()
            job = await here.start(work, announced=True)
            assert (await there.jobs.get(job.id)).state is JobState.QUEUED
            store.forget_calls()
            work.go.release()
            await ended(job)
            await here.runner.idle()
        assert store.calls == [("replace", job_key(job.id))]

    async def test_a_job_that_cannot_be_announced_is_not_begun(self, store: FaultyStore, clock: FrozenClock) -> None:
        begun = False

        async def work(_job: JobHandle) -> dict[str, Any]:
            nonlocal begun
            begun = True
            return {}

        async with Process(store, clock) as here:
            fault = store.fail("create")
            with pytest.raises(StoreUnavailable):
                await here.start(work, announced=True)
            await here.runner.idle()
            assert (fault.met, begun) == (1, False)
            await ended(await here.start(work, announced=True))
            assert begun

    async def test_its_id_names_its_space(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            job = await here.start(short)
            assert space_of_job(job.id) == job.space_id == SPACE

    async def test_a_long_job_is_written_while_it_runs(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            work = Steps()
            job = await here.start(work)
            await work.arrived.get()
            with pytest.raises(JobNotFound):
                await there.jobs.get(job.id)
            await here.sleep.wake()
            await until_recorded(store, job)
            assert (await there.jobs.get(job.id)).state is JobState.RUNNING
            assert here.sleep.pauses[0] == SAVE_EVERY
            work.go.release()
            await ended(job)

    async def test_what_a_slow_commit_writes_is_noted_before_it(self, store: FaultyStore, clock: FrozenClock) -> None:
        seen: list[JobRecord | None] = []
        work = Steps()

        async def look() -> None:
            seen.append(await stored(store, job.id))

        work.inside = look
        async with Process(store, clock) as here:
            job = await here.start(work)
            await work.arrived.get()
            clock.advance(timedelta(seconds=SAVE_EVERY))
            work.go.release()
            await ended(job)
        (record,) = seen
        assert record is not None
        assert (record.state, record.attempted) == (JobState.COMMITTING, "record 0")


class TestOutcomes:
    """However the work ends, it is told."""

    async def test_nobody_needs_to_wait(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work)
            waiting = asyncio.create_task(job.result())
            await work.arrived.get()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            work.go.release()
            await here.runner.idle()
            assert (await here.jobs.get(job.id)).result == {"status": "ok", "steps": 1}
        assert work.committed == [0]

    async def test_whoever_waits_no_longer_gets_none_and_the_job_goes_on(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work)
            assert await job.result(seconds=0) is None
            work.go.release()
            assert (await ended(job))["status"] == "ok"
            assert await job.result(seconds=0) is not None

    async def test_what_the_work_raises_reaches_those_who_wait_and_the_record(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def work(_job: JobHandle) -> dict[str, Any]:
            raise Conflict("Others were faster.", extra={"job_id": "another"})

        async with Process(store, clock) as here:
            job = await here.start(work)
            with pytest.raises(Conflict, match="faster"):
                await ended(job)
        record = await recorded(store, job.id)
        assert record.state is JobState.DONE
        assert record.result == {
            "status": "error",
            "code": "conflict",
            "message": "Others were faster.",
            "job_id": "another",
        }

    async def test_the_unforeseen_is_told_in_a_fixed_sentence(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(_job: JobHandle) -> dict[str, Any]:
            raise ZeroDivisionError("a secret")

        async with Process(store, clock) as here:
            job = await here.start(work)
            with pytest.raises(InternalError):
                await ended(job)
        record = await recorded(store, job.id)
        assert "secret" not in record.model_dump_json()
        assert record.result is not None
        assert record.result["code"] == "internal_error"

    async def test_an_outcome_is_recorded_before_it_is_told(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here, Process(store, clock) as there:
            job = await here.start(short)
            await ended(job)
            assert (await there.jobs.get(job.id)).state is JobState.DONE

    @pytest.mark.parametrize("applied", [False, True])
    async def test_an_outage_at_the_end_delays_the_record_and_not_the_answer(
        self, store: FaultyStore, clock: FrozenClock, *, applied: bool
    ) -> None:
        async with Process(store, clock) as here:
            fault = store.fail("create", applied=applied)
            job = await here.start(short)
            assert await ended(job) == {"status": "ok"}
            assert fault.met == 1
            assert (await here.jobs.get(job.id)).state is JobState.DONE
            await here.sleep.wake()
            await here.runner.idle()
            record = await recorded(store, job.id)
            assert record.state is JobState.DONE

    async def test_the_record_of_a_space_that_was_removed_does_not_come_back(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async with Process(store, clock) as here:
            work = Steps()
            job = await here.start(work, announced=True)
            await store.inner.delete(job_key(job.id))
            work.go.release()
            await ended(job)
            await here.runner.idle()
            assert await stored(store, job.id) is None
            with pytest.raises(JobNotFound):
                await here.jobs.get(job.id)

    async def test_a_job_whose_space_was_not_there_leaves_nothing(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            await job.keep_answer(SHA, "text")
            raise NotFound

        async with Process(store, clock) as here:
            with pytest.raises(NotFound):
                await ended(await here.start(work))
            await here.runner.idle()
        assert [listed async for page in store.inner.list("") for listed in page.objects] == []

    async def test_a_result_that_is_no_plain_json_is_made_so(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            job.event("odd", {"at": clock.now(), "text": "\ud800"})
            job.progress(1, None, "\ud800")
            return {"when": clock.now(), "text": "\ud800"}

        async with Process(store, clock) as here:
            assert (await ended(await here.start(work)))["text"] == "?"


class TestProgress:
    """Whoever waits may be told how far the work is."""

    async def test_it_is_told_as_it_grows_and_once_more_at_the_end(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        told: asyncio.Queue[tuple[float, float | None, str]] = asyncio.Queue()

        async def report(done: float, total: float | None, message: str) -> None:
            told.put_nowait((done, total, message))

        async with Process(store, clock) as here:
            work = Steps(2)
            job = await here.start(work)
            waiting = asyncio.create_task(job.result(progress=report))
            work.go.release()
            async with asyncio.timeout(5):
                assert await told.get() == (1, 2, "step 1")
            work.go.release()
            async with asyncio.timeout(5):
                await waiting
        heard = [told.get_nowait() for _ in range(told.qsize())]
        assert heard[-1] == (2, 2, "step 2")
        assert {done for done, _, _ in heard} <= {1, 2}

    async def test_the_record_says_the_same(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            job = await here.start(short)
            await ended(job)
        record = await recorded(store, job.id)
        assert json.loads(record.progress.model_dump_json()) == {"done": 1, "total": 1, "message": "filed"}
