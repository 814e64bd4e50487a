"""Keeps what is stored of a running job up to date, with few writes, and hears there that it should stop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.errors import Situation
from app.core.ids import new_nonce
from app.jobs.job import Job
from app.jobs.store import Found, JobStore
from app.storage.store import PreconditionFailed, Unchanged

SAVE_EVERY: Final = 3.0
"""Seconds between two looks at the stored record; a job that ends sooner is written once, at its end."""
TOUCH_EVERY: Final = 15.0
"""Seconds after which the record of a running job is written again although nothing has changed.

Work without a lease has no other sign that somebody still runs it.
"""
_ROUNDS: Final = 5
_LAST_PAUSES: Final = (0.2, 1.0, 5.0)
"""Seconds before each further attempt to record an outcome."""

log = structlog.get_logger(__name__)

Sleep = Callable[[float], Awaitable[None]]


class Keeper:
    """The stored side of one job that runs in this process."""

    def __init__(self, job: Job, store: JobStore, clock: Clock, sleep: Sleep) -> None:
        self._job = job
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._etag: str | None = None
        self._revision = -1
        """Of the job when it was saved."""
        self._looked = self._written = clock.monotonic()
        self._turn = asyncio.Lock()
        self.is_gone = False
        """The record was removed with its space, so it is written no more."""

    @property
    def is_stored(self) -> bool:
        """Does the store hold the job as it is now?"""
        return self._revision == self._job.revision

    @property
    def _is_due(self) -> bool:
        """Has the record to be written?"""
        age = self._clock.monotonic() - self._written
        return not self.is_stored or (age >= TOUCH_EVERY and not self._job.record.state.is_over)

    async def save(self) -> None:
        """Write the record as it is now, unless that was done a moment ago.

        Raises:
            StoreUnavailable: nobody can tell whether it was written; the next time tells.
        """
        async with self._turn:
            self._looked = self._clock.monotonic()
            nonce = new_nonce()
            for _round in range(_ROUNDS):
                if self.is_gone or not self._is_due:
                    return
                record, revision = self._job.record.model_copy(update={"nonce": nonce}), self._job.revision
                try:
                    self._etag = await self._store.write(record, self._etag)
                except PreconditionFailed:
                    self._adopt(await self._store.find(self._job.id), nonce, revision)
                else:
                    self._revision, self._written = revision, self._looked
                    return

    def _adopt(self, found: Found | Unchanged | None, nonce: str = "", revision: int = -1) -> None:
        """Go on from what somebody else wrote: a wish to stop, a write of ours that seemed lost, or a deletion."""
        if not isinstance(found, Found):
            self.is_gone = found is None and self._etag is not None
            return
        self._etag = found.etag
        if nonce and found.record.nonce == nonce:
            self._revision, self._written = revision, self._looked
        if found.record.cancel_requested:
            self._job.cancel()

    def abandon(self) -> None:
        """Write nothing where nothing was written yet."""
        self.is_gone = self.is_gone or self._etag is None

    async def look(self) -> None:
        """Save what is new or long ago, or see whether somebody has asked the job to stop."""
        if self._is_due:
            await self.save()
            return
        async with self._turn:
            self._looked = self._clock.monotonic()
            if not self.is_gone:
                self._adopt(await self._store.find(self._job.id, unless=self._etag))

    async def look_or_log(self) -> None:
        """The same; an outage is not the job's end."""
        try:
            await self.look()
        except Situation as situation:
            log.warning("job_not_recorded", job_id=self._job.id, code=situation.code())

    async def look_if_due(self) -> None:
        """The same, unless it was done a moment ago."""
        if self._clock.monotonic() - self._looked >= SAVE_EVERY:
            await self.look_or_log()

    async def watch(self) -> None:
        """The same every few seconds, for ever."""
        while True:
            await self._sleep(SAVE_EVERY)
            await self.look_or_log()

    async def insist(self) -> None:
        """Write the outcome, however long the store cannot be reached, within reason."""
        for pause in _LAST_PAUSES:
            await self._sleep(pause)
            await self.look_or_log()
            if self.is_stored or self.is_gone:
                return
        log.error("job_outcome_lost", job_id=self._job.id, state=self._job.record.state.value)
