"""Work that outlives the request that began it: started, waited for, looked at, followed, stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.core.errors import InternalError, NotFound, Situation, Unavailable
from app.core.identity import Caller
from app.core.ids import new_job_id
from app.jobs.errors import Cancelled, Interrupted, JobNotFound, NotYourJob, ShuttingDown
from app.jobs.follow import KEEP_ALIVE, Follower, IsAlive
from app.jobs.handle import JobHandle
from app.jobs.job import Job
from app.jobs.keeper import Keeper, Sleep
from app.jobs.models import JobCancelled, JobEvent, JobRead, JobRecord, JobState
from app.jobs.runner import Runner
from app.jobs.store import JobStore
from app.storage.store import ObjectStore

__all__ = ["IsAlive", "Job", "JobHandle", "JobService", "Runner", "Work"]

_LAST_WORD: Final = 5.0
"""Seconds that a job which is cut off has to record it."""
_UNWRITTEN: Final = 16
"""Ended jobs whose outcome only this process knows, at most."""
CUT: Final = "cancelled"
"""Code of a result whose work stopped because it was asked to."""

Work = Callable[[JobHandle], Awaitable[dict[str, Any]]]

log = structlog.get_logger(__name__)


class JobService:
    """The jobs of this process, and what is stored of all others."""

    def __init__(
        self,
        store: ObjectStore,
        runner: Runner,
        clock: Clock,
        *,
        is_alive: IsAlive,
        sleep: Sleep = asyncio.sleep,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self._store = JobStore(store)
        self._runner = runner
        self._clock = clock
        self._sleep = sleep
        self._follower = Follower(self._store, is_alive, sleep, keep_alive)
        self._jobs: dict[str, Job] = {}
        self._draining = False

    async def start(
        self, space_id: str, kind: str, actor: str, work: Work, *, announced: bool = False, job_id: str = ""
    ) -> Job:
        """Begin the work, which from here on goes on by itself.

        `announced`: for a caller who will not wait. The record is written first, so that other processes know the job;
        otherwise it is written once the work takes more than a moment, or at its end.

        Raises:
            ShuttingDown: this process takes no new work.
            StoreUnavailable: it could not be announced, and was not begun.
        """
        if self._draining:
            raise ShuttingDown
        record = JobRecord(
            job_id=job_id or new_job_id(space_id),
            space_id=space_id,
            kind=kind,
            actor=actor,
            state=JobState.QUEUED,
            created_at=self._store.now(),
        )
        job = Job(record, self._store.now)
        keeper = Keeper(job, self._store, self._clock, self._sleep)
        if announced:
            await keeper.save()
        self._jobs[job.id] = job
        self._runner.start(self._run(job, keeper, work), name=f"job {job.id}", stop=job.stop)
        return job

    async def _run(self, job: Job, keeper: Keeper, work: Work) -> None:
        handle = JobHandle(job, keeper, self._store)
        watching = asyncio.create_task(keeper.watch(), name=f"record of job {job.id}")
        try:
            await self._work(job, handle, work)
        except asyncio.CancelledError:
            job.stopping = True
            error = Interrupted()
            job.end(_told(error), was_cut=True, error=error)
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._record(job, keeper, handle)

    async def _work(self, job: Job, handle: JobHandle, work: Work) -> None:
        job.begin()
        try:
            result = await work(handle)
        except Cancelled as cancelled:
            error: Situation = cancelled if job.record.cancel_requested else Interrupted()
            job.end(_told(error), was_cut=job.cancelled.is_set(), error=error)
        except Situation as situation:
            log.info("job_refused", job_id=job.id, kind=job.record.kind, code=situation.code())
            job.end(_told(situation), was_cut=False, error=situation)
        except Exception:
            # Work ends here: whoever waits is told a fixed sentence, and the log has the rest.
            log.exception("job_failed", job_id=job.id, kind=job.record.kind)
            error = InternalError()
            job.end(_told(error), was_cut=False, error=error)
        else:
            job.end(result, was_cut=job.cancelled.is_set() and result.get("code") == CUT)

    async def _record(self, job: Job, keeper: Keeper, handle: JobHandle) -> None:
        """Write the outcome, then let those who wait have it."""
        if isinstance(job.error, NotFound):
            # What it worked for is gone. Where nothing was written yet, nothing is left behind.
            keeper.abandon()
        try:
            async with asyncio.timeout(_LAST_WORD if job.stopping else None):
                await keeper.look_or_log()
        except TimeoutError:
            log.warning("job_not_recorded", job_id=job.id, code="timeout")
        finally:
            job.publish()
        await self._clear(job, handle)
        if not (keeper.is_stored or keeper.is_gone or job.stopping):
            self._limit_unwritten()
            await keeper.insist()
        if keeper.is_stored or keeper.is_gone:
            self._jobs.pop(job.id, None)

    async def _clear(self, job: Job, handle: JobHandle) -> None:
        """Remove the answers of models that nobody will ask for again."""
        if not handle.answers_used or job.stopping or _is_of_the_store(job.error):
            return
        try:
            await self._store.forget_answers(job.space_id, handle.answers_used)
        except Situation as situation:
            log.warning("answers_not_removed", job_id=job.id, code=situation.code())

    def _limit_unwritten(self) -> None:
        over = [job_id for job_id, job in self._jobs.items() if job.record.state.is_over]
        for job_id in over[:-_UNWRITTEN]:
            del self._jobs[job_id]

    async def get(self, job_id: str) -> JobRead:
        """The job as it is now, wherever it runs; raises JobNotFound."""
        return JobRead.of(await self._record_of(job_id))

    async def _record_of(self, job_id: str) -> JobRecord:
        if job := self._jobs.get(job_id):
            return job.record
        found = await self._follower.find(job_id)
        if found is None:
            raise JobNotFound(job_id)
        return found.record

    async def cancel(self, job_id: str, *, caller: Caller) -> JobCancelled:
        """Ask a job to stop, wherever it runs. What it has committed stays, and one that is over stays as it is.

        Raises:
            JobNotFound: there is none of that id.
            NotYourJob: somebody else started it, and the caller is no admin.
        """
        record = await self._record_of(job_id)
        if not caller.is_admin and record.actor != caller.name:
            raise NotYourJob(job_id, record.actor)
        if job := self._jobs.get(job_id):
            if not job.record.state.is_over:
                job.cancel()
            record = job.record
        elif not record.state.is_over:
            asked = await self._store.request_cancel(job_id)
            if asked is None:
                raise JobNotFound(job_id)
            record = asked
        log.info("job_cancel_requested", job_id=job_id, state=record.state.value)
        return JobCancelled(
            job_id=job_id,
            space_id=record.space_id,
            state=record.state,
            message=f"It is over already: {record.state.value}."
            if record.state.is_over
            else "It has been asked to stop.",
        )

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent | None] | None:
        """What has happened to the job after that event, and then whatever happens; `done` is the last.

        None among the events says that the stream is still open; None instead of a stream, that nothing more will come.

        Raises:
            JobNotFound: there is none of that id.
        """
        if job := self._jobs.get(job_id):
            is_finished = job.record.state.is_over and not job.record.events_after(after)
            return None if is_finished else self._follower.live(job, after)
        found = await self._follower.find(job_id)
        if found is None:
            raise JobNotFound(job_id)
        is_finished = found.record.state.is_over and not found.record.events_after(after)
        return None if is_finished else self._follower.distant(found, after)

    def drain(self) -> None:
        """Take no new work, and end the streams of events: their readers go on elsewhere, from where they were."""
        self._draining = True
        self._follower.close()
        for job in self._jobs.values():
            job.wake()

    async def sweep_all(self, space_ids: Sequence[str]) -> None:
        """The same for many spaces; one that cannot be swept keeps no other from it."""
        for space_id in space_ids:
            try:
                await self._store.sweep(space_id)
            except Situation as situation:
                log.warning("jobs_not_swept", space_id=space_id, code=situation.code())

    async def sweep(self, space_id: str) -> int:
        """Remove the outcomes of a space that are kept no longer; how many objects went."""
        return await self._store.sweep(space_id)


def _is_of_the_store(error: Situation | None) -> bool:
    """Did the work end for want of the store, so that the next one may go on from what this one had?"""
    return isinstance(error, Unavailable) and error.status == HTTPStatus.SERVICE_UNAVAILABLE


def _told(situation: Situation) -> dict[str, Any]:
    """What a situation looks like as a result."""
    return {**situation.extra, "status": "error", "code": situation.code(), "message": situation.detail}
