"""Follows jobs: those of this process as they go on, those of others by what they store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from app.core.errors import Situation
from app.core.ids import space_of_job
from app.jobs.job import Job
from app.jobs.keeper import Sleep
from app.jobs.models import JobEvent
from app.jobs.store import Found, JobStore
from app.storage.store import UNCHANGED

KEEP_ALIVE: Final = 15.0
"""Seconds without an event, after which the stream says that it is still open."""
FRESH: Final = timedelta(seconds=30)
"""A record that was written so lately is believed without asking who runs the job."""
_SHORTEST_PAUSE: Final = 1.0
"""Seconds between two looks at a stored record on which something happens."""
_LONGEST_PAUSE: Final = 5.0
_SLOWER: Final = 1.5

IsAlive = Callable[[str, str], Awaitable[bool]]
"""Does some process hold what the job of that space needs to run?"""

log = structlog.get_logger(__name__)


class Follower:
    """Reads what is stored of jobs as it has to be understood, and turns jobs into streams of events."""

    def __init__(self, store: JobStore, is_alive: IsAlive, sleep: Sleep, keep_alive: float) -> None:
        self._store = store
        self._is_alive = is_alive
        self._sleep = sleep
        self._keep_alive = keep_alive
        self._closing = False

    def close(self) -> None:
        """End every stream at its next turn."""
        self._closing = True

    async def find(self, job_id: str) -> Found | None:
        """What is stored of a job; `interrupted` when nobody runs it any more. None when there is no such job."""
        found = await self._store.find(job_id)
        if not isinstance(found, Found) or not await self._seems_dead(found):
            return found if isinstance(found, Found) else None
        # It may have ended between the two questions, and then it says so now.
        again = await self._store.find(job_id)
        if not isinstance(again, Found):
            return None
        if again.record.state.is_over or again.etag != found.etag:
            return again
        return replace(again, record=again.record.interrupted())

    async def _seems_dead(self, found: Found) -> bool:
        if found.record.state.is_over or found.age <= FRESH:
            return False
        return not await self._is_alive(space_of_job(found.record.job_id), found.record.job_id)

    async def live(self, job: Job, after: int) -> AsyncIterator[JobEvent | None]:
        """The events of a job of this process."""
        while True:
            changed = job.changed
            for event in job.record.events_after(after):
                after = event.id
                yield event
            if self._closing or job.record.state.is_over:
                return
            try:
                async with asyncio.timeout(self._keep_alive):
                    await changed.wait()
            except TimeoutError:
                yield None

    async def distant(self, found: Found, after: int) -> AsyncIterator[JobEvent | None]:
        """The events of a job of another process, or of the past."""
        pause, quiet, still = _SHORTEST_PAUSE, 0.0, 0.0
        while True:
            for event in found.record.events_after(after):
                after, quiet = event.id, 0.0
                yield event
            if self._closing or found.record.state.is_over:
                return
            await self._sleep(pause)
            quiet, still = quiet + pause, still + pause
            if quiet >= self._keep_alive:
                quiet = 0.0
                yield None
            try:
                latest = await self._newer(found, still)
            except Situation as situation:
                # The reader comes back, and says from where to go on.
                log.warning("job_not_followed", job_id=found.record.job_id, code=situation.code())
                return
            if latest is None:
                return
            if latest.etag == found.etag:
                pause = min(pause * _SLOWER, _LONGEST_PAUSE)
                still = still if still < FRESH.total_seconds() else 0.0
            else:
                pause, still = _SHORTEST_PAUSE, 0.0
            found = latest

    async def _newer(self, found: Found, still: float) -> Found | None:
        """The record by now, None when it is gone; where nothing has changed for long, who runs it is asked for too."""
        if still >= FRESH.total_seconds():
            return await self.find(found.record.job_id)
        latest = await self._store.find(found.record.job_id, unless=found.etag)
        return found if latest is UNCHANGED else latest
