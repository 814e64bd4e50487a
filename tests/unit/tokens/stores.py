"""A store that tells what was asked of it, and that can be out of order."""

import asyncio
from collections.abc import Callable

from app.core.clock import Clock
from app.storage.memory import MemoryStore
from app.storage.store import Stored, Unchanged
from tests.fakes.faulty_store import READS, WRITES, FaultyStore


class WatchedStore(FaultyStore):
    """A store in memory with what these tests ask of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(MemoryStore(clock))
        self.before_answer: Callable[[], asyncio.Event] | None = None
        """Once: the next read has its answer, and gives it when the event is set."""

    @property
    def reads(self) -> int:
        return sum(method in READS for method, _ in self.calls)

    @property
    def writes(self) -> int:
        return sum(method in WRITES for method, _ in self.calls)

    def go_down(self) -> None:
        """Answer nothing more, until `heal()`."""
        self.fail(READS | WRITES, lasting=True)

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        answer = await super().get(key, unless=unless)
        if self.before_answer is not None:
            event, self.before_answer = self.before_answer(), None
            await event.wait()
        return answer

    async def bodies(self) -> dict[str, bytes]:
        """Everything that is stored."""
        keys = [listed.key async for page in self.inner.list("") for listed in page.objects]
        found = {key: await self.inner.get(key) for key in keys}
        return {key: stored.body for key, stored in found.items() if isinstance(stored, Stored)}
