"""How a space is copied: the notes that are in memory go into packs, and the store copies the others by itself."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from app.backups.models import FileEntry
from app.backups.store import BackupStore, entry
from app.bank.service import is_record_of, render_view
from app.core.archive import pack
from app.core.operation import Progress
from app.notes.models import Kept
from app.notes.service import NoteService, body_of
from app.spaces.errors import SpaceChanging
from app.spaces.models import Opened

_MANY: Final = 128
_LARGE: Final = 4 * 1024 * 1024
"""Notes in a pack, and their bytes, at most: a pack is in memory while it is made, and while it is read."""
_IN_MEMORY: Final = 4
"""Packs that are made at the same time."""


class Copy:
    """A copy of one version of a space, while it is made. The manifest tells `files` and `packs` when it is whole."""

    def __init__(self, store: BackupStore, backup_id: str, opened: Opened, progress: Progress) -> None:
        self.files: dict[str, FileEntry] = {}
        self.packs: dict[str, list[str]] = {}
        self._store = store
        self._backup_id = backup_id
        self._head = opened.head
        self._space_id = opened.head.space_id
        self._opened = opened
        self._progress = progress
        self._total = 0
        self._packing = asyncio.Semaphore(_IN_MEMORY)

    async def make(self, notes: NoteService) -> None:
        """Copy everything; raises SpaceChanging when the space moves on meanwhile."""
        rendered, recorded, former = await asyncio.gather(
            self._rendered(),
            self._store.keys(f"{self._space_id}/_history/"),
            self._store.keys(f"{self._space_id}/_rules/"),
        )
        # Last: that the head has not moved by now says of the rules too that they are of this version.
        frozen = await notes.frozen_objects(self._opened)
        records = [key for key in recorded if is_record_of(key, self._head.version)] + former
        self._total = len(rendered) + len(frozen) + len(records)
        apart = await self._store.each(enumerate(_groups(frozen)), self._pack)
        await self._store.each(rendered.items(), self._write)
        await self._store.each(records, self._record)
        try:
            await self._store.each(chain.from_iterable(apart), self._note)
        except SpaceChanging:
            notes.forget(self._space_id)
            raise

    async def _rendered(self) -> dict[str, bytes]:
        """What follows from the head, and the rules."""
        files = {path: body for path, body, _kind in render_view(self._head)}
        files["_bank.json"] = self._head.model_dump_json(by_alias=True).encode()
        opening = self._head.opening
        rules = await self._store.read(f"{self._space_id}/_rules.md") if opening is None else opening.encode()
        return files | {"_rules.md": rules or b""}

    async def _write(self, item: tuple[str, bytes]) -> None:
        path, body = item
        await self._store.write_file(self._backup_id, path, body)
        await self._tell({path: entry(body)})

    async def _record(self, key: str) -> None:
        body = await self._store.read(key)
        if body is None:
            raise SpaceChanging(self._space_id)
        await self._write((key.removeprefix(f"{self._space_id}/"), body))

    async def _pack(self, numbered: tuple[int, Sequence[Kept]]) -> list[Kept]:
        """Write a pack of the notes whose bytes are known; the others are returned."""
        number, group = numbered
        async with self._packing:
            known, others, archive = await asyncio.to_thread(_packed, group)
            if known:
                name = f"_live/{self._head.version:08d}-{number:04d}.tar.gz"
                await self._store.write_pack(self._backup_id, name, archive)
                self.packs[name] = [_path(kept) for kept in known]
                await self._tell({_path(kept): FileEntry(size=kept.size, sha256=kept.sha256) for kept in known})
        return others

    async def _note(self, kept: Kept) -> None:
        path = _path(kept)
        if not await self._store.copy_file(kept.key, self._backup_id, path):
            raise SpaceChanging(self._space_id)
        await self._tell({path: FileEntry(size=kept.size, sha256=kept.sha256)})

    async def _tell(self, copied: dict[str, FileEntry]) -> None:
        before = len(self.files)
        self.files |= copied
        if len(self.files) // 100 > before // 100:
            await self._progress(len(self.files), self._total, f"{len(self.files)} of {self._total} files copied")


def _path(kept: Kept) -> str:
    return f"live/{kept.note.id}"


def _packed(group: Sequence[Kept]) -> tuple[list[Kept], list[Kept], bytes]:
    """The notes whose bytes are known, the others, and an archive of the former."""
    known: list[Kept] = []
    others: list[Kept] = []
    files: dict[str, bytes] = {}
    for kept in group:
        if (body := body_of(kept)) is None:
            others.append(kept)
        else:
            known.append(kept)
            files[_path(kept)] = body
    return known, others, pack(files) if files else b""


def _groups(notes: Sequence[Kept]) -> Iterator[list[Kept]]:
    """The notes in portions of which each makes a pack."""
    group: list[Kept] = []
    size = 0
    for kept in notes:
        if group and (len(group) == _MANY or size + kept.size > _LARGE):
            yield group
            group, size = [], 0
        group.append(kept)
        size += kept.size
    if group:
        yield group
