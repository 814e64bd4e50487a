"""Where backups are kept."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from app.backups.models import BackupState, FileEntry, Manifest
from app.core.archive import unpack
from app.core.clock import iso
from app.core.ids import SPACE_ID_PATTERN
from app.storage.document import parsed
from app.storage.store import GZIP, JSON, TEXT, ObjectStore, PreconditionFailed, Stored

_ROOT: Final = "_backups/"
_IN_FLIGHT: Final = 32
_OURS: Final = frozenset({"_bank.json", "_manifest.json"})
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}")

S = TypeVar("S")
T = TypeVar("T")


def backup_prefix(backup_id: str) -> str:
    """Under which key prefix a backup lies."""
    return f"{_ROOT}{backup_id}/"


def manifest_key(backup_id: str) -> str:
    """Where the manifest of a backup lies."""
    return backup_prefix(backup_id) + "_manifest.json"


def entry(body: bytes) -> FileEntry:
    """What the manifest says of a file."""
    return FileEntry(size=len(body), sha256=hashlib.sha256(body).hexdigest())


class BackupStore:
    """Reads and writes manifests, and the files beside them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._gate = asyncio.Semaphore(_IN_FLIGHT)

    async def claim(self, manifest: Manifest) -> str:
        """Reserve the name of a backup; raises PreconditionFailed when it is taken."""
        return await self._store.create(manifest_key(manifest.backup_id), _body(manifest), content_type=JSON)

    async def replace(self, manifest: Manifest, etag: str) -> str:
        return await self._store.replace(
            manifest_key(manifest.backup_id), _body(manifest), etag=etag, content_type=JSON
        )

    async def find(self, backup_id: str) -> tuple[Manifest, str] | None:
        found = await self._store.get(manifest_key(backup_id))
        if not isinstance(found, Stored):
            return None
        return parsed(Manifest, found.key, found.body), found.etag

    async def find_legacy(self, backup_id: str) -> Manifest | None:
        """What a backup without a manifest holds, when it is one of 0.2 or 1.3: the plain tree of a space."""
        instant = _instant(backup_id.partition("/")[2])
        if instant is None:
            return None
        prefix = backup_prefix(backup_id)
        files = {
            listed.key.removeprefix(prefix): FileEntry(size=listed.size, sha256="")
            async for page in self._store.list(prefix)
            for listed in page.objects
        }
        # A file of ours that was written when its backup had just been removed is no backup.
        if "_meta.json" not in files or not _OURS.isdisjoint(files):
            return None
        return Manifest(
            backup_id=backup_id,
            space_id=backup_id.partition("/")[0],
            state=BackupState.COMPLETE,
            nonce="",
            created_at=iso(instant),
            files=files,
            legacy=True,
        )

    async def spaces(self) -> list[str]:
        return [folder async for folder in self._folders(_ROOT) if re.fullmatch(SPACE_ID_PATTERN, folder)]

    async def of_space(self, space_id: str) -> list[str]:
        """Ids of the space's backups, whatever their state, oldest first."""
        return [f"{space_id}/{folder}" async for folder in self._folders(f"{_ROOT}{space_id}/")]

    async def _folders(self, prefix: str) -> AsyncIterator[str]:
        async for page in self._store.list(prefix, delimiter="/"):
            for folder in page.folders:
                yield folder.removeprefix(prefix).rstrip("/")

    async def each(self, items: Iterable[S], work: Callable[[S], Awaitable[T]]) -> list[T]:
        """Do the work for every item, a bounded number at a time. When one fails, the others have ended too."""

        async def bounded(item: S) -> T:
            async with self._gate:
                return await work(item)

        tasks = [asyncio.ensure_future(bounded(item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def read(self, key: str) -> bytes | None:
        found = await self._store.get(key)
        return found.body if isinstance(found, Stored) else None

    async def read_file(self, backup_id: str, path: str) -> bytes | None:
        return await self.read(backup_prefix(backup_id) + path)

    async def read_pack(self, backup_id: str, name: str) -> dict[str, bytes]:
        """The files in a pack, by path; none when it is gone, or no pack."""
        archive = await self.read_file(backup_id, name)
        try:
            return {} if archive is None else await asyncio.to_thread(unpack, archive)
        except ValueError:
            return {}

    async def write_file(self, backup_id: str, path: str, body: bytes) -> None:
        await self._store.put(backup_prefix(backup_id) + path, body, content_type=TEXT)

    async def write_pack(self, backup_id: str, name: str, archive: bytes) -> None:
        """Write many small files as one object: an archive of them, by path."""
        await self._store.put(backup_prefix(backup_id) + name, archive, content_type=GZIP)

    async def copy_file(self, key: str, backup_id: str, path: str) -> bool:
        """Copy an object into the backup without reading it; False when it is gone."""
        return await self._store.copy(key, backup_prefix(backup_id) + path)

    async def write_back(self, key: str, body: bytes, content_type: str) -> None:
        """Write a file that is not there yet; the same one may be, from an attempt that was cut short."""
        try:
            await self._store.create(key, body, content_type=content_type)
        except PreconditionFailed:
            present = await self._store.get(key)
            if not isinstance(present, Stored) or present.body != body:
                raise

    async def keys(self, prefix: str) -> list[str]:
        return [listed.key async for page in self._store.list(prefix) for listed in page.objects]

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove objects, and return those that may still be there."""
        return await self._store.delete_many(keys)


def _instant(timestamp: str) -> datetime | None:
    """The instant in the name of a backup."""
    if not _TIMESTAMP.fullmatch(timestamp):
        return None
    try:
        return datetime.strptime(timestamp, "%Y-%m-%dT%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _body(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=2).encode()
