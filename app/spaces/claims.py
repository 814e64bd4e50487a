"""Who may clear or fill the place of a space: one process at a time, and it says so in the head itself."""

from datetime import datetime, timedelta
from typing import Final

from app.core.clock import iso
from app.core.ids import new_nonce
from app.spaces.models import Head, Opened
from app.spaces.store import SpaceStore
from app.storage.store import ObjectStore, PreconditionFailed

CLAIM: Final = timedelta(seconds=20)
"""A claim that was not renewed for so long was left by a crash, and may be taken over."""


class Claims:
    """Takes, keeps and uses claims. Every method raises PreconditionFailed when the claim is somebody else's by now."""

    def __init__(self, objects: ObjectStore, store: SpaceStore) -> None:
        self._objects = objects
        self._store = store

    def is_held(self, head: Head) -> bool:
        """Is somebody at work there, as far as the head tells?"""
        if head.claimed_at is None:
            return False
        return self._objects.now() - datetime.fromisoformat(head.claimed_at) < CLAIM

    def stamped(self, head: Head, **changes: object) -> Head:
        """The head with a claim that begins now."""
        stamp = {"claimed_at": iso(self._objects.now()), "nonce": new_nonce()}
        return head.model_copy(update={**stamp, **changes})

    async def take(self, opened: Opened) -> Opened:
        """Claim a place whose head was read, or renew a claim."""
        return await self._store.replace(opened, self.stamped(opened.head, swept=False))

    async def keep(self, claim: Opened) -> Opened:
        """Make sure that the claim still holds, and renew it in good time."""
        since = self._objects.now() - datetime.fromisoformat(claim.head.claimed_at or claim.head.committed_at)
        if since > CLAIM / 3:
            return await self.take(claim)
        present = await self._store.find(claim.head.space_id)
        if present is None or present.etag != claim.etag:
            raise PreconditionFailed(claim.head.space_id)
        return claim

    async def clear(self, claim: Opened) -> tuple[Opened, int, int]:
        """Remove all but the head: the claim as it is then, how many objects went, and how many stayed."""
        space_id = claim.head.space_id
        removed = remaining = 0
        async for keys in self._store.contents(space_id):
            # What is there was listed under this claim; under somebody else's it may be a new space's.
            claim = await self.keep(claim)
            left = await self._store.remove(keys)
            removed += len(keys) - len(left)
            remaining += len(left)
        return claim, removed, remaining
