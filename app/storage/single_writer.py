"""A store that ignores conditions, made safe for one process: it decides here, and sees to it that it is alone."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.core.ids import new_nonce
from app.storage.keys import check_key
from app.storage.store import TEXT, UNCHANGED, ObjectStore, Page, PreconditionFailed, Stored, Unchanged

FLAGS: Final = "_system/leases/writer/"
_STRIPES: Final = 1024
"""Locks; a key's is found by hash, so some keys share one."""

_LONGEST: Final = 5
"""How often the pause between two attempts doubles."""

log = structlog.get_logger(__name__)


class NotAlone(StoreUnavailable):
    """Another process writes to the same store, which cannot keep several apart."""


class WriterFlag:
    """The claim to be the only writer, on a store that can do no more than write, read and list.

    Announce, then look: each process puts up a flag of its own, then lists all of them, and holds the claim only if
    there is no other. Of two that come at once, each sees the other's flag, or one came after the other had looked
    and then sees it: never do both hold. Whoever holds it has a flag up all the time, so it need not look again. A
    flag is never overwritten, since some servers lose sight of an object meanwhile: a renewal is a new flag, put up
    before the old one is taken down.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        owner: str,
        *,
        ttl: timedelta = timedelta(seconds=60),
        margin: timedelta = timedelta(seconds=4),
        pause: timedelta = timedelta(milliseconds=500),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._prefix = f"{FLAGS}{owner}-{new_nonce()}"
        self._ttl = ttl
        self._margin = margin
        self._sleep = sleep
        self._pause = pause.total_seconds()
        self._up: set[str] = set()
        self._valid_until = -math.inf

    @property
    def is_held(self) -> bool:
        """Is this the only writer, now? Judged by time that passes here, so a paused process learns it too."""
        return self._clock.monotonic() < self._valid_until

    async def acquire(self, *, patience: timedelta) -> None:
        """Become the only writer.

        Raises:
            NotAlone: another one was there all the time.
        """
        end = self._clock.monotonic() + patience.total_seconds()
        attempt = 0
        while not await self.renew():
            if self._clock.monotonic() >= end:
                raise NotAlone
            await self._rest(attempt)
            attempt += 1

    async def renew(self) -> bool:
        """Be the only writer for another while; False when somebody else is there."""
        started = self._clock.monotonic()
        flag = f"{self._prefix}-{new_nonce()}"
        self._up.add(flag)
        await self._store.put(flag, b"")
        # Still held: the earlier flag stood until this one did, and nobody can have come in between.
        if not self.is_held and await self._is_another_there():
            await self.release()
            return False
        self._valid_until = started + (self._ttl - self._margin).total_seconds()
        await self._take_down(self._up - {flag})
        return self.is_held

    async def release(self) -> None:
        """Stop being the writer."""
        self._valid_until = -math.inf
        await self._take_down(set(self._up))

    async def keep(self) -> None:
        """Renew for ever, and become the writer again when the claim was lost."""
        attempt = 0
        while True:
            if self.is_held:
                attempt = 0
                await self._sleep(self._ttl.total_seconds() / 3)
            else:
                await self._rest(attempt)
                attempt += 1
            try:
                if not await self.renew():
                    log.error("another_writer", hint="This store takes one process: stop the other one.")
            except StoreUnavailable as error:
                log.warning("writer_flag_not_renewed", code=error.code())

    async def _rest(self, attempt: int) -> None:
        """Wait anywhere up to the pause, which doubles: those who met, however slow the store, must not meet again."""
        await self._sleep(self._pause * 2 ** min(attempt, _LONGEST) * int(new_nonce(), 16) / 2**64)

    async def _is_another_there(self) -> bool:
        """Is there a flag of somebody else? That of a process which died counts until it is too old."""
        async for page in self._store.list(FLAGS):
            for found in page.objects:
                young = page.date - found.last_modified <= self._ttl + self._margin
                if young and not found.key.startswith(self._prefix):
                    return True
        return False

    async def _take_down(self, flags: set[str]) -> None:
        for flag in flags:
            await self._store.delete(flag)
            self._up.discard(flag)


class SingleWriterStore:
    """Any store, with conditional writes kept by this process, which refuses to write unless it is the only one.

    What is lost against a store that keeps conditions itself: a process that stands still for longer than its flag,
    in the middle of a write, may still carry that write out.
    """

    def __init__(self, inner: ObjectStore, flag: WriterFlag, *, patience: timedelta = timedelta(seconds=90)) -> None:
        self.kind = inner.kind
        self.location = inner.location
        self._inner = inner
        self._flag = flag
        self._patience = patience
        self._locks = [asyncio.Lock() for _ in range(_STRIPES)]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Holds the claim to be the only writer, and waits for it when another process is still ending."""
        async with self._inner.opened(), self.alone():
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Holds the claim for the length of the block, on an inner store that is open already.

        Raises:
            NotAlone: another process was there all the time.
        """
        try:
            await self._flag.acquire(patience=self._patience)
            keeping = asyncio.create_task(self._flag.keep(), name="writer flag")
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
        finally:
            with suppress(StoreUnavailable):
                await self._flag.release()

    def now(self) -> datetime:
        return self._inner.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        check_key(key)
        # Some servers lose sight of an object while it is overwritten.
        async with self._locked(key):
            return await self._inner.get(key, unless=unless)

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        check_key(key)
        async with self._writing(key):
            if await self._inner.get(key) is not None:
                raise PreconditionFailed(key)
            self._check_alone()
            return await self._inner.put(key, body, content_type=content_type)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:
        check_key(key)
        async with self._writing(key):
            found = await self._inner.get(key, unless=etag)
            if found is not UNCHANGED:
                raise PreconditionFailed(key)
            self._check_alone()
            return await self._inner.put(key, body, content_type=content_type)

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        check_key(key)
        async with self._writing(key):
            return await self._inner.put(key, body, content_type=content_type)

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        check_key(key)
        async with self._writing(key):
            found = UNCHANGED if etag is None else await self._inner.get(key, unless=etag)
            if found is None:
                return
            if found is not UNCHANGED:
                raise PreconditionFailed(key)
            self._check_alone()
            await self._inner.delete(key)

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        stripes = sorted({_stripe(check_key(key)) for key in keys})
        async with AsyncExitStack() as stack:
            # In one order for everybody, so that nobody waits in a circle.
            for stripe in stripes:
                await stack.enter_async_context(self._locks[stripe])
            self._check_alone()
            return await self._inner.delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        async for page in self._inner.list(prefix, start_after=start_after, delimiter=delimiter):
            yield page

    async def copy(self, source: str, target: str) -> bool:
        check_key(source)
        check_key(target)
        async with self._writing(target):
            return await self._inner.copy(source, target)

    @asynccontextmanager
    async def _writing(self, key: str) -> AsyncIterator[None]:
        async with self._locked(key):
            self._check_alone()
            yield

    def _locked(self, key: str) -> asyncio.Lock:
        return self._locks[_stripe(key)]

    def _check_alone(self) -> None:
        if not self._flag.is_held:
            raise NotAlone


def _stripe(key: str) -> int:
    return hash(key) % _STRIPES
