"""What is kept of jobs, and of the answers they paid for."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from app.core.errors import StoreUnavailable
from app.jobs.errors import JobNotFound
from app.jobs.job import MOST_CALLS, MOST_EVENTS
from app.jobs.models import JobState
from app.jobs.service import JobHandle
from app.jobs.store import LARGEST_ANSWER, JobStore, answer_key, job_key
from app.storage.memory import MemoryStore
from app.storage.store import OutcomeUnknown
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import SPACE, Process, ended, heard, recorded, short

SHA: Final = "0" * 64


class TestBounds:
    """Whatever the work does, a record stays small."""

    async def test_events_and_calls_are_kept_up_to_a_number(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            for number in range(1_000):
                job.event("batch_started", {"batch": number})
                job.charge({"call": number})
            job.event("huge", {"text": "x" * 100_000})
            job.charge({"text": "x" * 100_000})
            return {}

        async with Process(store, clock) as here:
            job = await here.start(work)
            await ended(job)
            events = await heard(here.jobs, job.id)
        record = await recorded(store, job.id)
        assert (len(record.events), len(record.calls), record.calls_total) == (MOST_EVENTS, MOST_CALLS, 1_001)
        assert record.events[-1].data == record.calls[-1] == {"truncated": True}
        assert len(record.model_dump_json()) < 100_000
        assert [event.id for event in events] == list(range(1_003 - MOST_EVENTS, 1_004))

    async def test_passing_events_replace_each_other(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            for number in range(10):
                job.event("llm_progress", {"tokens": number}, passing=True)
            job.event("validated")
            job.event("llm_progress", {"tokens": 99}, passing=True)
            return {}

        async with Process(store, clock) as here:
            job = await here.start(work)
            await ended(job)
            events = await heard(here.jobs, job.id)
        names = [event.event for event in events]
        assert names == ["queued", "llm_progress", "validated", "llm_progress", "done"]
        assert [event.data.get("tokens") for event in events] == [None, 9, None, 99, None]

    async def test_no_job_stays_in_memory(self, store: FaultyStore, clock: FrozenClock) -> None:
        async with Process(store, clock) as here:
            for _ in range(5):
                await ended(await here.start(short))
            await here.runner.idle()
            assert here.jobs._jobs == {}  # noqa: SLF001 - nothing else shows what is kept

    async def test_outcomes_are_removed_after_thirty_days_and_answers_after_one(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            await job.keep_answer(SHA, "paid for")
            raise StoreUnavailable

        async with Process(store, clock) as here:
            first = await here.start(work)
            with pytest.raises(StoreUnavailable):
                await ended(first)
            await here.runner.idle()
            clock.advance(timedelta(days=1, seconds=-1))
            assert await here.jobs.sweep(SPACE) == 0
            clock.advance(timedelta(seconds=2))
            assert await here.jobs.sweep(SPACE) == 1
            assert await store.inner.get(answer_key(SPACE, SHA)) is None
            clock.advance(timedelta(days=28))
            second = await here.start(short)
            await ended(second)
            await here.runner.idle()
            clock.advance(timedelta(days=1))
            assert await here.jobs.sweep(SPACE) == 1
            with pytest.raises(JobNotFound):
                await here.jobs.get(first.id)
            assert (await here.jobs.get(second.id)).state is JobState.DONE

    async def test_no_more_than_a_number_of_outcomes_stay(self, clock: FrozenClock) -> None:
        inner = MemoryStore(clock)
        for number in range(1_003):
            await inner.put(job_key(f"{SPACE}.{number:016x}"), b"{}")
            clock.advance(timedelta(seconds=1))
        assert await JobStore(inner).sweep(SPACE) == 3
        assert await inner.get(job_key(f"{SPACE}.{2:016x}")) is None
        assert await inner.get(job_key(f"{SPACE}.{3:016x}")) is not None


class TestAnswers:
    """What a model was paid for."""

    async def test_an_answer_outlives_a_job_that_could_not_use_it_and_goes_when_it_is_used(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def fails(job: JobHandle) -> dict[str, Any]:
            assert await job.answer(SHA) is None
            await job.keep_answer(SHA, "the answer \ud800")
            raise StoreUnavailable

        async def uses(job: JobHandle) -> dict[str, Any]:
            return {"answer": (await job.answer(SHA) or "").partition(" \ud800")[0]}

        async with Process(store, clock) as here:
            with pytest.raises(StoreUnavailable):
                await ended(await here.start(fails))
            assert await ended(await here.start(uses)) == {"answer": "the answer"}
            await here.runner.idle()
            assert await ended(await here.start(uses)) == {"answer": ""}

    async def test_an_answer_of_any_size_is_used_and_a_huge_one_not_kept(
        self, store: FaultyStore, clock: FrozenClock
    ) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            assert job.id.startswith(SPACE)
            await job.keep_answer(SHA, "x" * (LARGEST_ANSWER + 1))
            return {"kept": await job.answer(SHA) is not None}

        async with Process(store, clock) as here:
            assert await ended(await here.start(work)) == {"kept": False}

    async def test_an_outage_of_the_store_costs_no_answer(self, store: FaultyStore, clock: FrozenClock) -> None:
        async def work(job: JobHandle) -> dict[str, Any]:
            known = await job.answer(SHA)
            await job.keep_answer(SHA, "text")
            return {"known": known}

        async with Process(store, clock) as here:
            faults = [store.fail("get"), store.fail("put"), store.fail("delete_many", error=OutcomeUnknown)]
            assert await ended(await here.start(work)) == {"known": None}
            assert [fault.met for fault in faults] == [1, 1, 0]
            assert await ended(await here.start(work)) == {"known": None}
            await here.runner.idle()
            assert faults[2].met == 1
            assert await ended(await here.start(work)) == {"known": "text"}


async def test_outcomes_that_cannot_be_written_are_kept_here_up_to_a_number(
    store: FaultyStore, clock: FrozenClock
) -> None:
    fault = store.fail("create", key=f"{SPACE}/_jobs/", lasting=True)
    ids = []
    async with Process(store, clock) as here:
        for _ in range(20):
            job = await here.start(short)
            await ended(job)
            await here.sleep.wake_until(asyncio.ensure_future(here.runner.idle()))
            ids.append(job.id)
        assert fault.met == 20 * 4
        assert (await here.jobs.get(ids[-1])).state is JobState.DONE
        assert (await here.jobs.get(ids[-16])).state is JobState.DONE
        with pytest.raises(JobNotFound):
            await here.jobs.get(ids[-17])
        store.heal()
        last = await here.start(short)
        await ended(last)
        assert (await recorded(store, last.id)).state is JobState.DONE
