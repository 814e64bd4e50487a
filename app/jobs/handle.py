"""What the work of a job sees of its job."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from app.core.errors import Situation
from app.jobs.errors import Cancelled
from app.jobs.job import Job
from app.jobs.keeper import Keeper
from app.jobs.models import JobState
from app.jobs.store import JobStore

log = structlog.get_logger(__name__)

T = TypeVar("T")


class JobHandle:
    """Given to the work, which says with it how far it is, and learns that it should stop."""

    def __init__(self, job: Job, keeper: Keeper, store: JobStore) -> None:
        self._job = job
        self._keeper = keeper
        self._store = store
        self.answers_used: list[str] = []
        """Prompts, by their SHA-256, whose answers are of no use once the work is done."""

    @property
    def id(self) -> str:
        """The job's id, as commits name it."""
        return self._job.id

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when the work should stop; to be waited for beside a slow call."""
        return self._job.cancelled

    def check_cancelled(self) -> None:
        """Raise Cancelled when the work should stop: to be called wherever nothing is lost by stopping."""
        self._job.check_cancelled()

    async def unless_cancelled(self, call: Coroutine[Any, Any, T]) -> T:
        """What a slow call answers; when the work should stop meanwhile, the call is cancelled.

        Raises:
            Cancelled: it had not answered by then.
        """
        asking = asyncio.create_task(call)
        stopping = asyncio.create_task(self._job.cancelled.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when this task is itself cancelled: a call must not go on, and cost, with nobody to hear its answer.
            stopping.cancel()
            asking.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)
        if asking.cancelled():
            raise Cancelled
        return asking.result()

    def event(self, name: str, data: Mapping[str, Any] | None = None, *, passing: bool = False) -> None:
        """Tell those who follow the job what has happened.

        A passing event, of which only the latest means anything, takes the place of one of the same name before it.
        """
        self._job.event(name, data, passing=passing)

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Say how far the work is."""
        self._job.progress(done, total, message)

    def charge(self, call: Mapping[str, Any]) -> None:
        """Enter a call of a model in the ledger, also one that failed or was cancelled."""
        self._job.charge(call)

    @asynccontextmanager
    async def committing(self, attempted: str) -> AsyncIterator[None]:
        """Around the one write that makes the work true: inside it, nobody is told that the job was cancelled.

        Raises:
            Cancelled: on entering, when the work should stop. Nothing has been written then.
        """
        self._job.check_cancelled()
        self._job.change(state=JobState.COMMITTING, attempted=attempted)
        try:
            await self._keeper.look_if_due()
            self._job.check_cancelled()
            yield
        finally:
            self._job.change(state=JobState.RUNNING)

    async def answer(self, prompt_sha256: str) -> str | None:
        """What a model answered to just this prompt in a job that was cut short before it could use it."""
        try:
            found = await self._store.answer(self._job.space_id, prompt_sha256)
        except Situation as situation:
            log.warning("answer_not_read", job_id=self._job.id, code=situation.code())
            return None
        if found is not None:
            self.answers_used.append(prompt_sha256)
        return found

    async def keep_answer(self, prompt_sha256: str, text: str) -> None:
        """Keep an answer that was paid for, in case this process ends before it has been used."""
        try:
            if await self._store.keep_answer(self._job.space_id, prompt_sha256, text):
                self.answers_used.append(prompt_sha256)
        except Situation as situation:
            # The answer itself is at hand: only a crash would make it be paid for again.
            log.warning("answer_not_kept", job_id=self._job.id, code=situation.code())
