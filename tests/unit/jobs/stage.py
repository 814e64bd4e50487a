"""Processes that share a store, in one: each has a runner, jobs and a hand on the time that they wait."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Self

from app.core.identity import Caller, Everywhere, Permission
from app.jobs.job import Job
from app.jobs.models import JobEvent, JobRecord
from app.jobs.runner import Runner
from app.jobs.service import JobHandle, JobService
from app.jobs.store import job_key
from app.storage.store import ObjectStore, Stored
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

SPACE: Final = "project-alpha"
KIND: Final = "consolidation"


def a_caller(name: str = "writer", *permissions: Permission) -> Caller:
    chosen = frozenset(permissions or (Permission.READ, Permission.WRITE))
    return Caller(name=name, permissions=chosen, reach=Everywhere(), credential=name)


class HeldSleep:
    """Nobody wakes up before the test says so."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        """What was asked for, in order."""
        self._asleep: list[asyncio.Event] = []
        self._somebody = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        woken = asyncio.Event()
        self._asleep.append(woken)
        self._somebody.set()
        try:
            await woken.wait()
        finally:
            if woken in self._asleep:
                self._asleep.remove(woken)

    async def wake(self) -> None:
        """Wake the one that has slept longest, as soon as there is one."""
        await self.asleep()
        self._asleep.pop(0).set()

    async def asleep(self) -> None:
        """Return as soon as somebody sleeps."""
        async with asyncio.timeout(5):
            while not self._asleep:
                self._somebody.clear()
                await self._somebody.wait()

    async def wake_until(self, awaited: "asyncio.Future[Any]", *, seconds: float = 600) -> None:
        """Wake whoever sleeps until that has come to pass, or so much time would have passed."""
        async with asyncio.timeout(5):
            while not awaited.done() and sum(self.pauses) < seconds:
                if self._asleep:
                    self._asleep.pop(0).set()
                await asyncio.sleep(0)


@dataclass(slots=True)
class Leases:
    """Which jobs hold what they need to run."""

    alive: set[str] = field(default_factory=set)
    asked: int = 0

    async def __call__(self, space_id: str, job_id: str) -> bool:
        assert job_id.startswith(f"{space_id}.")
        self.asked += 1
        return job_id in self.alive


class Process:
    """One process: entered, it serves."""

    def __init__(
        self,
        store: ObjectStore,
        clock: FrozenClock,
        leases: Leases | None = None,
        *,
        drain: float = 5,
        grace: float = 5,
        keep_alive: float = 15,
    ) -> None:
        self.sleep = HeldSleep()
        self.runner = Runner(drain=drain, grace=grace)
        self.jobs = JobService(
            store, self.runner, clock, is_alive=leases or Leases(), sleep=self.sleep, keep_alive=keep_alive
        )
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self.runner.opened())
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    async def start(self, work: "Steps | Callable[[JobHandle], Awaitable[dict[str, Any]]]", **more: Any) -> Job:
        return await self.jobs.start(SPACE, KIND, "writer", work, **more)


class Steps:
    """Work that goes on when the test lets it: it waits before each of its steps, then commits it."""

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps
        self.arrived: asyncio.Queue[int] = asyncio.Queue()
        """The number of each step that waits."""
        self.go = asyncio.Semaphore(0)
        self.committed: list[int] = []
        self.inside: Callable[[], Awaitable[None]] | None = None
        """Awaited between a commit's beginning and its end."""

    async def __call__(self, job: JobHandle) -> dict[str, Any]:
        for step in range(self.steps):
            self.arrived.put_nowait(step)
            await self.go.acquire()
            async with job.committing(f"record {step}"):
                if self.inside:
                    await self.inside()
                self.committed.append(step)
            job.event("committed", {"version": step + 1})
            job.progress(step + 1, self.steps, f"step {step + 1}")
        return {"status": "ok", "steps": self.steps}


async def short(job: JobHandle) -> dict[str, Any]:
    """Work that is over at once."""
    job.event("planned", {"batches": 1})
    async with job.committing("record"):
        pass
    job.progress(1, 1, "filed")
    return {"status": "ok"}


async def heard(jobs: JobService, job_id: str, after: int = 0) -> list[JobEvent]:
    """Every event of a job that comes to its end."""
    events = await jobs.events(job_id, after=after)
    return [] if events is None else [event async for event in events if event is not None]


async def ended(job: Job) -> dict[str, Any]:
    """What the job has come to, as soon as it has."""
    async with asyncio.timeout(5):
        result = await job.result()
    assert result is not None
    return result


async def stored(store: FaultyStore, job_id: str) -> JobRecord | None:
    """What is stored of a job, whatever faults there are."""
    found = await store.inner.get(job_key(job_id))
    return JobRecord.model_validate_json(found.body) if isinstance(found, Stored) else None


async def recorded(store: FaultyStore, job_id: str) -> JobRecord:
    """What is stored of a job, which must be something."""
    record = await stored(store, job_id)
    assert record is not None
    return record


async def until_recorded(store: FaultyStore, job: Job) -> None:
    """Wait until the store holds what the job has come to."""
    async with asyncio.timeout(5):
        while True:
            record = await stored(store, job.id)
            if record is not None and (record.last_event, record.state) == (job.record.last_event, job.record.state):
                return
            await asyncio.sleep(0)
