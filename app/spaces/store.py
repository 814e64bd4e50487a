"""Where a space is kept: the head, its rules, and everything else under its prefix."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from app.core.errors import StoreUnavailable
from app.spaces.models import Head, Opened
from app.storage.document import parsed
from app.storage.store import JSON, MARKDOWN, UNCHANGED, Doubtable, ObjectStore, PreconditionFailed, Stored

_REMEMBERED: Final = 256
"""Heads kept in memory, each revalidated by its ETag whenever it is used."""
_LARGE: Final = 256 * 1024
"""Bytes from which a head is read or written in a thread: others must not wait for it."""
_RECENT: Final = 32
"""Former heads that a head names."""
_MANY: Final = 1_000
"""The same by the notes that it names."""

log = structlog.get_logger(__name__)


def head_key(space_id: str) -> str:
    """Where the head of a space lies."""
    return f"{space_id}/_bank.json"


def rules_key(space_id: str) -> str:
    """Where the rules of a space lie."""
    return f"{space_id}/_rules.md"


def former_rules_key(space_id: str, digest: str) -> str:
    """Where rules that the space has or had are kept, by their digest."""
    return f"{space_id}/_rules/{digest}.md"


def meta_key(space_id: str) -> str:
    """Where the counters of the plain view lie."""
    return f"{space_id}/_meta.json"


@dataclass(frozen=True, slots=True)
class _Won:
    """A swap that was acknowledged: the head that was written, and the one it took the place of."""

    nonce: str
    base: str

    def is_denied_by(self, head: Head) -> bool:
        """Does a head that is read later not know of it, although it knows the one before, or is that very one?"""
        return self.nonce not in {head.nonce, *head.recent} and self.base in {head.nonce, *head.recent}


class SpaceStore:
    """Reads and swaps heads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._heads: OrderedDict[str, Opened] = OrderedDict()
        self._won: dict[str, _Won] = {}
        """Space, and the last swap of it that was acknowledged to this process."""

    def known(self, space_id: str) -> Opened | None:
        """The head as it was last seen, or None when it is not remembered."""
        return self._heads.get(space_id)

    async def find(self, space_id: str) -> Opened | None:
        """The head in whatever state, or None when there never was one."""
        known, won = self._heads.get(space_id), self._won.get(space_id)
        found = await self._store.get(head_key(space_id), unless=known.etag if known else None)
        if found is UNCHANGED:
            assert known is not None  # noqa: S101 - the store answers so only to an ETag, which came from here
            self._heads.move_to_end(space_id)
            return known
        if found is None:
            self._heads.pop(space_id, None)
            return None
        if len(found.body) < _LARGE:
            head = parsed(Head, found.key, found.body)
        else:
            head = await asyncio.to_thread(parsed, Head, found.key, found.body)
        if won is not None and won.is_denied_by(head):
            self._report(head)
        return self._remember(head, found.etag)

    def _report(self, head: Head) -> None:
        """Say that the store has acknowledged two writers of one version: one of them has lost what it was promised."""
        self._won.pop(head.space_id, None)
        log.error("store_lied", space_id=head.space_id, version=head.version)
        if isinstance(self._store, Doubtable):
            self._store.doubt(head_key(head.space_id))

    async def create(self, head: Head) -> Opened:
        """Write the first head of a space; raises PreconditionFailed when there is one."""
        body = await _body(head)
        return await self._settled(head, self._store.create(head_key(head.space_id), body, content_type=JSON))

    async def replace(self, opened: Opened, head: Head) -> Opened:
        """Write the next head over the one that was read; raises PreconditionFailed when that one has moved."""
        head = head.model_copy(update={"recent": [opened.head.nonce, *opened.head.recent][:_RECENT]})
        key, body = head_key(head.space_id), await _body(head)
        swapped = await self._settled(head, self._store.replace(key, body, etag=opened.etag, content_type=JSON))
        if len(self._won) >= _REMEMBERED:
            self._won.clear()
        self._won[head.space_id] = _Won(head.nonce, opened.head.nonce)
        return swapped

    async def forget(self, opened: Opened) -> None:
        """Remove the very head that was read, the last object of a space; raises PreconditionFailed when it moved."""
        space_id = opened.head.space_id
        await self._store.delete(head_key(space_id), etag=opened.etag)
        self._heads.pop(space_id, None)
        self._won.pop(space_id, None)

    async def _settled(self, head: Head, writing: Awaitable[str]) -> Opened:
        """A write that did not report success may have happened, and be overtaken since: its nonce tells."""
        try:
            return self._remember(head, await writing)
        except (PreconditionFailed, StoreUnavailable):
            present = await self.find(head.space_id)
            if present is None or head.nonce not in {present.head.nonce, *present.head.recent}:
                raise
            return present

    def _remember(self, head: Head, etag: str) -> Opened:
        opened = Opened(head, etag)
        self._heads[head.space_id] = opened
        self._heads.move_to_end(head.space_id)
        while len(self._heads) > _REMEMBERED:
            self._heads.popitem(last=False)
        return opened

    async def rules(self, space_id: str) -> str | None:
        """The rules object, or None while it has not been written."""
        found = await self._store.get(rules_key(space_id))
        return None if found is None or found is UNCHANGED else found.body.decode(errors="replace")

    async def ensure_rules(self, head: Head) -> None:
        """Write the rules that a head holds to their own object, unless it says just that.

        Raises:
            PreconditionFailed: the head has moved on, perhaps to other rules.
        """
        if head.opening is None:
            return
        body, key = head.opening.encode(), rules_key(head.space_id)
        present = await self._store.get(key)
        if isinstance(present, Stored) and present.body == body:
            return
        # Read before: whoever is late with older rules finds either the head or the object changed.
        current = await self.find(head.space_id)
        if current is None or current.head.nonce != head.nonce:
            raise PreconditionFailed(key)
        if isinstance(present, Stored):
            # Somebody may have written these by hand; those of a deleted space of the same name are nobody's any more.
            if present.last_modified >= datetime.fromisoformat(head.about.created_at):
                await self.keep_rules(head.space_id, present.body)
            await self._store.replace(key, body, etag=present.etag, content_type=MARKDOWN)
        else:
            await self._store.create(key, body, content_type=MARKDOWN)

    async def keep_rules(self, space_id: str, body: bytes) -> str:
        """Keep rules under their digest, which is returned, for as long as there is the space."""
        digest = hashlib.sha256(body).hexdigest()
        with suppress(PreconditionFailed):  # they are kept
            await self._store.create(former_rules_key(space_id, digest), body, content_type=MARKDOWN)
        return digest

    async def former_rules(self, space_id: str, digest: str) -> str | None:
        """The rules that were kept under a digest, or None."""
        found = await self._store.get(former_rules_key(space_id, digest))
        return found.body.decode(errors="replace") if isinstance(found, Stored) else None

    async def ids(self) -> AsyncIterator[str]:
        """The names under which something is stored; those starting with `_` are the service's own."""
        async for page in self._store.list("", delimiter="/"):
            for folder in page.folders:
                if not folder.startswith("_"):
                    yield folder.rstrip("/")

    async def contents(self, space_id: str) -> AsyncIterator[list[str]]:
        """Keys of everything of the space but its head, by the page; `_meta.json` alone at the end.

        While it is there older tools see the space, and with it the chance to remove the rest.
        """
        kept = {head_key(space_id), meta_key(space_id)}
        async for page in self._store.list(f"{space_id}/"):
            if keys := [listed.key for listed in page.objects if listed.key not in kept]:
                yield keys
        if await self.has_meta(space_id):
            yield [meta_key(space_id)]

    async def has_meta(self, space_id: str) -> bool:
        """Is there a `_meta.json`, as older tools write it?"""
        return await self._store.get(meta_key(space_id)) is not None

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove objects, and return those that may still be there."""
        return await self._store.delete_many(keys)


async def _body(head: Head) -> bytes:
    if len(head.note_refs) < _MANY and sum(file.bytes for file in head.files.values()) < _LARGE:
        return head.model_dump_json(by_alias=True).encode()
    return (await asyncio.to_thread(head.model_dump_json, by_alias=True)).encode()
