"""A space seen whole: its rules, its notes and its bank together."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from app.bank.service import contents, render_view, synthesis_object
from app.core.archive import packed_archive, stream_archive
from app.core.clock import iso
from app.core.identity import Caller
from app.core.paging import encode_cursor, name_after
from app.notes.models import Note
from app.notes.service import NoteService
from app.overview.models import BankStats, LiveStats, SpaceExport, SpaceInfo, SpaceList, SpaceListed, SpaceSummary
from app.spaces.errors import SpaceChanging
from app.spaces.models import Opened
from app.spaces.service import SpaceService
from app.storage.document import DamagedDocument

_IN_FLIGHT: Final = 16
_ATTEMPTS: Final = 5

log = structlog.get_logger(__name__)


class OverviewService:
    """Looks at spaces; changes nothing."""

    def __init__(self, spaces: SpaceService, notes: NoteService) -> None:
        self._spaces = spaces
        self._notes = notes

    async def list(self, *, caller: Caller, limit: int, cursor: str) -> SpaceList:
        """The spaces that the caller's token names; an admin's token that names some lists those."""
        visible = sorted([space_id async for space_id in self._spaces.ids() if caller.sees(space_id)])
        gate = asyncio.Semaphore(_IN_FLIGHT)
        damaged: list[str] = []

        async def opened(space_id: str) -> Opened | None:
            async with gate:
                try:
                    return await self._spaces.find(space_id)
                except DamagedDocument:
                    # It answers with the error when it is opened; the others must not be hidden by it.
                    log.exception("space_damaged", space_id=space_id)
                    damaged.append(space_id)
                    return None

        live = [found for found in await asyncio.gather(*map(opened, visible)) if found is not None]
        after = name_after(cursor)
        rest = [found for found in live if found.head.space_id > after]
        page = rest[:limit]

        async def listed(found: Opened) -> SpaceListed:
            async with gate:
                waiting = await self._notes.waiting(found)
            head = found.head
            return SpaceListed(
                space_id=head.space_id,
                description=head.about.description,
                owner=head.about.owner,
                created_at=head.about.created_at,
                live_notes_count=waiting.count,
                bank_files_count=len(head.files),
            )

        more = len(rest) > len(page)
        return SpaceList(
            spaces=list(await asyncio.gather(*map(listed, page))),
            total=len(live),
            damaged=sorted(damaged),
            has_more=more,
            next_cursor=encode_cursor(page[-1].head.space_id if page else after) if more else "",
        )

    async def info(self, space_id: str) -> SpaceInfo:
        opened = await self._spaces.open(space_id)
        head = opened.head
        rules, live = await asyncio.gather(self._spaces.rules_of(opened), self._live(opened))
        return SpaceInfo(
            space_id=space_id,
            description=head.about.description,
            owner=head.about.owner,
            created_at=head.about.created_at,
            live=live,
            bank=BankStats(
                files_count=len(head.files),
                total_size=sum(file.bytes for file in head.files.values()),
                files=list(head.files),
            ),
            rules_size=len(rules.encode()),
            last_consolidation=head.counters.last_consolidation,
            consolidation_count=head.counters.consolidation_count,
            total_notes_processed=head.counters.total_notes_processed,
            synthesis_exists=head.synthesis is not None,
            version=head.version,
            automatic=head.automatic,
        )

    async def _live(self, opened: Opened) -> LiveStats:
        waiting = await self._notes.waiting(opened)
        return LiveStats(
            notes_count=waiting.count,
            total_size=waiting.size,
            oldest_note=iso(waiting.oldest) if waiting.oldest else "",
            newest_note=iso(waiting.newest) if waiting.newest else "",
        )

    async def summary(self, space_id: str) -> SpaceSummary:
        opened = await self._spaces.open(space_id)
        head = opened.head
        rules, live = await asyncio.gather(self._spaces.rules_of(opened), self._live(opened))
        return SpaceSummary(
            space_id=space_id,
            description=head.about.description,
            owner=head.about.owner,
            rules=rules,
            bank_files=contents(head),
            bank_file_count=len(head.files),
            synthesis=synthesis_object(head),
            live=live,
            version=head.version,
        )

    async def archive(self, space_id: str) -> AsyncIterator[bytes]:
        """The space as a tar.gz, piece by piece: the bank as it is at this moment, and the notes that wait."""
        opened = await self._spaces.open(space_id)
        return stream_archive(self._members(opened, await self._notes.frozen(opened)))

    async def _members(self, opened: Opened, notes: Sequence[Note]) -> AsyncIterator[tuple[str, bytes]]:
        space_id = opened.head.space_id
        for path, body, _kind in render_view(opened.head):
            yield path, body
        yield "_rules.md", (await self._spaces.rules_of(opened)).encode()
        for start in range(0, len(notes), _IN_FLIGHT):
            some = notes[start : start + _IN_FLIGHT]
            stored = await self._notes.stored(space_id, some)
            if len(stored) < len(some):
                # Filed meanwhile: in neither the bank that was read nor the notes.
                raise SpaceChanging(space_id)
            for key, _note, body in stored:
                yield key.removeprefix(f"{space_id}/"), body

    async def export(self, space_id: str) -> SpaceExport:
        for attempt in range(_ATTEMPTS):
            opened = await self._spaces.open(space_id)
            try:
                packed = await packed_archive(self._members(opened, await self._notes.frozen(opened)))
            except SpaceChanging:
                if attempt + 1 == _ATTEMPTS:
                    raise
            else:
                break
        return SpaceExport(
            space_id=space_id,
            archive_base64=packed.base64,
            archive_size=packed.size,
            files_count=packed.files,
        )
