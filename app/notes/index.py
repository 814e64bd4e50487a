"""The notes under a space's `live/`, remembered between reads. Derived: dropping it changes no answer."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.core.clock import Clock
from app.notes.models import Kept, Note
from app.notes.store import Name, live_prefix, note_key, parse_name, parse_note, time_key
from app.storage.store import Listed, ObjectStore, Stored

_OVERLAP: Final = timedelta(minutes=5)
"""How far before the previous refresh a listing starts, so that a slow or early clock hides nothing."""
_FULL_AFTER: Final = 600.0
"""Seconds after which everything is listed again, for notes that other tools put under older names."""
_IN_FLIGHT: Final = 32
_SPACES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One object under `live/`."""

    listed: Listed
    name: Name | None
    """What its name tells; None for a foreign one."""


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """By note id. Replaced, never changed: readers hold on to it."""
    begun: int = 0
    """Listings begun so far."""
    ended: int = 0
    """Number of the last listing that succeeded."""
    full: float = 0.0
    """Monotonic start of the last full one."""
    incarnation: str | None = None
    """Of the space whose notes these are."""
    date: datetime | None = None
    """The store's date of the last refresh."""


class NoteIndex:
    """Lists incrementally and reads each body once."""

    def __init__(self, store: ObjectStore, clock: Clock, *, memory: int) -> None:
        self._store = store
        self._clock = clock
        self._memory = memory
        self._used = 0
        self._spaces: OrderedDict[str, _Known] = OrderedDict()
        self._bodies: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._gate = asyncio.Semaphore(_IN_FLIGHT)

    async def refresh(self, space_id: str) -> Mapping[str, Entry]:
        """What lies under `live/` now, by note id. Concurrent readers share one listing begun after they asked."""
        known = self._known(space_id)
        begun = known.begun
        async with known.lock:
            if known.ended <= begun:
                await self._list(space_id, known)
            return known.entries

    def _known(self, space_id: str) -> _Known:
        known = self._spaces.setdefault(space_id, _Known())
        self._spaces.move_to_end(space_id)
        while len(self._spaces) > _SPACES:
            self._spaces.popitem(last=False)
        return known

    async def _list(self, space_id: str, known: _Known) -> None:
        started = self._clock.monotonic()
        known.begun += 1
        prefix = live_prefix(space_id)
        full = known.date is None or started - known.full >= _FULL_AFTER
        start_after = "" if full else prefix + self._window(known)
        seen: dict[str, Entry] = {}
        date: datetime | None = None
        async for page in self._store.list(prefix, start_after=start_after):
            date = date or page.date
            for listed in page.objects:
                note_id = listed.key.removeprefix(prefix)
                if note_id and not note_id.endswith((".keep", "/")):
                    former = known.entries.get(note_id)
                    same = former is not None and former.listed.etag == listed.etag
                    seen[note_id] = former if former and same else Entry(listed, parse_name(note_id))
        kept = {} if full else {id_: one for id_, one in known.entries.items() if one.listed.key <= start_after}
        known.entries = {**kept, **seen}
        known.ended, known.date = known.begun, date
        if full:
            known.full = started

    def _window(self, known: _Known) -> str:
        """The name after which an incremental listing begins.

        Neither a name dated in the future, by an older tool, nor a clock that was set back must blind the reader: the
        earliest of the newest name, the store's former date and its present one counts.
        """
        assert known.date is not None  # noqa: S101 - a first listing is always a full one
        newest = max((one.name.time for one in known.entries.values() if one.name), default=known.date)
        return time_key(min(newest, known.date, self._store.now()) - _OVERLAP)

    async def bodies(self, space_id: str, entries: Iterable[Entry]) -> dict[str, Note]:
        """The notes of those objects. One that is gone by now is left out: a commit has filed it."""
        return {note_id: kept.note for note_id, kept in (await self.kept(space_id, entries)).items()}

    async def kept(self, space_id: str, entries: Iterable[Entry]) -> dict[str, Kept]:
        """The same, with what is known of the objects themselves."""
        prefix = live_prefix(space_id)
        found: dict[str, Kept] = {}
        missing: list[Listed] = []
        for item in (one.listed for one in entries):
            if cached := self._bodies.get((item.key, item.etag)):
                self._bodies.move_to_end((item.key, item.etag))
                found[item.key.removeprefix(prefix)] = cached
            else:
                missing.append(item)
        for kept in await self._fetch(missing, prefix):
            found[kept.note.id] = kept
        return found

    async def _fetch(self, missing: Sequence[Listed], prefix: str) -> list[Kept]:
        async def fetch(item: Listed) -> Kept | None:
            async with self._gate:
                stored = await self._store.get(item.key)
            if not isinstance(stored, Stored):
                return None
            note = parse_note(item.key.removeprefix(prefix), stored.body)
            kept = Kept(item.key, note, stored.size, digest(stored.body))
            self._keep(stored.etag, kept)
            return kept

        return [kept for kept in await asyncio.gather(*map(fetch, missing)) if kept is not None]

    def is_of(self, space_id: str, incarnation: str) -> bool:
        """Are the notes that are remembered those of this space, and not of a former one? If not, forget them."""
        known = self._known(space_id)
        same = known.incarnation in {None, incarnation}
        known.incarnation = incarnation
        if not same:
            self._forget(known)
        return same

    def forget(self, space_id: str) -> None:
        """List the space anew at the next read: what was remembered has proved wrong."""
        self._forget(self._known(space_id))

    @staticmethod
    def _forget(known: _Known) -> None:
        known.date = None
        known.entries = {}

    def add(self, space_id: str, listed: Listed, note: Note, sha256: str) -> None:
        """Remember a note that this process has just written."""
        if (known := self._spaces.get(space_id)) and known.date is not None:
            known.entries = {**known.entries, note.id: Entry(listed, parse_name(note.id))}
        self._keep(listed.etag, Kept(note_key(space_id, note.id), note, listed.size, sha256))

    def _keep(self, etag: str, kept: Kept) -> None:
        former = self._bodies.pop((kept.key, etag), None)
        self._used += kept.size - (former.size if former else 0)
        self._bodies[kept.key, etag] = kept
        while self._used > self._memory and self._bodies:
            _key, freed = self._bodies.popitem(last=False)
            self._used -= freed.size


def digest(body: bytes) -> str:
    """The SHA-256 of an object, in hex."""
    return hashlib.sha256(body).hexdigest()
