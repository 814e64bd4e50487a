"""The first head of a space, written in one round trip although something older may lie under its name."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from app.spaces.errors import SpaceBusy, SpaceExists
from app.spaces.models import Head, Opened, SpaceState
from app.spaces.store import SpaceStore, head_key, meta_key
from app.storage.store import Listed, ObjectStore, PreconditionFailed, Stored

_IN_FLIGHT: Final = 32
_REMEMBERED: Final = 1_000

log = structlog.get_logger(__name__)


class Adopter(Protocol):
    """Knows the spaces that older tools have left, which have no head yet."""

    async def first_head(self, space_id: str) -> Head | None:
        """The head that such a space begins with here, whose record is written; None where there is no such space."""
        ...

    async def discard(self, head: Head) -> None:
        """Remove the record of a head that was not taken."""
        ...


class Founding:
    """Founds spaces, and tells a founded space from an older tool's that was there before.

    Whoever founds a space looks at what lies under its name while the head is being written. Should a crash or an
    outage come in between, the head is one that nobody has looked around: therefore every process looks once before
    it believes a head to which nothing was committed. The space of an older tool gets its place back, and so it is
    never seen empty; notes of a space that is no more are removed, and so they are never seen in the new one.
    """

    def __init__(self, objects: ObjectStore, store: SpaceStore, adopter: Adopter) -> None:
        self._objects = objects
        self._store = store
        self._adopter = adopter
        self._gate = asyncio.Semaphore(_IN_FLIGHT)
        self._looked: dict[str, str] = {}
        """Space, and its incarnation around which this process has looked."""

    async def found(self, head: Head) -> Opened:
        """Write the first head of a space.

        Raises:
            PreconditionFailed: there is a head.
            SpaceExists: there is a space of an older tool.
            SpaceBusy: what a former space has left cannot be removed.
        """
        looking = asyncio.create_task(self._around(head.space_id), name=f"look around {head.space_id}")
        try:
            opened = await self._store.create(head)
        except BaseException:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            raise
        found = await looking
        if any(one.key == meta_key(head.space_id) for one in found):
            settled = await self.settled(opened)
            if settled is None or settled.head.nonce != head.nonce:
                raise SpaceExists(head.space_id)
            return settled
        await self._remove_leftovers(head, found, at_once=True)
        self._remember(head)
        return opened

    async def settled(self, opened: Opened) -> Opened | None:
        """The space whose head was read, once it is certain which one it is; None when it is gone meanwhile.

        Raises:
            SpaceBusy: what a former space has left cannot be removed.
        """
        head = opened.head
        # A space that was adopted, restored or ever filed is no new one.
        if head.state is not SpaceState.LIVE or head.version or head.lineage:
            return opened
        if self._looked.get(head.space_id) == head.incarnation:
            return opened
        meta = await self._objects.get(meta_key(head.space_id))
        if isinstance(meta, Stored):
            if not _is_of_the_view(meta.body):
                return await self._give_way(opened)
        else:
            await self._remove_leftovers(head, await self._around(head.space_id))
        self._remember(head)
        return opened

    async def _give_way(self, opened: Opened) -> Opened | None:
        """Put the older tool's space in the place of the head that was written over its name.

        Whoever wrote a note meanwhile, wrote it to that space: it keeps the incarnation they have named.
        """
        space_id = opened.head.space_id
        first = await self._adopter.first_head(space_id)
        if first is None:
            return await self._store.find(space_id)
        log.info("space_given_back", space_id=space_id)
        try:
            return await self._store.replace(
                opened, first.model_copy(update={"lineage": [*first.lineage, opened.head.incarnation]})
            )
        except PreconditionFailed:
            winner = await self._store.find(space_id)
            if winner is not None and winner.head.version == 1 and winner.head.history != first.history:
                await self._adopter.discard(first)
            return winner

    async def _around(self, space_id: str) -> list[Listed]:
        """Everything of the space but its head."""
        return [
            listed
            async for page in self._objects.list(f"{space_id}/")
            for listed in page.objects
            if listed.key != head_key(space_id)
        ]

    async def _remove_leftovers(self, head: Head, found: Iterable[Listed], *, at_once: bool = False) -> None:
        """Remove notes that were there before the space, and a synthesis: an older tool did not finish a deletion.

        `at_once`: found while the head was being written.
        """
        # Instants in a store have whole seconds. What is of the second in which the space began may be of the space.
        begun = datetime.fromisoformat(head.about.created_at).replace(microsecond=0)
        older = [one.key for one in found if at_once or one.last_modified.replace(microsecond=0) < begun]
        notes = [key for key in older if key.startswith(f"{head.space_id}/live/") and not key.endswith(".keep")]
        own = await asyncio.gather(*(self._is_own(head, key) for key in notes))
        leftovers = [key for key, is_own in zip(notes, own, strict=True) if not is_own]
        leftovers += [key for key in older if key == f"{head.space_id}/_synthesis.md"]
        if leftovers:
            log.warning("leftovers_removed", space_id=head.space_id, count=len(leftovers))
            await self._remove(head.space_id, leftovers)

    async def _remove(self, space_id: str, keys: Sequence[str]) -> None:
        if await self._store.remove(keys):
            raise SpaceBusy(space_id)

    async def _is_own(self, head: Head, key: str) -> bool:
        """Was the note written for just this space, by somebody who saw its head before its creator had an answer?"""
        async with self._gate:
            found = await self._objects.get(key)
        return not isinstance(found, Stored) or f'incarnation: "{head.incarnation}"'.encode() in found.body

    def _remember(self, head: Head) -> None:
        if len(self._looked) >= _REMEMBERED:
            self._looked.clear()
        self._looked[head.space_id] = head.incarnation


def _is_of_the_view(meta: bytes) -> bool:
    """Did this service write the `_meta.json`? Older tools know nothing of a bank's nonce."""
    try:
        return "bank_nonce" in json.loads(meta)
    except (ValueError, TypeError, RecursionError):
        return False
