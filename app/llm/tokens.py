"""How many tokens a text is, as far as can be told without the model's own vocabulary."""

from collections.abc import Sequence
from math import ceil
from typing import Final

from app.llm.client import Message

MARGIN: Final = 1.15
"""Rather too many than too few."""
PER_MESSAGE: Final = 4
"""Tokens that a chat template adds to each message."""
TRUSTED_FROM: Final = 100
"""Estimated tokens below which a prompt says more about the template than about the vocabulary."""
LOWEST: Final = 0.6
HIGHEST: Final = 1.6
SHORT_BEFORE: Final = 0.45
"""Of the estimate: an honest count of English or Chinese is above it before the estimate is calibrated."""
SHORT_AFTER: Final = 0.6
_WEIGHT: Final = 0.2
"""Of the newest observation in the moving average."""


def count(text: str) -> float:
    """Tokens of a text by rule of thumb: each digit is one, and three bytes of anything else are."""
    digits = sum(map(text.count, "0123456789"))
    return digits + (len(text.encode("utf-8", "replace")) - digits) / 3


def count_messages(messages: Sequence[Message]) -> float:
    """Tokens of a conversation by the same rule."""
    return sum(count(message.content) + PER_MESSAGE for message in messages)


class Calibration:
    """Corrects the rule of thumb by what a model's endpoint counted."""

    def __init__(self) -> None:
        self._factor = 1.0
        self._is_calibrated = False

    @property
    def factor(self) -> float:
        """Real tokens for each estimated one."""
        return self._factor

    def estimate(self, text: str) -> int:
        """About how many tokens the text is, rather too many than too few."""
        return self.at_most(count(text))

    def at_most(self, counted: float) -> int:
        """The number behind a count with a margin."""
        return ceil(counted * self._factor * MARGIN)

    def likely(self, counted: float) -> int:
        """The likeliest number behind a count, without a margin."""
        return ceil(counted * self._factor)

    def is_short(self, real: int, counted: float) -> bool:
        """Did the endpoint read so much less than it was sent that it must have cut the prompt?"""
        share = SHORT_AFTER if self._is_calibrated else SHORT_BEFORE
        return counted >= TRUSTED_FROM and real < share * counted * self._factor

    def observe(self, real: int, counted: float) -> None:
        """Learn from a prompt that the endpoint counted."""
        if real <= 0 or counted < TRUSTED_FROM:
            return
        ratio = min(HIGHEST, max(LOWEST, real / counted))
        self._factor = self._factor + _WEIGHT * (ratio - self._factor) if self._is_calibrated else ratio
        self._is_calibrated = True
