"""The only place that asks the machine what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, for whoever must be testable at a fixed instant."""

    def now(self) -> datetime:
        """The current instant, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, never going backwards."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(instant: datetime) -> str:
    """An instant as every face and every stored object writes it: UTC ISO-8601 with an offset."""
    return instant.astimezone(UTC).isoformat()
