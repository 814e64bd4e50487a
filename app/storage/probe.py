"""What a store can be trusted with, found out by trying: a server that answers rightly in turn may fail in a race."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

import structlog

from app.core.errors import StoreUnavailable
from app.storage.s3 import ETagStyle, S3Store
from app.storage.signatures import CANDIDATES, Signature
from app.storage.store import ObjectStore, PreconditionFailed, Stored, StoreRefused

PREFIX: Final = "_system/probe/"
ROUNDS: Final = 3
RACERS: Final = 24
"""In each round: twelve were not enough to find out every server that lets several win."""

log = structlog.get_logger(__name__)


class Conditions(StrEnum):
    """Which conditional writes hold."""

    FULL = "full"
    CREATE_ONLY = "create-only"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probe found."""

    conditions: Conditions
    creators: Sequence[int]
    """How many won each race to create; 1 is right."""
    writers: Sequence[int]
    """How many won each race to replace."""
    problems: Sequence[str]
    """What does not work as it should, one sentence each."""
    etag_style: ETagStyle | None = None
    signature: Signature | None = None
    clock_offset: timedelta | None = None
    """How far the store's clock is ahead; None when it does not tell the time."""


async def probe(store: S3Store) -> Verdict:
    """Try the store, which then uses the signature and the ETag style that were found to work.

    Raises:
        StoreUnavailable: it cannot be read or written at all.
    """
    if store.options.signature is Signature.AUTO:
        await choose_signature(store)
    verdict = await probe_conditions(store, [_styled(store, style) for style in ETagStyle])
    problems = [*verdict.problems, *await _shortcomings(store)]
    if store.clock_offset is None:
        problems.append("Its replies bear no date, so ages are judged by this machine's clock.")
    found = Verdict(
        conditions=verdict.conditions,
        creators=verdict.creators,
        writers=verdict.writers,
        problems=problems,
        etag_style=store.etag_style,
        signature=store.signature,
        clock_offset=store.clock_offset,
    )
    log.info(
        "store_probed",
        conditions=found.conditions,
        creators=list(found.creators),
        writers=list(found.writers),
        etag_style=found.etag_style,
        signature=found.signature,
        problems=problems,
    )
    return found


async def choose_signature(store: S3Store) -> Signature:
    """Have the store use the first signature with which every kind of call works, and return it.

    Raises:
        StoreRefused: none does.
        StoreUnavailable: the store does not answer.
    """
    refusals: list[str] = []
    for signature in CANDIDATES:
        store.signature = signature
        try:
            await _use(store)
        except StoreRefused as refusal:
            refusals.append(f"{signature}: {refusal.detail}")
        else:
            return signature
    raise StoreRefused(f"No signature is accepted. {' '.join(refusals)}")


async def _use(store: S3Store) -> None:
    key = _new_key()
    await store.check_bucket()
    await anext(aiter(store.list(PREFIX)))
    await store.put(key, b"probe")
    await store.get(key)
    await store.delete(key)


async def probe_conditions(
    store: ObjectStore,
    styles: Sequence[Callable[[], None]] = (),
    *,
    rounds: int = ROUNDS,
    racers: int = RACERS,
) -> Verdict:
    """Try `create` and `replace`, in turn and in races. Each of `styles` has the store name ETags in another way."""
    written: list[str] = []

    def new_key() -> str:
        written.append(_new_key())
        return written[-1]

    try:
        creates = await _creates(store, new_key())
        replaces = await _first_that(styles, lambda: _replaces(store, new_key(), new_key()))
        # All at once: where the server makes racers wait for each other, each race takes seconds.
        creators, writers = await asyncio.gather(
            asyncio.gather(*(_race_to_create(store, new_key(), racers) for _ in range(rounds if creates else 0))),
            asyncio.gather(*(_race_to_replace(store, new_key(), racers) for _ in range(rounds if replaces else 0))),
        )
    finally:
        await store.delete_many(written)
    problems = []
    if not (creates_one := creates and all(number == 1 for number in creators)):
        problems.append("Several can create one object (If-None-Match is not kept).")
    if not (replaces_one := replaces and all(number == 1 for number in writers)):
        problems.append("Several can replace one version of an object (If-Match is not kept).")
    conditions = Conditions.NONE
    if creates_one:
        conditions = Conditions.FULL if replaces_one else Conditions.CREATE_ONLY
    return Verdict(conditions, creators, writers, problems)


