"""Counts the round trips of an operation: requests that are under way together are one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from tests.fakes.faulty_store import FaultyStore

_TURNS: Final = 200
"""Turns of the event loop after which whatever could be asked without another answer has been asked."""

T = TypeVar("T")


class Rounds:
    """Holds back every request to a store until there is nothing else to do, then lets all of them go at once.

    That is what a distant store does to its callers: what waits for an answer before it asks on costs a round trip
    more, what is asked together does not.
    """

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self._waiting: list[asyncio.Event] = []
        self.rounds: list[list[str]] = []
        """Each round trip, and the requests that it took: method and key."""

    async def of(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; what else it has begun by its end is let go uncounted."""
        asked: list[str] = []

        async def hold(method: str, key: str) -> None:
            asked.append(f"{method} {key}")
            turn = asyncio.Event()
            self._waiting.append(turn)
            await turn.wait()

        self._store.before = hold
        task = asyncio.ensure_future(work)
        try:
            while True:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                if task.done():
                    return task.result()
                if self._waiting:
                    self.rounds.append(asked[:])
                    asked.clear()
                self._let_go()
        finally:
            self._store.before = None
            self._let_go()

    def _let_go(self) -> None:
        for turn in self._waiting:
            turn.set()
        self._waiting.clear()
