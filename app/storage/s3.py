"""Objects in a bucket of an S3 server: the store that many replicas share."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import aioboto3
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.storage.keys import InvalidKey, check_key, check_prefix
from app.storage.retries import Resolution, Unclear, read_whole, settle
from app.storage.s3_errors import (
    NOT_FOUND,
    NOT_IMPLEMENTED,
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    SERVER_ERROR,
    Answered,
    CutShort,
    Unanswered,
    translated,
)
from app.storage.s3_events import ATTEMPTS, attend, instant_of
from app.storage.signatures import Signature, sign_as
from app.storage.store import (
    PAGE_SIZE,
    TEXT,
    UNCHANGED,
    Listed,
    OutcomeUnknown,
    Page,
    PreconditionFailed,
    Stored,
    StoreRefused,
    Unchanged,
    check_delimiter,
)
from app.storage.store_time import StoreTime

BULK: Final = 32
"""Requests in flight for one bulk deletion: beyond, only latency grows. The rest of the pool is for everybody else."""
_BATCH: Final = 250
_BATCHES: Final = 4
"""Keys in one request that deletes many, and such requests in flight: SeaweedFS takes half the time for them that it
takes for one of a thousand."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ETagStyle(StrEnum):
    """How the server wants an ETag in a condition."""

    QUOTED = "quoted"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long the store may take."""

    connect: timedelta = timedelta(seconds=3)
    silence: timedelta = timedelta(seconds=10)
    """Between two pieces of an answer."""
    call: timedelta = timedelta(seconds=15)
    """One call of the SDK, its own repetitions included."""
    operation: timedelta = timedelta(seconds=30)
    """One method of the store, with everything that is repeated and read back."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the bucket is, and how to talk to its server."""

    bucket: str
    endpoint_url: str = ""
    """Empty for AWS itself."""
    region: str = "fr1"
    access_key_id: str = ""
    """Empty: credentials are looked for where AWS tools keep them."""
    secret_access_key: str = field(default="", repr=False)
    signature: Signature = Signature.AUTO
    sse: str = ""
    """Encryption at rest: empty for none, `AES256`, or the id of a KMS key."""
    ca_file: Path | None = None
    """Certificates to trust instead of the usual ones."""
    pool: int = 64
    deadlines: Deadlines = Deadlines()


