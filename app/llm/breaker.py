"""An endpoint that keeps failing is left alone for a while."""

from app.core.clock import Clock
from app.llm.limits import Limits


class Breaker:
    """Opens after some failed jobs in a row, then lets one call through from time to time to see whether it works."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._failures = 0
        self._next_trial = 0.0

    @property
    def is_open(self) -> bool:
        """Is the endpoint left alone?"""
        return self._failures >= self._limits.jobs_until_open

    @property
    def seconds_left(self) -> float:
        """Until a call is let through."""
        return max(0.0, self._next_trial - self._clock.monotonic()) if self.is_open else 0.0

    def lets_through(self) -> bool:
        """May this call be made? While it is open, the one that may is the trial, and the next one waits again."""
        if not self.is_open:
            return True
        if self._clock.monotonic() < self._next_trial:
            return False
        self._wait()
        return True

    def answered(self) -> None:
        """A call was answered: a trial that succeeds closes it, so that the rest of its job is let through too."""
        if self.is_open:
            self._failures = 0

    def job_failed(self) -> None:
        """A whole job got nothing out of the endpoint."""
        self._failures += 1
        if self.is_open:
            self._wait()

    def job_succeeded(self) -> None:
        """A job got what it wanted."""
        self._failures = 0

    def _wait(self) -> None:
        self._next_trial = self._clock.monotonic() + self._limits.half_open
