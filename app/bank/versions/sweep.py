"""Commit records that no head leads to, removed once nobody can be at work on them any more."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.bank.history import history_prefix, version_of
from app.bank.versions.timeline import Timeline
from app.core.errors import Situation
from app.spaces.models import Head
from app.spaces.service import SpaceService
from app.storage.store import Listed, ObjectStore

_AGE: Final = timedelta(days=1)

log = structlog.get_logger(__name__)


class OrphanSweep:
    """Removes what writers have prepared and never committed."""

    def __init__(self, store: ObjectStore, spaces: SpaceService, timeline: Timeline) -> None:
        self._store = store
        self._spaces = spaces
        self._timeline = timeline
        self._swept: datetime | None = None
        """When this process last went through all spaces."""

    async def sweep_all(self) -> None:
        """Sweep every space, once a day; one that cannot be swept does not keep the others from it."""
        now = self._store.now()
        if self._swept is not None and now - self._swept < _AGE:
            return
        self._swept = now
        async for space_id in self._spaces.ids():
            try:
                await self.sweep(space_id)
            except Situation as situation:
                log.warning("history_not_swept", space_id=space_id, code=situation.code())

    async def sweep(self, space_id: str) -> int:
        """How many records were removed.

        The listing comes before the head: what it shows then belongs to this space or to a former one of its name,
        never to a later one. A record of a number that the head has reached, and that is not the one that counts, can
        never be committed: the head that it was made for is gone. One alone under its number is never touched.
        """
        records: dict[int, list[Listed]] = {}
        doubtful: set[str] = set()
        async for page in self._store.list(history_prefix(space_id)):
            for listed in page.objects:
                if (version := version_of(listed.key)) is not None:
                    records.setdefault(version, []).append(listed)
                    if listed.last_modified < page.date - _AGE:
                        doubtful.add(listed.key)
        opened = await self._spaces.find(space_id)
        if opened is None:
            return 0
        lost: list[str] = []
        for version, found in records.items():
            old = [listed.key for listed in found if listed.key in doubtful]
            if old and len(found) > 1 and version <= opened.head.version:
                lost += await self._lost(opened.head, version, old)
        if not lost:
            return 0
        left = await self._store.delete_many(lost)
        log.info("orphan_records_removed", space_id=space_id, removed=len(lost) - len(left))
        return len(lost) - len(left)

    async def _lost(self, head: Head, version: int, keys: Sequence[str]) -> list[str]:
        counts = await self._timeline.key_of(head, version)
        return [key for key in keys if key != counts]
