"""A job in the process that runs it: everybody who waits for it looks here."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from app.core.errors import Situation
from app.core.operation import Progress
from app.jobs.errors import Cancelled
from app.jobs.models import JobEvent, JobProgress, JobRecord, JobState

MOST_EVENTS: Final = 200
"""Events that are kept of one job."""
MOST_CALLS: Final = 200
"""Calls of a model that are kept of one job."""
LARGEST_DATA: Final = 4096
"""Characters of JSON that one event or call may have."""
LONGEST_MESSAGE: Final = 200


class Job:
    """One piece of work, its present state and its outcome."""

    def __init__(self, record: JobRecord, now: Callable[[], str]) -> None:
        self.record = record
        """What is known of it; never changed in place."""
        self.revision = 0
        """Grows with each change of the record."""
        self.changed = asyncio.Event()
        """Set at the next change; whoever waits takes it before looking at the record."""
        self.cancelled = asyncio.Event()
        """Set when the work should stop, whoever wishes it."""
        self.stopping = False
        """It should stop because the process ends."""
        self._now = now
        self._error: Situation | None = None
        self._published = False
        self.event("queued")

    @property
    def id(self) -> str:
        return self.record.job_id

    @property
    def space_id(self) -> str:
        return self.record.space_id

    @property
    def error(self) -> Situation | None:
        """What ended the work, when it did not end by itself."""
        return self._error

    async def result(self, *, seconds: float | None = None, progress: Progress | None = None) -> dict[str, Any] | None:
        """What the work answered; None when it is not over in time, and goes on. What it raised is raised here.

        `progress` is told how far it is meanwhile.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._published:
                    changed = self.changed
                    await self._tell(progress)
                    await changed.wait()
        except TimeoutError:
            return None
        await self._tell(progress)
        if self._error is not None:
            raise self._error
        return self.record.result

    async def _tell(self, progress: Progress | None) -> None:
        now = self.record.progress
        if progress is not None and now != JobProgress():
            await progress(now.done, now.total, now.message)

    def change(self, **changes: object) -> None:
        """Replace fields of the record, and wake those who wait."""
        self.record = self.record.model_copy(update=changes)
        self.revision += 1
        self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def event(self, name: str, data: Mapping[str, Any] | None = None, *, passing: bool = False) -> None:
        """Add an event. A passing one takes the place of the one before, if that has the same name."""
        number = self.record.last_event + 1
        events = self.record.events
        if passing and events and events[-1].event == name:
            events = events[:-1]
        event = JobEvent(id=number, event=name, at=self._now(), data=_bounded(data or {}))
        self.change(events=[*events, event][-MOST_EVENTS:], last_event=number)

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Say how far it is."""
        self.change(progress=JobProgress(done=done, total=total, message=_text(message)))

    def charge(self, call: Mapping[str, Any]) -> None:
        """Add a call of a model to the ledger."""
        calls = [*self.record.calls, _bounded(call)][-MOST_CALLS:]
        self.change(calls=calls, calls_total=self.record.calls_total + 1)

    def begin(self) -> None:
        """Its work begins."""
        self.change(state=JobState.RUNNING, started_at=self._now())

    def cancel(self) -> None:
        """Somebody wishes it to stop."""
        if not self.record.cancel_requested:
            self.change(cancel_requested=True)
        self.cancelled.set()

    def stop(self) -> None:
        """The process ends, so it should stop."""
        self.stopping = True
        self.cancelled.set()

    def end(self, result: dict[str, Any], *, was_cut: bool, error: Situation | None = None) -> None:
        """Its work is over; `was_cut`: because it was asked to stop."""
        state = JobState.DONE
        if was_cut:
            state = JobState.CANCELLED if self.record.cancel_requested else JobState.INTERRUPTED
        self._error = error
        self.change(state=state, result=_plain(result), ended_at=self._now(), last_event=self.record.last_event + 1)

    def publish(self) -> None:
        """Let those who wait for the result have it: it has been recorded, as far as it can be."""
        self._published = True
        self.wake()

    def check_cancelled(self) -> None:
        """Raise Cancelled when the work should stop."""
        if self.cancelled.is_set():
            raise Cancelled


def _text(message: str) -> str:
    return message[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as it can be stored and sent, whatever the work put into it."""
    text = json.dumps(data, ensure_ascii=False, default=str).encode("utf-8", "replace")
    found: dict[str, Any] = json.loads(text)
    return found


def _bounded(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data, if there is little of it: a record is written again and again."""
    found = _plain(data)
    return found if len(json.dumps(found)) <= LARGEST_DATA else {"truncated": True}
