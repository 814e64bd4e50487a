"""A store that fails when it is told to, and remembers what it was asked."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from app.core.errors import StoreUnavailable
from app.storage.store import TEXT, ObjectStore, OutcomeUnknown, Page, Stored, Unchanged

READS: Final = frozenset({"get", "list"})
WRITES: Final = frozenset({"create", "replace", "put", "delete", "delete_many", "copy"})

T = TypeVar("T")
Hook = Callable[[str, str], Awaitable[None]]
"""Gets the method and the key of a call that is about to be made."""


@dataclass(slots=True)
class Fault:
    """A failure that is waiting for its call."""

    methods: frozenset[str]
    key: str
    countdown: int
    applied: bool
    lasting: bool
    error: Callable[[str], Exception]
    met: int = 0
    """How often it has struck."""

    def strikes(self, method: str, key: str) -> bool:
        """Is this the call? Counts those it looked at."""
        if method not in self.methods or not key.startswith(self.key):
            return False
        self.countdown -= 1
        if self.countdown == 0 or (self.lasting and self.countdown < 0):
            self.met += 1
            return True
        return False


class FaultyStore:
    """Any store, made to fail at chosen calls. Each page of a listing is one call, as it is one request."""

    def __init__(self, inner: ObjectStore, *, before: Hook | None = None) -> None:
        self.inner = inner
        self.before = before
        """Awaited before each call, so that a test can act in the middle of an operation."""
        self.calls: list[tuple[str, str]] = []
        """Method and key of each call: a listing's prefix, a copy's target, the first key of many."""
        self._faults: list[Fault] = []

    def fail(
        self,
        methods: str | Iterable[str],
        *,
        nth: int = 1,
        key: str = "",
        applied: bool = False,
        lasting: bool = False,
        error: Callable[[str], Exception] | None = None,
    ) -> Fault:
        """Fail the nth call, from now on, of these methods whose key starts with `key`.

        `applied`: the call takes effect, and only its answer is lost (`OutcomeUnknown`). `lasting`: every later call
        of these methods fails as well, as if the process had lost its store for good.
        """
        chosen = frozenset({methods} if isinstance(methods, str) else methods)
        if unknown := chosen - READS - WRITES:
            raise ValueError(f"no such method: {', '.join(sorted(unknown))}")
        if nth < 1:
            raise ValueError("the first call is number 1")
        fault = Fault(chosen, key, nth, applied, lasting, error or (OutcomeUnknown if applied else StoreUnavailable))
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Fail no more."""
        self._faults.clear()

    def counted(self) -> Counter[str]:
        """Calls per method."""
        return Counter(method for method, _ in self.calls)

    def forget_calls(self) -> None:
        """Count from zero."""
        self.calls.clear()

    @property
    def kind(self) -> str:
        return self.inner.kind

    @property
    def location(self) -> str:
        return self.inner.location

    def opened(self) -> AbstractAsyncContextManager[None]:
        return self.inner.opened()

    def now(self) -> datetime:
        return self.inner.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        return await self._call("get", key, lambda: self.inner.get(key, unless=unless))

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        return await self._call("create", key, lambda: self.inner.create(key, body, content_type=content_type))

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:
        return await self._call(
            "replace", key, lambda: self.inner.replace(key, body, etag=etag, content_type=content_type)
        )

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        return await self._call("put", key, lambda: self.inner.put(key, body, content_type=content_type))

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        await self._call("delete", key, lambda: self.inner.delete(key, etag=etag))

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        return await self._call("delete_many", keys[0] if keys else "", lambda: self.inner.delete_many(keys))

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        pages = self.inner.list(prefix, start_after=start_after, delimiter=delimiter)
        page = await self._call("list", prefix, lambda: anext(pages, None))
        while page is not None:
            yield page
            page = await anext(pages, None)
            if page is not None:
                await self._call("list", prefix, _nothing)

    async def copy(self, source: str, target: str) -> bool:
        return await self._call("copy", target, lambda: self.inner.copy(source, target))

    async def _call(self, method: str, key: str, make: Callable[[], Awaitable[T]]) -> T:
        self.calls.append((method, key))
        if self.before is not None:
            await self.before(method, key)
        # Each fault counts this call, even when an earlier one strikes.
        striking = [fault for fault in self._faults if fault.strikes(method, key)]
        if not striking:
            return await make()
        if striking[0].applied:
            await make()
        raise striking[0].error(f"{method} of '{key}' was made to fail.")


async def _nothing() -> None:
    """The page was made before the call was counted: only a made page shows that there was one more."""
