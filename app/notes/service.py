"""What agents jot down, and read of each other."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from app.core.clock import iso
from app.core.identity import Caller
from app.core.paging import decode_cursor, decode_instant, encode_cursor
from app.notes.index import Entry, NoteIndex, digest
from app.notes.models import (
    Kept,
    Note,
    NoteCreate,
    NoteCreated,
    NoteRead,
    NotesFound,
    NotesQuery,
    NotesRead,
    Waiting,
    split_tags,
)
from app.notes.requeue import origin_of, requeued_note
from app.notes.store import Name, new_note_id, note_key, parse_name, parse_note, render_note
from app.spaces.errors import SpaceChanging, SpaceNotFound
from app.spaces.models import Opened
from app.spaces.service import SpaceService
from app.storage.store import MARKDOWN, Listed, ObjectStore, PreconditionFailed, Stored

_END: Final = datetime(9999, 12, 31, tzinfo=UTC)
_ATTEMPTS: Final = 3
_LATE: Final = timedelta(seconds=120)
_EARLY: Final = timedelta(seconds=-60)
_IN_FLIGHT: Final = 32

log = structlog.get_logger(__name__)

__all__ = [
    "NoteService", "body_of", "note_key", "origin_of", "position", "requeued_note", "shown_note", "written_at",
]  # fmt: skip

Position = tuple[datetime, datetime, str]
"""Where a note stands in time: the second in its name, its own time stamp, its id."""


class NoteService:
    """The live notes of the spaces."""

    def __init__(self, store: ObjectStore, spaces: SpaceService, index: NoteIndex) -> None:
        self._store = store
        self._spaces = spaces
        self._index = index
        self._gate = asyncio.Semaphore(_IN_FLIGHT)

    async def write(self, space_id: str, request: NoteCreate, *, caller: Caller) -> NoteCreated:
        """Keep a note. It is acknowledged when the store has it, and in the next read of every process."""
        opened = self._spaces.known(space_id) or await self._spaces.open(space_id)
        label = request.agent.strip() or caller.name
        note = Note(
            id="",
            timestamp=self._store.now(),
            agent=label,
            identity=label if caller.is_admin else caller.name,
            category=request.category.value,
            tags=split_tags(request.tags),
            content=request.content,
            incarnation=opened.head.incarnation,
        )
        # Together, since a round trip counts: a note and a deletion that overlap may come in either order.
        (note, listed, sha256), present = await asyncio.gather(
            self._create(space_id, note), self._spaces.find(space_id)
        )
        if present is None:
            await self._store.delete(listed.key)
            raise SpaceNotFound(space_id)
        if not present.head.owns(note.incarnation):
            await self._store.delete(listed.key)
            return await self.write(space_id, request, caller=caller)
        kept = replace(note, content=request.content.strip())
        self._index.add(space_id, listed, kept, sha256)
        return NoteCreated(
            space_id=space_id,
            filename=note.id,
            category=note.category,
            agent=note.agent,
            identity=note.identity,
            size=listed.size,
            timestamp=iso(note.timestamp),
        )

    async def _create(self, space_id: str, note: Note) -> tuple[Note, Listed, str]:
        """Write the note under a free name of this moment; the note, its object, and the object's SHA-256.

        Readers look for new names near the present: a note that took long to be written gets a fresh one.
        """
        while True:
            note_id = new_note_id(note.timestamp, note.identity, note.category)
            key, body = note_key(space_id, note_id), render_note(note, space_id)
            try:
                etag = await self._store.create(key, body, content_type=MARKDOWN)
            except PreconditionFailed:
                log.info("note_name_taken", space_id=space_id)
                continue
            now = self._store.now()
            if _EARLY < now - note.timestamp < _LATE:
                return replace(note, id=note_id), Listed(key, etag, len(body), now), digest(body)
            await self._store.delete(key)
            note = replace(note, timestamp=now)

    async def read(self, space_id: str, query: NotesQuery) -> NotesRead:
        page, matched, more = await self._select(space_id, query)
        return NotesRead(
            space_id=space_id,
            notes=[_shown(note) for note in page],
            total=len(page),
            matched=matched,
            has_more=more,
            next_cursor=_next(page, query) if more else "",
        )

    async def search(self, space_id: str, query: NotesQuery) -> NotesFound:
        found = await self.read(space_id, query)
        return NotesFound(**dict(found), query=query.text)

    async def _select(self, space_id: str, query: NotesQuery) -> tuple[list[Note], int, bool]:
        after = _position_of(query.cursor)
        for attempt in range(_ATTEMPTS):
            entries = await self._index.refresh(space_id)
            # The head comes after the listing: a note filed meanwhile is then in the bank that is read next.
            head = (await self._spaces.open(space_id)).head
            if not self._index.is_of(space_id, head.incarnation):
                continue
            if not attempt and head.requeue.keys() - entries.keys():
                # The object of a note that was put back may come long after the instant in its name.
                self._index.forget(space_id)
                continue
            pending = {id_: one for id_, one in entries.items() if head.is_pending(id_) and _may_match(one.name, query)}
            # Names decide the order to a second, so without other filters the newest names are enough.
            exact = bool(query.agent or query.text or query.since or any(one.name is None for one in pending.values()))
            wanted = pending if exact else _newest(pending, query.limit, after)
            bodies = await self._index.bodies(space_id, wanted.values())
            if len(bodies) == len(wanted):
                break
            self._index.forget(space_id)
        else:
            raise SpaceChanging(space_id)
        notes = [note for note in bodies.values() if head.owns(note.incarnation) and _matches(note, query)]
        notes.sort(key=position, reverse=True)
        matched = len(notes) if exact else len(pending)
        rest = [note for note in notes if after is None or position(note) < after]
        page = rest[: query.limit]
        return page, matched, len(rest) > len(page)

    async def pending(self, opened: Opened) -> list[Note]:
        """Every note still to be filed, oldest first, as a writer sees them: the head first, then the listing."""
        return [kept.note for kept in await self._pending(opened)]

    async def _pending(self, opened: Opened) -> list[Kept]:
        head = opened.head
        entries = await self._entries(opened)
        wanted = [one for id_, one in entries.items() if head.is_pending(id_)]
        kept = (await self._index.kept(head.space_id, wanted)).values()
        return sorted((one for one in kept if head.owns(one.note.incarnation)), key=lambda one: position(one.note))

    async def frozen(self, opened: Opened) -> list[Note]:
        """The notes that wait at just the version that was read, for a copy of both.

        Raises:
            SpaceChanging: the space has moved on, so that a note may be in neither.
        """
        return [kept.note for kept in await self.frozen_objects(opened)]

    async def frozen_objects(self, opened: Opened) -> list[Kept]:
        """The same notes with the keys, sizes and digests of their objects, which need not be read again."""
        notes = await self._pending(opened)
        present = await self._spaces.open(opened.head.space_id)
        if present.head.nonce != opened.head.nonce:
            raise SpaceChanging(opened.head.space_id)
        return notes

    async def _entries(self, opened: Opened) -> Mapping[str, Entry]:
        """What lies under `live/` of just this space, listed after its head was read."""
        space_id = opened.head.space_id
        self._index.is_of(space_id, opened.head.incarnation)
        entries = await self._index.refresh(space_id)
        if opened.head.requeue.keys() - entries.keys():
            self._index.forget(space_id)
            entries = await self._index.refresh(space_id)
        return entries

    def forget(self, space_id: str) -> None:
        """List the space anew at the next read: an object that it was thought to hold is gone."""
        self._index.forget(space_id)

    async def waiting(self, opened: Opened) -> Waiting:
        """The notes still to be filed, in numbers."""
        entries = await self._entries(opened)
        pending = [one for id_, one in entries.items() if opened.head.is_pending(id_)]
        known = [one for one in pending if one.name is not None]
        edges = [pick(known, key=lambda one: one.listed.key) for pick in (min, max)] if known else pending[:1]
        bodies = await self._index.bodies(opened.head.space_id, edges)
        times = [note.timestamp for note in bodies.values()]
        return Waiting(
            len(pending),
            sum(one.listed.size for one in pending),
            min(times, default=None),
            max(times, default=None),
        )

    async def stored(self, space_id: str, notes: Sequence[Note]) -> list[tuple[str, Note, bytes]]:
        """The objects of the notes, whole: key, note, bytes. A note whose object is gone is left out.

        What is gone was filed or removed meanwhile, and is listed anew at the next read.
        """

        async def fetch(note: Note) -> tuple[str, Note, bytes] | None:
            key = note_key(space_id, note.id)
            async with self._gate:
                found = await self._store.get(key)
            return (key, note, found.body) if isinstance(found, Stored) else None

        found = [item for item in await asyncio.gather(*map(fetch, notes)) if item is not None]
        if len(found) < len(notes):
            self._index.forget(space_id)
        return found


def position(note: Note) -> Position:
    """Where a note stands in time."""
    name = parse_name(note.id)
    return (name.time if name else note.timestamp.replace(microsecond=0), note.timestamp, note.id)


def body_of(kept: Kept) -> bytes | None:
    """The bytes of the note's object when they can be told without reading it: their digest is the proof.

    None for a note of another make, or one that was written with white space around it.
    """
    body = render_note(kept.note, kept.key.partition("/")[0])
    return body if digest(body) == kept.sha256 else None


def shown_note(note_id: str, body: bytes) -> NoteRead:
    """A note as its readers see it, from its object."""
    return _shown(parse_note(note_id, body))


def written_at(note: Note) -> datetime | None:
    """When the note was written, by its name; None for a foreign name."""
    name = parse_name(note.id)
    return name.time if name else None


def _may_match(name: Name | None, query: NotesQuery) -> bool:
    """Can the note match, as far as its name tells?"""
    if name is None:
        return True
    if query.category and name.category != query.category:
        return False
    return query.since is None or name.time >= query.since.astimezone(UTC).replace(microsecond=0)


def _matches(note: Note, query: NotesQuery) -> bool:
    return (
        (not query.category or note.category == query.category)
        and (not query.agent or note.agent == query.agent)
        and (query.since is None or note.timestamp >= query.since)
        and query.text.casefold() in note.content.casefold()
    )


def _newest(pending: Mapping[str, Entry], limit: int, after: Position | None) -> dict[str, Entry]:
    """The newest names before `after`: one more than `limit`, and whole seconds of them."""
    chosen: dict[str, Entry] = {}
    fresh = 0
    last: datetime | None = None
    for id_ in sorted(pending, reverse=True):
        name = pending[id_].name
        if name is None or (after is not None and name.time > after[0]):
            continue
        if fresh > limit and name.time != last:
            break
        chosen[id_], last = pending[id_], name.time
        # Of the second that the cursor stands in, some have been shown already.
        fresh += after is None or name.time < after[0]
    return chosen


def _position_of(cursor: str) -> Position | None:
    if not cursor:
        return None
    second, stamp, note_id = decode_cursor(cursor, parts=3)
    return decode_instant(second), decode_instant(stamp), note_id


def _next(page: Sequence[Note], query: NotesQuery) -> str:
    """Where to go on: after the last note shown, or again from where this page began when it shows none."""
    return _cursor(page[-1]) if page else query.cursor or encode_cursor(iso(_END), iso(_END), "")


def _cursor(note: Note) -> str:
    second, stamp, note_id = position(note)
    return encode_cursor(iso(second), iso(stamp), note_id)


def _shown(note: Note) -> NoteRead:
    return NoteRead(
        filename=note.id,
        timestamp=iso(note.timestamp),
        agent=note.agent,
        identity=note.identity,
        category=note.category,
        tags=list(note.tags),
        content=note.content,
    )
