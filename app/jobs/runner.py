"""The one place that starts a task: each has an owner, and ends with the process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import structlog

from app.core.errors import Situation

log = structlog.get_logger(__name__)

T = TypeVar("T")

GRACE: Final = 5.0
"""Seconds that work gets to stop by itself, once it has been asked to."""


class Runner:
    """Owns the tasks that no request waits for, or that must go on when the request is gone."""

    def __init__(self, *, drain: float, grace: float = GRACE) -> None:
        self._drain = drain
        self._grace = grace
        self._tasks: dict[asyncio.Task[Any], Callable[[], None] | None] = {}
        """Each with what asks it to stop, if it can be asked."""

    def start(
        self, work: Coroutine[Any, Any, T], *, name: str, stop: Callable[[], None] | None = None
    ) -> asyncio.Task[T]:
        """Run the work to its end, whoever goes away meanwhile. `stop` is called when there is no more time for it."""
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = stop
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            log.warning("task_cancelled", task=task.get_name())
        elif isinstance(error := task.exception(), Situation):
            log.info("task_refused", task=task.get_name(), code=error.code())
        elif error is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)

    async def idle(self) -> None:
        """Return when nothing is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """On leaving, let running work end within the drain time, ask the rest to stop, and cancel what does not."""
        try:
            yield
        finally:
            if not await self._idle_within(self._drain):
                stops = [stop for stop in self._tasks.values() if stop is not None]
                for stop in stops:
                    stop()
                await self._idle_within(self._grace if stops else 0.0)
            late = list(self._tasks)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _idle_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.idle()
        except TimeoutError:
            return False
        return True
