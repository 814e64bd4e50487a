"""Which failures deserve a second try, and how a write that may have happened is settled."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from app.core.errors import StoreUnavailable
from app.storage.s3_errors import CutShort
from app.storage.store import OutcomeUnknown, PreconditionFailed, Stored, StoreRefused

ATTEMPTS: Final = 3
"""Of a read whose body was cut short, and of a conditional write that is known not to have happened."""

T = TypeVar("T")


class Unclear(Exception):
    """The write may have happened: only reading it back will tell."""

    def __init__(self, *, denied: bool = False) -> None:
        super().__init__()
        self.denied = denied
        """The store said that the condition does not hold, which is also what it says of a write it carried out."""


class _NotWritten(Exception):
    """The write did not happen, and may be sent again."""


class Resolution(StrEnum):
    """What an unclear write turned out to be."""

    OWN = "own"
    """It had happened."""
    FOREIGN = "foreign"
    """Somebody else's bytes are there."""
    REPEATED = "repeated"
    """It had not happened, and was sent again."""
    UNREADABLE = "unreadable"
    """Nobody can tell."""


def _tries(error: type[Exception]) -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(error),
        stop=stop_after_attempt(ATTEMPTS),
        # Anywhere between nothing and twice as long each time, so that those who met once do not meet again.
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )


async def read_whole(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` finds, repeated when the answer broke off in the middle: the SDK repeats all other reads itself."""

    async def whole() -> T:
        return await read()

    # It awaits what it takes for a coroutine function, which a lambda is not.
    return await _tries(CutShort)(whole)


async def settle(
    key: str,
    body: bytes,
    *,
    send: Callable[[], Awaitable[str]],
    read_back: Callable[[], Awaitable[Stored | None]],
    believes: Callable[[Stored | None], bool],
    resolved: Callable[[Resolution], None],
) -> str:
    """Send a conditional write until it is certain what became of it, and return the ETag.

    When the answer is unclear the object is read back. Our own bytes are a success, whatever was answered. As long as
    what is there is what the writer `believes`, the identical write is sent again. Everything else was somebody else.

    Raises:
        PreconditionFailed: the object is not what the writer believed.
        OutcomeUnknown: the object cannot be read back, or a request may still be on its way.
        StoreRefused: the store says each time that the condition does not hold, although it does.
    """
    denied = True

    async def sent() -> str:
        try:
            return await send()
        except Unclear as unclear:
            nonlocal denied
            denied = denied and unclear.denied
            try:
                found = await read_back()
            except StoreUnavailable as error:
                resolved(Resolution.UNREADABLE)
                raise OutcomeUnknown(f"Whether '{key}' was written cannot be read back.") from error
            if found is not None and found.body == body:
                resolved(Resolution.OWN)
                return found.etag
            if not believes(found):
                resolved(Resolution.FOREIGN)
                raise PreconditionFailed(key) from None
            resolved(Resolution.REPEATED)
            raise _NotWritten from unclear

    try:
        return await _tries(_NotWritten)(sent)
    except _NotWritten as error:
        if denied:
            raise StoreRefused("The object store refuses a condition that holds.") from error
        raise OutcomeUnknown(f"'{key}' was not written so far; a request may still be on its way.") from error
