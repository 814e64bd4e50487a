"""Work that goes on by itself: looked at, followed, stopped."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from app.core.errors import Forbidden, InvalidInput, ReadRequired, StoreUnavailable, WriteRequired
from app.core.identity import Permission
from app.core.ids import JobID
from app.core.operation import Effect
from app.core.routing import CurrentCaller, Operations, provide
from app.jobs.errors import JobNotFound, NotYourJob
from app.jobs.models import JobCancelled, JobEvent, JobRead
from app.jobs.service import JobService
from app.storage.document import DamagedDocument

operations = Operations("jobs", "Work that outlives the request that began it.")

Jobs = Annotated[JobService, Depends(provide(JobService))]

_EXAMPLE: Final = {"job_id": "project-alpha.0123456789abcdef"}
_READS = (InvalidInput, Forbidden, ReadRequired, JobNotFound, StoreUnavailable, DamagedDocument)
_MOST_EVENTS: Final = 2**31
_RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds after which a browser comes back to a stream that broke."""
_EVENTS: Final = (
    "Server-sent events, each with an id, a name and a JSON object in which `at` is its time. First `queued`; of a "
    "consolidation then `planned`, for each batch `batch_started`, `llm_first_token`, `llm_progress`, `validated`, "
    "`repairing`, `degraded` and `committed` as far as they happen; and `done` with `state` and `result`."
)
_UNBUFFERED: Final = {"X-Accel-Buffering": "no"}
"""A proxy in between must pass on each event as it comes."""
_STILL_OPEN: Final = b": keep-alive\n\n"


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


@operations.declare(
    "job_get",
    method="GET",
    path="/jobs/{job_id}",
    permission=Permission.READ,
    effect=Effect.READS,
    example=_EXAMPLE,
    errors=_READS,
    core=False,
)
async def get(job_id: JobID, jobs: Jobs) -> JobRead:
    """Look at a job: how far it is, or how it ended.

    Outcomes are kept for 30 days. An `interrupted` job lost its process: what it had committed stays, and the rest can
    be started again.
    """
    return await jobs.get(job_id)


@operations.declare(
    "job_cancel",
    method="DELETE",
    path="/jobs/{job_id}",
    permission=Permission.WRITE,
    effect=Effect.REWRITES,
    example=_EXAMPLE,
    errors=(InvalidInput, Forbidden, WriteRequired, NotYourJob, JobNotFound, StoreUnavailable, DamagedDocument),
    core=False,
)
async def cancel(job_id: JobID, jobs: Jobs, caller: CurrentCaller) -> JobCancelled:
    """Ask a job to stop.

    It stops at the next point where nothing is lost by it: what it has committed stays, and notes that it has not filed
    go on waiting. A job that is over stays as it is. Only an admin may cancel what somebody else has started.
    """
    return await jobs.cancel(job_id, caller=caller)


@operations.declare(
    "job_events",
    method="GET",
    path="/jobs/{job_id}/events",
    permission=Permission.READ,
    effect=Effect.READS,
    example=_EXAMPLE,
    errors=_READS,
    core=False,
    stream=EventStream,
    responses={
        200: {"description": _EVENTS},
        204: {"description": "The job is over, and the caller has had all of its events."},
    },
)
async def follow(
    job_id: JobID,
    jobs: Jobs,
    after: Annotated[int, Query(ge=0, le=_MOST_EVENTS, description="Only the events after the one of this id.")] = 0,
    last_event_id: Annotated[
        int,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=_MOST_EVENTS,
            description="The same, as a browser says it when it comes back.",
        ),
    ] = 0,
) -> Any:
    """Follow a job: its events so far, then each as it happens.

    The last one is `done`, with the state and the result, however the job ended. After a broken connection the stream
    goes on behind the event named in `Last-Event-ID`. A comment every 15 seconds says that it is still open.
    """
    events = await jobs.events(job_id, after=max(after, last_event_id))
    return Response(status_code=204) if events is None else EventStream(_lines(events), headers=_UNBUFFERED)


async def _lines(events: AsyncIterator[JobEvent | None]) -> AsyncIterator[bytes]:
    yield _RETRY
    async for event in events:
        yield _STILL_OPEN if event is None else _told(event)


def _told(event: JobEvent) -> bytes:
    data = json.dumps({"at": event.at, **event.data}, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.event}\ndata: {data}\n\n".encode()
