"""The one place that starts a task: each has an owner, and ends with the process."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from app.core.errors import Situation

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Runner:
    """Owns the tasks that no request waits for, or that must go on when the request is gone."""

    def __init__(self, *, drain: float) -> None:
        self._drain = drain
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run the work to its end, whoever goes away meanwhile."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
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
        """On leaving, let running work end within the drain time (seconds), then cancel the rest."""
        try:
            yield
        finally:
            if self._tasks:
                _done, late = await asyncio.wait(self._tasks, timeout=self._drain)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
