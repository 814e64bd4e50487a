"""Where a space is kept: the head, its rules, and everything else under its prefix."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final

from app.core.errors import StoreUnavailable
from app.spaces.models import Head, Opened
from app.storage.document import parsed
from app.storage.store import JSON, MARKDOWN, UNCHANGED, ObjectStore, PreconditionFailed, Stored

_REMEMBERED: Final = 256
"""Heads kept in memory, each revalidated by its ETag whenever it is used."""
_LARGE: Final = 256 * 1024
"""Bytes from which a head is read in a thread: others must not wait for it."""
_MANY: Final = 1_000
"""The same for writing, by the notes that it names."""


def head_key(space_id: str) -> str:
    """Where the head of a space lies."""
    return f"{space_id}/_bank.json"


def rules_key(space_id: str) -> str:
    """Where the rules of a space lie."""
    return f"{space_id}/_rules.md"


def meta_key(space_id: str) -> str:
    """Where the counters of the plain view lie."""
    return f"{space_id}/_meta.json"


class SpaceStore:
    """Reads and swaps heads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._heads: OrderedDict[str, Opened] = OrderedDict()

    def known(self, space_id: str) -> Opened | None:
        """The head as it was last seen, or None when it is not remembered."""
        return self._heads.get(space_id)

    async def find(self, space_id: str) -> Opened | None:
        """The head in whatever state, or None when there never was one."""
        known = self._heads.get(space_id)
        found = await self._store.get(head_key(space_id), unless=known.etag if known else None)
        if found is UNCHANGED:
            assert known is not None  # noqa: S101 - the store answers so only to an ETag, which came from here
            self._heads.move_to_end(space_id)
            return known
        if found is None:
            self._heads.pop(space_id, None)
            return None
        if len(found.body) < _LARGE:
            return self._remember(parsed(Head, found.key, found.body), found.etag)
        return self._remember(await asyncio.to_thread(parsed, Head, found.key, found.body), found.etag)

    async def create(self, head: Head) -> Opened:
        """Write the first head of a space; raises PreconditionFailed when there is one."""
        body = await _body(head)
        return await self._settled(head, self._store.create(head_key(head.space_id), body, content_type=JSON))

    async def replace(self, opened: Opened, head: Head) -> Opened:
        """Write the next head over the one that was read; raises PreconditionFailed when that one has moved."""
        key, body = head_key(head.space_id), await _body(head)
        return await self._settled(head, self._store.replace(key, body, etag=opened.etag, content_type=JSON))

    async def _settled(self, head: Head, writing: Awaitable[str]) -> Opened:
        """A write that did not report success may have happened all the same: its nonce tells."""
        try:
            return self._remember(head, await writing)
        except (PreconditionFailed, StoreUnavailable):
            present = await self.find(head.space_id)
            if present is None or present.head.nonce != head.nonce:
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

    async def ensure_rules(self, space_id: str, rules: str) -> None:
        """Write the rules object unless it says just that."""
        body = rules.encode()
        present = await self._store.get(rules_key(space_id))
        if not isinstance(present, Stored):
            await self._store.create(rules_key(space_id), body, content_type=MARKDOWN)
        elif present.body != body:
            await self._store.replace(rules_key(space_id), body, etag=present.etag, content_type=MARKDOWN)

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
    if len(head.note_refs) < _MANY:
        return head.model_dump_json(by_alias=True).encode()
    return (await asyncio.to_thread(head.model_dump_json, by_alias=True)).encode()
