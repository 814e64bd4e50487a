"""Objects in the memory of this process: the reference that every other store is compared with."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import ClassVar

from app.core.clock import Clock
from app.storage.keys import InvalidKey, check_key, check_prefix, folders_of
from app.storage.store import (
    PAGE_SIZE,
    TEXT,
    UNCHANGED,
    Listed,
    Page,
    PreconditionFailed,
    Stored,
    Unchanged,
    check_delimiter,
)


class MemoryStore:
    """A store that forgets everything when its process ends.

    Each method lets other tasks run before it acts, as a store behind a network does, so that races between callers
    show here too. Then it acts at once: a cancelled call did nothing.
    """

    kind: ClassVar[str] = "memory"
    location: str = "memory"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[str, Stored] = {}
        self._folders: Counter[str] = Counter()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    def now(self) -> datetime:
        return self._clock.now()

    async def get(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        check_key(key)
        await asyncio.sleep(0)
        stored = self._objects.get(key)
        return UNCHANGED if stored is not None and stored.etag == unless else stored

    async def create(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        check_key(key)
        await asyncio.sleep(0)
        if key in self._objects:
            raise PreconditionFailed(key)
        return self._write(key, body)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        check_key(key)
        await asyncio.sleep(0)
        stored = self._objects.get(key)
        if stored is None or stored.etag != etag:
            raise PreconditionFailed(key)
        return self._write(key, body)

    async def put(self, key: str, body: bytes, *, content_type: str = TEXT) -> str:  # noqa: ARG002 - not kept here
        check_key(key)
        await asyncio.sleep(0)
        return self._write(key, body)

    async def delete(self, key: str, *, etag: str | None = None) -> None:
        check_key(key)
        await asyncio.sleep(0)
        stored = self._objects.get(key)
        if stored is not None and etag not in {None, stored.etag}:
            raise PreconditionFailed(key)
        self._remove(key)

    async def delete_many(self, keys: Sequence[str]) -> Sequence[str]:
        for key in keys:
            check_key(key)
        await asyncio.sleep(0)
        for key in keys:
            self._remove(key)
        return []

    async def list(self, prefix: str, *, start_after: str = "", delimiter: str = "") -> AsyncIterator[Page]:
        check_prefix(prefix)
        check_delimiter(delimiter)
        await asyncio.sleep(0)
        date = self.now()
        objects: list[Listed] = []
        folders: dict[str, None] = {}
        # The order of code points is the order of UTF-8 bytes.
        for key in sorted(key for key in self._objects if key.startswith(prefix) and key > start_after):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end >= 0 and key[: end + 1] in folders:
                continue
            if len(objects) + len(folders) == PAGE_SIZE:
                yield Page(objects=tuple(objects), folders=tuple(folders), date=date)
                await asyncio.sleep(0)
                date, objects, folders = self.now(), [], {}
            if end >= 0:
                folders[key[: end + 1]] = None
            elif (stored := self._objects.get(key)) is not None:
                objects.append(Listed(key, stored.etag, stored.size, stored.last_modified))
        yield Page(objects=tuple(objects), folders=tuple(folders), date=date)

    async def copy(self, source: str, target: str) -> bool:
        check_key(source)
        check_key(target)
        await asyncio.sleep(0)
        stored = self._objects.get(source)
        if stored is None:
            return False
        self._write(target, stored.body)
        return True

    def _write(self, key: str, body: bytes) -> str:
        if key not in self._objects:
            if self._folders[key]:
                raise InvalidKey(f"'{key}' is a folder of other objects.")
            for folder in folders_of(key):
                if folder in self._objects:
                    raise InvalidKey(f"'{folder}' is an object, so nothing can lie below it.")
            self._folders.update(folders_of(key))
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._objects[key] = Stored(key, bytes(body), etag, self.now())
        return etag

    def _remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            self._folders.subtract(folders_of(key))
