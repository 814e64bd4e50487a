"""A bucket as the service uses it: tried first, then used as far as its server can be trusted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import ClassVar, Final

import structlog

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.core.settings import ConditionalWrites
from app.storage.probe import Conditions, Verdict, probe
from app.storage.s3 import S3Store
from app.storage.single_writer import NotAlone, SingleWriterStore, WriterFlag
from app.storage.store import TEXT, ObjectStore, Page, Stored, StoreRefused, Unchanged

SINGLE_WRITER: Final = "none, single writer"
"""What `/ready` says of a server that does not keep conditions, while this process alone writes."""
ANOTHER_WRITER: Final = "none, another writer"
"""The same while another process writes, or one that ended without a word may still do so."""
LIED: Final = "lied"
"""The same once two writers were told that they had won."""
_LONGEST: Final = 5
"""How often the pause between two attempts doubles."""

log = structlog.get_logger(__name__)


class ProbedStore:
    """The store in a bucket. Until its server was tried with success, every operation is refused.

    A server that keeps conditions is used as it is, by any number of processes. Any other one is used by this process
    alone, unless the settings demand more. What fails at the start is tried again until it succeeds.
    """

    kind: ClassVar[str] = "s3"

    def __init__(
        self,
        bucket: S3Store,
        clock: Clock,
        owner: str,
        *,
        demand: ConditionalWrites = ConditionalWrites.AUTO,
        replicas: int = 1,
        patience: timedelta = timedelta(seconds=10),
        pause: timedelta = timedelta(seconds=1),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.location = bucket.location
        self._bucket = bucket
        self._flag = WriterFlag(bucket, clock, owner)
        self._alone = SingleWriterStore(bucket, self._flag)
        self._demand = demand
        self._replicas = replicas
        self._patience = patience
        self._pause = pause.total_seconds()
        self._sleep = sleep
        self.lies = 0
        """How often an acknowledged conditional write turned out not to have been the only one."""
        self._in_use: ObjectStore | None = None
        self._checks: dict[str, str] = {}
        self._closed()

    def doubt(self, key: str) -> None:
        """Say from now on that the server cannot be trusted, whatever it did when it was tried."""
        self.lies += 1
        log.error("store_lied", key=key, hint="Run one process, or use a server that keeps conditional writes.")

    def checks(self) -> Mapping[str, str]:
        if self.lies:
            return {**self._checks, "conditions": LIED}
        if self._in_use is self._alone and not self._flag.is_held:
            return {"conditions": ANOTHER_WRITER}
        return self._checks

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connections, and the work that tries the server. A server that is away does not hinder the start.

        Raises:
            StoreRefused: several replicas were announced, and the server does not keep conditional writes.
        """
        async with self._bucket.opened():
            settled = asyncio.Event()
            work = asyncio.create_task(self._work(settled), name="store probe")
            try:
                await self._until_settled(settled, work)
                yield
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                self._closed()

    def now(self) -> datetime:
        return self._bucket.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        return await self._store().get(key, unless=unless)

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        return await self._store().create(key, body, content_type=content_type)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:
        return await self._store().replace(key, body, etag=etag, content_type=content_type)

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        return await self._store().put(key, body, content_type=content_type)

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        await self._store().delete(key, etag=etag)

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        return await self._store().delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        async for page in self._store().list(prefix, start_after=start_after, delimiter=delimiter):
            yield page

    async def copy(self, source: str, target: str) -> bool:
        return await self._store().copy(source, target)

    def _store(self) -> ObjectStore:
        if self._in_use is None:
            raise StoreUnavailable("The object store is not ready; /ready says why.", retry_after=2)
        return self._in_use

    def _closed(self) -> None:
        self._in_use = None
        self._checks = {"store": StoreUnavailable.code(), "conditions": "unknown"}

    async def _until_settled(self, settled: asyncio.Event, work: asyncio.Task[None]) -> None:
        """Wait until the first attempt has ended, one way or the other, but not for ever."""
        waiting = asyncio.create_task(settled.wait(), name="first store probe")
        try:
            await asyncio.wait(
                [waiting, work], timeout=self._patience.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if work.done():
            # It ends by itself only when it must not go on.
            work.result()

    async def _work(self, settled: asyncio.Event) -> None:
        """Find out what the server can be trusted with, and keep the store in use until cancelled."""
        conditions = (await self._verdict(settled)).conditions
        self._checks = {"store": "ok", "conditions": conditions}
        if conditions is Conditions.FULL and self._demand is not ConditionalWrites.OFF:
            self._use(self._bucket, conditions, settled)
        elif self._demand is ConditionalWrites.REQUIRE:
            log.error("conditional_writes_missing", conditions=conditions, hint="S3_CONDITIONAL_WRITES is require.")
        elif self._replicas > 1:
            log.error("conditional_writes_missing", conditions=conditions, hint="REPLICAS must be 1.")
            raise StoreRefused(
                f"REPLICAS is {self._replicas}, but the S3 server does not keep conditional writes: run one process."
            )
        else:
            await self._write_alone(settled)
        settled.set()
        # Nothing more to do, but an end would mean that the start must fail.
        await asyncio.Event().wait()

    async def _verdict(self, settled: asyncio.Event) -> Verdict:
        attempt = 0
        while True:
            try:
                verdict = await probe(self._bucket)
            except StoreUnavailable as situation:
                self._checks = {"store": situation.code(), "conditions": "unknown"}
                log.warning("store_not_ready", code=situation.code(), detail=situation.detail)
            else:
                if 0 not in (*verdict.creators, *verdict.writers):
                    return verdict
                # A race without a winner says that the server fell silent, and nothing about conditions.
                log.warning("store_not_ready", detail="The server fell silent while it was tried.")
            settled.set()
            await self._sleep(self._pause * 2 ** min(attempt, _LONGEST))
            attempt += 1

    async def _write_alone(self, settled: asyncio.Event) -> None:
        while True:
            try:
                self._checks = {"store": "ok", "conditions": ANOTHER_WRITER}
                async with self._alone.alone():
                    self._use(self._alone, SINGLE_WRITER, settled)
                    await asyncio.Event().wait()
            except NotAlone:
                log.warning("another_writer", hint="This store takes one process: stop the other one.")
            except StoreUnavailable as situation:
                log.warning("store_not_ready", code=situation.code(), detail=situation.detail)
                await self._sleep(self._pause)

    def _use(self, store: ObjectStore, conditions: str, settled: asyncio.Event) -> None:
        self._checks = {"conditions": conditions}
        self._in_use = store
        log.info("store_in_use", conditions=conditions, bucket=self.location)
        settled.set()
