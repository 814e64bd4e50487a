"""Consolidation that nobody has to ask for."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.bank.errors import BudgetSpent, ConsolidationRunning, LlmFailed
from app.bank.ledger import Ledger
from app.bank.service import BankService
from app.core.errors import Situation
from app.notes.models import Waiting
from app.notes.service import NoteService
from app.spaces.models import Automatic, Opened
from app.spaces.service import SpaceService
from app.storage.store import ObjectStore

ACTOR: Final = "automatic"
"""Who has asked, in the history."""
_DAY: Final = 24 * 60
"""Minutes; the longest that a run which files nothing makes the next one wait."""
EVERY: Final = 60.0
"""Seconds between two looks at the spaces, about."""

log = structlog.get_logger(__name__)


def is_due(policy: Automatic, waiting: Waiting, last: datetime | None, now: datetime) -> bool:
    """Should a space be consolidated now? `last` is when that was done, or tried, before."""
    if not policy.enabled or not waiting.count or waiting.oldest is None or waiting.newest is None:
        return False
    if last is not None and now - last < timedelta(minutes=policy.cooldown_minutes):
        return False
    age, limit = now - waiting.oldest, timedelta(minutes=policy.max_age_minutes)
    if waiting.count < policy.notes and age < limit:
        return False
    return now - waiting.newest >= timedelta(minutes=policy.quiet_minutes) or age >= 2 * limit


class AutomaticConsolidation:
    """Looks at every space now and then. Of several replicas the one that gets the lease does the work."""

    def __init__(
        self,
        store: ObjectStore,
        spaces: SpaceService,
        notes: NoteService,
        bank: BankService,
        ledger: Ledger,
    ) -> None:
        self._store = store
        self._spaces = spaces
        self._notes = notes
        self._bank = bank
        self._ledger = ledger
        self._tried: dict[str, datetime] = {}
        """When this process last began one, whatever became of it."""
        self._idle: dict[str, int] = {}
        """Runs in a row that have filed nothing: each makes the next one wait twice as long."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, no secret
            try:
                await self.look()
            except Exception:
                # Nobody waits for it, and the next look is a minute away.
                log.exception("automatic_consolidation_failed")

    async def look(self) -> list[str]:
        """Consolidate each space whose time has come, one after the other; those that were."""
        done = []
        async for space_id in self._spaces.ids():
            try:
                if await self._is_due(space_id) and await self._consolidate(space_id):
                    done.append(space_id)
            except Situation as situation:
                log.warning("automatic_consolidation_refused", space_id=space_id, code=situation.code())
        return done

    async def _is_due(self, space_id: str) -> bool:
        opened = await self._spaces.find(space_id)
        if opened is None or opened.head.automatic is None or not opened.head.automatic.enabled:
            self._tried.pop(space_id, None)
            self._idle.pop(space_id, None)
            return False
        policy = opened.head.automatic
        pause = min(policy.cooldown_minutes * 2 ** self._idle.get(space_id, 0), max(policy.cooldown_minutes, _DAY))
        policy = policy.model_copy(update={"cooldown_minutes": pause})
        return is_due(policy, await self._notes.waiting(opened), self._last(opened), self._store.now())

    def _last(self, opened: Opened) -> datetime | None:
        written = opened.head.counters.last_consolidation
        times = [self._tried.get(opened.head.space_id), datetime.fromisoformat(written) if written else None]
        return max((time for time in times if time is not None), default=None)

    async def _consolidate(self, space_id: str) -> bool:
        self._tried[space_id] = self._store.now()
        policy = (await self._spaces.open(space_id)).head.automatic
        if policy is None or not await self._ledger.count_run(space_id, at_most=policy.daily_runs):
            return False
        try:
            done = await self._bank.consolidate_selected(space_id, lambda _note: True, actor=ACTOR, leased=True)
        except ConsolidationRunning:
            await self._ledger.take_back_run(space_id)
            return False
        except (LlmFailed, BudgetSpent):
            self._idle[space_id] = self._idle.get(space_id, 0) + 1
            raise
        self._idle[space_id] = 0 if done.notes_processed else self._idle.get(space_id, 0) + 1
        log.info("consolidated_by_itself", space_id=space_id, status=done.status, notes=done.notes_processed)
        return True
