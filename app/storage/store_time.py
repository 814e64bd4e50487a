"""The time of a store behind a network, as far as its replies tell."""

from datetime import datetime, timedelta
from typing import Final

from app.core.clock import Clock

_RESOLUTION: Final = timedelta(seconds=1)
"""Of the `Date` that a reply bears, which is rounded down."""


class StoreTime:
    """The own clock, corrected by the difference to the store's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: timedelta | None = None

    @property
    def offset(self) -> timedelta | None:
        """How far the store's clock is ahead; None as long as no reply told."""
        return self._offset

    def now(self) -> datetime:
        return self.seen_from_here(self.here())

    def here(self) -> datetime:
        """The instant by the own clock."""
        return self._clock.now()

    def seen_from_here(self, instant: datetime) -> datetime:
        """What the store's clock shows at an instant of the own one."""
        return instant + (self._offset or timedelta(0))

    def learn(self, date: datetime, *, sent: datetime, received: datetime) -> None:
        """Take in a reply: its `Date` was made between these two instants of the own clock.

        The reply leaves a range of offsets. The one in use is moved into that range by as little as possible, so it
        closes in on the true one, follows a corrected clock at once, and does not jump about within the second.
        """
        lowest, highest = date - received, date + _RESOLUTION - sent
        if self._offset is None:
            self._offset = (lowest + highest) / 2
        else:
            self._offset = min(max(self._offset, lowest), highest)
