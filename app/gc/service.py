"""Notes that nobody has consolidated for a long time: found, filed or removed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.bank.errors import ConsolidationRunning
from app.bank.service import BankService
from app.core.clock import iso
from app.core.errors import Situation
from app.core.identity import Caller
from app.core.operation import Progress
from app.gc.models import AgentCollected, Collect, Collected, SpaceGarbage
from app.notes.models import Note
from app.notes.service import NoteService, written_at
from app.spaces.service import SpaceService
from app.storage.document import DamagedDocument
from app.storage.store import ObjectStore


class GCService:
    """Looks after notes left behind."""

    def __init__(self, store: ObjectStore, spaces: SpaceService, notes: NoteService, bank: BankService) -> None:
        self._store = store
        self._spaces = spaces
        self._notes = notes
        self._bank = bank

    async def collect(self, request: Collect, *, caller: Caller, progress: Progress) -> Collected:
        """Report old notes; with `confirm`, file them in their bank or remove them. Recent notes stay."""
        cutoff = self._store.now() - timedelta(days=request.max_age_days)
        found, failures = await self._scan(request.space_id, cutoff)
        report = Collected(
            status="partial" if failures else "ok",
            mode="dry-run",
            action="",
            max_age_days=request.max_age_days,
            cutoff_date=iso(cutoff),
            spaces={space_id: _garbage(notes, old) for space_id, (notes, old) in found.items()},
            total_old_notes=sum(len(old) for _notes, old in found.values()),
            total_old_size=sum(_size(old) for _notes, old in found.values()),
            failures=failures,
            message="Nothing was changed: repeat with confirm=true to file the old notes in their banks.",
        )
        if not request.confirm:
            return report
        old = {space_id: notes for space_id, (_all, notes) in found.items()}
        if request.delete_only:
            return await self._delete(report, old, caller, progress)
        return await self._consolidate(report, old, caller, progress)

    async def _scan(
        self, space_id: str, cutoff: datetime
    ) -> tuple[dict[str, tuple[list[Note], list[Note]]], dict[str, str]]:
        """Per space that has old notes: those that wait, and the old ones among them; and what is damaged.

        A space that is not there has none. The age is that of the name; a foreign name has none, and is never old.
        """
        names = [space_id] if space_id else sorted([name async for name in self._spaces.ids()])
        found: dict[str, tuple[list[Note], list[Note]]] = {}
        failures: dict[str, str] = {}
        for name in names:
            try:
                opened = await self._spaces.find(name)
                notes = await self._notes.pending(opened) if opened else []
            except DamagedDocument as damage:
                failures[name] = damage.code()
                continue
            if old := [note for note in notes if (written := written_at(note)) and written < cutoff]:
                found[name] = (notes, old)
        return found, failures

    async def _consolidate(
        self, report: Collected, old: dict[str, list[Note]], caller: Caller, progress: Progress
    ) -> Collected:
        details: dict[str, dict[str, AgentCollected]] = {}
        for number, (space_id, notes) in enumerate(old.items()):
            await progress(number, len(old), f"filing {len(notes)} old notes of {space_id}")
            for agent in sorted({note.identity for note in notes}):
                own = [note for note in notes if note.identity == agent]
                details.setdefault(space_id, {})[agent] = await self._file(space_id, own, caller)
        outcomes = [detail for agents in details.values() for detail in agents.values()]
        consolidated = sum(detail.notes_processed for detail in outcomes)
        return report.model_copy(
            update={
                "status": "ok" if not report.failures and all(one.status == "ok" for one in outcomes) else "partial",
                "mode": "consolidate",
                "action": "consolidate",
                "consolidated": consolidated,
                "consolidation_details": details,
                "message": f"{consolidated} of {report.total_old_notes} old notes were filed in their banks.",
            }
        )

    async def _file(self, space_id: str, notes: Sequence[Note], caller: Caller) -> AgentCollected:
        ids = frozenset(note.id for note in notes)

        try:
            done = await self._bank.consolidate_selected(space_id, lambda note: note.id in ids, actor=caller.name)
        except ConsolidationRunning as running:
            return AgentCollected(status="skipped", code=running.code(), reason=running.detail)
        except Situation as situation:
            return AgentCollected(status="error", code=situation.code(), reason=situation.detail)
        return AgentCollected(
            status=done.status,
            notes_processed=done.notes_processed,
            bank_files_created=done.bank_files_created,
            bank_files_updated=done.bank_files_updated,
            code=done.code,
            reason=done.message,
        )

    async def _delete(
        self, report: Collected, old: dict[str, list[Note]], caller: Caller, progress: Progress
    ) -> Collected:
        deleted = 0
        failures = dict(report.failures)
        for number, (space_id, notes) in enumerate(old.items()):
            await progress(number, len(old), f"removing {len(notes)} old notes of {space_id}")
            try:
                deleted += await self._bank.drop(space_id, notes, actor=caller.name)
            except Situation as situation:
                failures[space_id] = situation.code()
        return report.model_copy(
            update={
                "status": "partial" if failures else "deleted" if deleted else "ok",
                "mode": "delete",
                "action": "delete",
                "deleted": deleted,
                "failures": failures,
                "message": f"{deleted} of {report.total_old_notes} old notes were removed; their text stays in the "
                "history of their space.",
            }
        )


def _size(notes: Sequence[Note]) -> int:
    return sum(len(note.content.encode()) for note in notes)


def _garbage(notes: Sequence[Note], old: Sequence[Note]) -> SpaceGarbage:
    return SpaceGarbage(
        total_notes=len(notes),
        old_notes=len(old),
        old_notes_size=_size(old),
        by_agent=dict(sorted(Counter(note.identity for note in old).items())),
        oldest=min(note.timestamp for note in old).strftime("%Y%m%dT%H%M%S"),
        keys_count=len(old),
    )
