"""Time that passes only when a test says so."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 31, 18, 5, 0, tzinfo=UTC)


class FrozenClock:
    """A clock that stands still until it is set or advanced."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def set(self, instant: datetime) -> None:
        """Correct the clock, as an operator would: the monotonic time takes no notice."""
        self._now = instant

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
        self._monotonic += by.total_seconds()
