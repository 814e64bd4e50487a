"""Which failures of an endpoint deserve another try, and when."""

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type

from app.llm.limits import Limits

T = TypeVar("T")

_EPOCH_FROM: Final = 1_000_000_000
"""Seconds: a number as large as this is no delay, it is an instant."""
_MILLISECONDS_FROM: Final = 1_000_000_000_000
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMITED: Final = 429


class TryAgain(Exception):
    """The same request may succeed later."""

    def __init__(self, detail: str, *, delay: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.delay = delay
        """Seconds that the endpoint asks to wait."""


async def repeated(
    attempt: Callable[[], Awaitable[T]],
    limits: Limits,
    *,
    seconds_left: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """What the attempt returns, made again as long as it may succeed and the next one could still begin in time.

    Raises:
        TryAgain: it did not succeed; `delay` is how long the next attempt would have had to wait.
    """
    delay = 0.0
    attempts = 0

    async def made() -> T:
        nonlocal attempts, delay
        attempts += 1
        try:
            return await attempt()
        except TryAgain as failure:
            if failure.delay is None:
                failure.delay = _backoff(attempts, limits)
            delay = failure.delay
            raise

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TryAgain),
        stop=lambda _state: attempts >= limits.attempts or delay >= seconds_left(),
        wait=lambda _state: delay,
        sleep=sleep,
        reraise=True,
    )
    # It awaits what it takes for a coroutine function, which a lambda is not.
    return await retrying(made)


def _backoff(attempts: int, limits: Limits) -> float:
    longest = min(limits.longest_backoff, limits.backoff * 2.0 ** (attempts - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - so that two clients do not meet again


def server_delay(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """How many seconds the endpoint asks to wait, in any of the ways that are around; None when it does not say."""
    if (delay := _number(headers.get("retry-after-ms"))) is not None:
        return max(0.0, delay / 1000)
    if (delay := _retry_after(headers.get("retry-after"), now)) is not None:
        return max(0.0, delay)
    if status != _LIMITED:
        # Others send along how much is left of a quota without meaning anything by it.
        return None
    resets = {
        name.removeprefix("x-ratelimit-reset"): delay
        for name, value in headers.items()
        if name.startswith("x-ratelimit-reset") and (delay := _span(value, now)) is not None
    }
    spent = [delay for name, delay in resets.items() if headers.get("x-ratelimit-remaining" + name) == "0"]
    known = spent or list(resets.values())
    return max(0.0, *known) if known else None


def _retry_after(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    if (seconds := _span(value, now)) is not None:
        return seconds
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date in `-0000` says nothing about its zone; HTTP knows only one.
    return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - now).total_seconds()


def _span(value: str, now: datetime) -> float | None:
    """Seconds from now on, out of `12.5`, `1m2s` or an instant in seconds or milliseconds since 1970."""
    text = value.strip().lower()
    if _SPAN.fullmatch(text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    number = _number(text)
    if number is None or number < _EPOCH_FROM:
        return number
    epoch = number / 1000 if number >= _MILLISECONDS_FROM else number
    return epoch - now.timestamp()


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
