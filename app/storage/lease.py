"""Who does a piece of work that would be wasteful to do twice. A lease saves money, it never protects data."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.core.ids import new_nonce
from app.core.schema import Record
from app.storage.document import parsed
from app.storage.store import JSON, ObjectStore, PreconditionFailed, Stored

SHORTEST: Final = timedelta(seconds=15)
"""Times in a store have a resolution of one second, so a shorter lease would mean little."""

log = structlog.get_logger(__name__)


class LeaseRecord(Record):
    """A lease as it is stored. The object stays when it is released, or its epochs would start anew."""

    owner: str
    epoch: int
    nonce: str
    ttl_s: float
    released: bool = False
    purpose: str = ""
    """What the holder is doing, for people: a job's id."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """An ETag, and since when by the own clock nobody has changed it."""

    etag: str
    since: float


class Held:
    """A lease that was acquired. It holds while `is_valid`, whatever the store says by now."""

    def __init__(self, lease: "Lease", record: LeaseRecord, etag: str, started: float) -> None:
        self.lost = asyncio.Event()
        """Set when the lease is known to be lost, so that its work can be stopped."""
        self._lease = lease
        self._record = record
        self._etag = etag
        self._valid_until = lease.valid_until(started)

    @property
    def epoch(self) -> int:
        """Grows with each holder: it tells in logs who took over from whom."""
        return self._record.epoch

    @property
    def is_valid(self) -> bool:
        """Is nobody else allowed to hold it now? Judged by time that passes here, so a paused process learns it too."""
        return not self.lost.is_set() and self._lease.clock.monotonic() < self._valid_until

    async def renew(self) -> bool:
        """Hold it for another while; False when it is lost.

        Raises:
            StoreUnavailable: nobody can tell; it is valid as long as it says so.
        """
        started = self._lease.clock.monotonic()
        if self.is_valid and await self._changed(released=False):
            self._valid_until = self._lease.valid_until(started)
            return True
        self.lost.set()
        return False

    async def release(self) -> None:
        """Let others have it at once. Without this they wait until it runs out."""
        self.lost.set()
        await self._changed(released=True)

    async def _changed(self, *, released: bool) -> bool:
        record = self._record.model_copy(update={"nonce": new_nonce(), "released": released})
        try:
            self._etag = await self._lease.write(record, self._etag)
        except PreconditionFailed:
            return False
        self._record = record
        return True


class Lease:
    """The right to do something, kept in one object.

    Its age is the difference of two times of the store, so replicas' clocks play no part. Whoever holds it commits
    its work by a swap of what it read after acquiring: a holder that was paused too long then fails there.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        owner: str,
        clock: Clock,
        *,
        ttl: timedelta = timedelta(seconds=60),
        margin: timedelta = timedelta(seconds=4),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if ttl < SHORTEST:
            raise ValueError(f"a lease lasts {SHORTEST.total_seconds():g} seconds or more")
        self._store = store
        self._key = key
        self._owner = owner
        self.clock = clock
        self._ttl = ttl
        self._margin = margin
        self._sleep = sleep
        self._seen: _Seen | None = None

    async def acquire(self, *, purpose: str = "") -> Held | None:
        """The lease, or None while somebody else holds it.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        stored = await self._store.get(self._key)
        started = self.clock.monotonic()
        previous = parsed(LeaseRecord, self._key, stored.body) if isinstance(stored, Stored) else None
        if isinstance(stored, Stored) and previous is not None and not self._is_free(stored, previous):
            return None
        record = LeaseRecord(
            owner=self._owner,
            epoch=previous.epoch + 1 if previous else 1,
            nonce=new_nonce(),
            ttl_s=self._ttl.total_seconds(),
            purpose=purpose,
        )
        try:
            etag = await self.write(record, stored.etag if isinstance(stored, Stored) else None)
        except PreconditionFailed:
            # Somebody was faster, which is as good as finding it held.
            return None
        return Held(self, record, etag, started)

    @asynccontextmanager
    async def holding(self, *, purpose: str = "") -> AsyncIterator[Held | None]:
        """The lease for the length of a block, renewed meanwhile and released at its end; None while it is held."""
        held = await self.acquire(purpose=purpose)
        if held is None:
            yield None
            return
        renewing = asyncio.create_task(self._keep(held), name=f"lease {self._key}")
        try:
            yield held
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(StoreUnavailable):
                await held.release()

    async def _keep(self, held: Held) -> None:
        while not held.lost.is_set():
            await self._sleep(self._ttl.total_seconds() / 3)
            try:
                await held.renew()
            except StoreUnavailable as error:
                log.warning("lease_not_renewed", key=self._key, code=error.code())
        log.warning("lease_lost", key=self._key, epoch=held.epoch)

    def _is_free(self, stored: Stored, record: LeaseRecord) -> bool:
        if record.released:
            self._seen = None
            return True
        lasting = timedelta(seconds=record.ttl_s) + self._margin
        if self._store.now() - stored.last_modified > lasting:
            return True
        # In case the store does not tell the time: nobody has touched it for as long, by time that passes here.
        now = self.clock.monotonic()
        if self._seen is None or self._seen.etag != stored.etag:
            self._seen = _Seen(stored.etag, now)
        return now - self._seen.since > lasting.total_seconds()

    def valid_until(self, started: float) -> float:
        """How long a write that was begun then lets the lease hold: the store's own count begins later."""
        return started + (self._ttl - self._margin).total_seconds()

    async def write(self, record: LeaseRecord, etag: str | None) -> str:
        """Write the lease if it is still the one with that ETag, or absent."""
        body = record.model_dump_json().encode()
        if etag is None:
            return await self._store.create(self._key, body, content_type=JSON)
        return await self._store.replace(self._key, body, etag=etag, content_type=JSON)
