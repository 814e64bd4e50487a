"""Answers that will not get any better."""

import re

from app.llm.client import Finish
from app.llm.limits import Limits


class Watchdog:
    """Watches an answer grow, and says when to cut it off."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._blanks = re.compile(rf"\s{{{limits.whitespace + 1},}}")
        self._run = 0
        """White space at the end."""
        self._tail = ""
        self._length = 0
        self._total = 0

    def sees(self, piece: str) -> Finish | None:
        """Why it should end after this piece of text, if it should."""
        step = self._limits.repeated
        for start in range(0, len(piece), step):
            if why := self._judge(piece[start : start + step]):
                return why
        return None

    def hears(self, reasoning: str) -> Finish | None:
        """The same for what the model says to itself, of which only the length counts."""
        self._total += len(reasoning)
        return Finish.TOO_LONG if self._total > self._limits.longest else None

    def _judge(self, piece: str) -> Finish | None:
        self._length += len(piece)
        self._total += len(piece)
        if self._total > self._limits.longest:
            return Finish.TOO_LONG
        if self._floods(piece):
            return Finish.WHITESPACE_FLOOD
        return Finish.REPETITION if self._repeats(piece) else None

    def _floods(self, piece: str) -> bool:
        rest = piece.lstrip()
        if not rest:
            self._run += len(piece)
            return self._run > self._limits.whitespace
        before = self._run + len(piece) - len(rest)
        self._run = len(piece) - len(piece.rstrip())
        return before > self._limits.whitespace or self._blanks.search(piece) is not None

    def _repeats(self, piece: str) -> bool:
        limits = self._limits
        self._tail = (self._tail + piece)[-limits.repeated_within :]
        if self._length <= limits.repetition_after:
            return False
        needle, found, at = self._tail[-limits.repeated :], 0, 0
        # Not `count`, which passes over every second one of those that are shorter than what is looked for.
        while found < limits.repeated_times and (at := self._tail.find(needle, at)) >= 0:
            found += 1
            at += 1
        return found >= limits.repeated_times