async def _first_that(styles: Sequence[Callable[[], None]], works: Callable[[], Awaitable[bool]]) -> bool:
    if not styles:
        return await works()
    for style in styles:
        style()
        if await works():
            return True
    styles[0]()
    return False


def _styled(store: S3Store, style: ETagStyle) -> Callable[[], None]:
    def use() -> None:
        store.etag_style = style

    return use


async def _creates(store: ObjectStore, key: str) -> bool:
    """Does a first creator win, and a second one lose?"""
    return await _succeeds(store.create(key, b"first")) and await _fails(store.create(key, b"second"))


async def _replaces(store: ObjectStore, key: str, absent: str) -> bool:
    """Does the right ETag win, and an old one or one of nothing lose?"""
    first = await store.put(key, b"first")
    return (
        await _succeeds(store.replace(key, b"second", etag=first))
        and await _fails(store.replace(key, b"third", etag=first))
        and await _fails(store.replace(absent, b"fourth", etag=first))
    )


async def _succeeds(write: Awaitable[str]) -> bool:
    try:
        await write
    except PreconditionFailed:
        return False
    except StoreRefused:
        # It says that it does not know conditions.
        return False
    return True


async def _fails(write: Awaitable[str]) -> bool:
    try:
        await write
    except PreconditionFailed:
        return True
    return False


async def _race_to_create(store: ObjectStore, key: str, racers: int) -> int:
    bodies = _bodies(racers)
    return await _winners(store, key, bodies, [store.create(key, body) for body in bodies])


async def _race_to_replace(store: ObjectStore, key: str, racers: int) -> int:
    bodies = _bodies(racers)
    etag = await store.put(key, secrets.token_bytes(16))
    return await _winners(store, key, bodies, [store.replace(key, body, etag=etag) for body in bodies])


async def _winners(store: ObjectStore, key: str, bodies: Sequence[bytes], writes: Sequence[Awaitable[str]]) -> int:
    """How many believe that they won. One whose bytes are not in place counts for two: somebody overwrote it."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, PreconditionFailed | StoreUnavailable):
            raise outcome
    winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if isinstance(outcome, str)]
    stored = await store.get(key)
    if len(winners) == 1 and (not isinstance(stored, Stored) or stored.body != winners[0]):
        return 2
    return len(winners)


async def _shortcomings(store: ObjectStore) -> list[str]:
    """What else the service relies on, and this store does not do."""
    problems: list[str] = []
    folder = f"{_new_key()}/"
    keys = [f"{folder}{letter}" for letter in "abc"]
    for key in keys:
        await store.put(key, key.encode())
        stored = await store.get(key)
        if not isinstance(stored, Stored) or stored.body != key.encode():
            problems.append("What was written is not read back.")
    if await _listed(store, folder) != keys:
        problems.append("What was written is not listed at once.")
    if await _listed(store, folder, start_after=keys[0]) != keys[1:]:
        problems.append("A listing does not start where it is told to.")
    if await store.delete_many(keys) or await _listed(store, folder):
        problems.append("Several objects cannot be deleted, or what was deleted is still listed.")
    return problems


async def _listed(store: ObjectStore, prefix: str, *, start_after: str = "") -> list[str]:
    return [found.key async for page in store.list(prefix, start_after=start_after) for found in page.objects]


def _new_key() -> str:
    return f"{PREFIX}{secrets.token_hex(8)}"


def _bodies(count: int) -> list[bytes]:
    return [secrets.token_bytes(16) for _ in range(count)]
