"""What is asked of the same text again and again is worked out once, as long as the text is of a usual size."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")


def remembered(
    most: int, *, longest: int, lines: int | None = None
) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Have a pure function remember so many answers, for texts of so many characters and line feeds at most.

    The bounds are what keeps the memory small: a few texts that nobody usually writes would fill it.
    """

    def remember(work: Callable[[str], T]) -> Callable[[str], T]:
        again = lru_cache(maxsize=most)(work)

        @wraps(work)
        def asked(text: str) -> T:
            is_usual = len(text) <= longest and (lines is None or text.count("\n") <= lines)
            return again(text) if is_usual else work(text)

        return asked

    return remember
