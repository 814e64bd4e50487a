"""Changes of a bank by hand: made anew on each version that others write first, until one is committed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from app.bank.errors import BankBusy, BankFull
from app.bank.store import BankStore, Draft
from app.bank.versions.revisions import MAX_BANK
from app.spaces.models import Head, Opened
from app.spaces.service import SpaceService
from app.storage.store import PreconditionFailed

_ROUNDS: Final = 5
_PAUSE: Final = 0.05
"""Seconds before another attempt, at most, for each attempt made."""

T = TypeVar("T")


class BankWriter:
    """Commits what somebody asks for, to the bank as it is at that moment."""

    def __init__(self, spaces: SpaceService, bank: BankStore) -> None:
        self._spaces = spaces
        self._bank = bank

    async def change(
        self, space_id: str, make: Callable[[Head, str], Awaitable[tuple[Draft | None, T]]]
    ) -> tuple[Opened, T]:
        """The bank after the change, and what `make` says of it.

        `make` gets a head and the rules, and gives a draft, or None when there is nothing to change. It may run again.

        Raises:
            BankBusy: others were faster each time; nothing of the change was kept.
            BankFull: the bank would be too large.
        """
        for attempt in range(_ROUNDS):
            opened = await self._spaces.open(space_id)
            rules = await self._spaces.rules_of(opened)
            draft, answer = await make(opened.head, rules)
            if draft is None:
                return opened, answer
            _demand_room(opened.head, draft)
            try:
                return await self._bank.commit(opened, draft), answer
            except PreconditionFailed:
                await asyncio.sleep(random.uniform(0, _PAUSE * (attempt + 1)))  # noqa: S311 - jitter, no secret
        raise BankBusy(f"The bank of space '{space_id}' was changed by others {_ROUNDS} times in a row: try again.")


def _demand_room(head: Head, draft: Draft) -> None:
    """Raise when a change makes a bank larger than it may be; one that is too large already may get smaller."""
    kept = [file.bytes for path, file in head.files.items() if path not in draft.removed and path not in draft.files]
    size = sum(kept) + sum(len(content.encode()) for content in draft.files.values())
    if size > MAX_BANK and size > sum(file.bytes for file in head.files.values()):
        raise BankFull(size, MAX_BANK)
