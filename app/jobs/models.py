"""A job as it is stored, and on the wire."""

from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from app.core.schema import Record, Result, Schema

DONE: Final = "done"
"""Name of the last event of every job, however it ended."""


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMMITTING = "committing"
    """What it found out is being written, so it cannot be cancelled at this moment."""
    DONE = "done"
    """It came to its end; the result says how well."""
    CANCELLED = "cancelled"
    """It was asked to stop, and did. What it had committed by then stays."""
    INTERRUPTED = "interrupted"
    """The process that ran it ended first. What it had committed by then stays."""

    @property
    def is_over(self) -> bool:
        return self in {JobState.DONE, JobState.CANCELLED, JobState.INTERRUPTED}


class JobProgress(Schema):
    """How far the work is."""

    done: float = 0.0
    """So much is done."""
    total: float | None = None
    """Of so much; null while that is unknown."""
    message: str = ""
    """The same in words."""


class JobEvent(Record):
    """Something that happened to a job."""

    id: int
    """Grows with each event of the job."""
    event: str
    at: str
    data: dict[str, Any] = {}


class JobRecord(Record):
    """What is known of a job: `{space}/_jobs/{job_id}.json`."""

    job_id: str
    space_id: str
    kind: str
    actor: str
    state: JobState
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    progress: JobProgress = JobProgress()
    result: dict[str, Any] | None = None
    events: list[JobEvent] = []
    """The latest ones. The last of all, `done`, is not among them: it follows from the state and the result."""
    last_event: int = 0
    cancel_requested: bool = False
    attempted: str | None = None
    """What the last commit tried to write; whether it did, is known there and not here."""
    calls: list[dict[str, Any]] = []
    """The latest calls of a model, each with what it cost, the failed ones included."""
    calls_total: int = 0
    nonce: str = ""

    def events_after(self, event_id: int) -> list[JobEvent]:
        """The events that came later, as far as they are kept; `done` at the end when the job is over."""
        later = [event for event in self.events if event.id > event_id]
        if self.state.is_over and self.last_event > event_id:
            data = {"state": self.state.value, "result": self.result}
            later.append(JobEvent(id=self.last_event, event=DONE, at=self.ended_at or "", data=data))
        return later

    def interrupted(self) -> "JobRecord":
        """The job as it must be told of when nobody runs it any more."""
        return self.model_copy(update={"state": JobState.INTERRUPTED, "last_event": self.last_event + 1})


class ModelCall(Result):
    """A call of a model, with all its repetitions."""

    batch: int = 0
    """The part of the work that it was for, from 1."""
    outcome: str = Field(default="", examples=["stop"])
    """How the answer ended, such as `stop` or `length`; or why there is none, such as `deadline` or `cancelled`."""
    attempts: int = 0
    """Requests made for it."""
    prompt_tokens: int = 0
    """Tokens that the model read."""
    completion_tokens: int = 0
    """Tokens that it wrote."""
    cached_tokens: int = 0
    """Of those read, known to it from before."""
    reasoning_tokens: int = 0
    """Of those written, spent on thinking."""
    estimated: bool = False
    """Some of them were counted here, since the endpoint did not tell."""
    cost: float = 0.0
    """What it cost, in the currency of the configured prices."""


class JobRead(Result):
    """A job: how far it is, or how it ended."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    job_id: str
    """The job."""
    space_id: str
    """The space it works for."""
    kind: str
    """What it does, such as `consolidation`."""
    actor: str
    """Who started it."""
    state: JobState
    """`queued`, `running`, `committing`, and at the end `done`, `cancelled` or `interrupted`."""
    created_at: str
    """When it was asked for, in UTC."""
    started_at: str | None
    """When its work began; null before."""
    ended_at: str | None
    """When it ended; null before, and when that was not recorded."""
    progress: JobProgress
    """How far it is."""
    cancel_requested: bool
    """Has somebody asked it to stop?"""
    result: dict[str, Any] | None = Field(examples=[{"status": "ok", "space_id": "project-alpha", "version": 12}])
    """What the operation that started it would have answered: of a `consolidation`, the answer of `bank_consolidate`.
    When it failed, `status` is `error`, and `code` and `message` are those of the problem. Null before the end."""
    last_event: int
    """Id of its latest event."""
    calls: list[ModelCall]
    """Its latest calls of a model, the failed ones included, the latest at the end."""
    calls_total: int
    """How many calls it made."""

    @classmethod
    def of(cls, record: JobRecord) -> "JobRead":
        """What callers may know of the record."""
        return cls.model_validate(record.model_dump(include=set(cls.model_fields)))


class JobCancelled(Result):
    """A request to stop a job was taken."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    job_id: str
    """The job."""
    space_id: str
    """The space it works for."""
    state: JobState
    """How far it is: it stops at the next point where nothing is lost by it."""
    message: str
    """The same in words."""
