"""Who may ask the model about a space: it saves money, and protects nothing."""

from contextlib import AsyncExitStack
from datetime import timedelta
from math import ceil
from typing import Final

from app.bank.errors import ConsolidationRunning
from app.core.clock import Clock
from app.storage.document import parsed
from app.storage.lease import Held, Lease, LeaseRecord
from app.storage.store import ObjectStore, Stored

_MARGIN: Final = timedelta(seconds=4)
"""How much longer than it lasts a lease is respected."""


def lease_key(space_id: str) -> str:
    """Where the lease of a space lies."""
    return f"{space_id}/_lease.json"


class Leases:
    """The leases of the spaces, as this process sees them."""

    def __init__(self, store: ObjectStore, replica: str, clock: Clock) -> None:
        self._store = store
        self._replica = replica
        self._clock = clock

    async def take(self, stack: AsyncExitStack, space_id: str, job_id: str) -> Held:
        """Hold the lease of a space until the stack is closed.

        Raises:
            ConsolidationRunning: another process has it.
        """
        lease = Lease(self._store, lease_key(space_id), self._replica, self._clock, margin=_MARGIN)
        if (held := await stack.enter_async_context(lease.holding(purpose=job_id))) is not None:
            return held
        holder, left = await self._held(space_id)
        # If its holder lives it will be renewed by then, and if not, it will be free.
        raise ConsolidationRunning(space_id, holder, retry_after=max(ceil((left + _MARGIN).total_seconds()) + 1, 1))

    async def is_alive(self, space_id: str, job_id: str) -> bool:
        """Does some process still hold what that job needs to run?"""
        holder, left = await self._held(space_id)
        return holder == job_id and left >= timedelta()

    async def _held(self, space_id: str) -> tuple[str, timedelta]:
        """The job that holds or held the lease of a space, and for how long it still lasts; nothing when released."""
        found = await self._store.get(lease_key(space_id))
        record = parsed(LeaseRecord, found.key, found.body) if isinstance(found, Stored) else None
        if record is None or record.released or not isinstance(found, Stored):
            return "", timedelta()
        return record.purpose, timedelta(seconds=record.ttl_s) - (self._store.now() - found.last_modified)
