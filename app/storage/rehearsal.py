"""A store to try a change on: what is written shows in it, and never reaches the real one."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from app.storage.keys import check_key
from app.storage.store import (
    PAGE_SIZE,
    TEXT,
    UNCHANGED,
    Listed,
    ObjectStore,
    Page,
    PreconditionFailed,
    Stored,
    Unchanged,
    check_delimiter,
)


class Rehearsal:
    """Any store that is open, as it would be after the writes made here. For one task at a time."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._changed: dict[str, Stored | None] = {}
        self.writes: list[tuple[str, str]] = []
        """Method and key of each write that would have been made."""

    @property
    def kind(self) -> str:
        return self._store.kind

    @property
    def location(self) -> str:
        return self._store.location

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    def now(self) -> datetime:
        return self._store.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        if key not in self._changed:
            return await self._store.get(key, unless=unless)
        found = self._changed[key]
        return UNCHANGED if found is not None and found.etag == unless else found

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        if await self.get(key) is not None:
            raise PreconditionFailed(key)
        return self._write("create", key, body)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        present = await self.get(key)
        if not isinstance(present, Stored) or present.etag != etag:
            raise PreconditionFailed(key)
        return self._write("replace", key, body)

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        return self._write("put", key, body)

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        present = await self.get(key)
        if isinstance(present, Stored) and etag not in {None, present.etag}:
            raise PreconditionFailed(key)
        await self.delete_many([key])

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        for key in keys:
            if await self.get(key) is not None:
                self._changed[key] = None
                self.writes.append(("delete", key))
        return []

    async def copy(self, source: str, target: str) -> bool:
        found = await self.get(source)
        if not isinstance(found, Stored):
            return False
        self._write("copy", target, found.body)
        return True

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        check_delimiter(delimiter)
        date = self.now()
        found = {one.key: one async for page in self._store.list(prefix) for one in page.objects}
        for key, stored in self._changed.items():
            found.pop(key, None)
            if stored is not None and key.startswith(prefix):
                found[key] = Listed(key, stored.etag, stored.size, stored.last_modified)
        entries: dict[str, Listed | None] = {}
        # The order of code points is the order of UTF-8 bytes.
        for key in sorted(key for key in found if key > start_after):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end >= 0:
                entries[key[: end + 1]] = None
            else:
                entries[key] = found[key]
        names = list(entries)
        for start in range(0, max(1, len(names)), PAGE_SIZE):
            some = names[start : start + PAGE_SIZE]
            objects = [one for one in map(entries.__getitem__, some) if one is not None]
            yield Page(objects, [name for name in some if entries[name] is None], date)

    def _write(self, method: str, key: str, body: bytes) -> str:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._changed[check_key(key)] = Stored(key, bytes(body), etag, self.now())
        self.writes.append((method, key))
        return etag
