"""What only a race can show of a store. Each check raises `AssertionError` on a store that breaks the promise."""

import asyncio
from collections.abc import Awaitable

from app.core.errors import Conflict
from app.core.schema import Record
from app.storage.document import Document
from app.storage.store import ObjectStore, PreconditionFailed, Stored

RACERS = 50


class Counter(Record):
    """A number that many add to."""

    nonce: str = ""
    value: int = 0


async def check_create_race(store: ObjectStore, key: str, *, racers: int = RACERS) -> None:
    """Of many concurrent creators of one key, one wins, and its bytes are in place."""
    bodies = [f"creator {number} of {key}".encode() for number in range(racers)]
    winners = await _winners([store.create(key, body) for body in bodies])
    await _check_winner(store, key, bodies, winners)


async def check_replace_race(store: ObjectStore, key: str, *, racers: int = RACERS) -> None:
    """Of many concurrent writers that read the same version, one wins, and its bytes are in place."""
    etag = await store.create(key, f"start of {key}".encode())
    bodies = [f"writer {number} of {key}".encode() for number in range(racers)]
    winners = await _winners([store.replace(key, body, etag=etag) for body in bodies])
    await _check_winner(store, key, bodies, winners)


async def check_counter(store: ObjectStore, key: str, *, writers: int, increments: int) -> None:
    """No increment is lost or made twice, although each writer works by itself, as separate processes do."""
    await asyncio.gather(*(increment(store, key, increments) for _ in range(writers)))
    version = await Document(store, key, Counter).read()
    assert version is not None
    assert version.model.value == writers * increments


async def increment(store: ObjectStore, key: str, times: int) -> None:
    """Add to a counter, as often as it takes."""
    document = Document(store, key, Counter)
    done = 0
    while done < times:
        try:
            await document.change(_one_more)
        except Conflict:
            continue
        done += 1


def _one_more(counter: Counter | None) -> Counter:
    current = counter or Counter()
    return current.model_copy(update={"value": current.value + 1})


async def _winners(writes: list[Awaitable[str]]) -> dict[int, str]:
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    winners: dict[int, str] = {}
    for number, outcome in enumerate(outcomes):
        match outcome:
            case str():
                winners[number] = outcome
            case PreconditionFailed():
                pass
            case _:
                raise outcome
    return winners


async def _check_winner(store: ObjectStore, key: str, bodies: list[bytes], winners: dict[int, str]) -> None:
    assert len(winners) == 1, f"{len(winners)} of {len(bodies)} won '{key}'"
    ((winner, etag),) = winners.items()
    stored = await store.get(key)
    assert isinstance(stored, Stored)
    assert stored.body == bodies[winner]
    assert stored.etag == etag
