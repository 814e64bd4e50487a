"""Whose turn it is to work on a bank: one job at a time, among all processes where a model is paid for it."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from app.bank.errors import ConsolidationRunning
from app.bank.leases import Leases
from app.core.ids import new_job_id
from app.jobs.service import Job, JobHandle, JobService
from app.storage.lease import Held

Work = Callable[[JobHandle, Held | None], Awaitable[dict[str, Any]]]
"""Is given the lease, when there is one."""


class Turns:
    """Starts the jobs that change banks."""

    def __init__(self, jobs: JobService, leases: Leases) -> None:
        self._jobs = jobs
        self._leases = leases
        self._running: dict[str, str] = {}
        """Space, and the job of this process that works on its bank."""

    async def start(
        self, space_id: str, kind: str, actor: str, work: Work, *, announced: bool = False, leased: bool = False
    ) -> Job:
        """Begin the work, which goes on whoever goes away.

        `announced`: for a caller who will not wait. `leased`: no other process may do such work on it meanwhile.

        Raises:
            ConsolidationRunning: another job is at it.
        """
        if running := self._running.get(space_id):
            raise ConsolidationRunning(space_id, running)
        job_id = self._running.setdefault(space_id, new_job_id(space_id))
        stack = AsyncExitStack()
        stack.callback(self._running.pop, space_id, None)
        try:
            held = await self._leases.take(stack, space_id, job_id) if leased else None

            async def turn(job: JobHandle) -> dict[str, Any]:
                async with stack:
                    return await work(job, held)

            return await self._jobs.start(space_id, kind, actor, turn, announced=announced, job_id=job_id)
        except BaseException:
            await stack.aclose()
            raise