class S3Store:
    """A store in one bucket, through one client that is open as long as the process.

    A conditional write goes out once, and an unclear answer to it is settled by reading the object back, so a lost
    reply is neither a false conflict nor a second write. A cancelled caller waits until its write is settled.
    """

    kind: ClassVar[str] = "s3"

    def __init__(self, options: S3Options, clock: Clock, *, on_request: Callable[[str], None] = lambda _: None) -> None:
        self.location = options.bucket
        self.signature = Signature.V4 if options.signature is Signature.AUTO else options.signature
        """What requests are signed with from now on."""
        self.etag_style = ETagStyle.QUOTED
        """How conditions name an ETag from now on."""
        self.ambiguous: Counter[Resolution] = Counter()
        """Conditional writes without a clear answer, by what they turned out to be."""
        self.options = options
        self._time = StoreTime(clock)
        self._on_request = on_request
        self._client: Any = None
        self._turn = asyncio.Semaphore(options.pool)
        self._writing: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with _session().client("s3", **self._settings()) as client:
            attend(client, self._on_request)
            sign_as(client.meta.events, lambda: self.signature)
            self._client = client
            try:
                yield
            finally:
                # Writes outlive their cancelled callers.
                while self._writing:
                    await asyncio.wait(self._writing)
                self._client = None

    def now(self) -> datetime:
        return self._time.now()

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the store's clock is ahead of the own; None as long as no reply bore a date."""
        return self._time.offset

    async def check_bucket(self) -> None:
        """Ask for the bucket itself.

        Raises:
            StoreRefused: it does not exist, or these credentials may not use it.
        """
        await self._within(self._head_bucket())

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        check_key(key)
        return await self._within(self._read(key, unless))

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        check_key(key)
        return await self._shielded(self._write(key, body, content_type, etag=None))

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:
        check_key(key)
        if not _is_ours(etag):
            raise PreconditionFailed(key)
        return await self._shielded(self._write(key, body, content_type, etag=etag))

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:
        check_key(key)
        reply = await self._shielded(self._call("put_object", Key=key, **self._content(body, content_type)))
        return _bare(reply.get("ETag", ""))

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        check_key(key)
        if etag is not None and not _is_ours(etag):
            raise PreconditionFailed(key)
        await self._shielded(self._delete(key, etag))

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        wanted = list(dict.fromkeys([check_key(key) for key in keys]))
        batches = iter([wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)])
        turn = asyncio.Semaphore(BULK)
        left: list[str] = []
        failed: list[Exception] = []

        async def work() -> None:
            for batch in batches:
                if failed:
                    return
                try:
                    left.extend(await self._shielded(self._delete_batch(batch, turn)))
                except Exception as error:  # noqa: BLE001 - it is raised when those under way have ended
                    failed.append(error)

        await asyncio.gather(*(work() for _ in range(_BATCHES)))
        if failed:
            raise failed[0]
        return left

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        check_prefix(prefix)
        check_delimiter(delimiter)
        asked = {"Prefix": prefix, "StartAfter": start_after, "Delimiter": delimiter}
        place = {"MaxKeys": PAGE_SIZE, **{name: value for name, value in asked.items() if value}}
        while True:
            begun = self._time.here()
            reply = await self._within(self._call("list_objects_v2", **place))
            yield Page(
                objects=tuple(_listed(found) for found in reply.get("Contents", ()) if _is_legal(found["Key"])),
                folders=tuple(
                    found["Prefix"]
                    for found in reply.get("CommonPrefixes", ())
                    if _is_legal(found["Prefix"].removesuffix("/"))
                ),
                date=self._time.seen_from_here(begun),
            )
            # A page may be empty although others follow.
            if not reply.get("IsTruncated"):
                return
            if not (token := reply.get("NextContinuationToken")):
                raise StoreUnavailable("The object store broke off a listing.")
            place["ContinuationToken"] = token

    async def copy(self, source: str, target: str) -> bool:
        check_key(source)
        check_key(target)
        return await self._shielded(self._copy(source, target))

    async def _head_bucket(self) -> None:
        try:
            await self._call("head_bucket")
        except Answered as answer:
            if answer.status == NOT_FOUND:
                # An answer to HEAD has no body that could give a reason, and nothing else can be missing.
                raise StoreRefused(f"There is no bucket '{self.location}'.") from answer
            raise

    async def _read(self, key: str, unless: str | None = None) -> Stored | Unchanged | None:
        condition = {} if unless is None or not _is_ours(unless) else {"IfNoneMatch": self._sent_as(unless)}
        try:
            reply = await read_whole(lambda: self._call("get_object", Key=key, **condition))
        except Answered as answer:
            if answer.status == NOT_MODIFIED:
                return UNCHANGED
            if answer.is_absent:
                return None
            raise
        stored = Stored(key, reply["Body"], _bare(reply.get("ETag", "")), self._modified(reply))
        return UNCHANGED if stored.etag == unless else stored

    async def _write(self, key: str, body: bytes, content_type: str, *, etag: str | None) -> str:
        """Write if the key is absent, or holds the object with that ETag."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": self._sent_as(etag)}

        async def send() -> str:
            try:
                reply = await self._call("put_object", Key=key, **condition, **self._content(body, content_type))
            except Answered as answer:
                if answer.is_unclear:
                    raise Unclear(denied=answer.status == PRECONDITION_FAILED) from answer
                raise
            except Unanswered as silence:
                raise Unclear from silence
            written = _bare(reply.get("ETag", ""))
            if not written:
                raise Unclear
            return written

        async def read_back() -> Stored | None:
            found = await self._within(self._read(key))
            return found if isinstance(found, Stored) else None

        def resolved(resolution: Resolution) -> None:
            self.ambiguous[resolution] += 1
            if resolution is not Resolution.FOREIGN:
                # Losing a race is nothing to talk about.
                log.info("write_settled", key=key, resolution=resolution)

        return await settle(
            key,
            body,
            send=send,
            read_back=read_back,
            believes=lambda found: (found and found.etag) == etag,
            resolved=resolved,
        )

    async def _delete(self, key: str, etag: str | None = None) -> None:
        condition = {} if etag is None else {"IfMatch": self._sent_as(etag)}
        try:
            await self._call("delete_object", Key=key, **condition)
        except Answered as answer:
            if etag is not None and answer.status == PRECONDITION_FAILED:
                if await self._read(key) is None:
                    return
                raise PreconditionFailed(key) from answer
            if not answer.is_absent:
                raise

    async def _delete_batch(self, keys: Sequence[str], turn: asyncio.Semaphore) -> Sequence[str]:
        """Delete some, and return those that may still exist."""
        try:
            reply = await self._call(
                "delete_objects", Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        except Answered as answer:
            if answer.status >= SERVER_ERROR and answer.status != NOT_IMPLEMENTED:
                raise
            return await self._delete_singly(keys, turn)
        failed = {error.get("Key") for error in reply.get("Errors", ()) if error.get("Code") != "NoSuchKey"}
        return [key for key in keys if key in failed or None in failed]

    async def _delete_singly(self, keys: Sequence[str], turn: asyncio.Semaphore) -> Sequence[str]:
        async def is_left(key: str) -> bool:
            async with turn:
                try:
                    await self._delete(key)
                except (Answered, Unanswered):
                    return True
                return False

        left = await asyncio.gather(*(is_left(key) for key in keys))
        return [key for key, remains in zip(keys, left, strict=True) if remains]

    async def _copy(self, source: str, target: str) -> bool:
        origin = {"Bucket": self.location, "Key": source}
        try:
            await self._call("copy_object", Key=target, CopySource=origin, **self._encryption())
        except Answered as answer:
            if answer.is_absent:
                return False
            raise
        return True

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """What a write answers; a cancelled caller waits for it, so that nothing is written behind its back."""
        writing = asyncio.ensure_future(self._within(work, writing=True))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            if not writing.cancelled():
                # Its error is nobody's any more.
                writing.exception()
            raise

    async def _within(self, work: Awaitable[T], *, writing: bool = False) -> T:
        """What the work answers before the operation's deadline; errors are situations from here on."""
        try:
            async with asyncio.timeout(self.options.deadlines.operation.total_seconds()):
                return await work
        except Answered as answer:
            raise answer.situation(writing=writing) from answer
        except (Unanswered, TimeoutError) as silence:
            kind = OutcomeUnknown if writing else StoreUnavailable
            raise kind("The object store does not answer.") from silence

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - the SDK ships no types
        """One call of the SDK, its body read to the end, within the deadline of a call."""
        # Waiting for a connection of the pool is not the store's fault, so the deadline begins after it.
        async with self._turn:
            return await self._call_now(operation, parameters)

    async def _call_now(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        sent = self._time.here()
        reply: dict[str, Any] = {}
        try:
            with translated():
                async with asyncio.timeout(self.options.deadlines.call.total_seconds()):
                    reply = await getattr(self._client, operation)(Bucket=self.location, **parameters)
                    self._learn(reply, sent)
                    if operation == "get_object":
                        async with reply["Body"] as stream:
                            reply["Body"] = await stream.read()
        except Answered as answer:
            self._learn(answer.reply, sent)
            raise
        except Unanswered as silence:
            if reply:
                raise CutShort(*silence.args) from silence
            raise
        return reply

    def _learn(self, reply: dict[str, Any], sent: datetime) -> None:
        date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._time.learn(parsedate_to_datetime(date), sent=sent, received=self._time.here())
        except (TypeError, ValueError):
            # Not every server tells the time.
            return

    def _modified(self, reply: dict[str, Any]) -> datetime:
        """When an object was written, in whole seconds: some servers round in one kind of reply only."""
        instant: datetime = reply.get("LastModified") or self.now()
        return instant.replace(microsecond=0)

    def _content(self, body: bytes, content_type: str) -> dict[str, Any]:
        return {"Body": body, "ContentType": content_type, **self._encryption()}

    def _encryption(self) -> dict[str, str]:
        match self.options.sse:
            case "":
                return {}
            case "AES256":
                return {"ServerSideEncryption": "AES256"}
            case key:
                return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}

    def _sent_as(self, etag: str) -> str:
        return etag if self.etag_style is ETagStyle.BARE else f'"{etag}"'

    def _settings(self) -> dict[str, Any]:
        options, deadlines = self.options, self.options.deadlines
        return {
            "endpoint_url": options.endpoint_url or None,
            "region_name": options.region,
            "aws_access_key_id": options.access_key_id or None,
            "aws_secret_access_key": options.secret_access_key or None,
            "verify": str(options.ca_file) if options.ca_file else None,
            "config": AioConfig(
                region_name=options.region,
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                # Over https the default sends bodies with a trailer that many servers do not understand.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                connect_timeout=deadlines.connect.total_seconds(),
                read_timeout=deadlines.silence.total_seconds(),
                max_pool_connections=options.pool,
                tcp_keepalive=True,
                # Below the idle limit of every server and balancer, which would close the connection in our hands.
                connector_args={"keepalive_timeout": 30},
            ),
        }


@cache
def _session() -> aioboto3.Session:
    """The SDK's own state: one for the process, since it reads the description of S3 for each new one."""
    core = get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=instant_of)
    return aioboto3.Session(botocore_session=core)


def _bare(etag: str) -> str:
    """An ETag as we keep it: without a mark of weakness, and without quotes."""
    return etag.removeprefix("W/").strip('"')


def _is_ours(etag: str) -> bool:
    """Can this be an ETag that this store gave out? A condition on `*` would hold for any object."""
    return etag not in {"", "*"} and '"' not in etag and etag.isascii() and etag.isprintable()


def _is_legal(key: str) -> bool:
    """Can the other methods take this key? Other tools leave folders there, as objects whose name ends in a slash."""
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True


def _listed(found: dict[str, Any]) -> Listed:
    modified: datetime = found["LastModified"]
    return Listed(found["Key"], _bare(found.get("ETag", "")), found["Size"], modified.replace(microsecond=0))
