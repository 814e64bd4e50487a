"""The files of a backup, read back: each one is what was copied, or BackupDamaged is raised."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.backups.errors import BackupDamaged
from app.backups.models import Manifest
from app.backups.store import BackupStore, entry

_CHUNK: Final = 100


@dataclass(frozen=True, slots=True)
class Portion:
    """Files that are read together."""

    paths: Sequence[str]
    pack: str
    """The archive that holds them; empty when each has an object of its own."""


class Contents:
    """Reads what a manifest lists."""

    def __init__(self, store: BackupStore, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest

    def portions(self, *, but: tuple[str, ...] = ()) -> list[Portion]:
        """All files but those whose paths begin so, a hundred or a pack at a time."""
        of_pack = {path: pack for pack, paths in self._manifest.packs.items() for path in paths}
        apart = [path for path in self._manifest.files if path not in of_pack and not path.startswith(but)]
        plain = [Portion(apart[start : start + _CHUNK], "") for start in range(0, len(apart), _CHUNK)]
        return plain + [Portion(paths, pack) for pack, paths in self._manifest.packs.items()]

    async def each(self, portion: Portion, work: Callable[[str, bytes], Awaitable[None]]) -> None:
        """Do the work for every file of a portion, a bounded number at a time."""

        async def apart(path: str) -> None:
            await work(path, await self.file(path))

        async def of_pack(item: tuple[str, bytes]) -> None:
            await work(*item)

        if portion.pack:
            await self._store.each((await self._unpacked(portion)).items(), of_pack)
        else:
            await self._store.each(portion.paths, apart)

    async def members(self) -> AsyncIterator[tuple[str, bytes]]:
        """Path and bytes of every file, one after the other."""
        for portion in self.portions():
            if portion.pack:
                for item in (await self._unpacked(portion)).items():
                    yield item
            else:
                for path in portion.paths:
                    yield path, await self.file(path)

    async def file(self, path: str) -> bytes:
        """A file that has an object of its own."""
        return self._verified(path, await self._store.read_file(self._manifest.backup_id, path))

    async def _unpacked(self, portion: Portion) -> dict[str, bytes]:
        bodies = await self._store.read_pack(self._manifest.backup_id, portion.pack)
        return {path: self._verified(path, bodies.get(path)) for path in portion.paths}

    def _verified(self, path: str, body: bytes | None) -> bytes:
        if body is None or (not self._manifest.legacy and entry(body) != self._manifest.files.get(path)):
            raise BackupDamaged(self._manifest.backup_id, path)
        return body
