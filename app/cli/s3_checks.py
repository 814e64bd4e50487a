"""What `live-memory doctor` looks at in a bucket: what the store can be trusted with, and how fast it is."""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from app.cli.findings import Finding, ok, problem, warning
from app.core.errors import StoreUnavailable
from app.storage.probe import PREFIX, Conditions, Verdict, probe
from app.storage.s3 import S3Store

SAMPLES: Final = 40
"""Of each kind of request: enough to tell a usual answer from a slow one."""
CLOCK: Final = timedelta(seconds=60)
_BODY: Final = bytes(1024)
_ADVICE: Final = {
    Conditions.CREATE_ONLY: "Run one process alone on this bucket, or use a server that keeps If-Match.",
    Conditions.NONE: "Run one process alone on this bucket, or use a server that keeps If-None-Match and If-Match.",
}


async def bucket(store: S3Store) -> AsyncIterator[Finding]:
    """Whether the bucket can hold the memory; what is written in it to find out is removed again."""
    endpoint = store.options.endpoint_url or "AWS"
    try:
        verdict = await probe(store)
        yield ok("endpoint", f"{endpoint}, bucket {store.location}")
        for finding in findings(verdict):
            yield finding
        yield await _latency(store)
    except StoreUnavailable as situation:
        advice = "Check S3_ENDPOINT_URL, S3_BUCKET_NAME, the credentials, and the way to the server."
        yield problem("endpoint", f"{endpoint}, bucket {store.location}: {situation.detail}", advice)


def findings(verdict: Verdict) -> Sequence[Finding]:
    """What the probe found, a sentence of advice with each problem."""
    races = f"winners of the races: create {_listed(verdict.creators)}, replace {_listed(verdict.writers)}"
    found = [ok("signature", str(verdict.signature)), ok("ETag style", str(verdict.etag_style))]
    if verdict.conditions is Conditions.FULL:
        found.append(ok("conditional writes", f"full; {races}"))
    else:
        found.append(problem("conditional writes", f"{verdict.conditions}; {races}", _ADVICE[verdict.conditions]))
    found += [
        warning("behaviour", shortcoming, "Ask the operator of the server, or use another one.")
        for shortcoming in verdict.problems
    ]
    if verdict.clock_offset is not None:
        found.append(_clock(verdict.clock_offset))
    return found


def _listed(winners: Sequence[int]) -> str:
    return ", ".join(map(str, winners)) or "not held"


def _clock(offset: timedelta) -> Finding:
    detail = f"the store is {offset.total_seconds():+.1f} s ahead"
    if abs(offset) > CLOCK:
        return warning("store's clock", detail, "Let this machine and the server follow a time server.")
    return ok("store's clock", detail)


async def _latency(store: S3Store) -> Finding:
    key = f"{PREFIX}{secrets.token_hex(8)}"
    try:
        timed = {
            "put": await _timed(lambda: store.put(key, _BODY)),
            "get": await _timed(lambda: store.get(key)),
            "list": await _timed(lambda: anext(aiter(store.list(PREFIX)))),
        }
    finally:
        await store.delete(key)
    shown = [f"{kind} {quantile(took, 50):.1f}/{quantile(took, 95):.1f}" for kind, took in timed.items()]
    return ok("latency", f"p50/p95 in ms of {SAMPLES} requests of 1 KiB: {', '.join(shown)}")


async def _timed(request: Callable[[], Awaitable[object]]) -> list[float]:
    took = []
    for _ in range(SAMPLES):
        begun = time.perf_counter()
        await request()
        took.append((time.perf_counter() - begun) * 1000)
    return took


def quantile(numbers: Sequence[float], percent: int) -> float:
    """The smallest number that so many percent of them do not exceed."""
    ordered = sorted(numbers)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
