"""What the notes of a space amount to."""

import asyncio
from collections.abc import Callable

import structlog

from app.bank.consolidation import Consolidation, Tally
from app.bank.errors import ConsolidationRunning, FileNotFound, OtherAgent
from app.bank.history import is_record_of
from app.bank.models import BankContent, BankEntry, BankList, BankRead, BankReadAll, Consolidated
from app.bank.view import View, render_view, synthesis_object
from app.core.clock import Clock
from app.core.errors import Situation
from app.core.identity import Caller
from app.core.ids import new_job_id
from app.core.operation import Progress
from app.jobs.service import Runner
from app.notes.models import Note
from app.spaces.models import Head, Opened
from app.spaces.service import SpaceService

log = structlog.get_logger(__name__)


__all__ = ["BankService", "is_record_of", "render_view", "synthesis_object"]


class BankService:
    """The banks of the spaces: read whole, changed by consolidation."""

    def __init__(
        self, spaces: SpaceService, consolidation: Consolidation, view: View, runner: Runner, clock: Clock
    ) -> None:
        self._spaces = spaces
        self._consolidation = consolidation
        self._view = view
        self._runner = runner
        self._clock = clock
        self._running: dict[str, str] = {}
        """Space, and the job that is consolidating it in this process."""
        spaces.subscribe(self._changed)

    def _changed(self, head: Head) -> None:
        """Bring the plain view up to date, behind the answer."""
        if self._view.wants(head):
            self._runner.start(self._view.roll_forward_or_log(head.space_id), name=f"view {head.space_id}")

    async def open(self, space_id: str) -> Opened:
        """The bank as it is now. Whoever touches a space whose view lags sees to it."""
        opened = await self._spaces.open(space_id)
        self._changed(opened.head)
        return opened

    async def read(self, opened: Opened, filename: str) -> BankRead:
        head = opened.head
        if filename not in head.files:
            raise FileNotFound(head.space_id, filename)
        return BankRead(space_id=head.space_id, version=head.version, **dict(_content(head, filename)))

    async def read_all(self, opened: Opened) -> BankReadAll:
        head = opened.head
        return BankReadAll(
            space_id=head.space_id,
            files=contents(head),
            file_count=len(head.files),
            total_size=sum(file.bytes for file in head.files.values()),
            synthesis=head.synthesis.text if head.synthesis else "",
            version=head.version,
            last_consolidation=head.counters.last_consolidation or "",
        )

    async def list_files(self, opened: Opened) -> BankList:
        head = opened.head
        return BankList(
            space_id=head.space_id,
            files=[
                BankEntry(filename=path, size=file.bytes, last_modified=file.modified_at)
                for path, file in head.files.items()
            ],
            file_count=len(head.files),
            version=head.version,
        )

    async def consolidate(self, space_id: str, agent: str, *, caller: Caller, progress: Progress) -> Consolidated:
        """File the selected notes. The work goes on when the caller goes away.

        Raises:
            OtherAgent: the notes of another agent, and the caller is no admin.
            ConsolidationRunning: one of this space is under way in this process.
        """
        wanted = agent.strip()
        if not caller.is_admin:
            if wanted and wanted != caller.name:
                raise OtherAgent(wanted, caller.name)
            wanted = caller.name
        await self._spaces.open(space_id)

        def selected(note: Note) -> bool:
            return not wanted or note.identity == wanted

        return await self.consolidate_selected(space_id, selected, actor=caller.name, progress=progress)

    async def consolidate_selected(
        self, space_id: str, selected: Callable[[Note], bool], *, actor: str, progress: Progress
    ) -> Consolidated:
        """File the notes that the selection holds for."""
        job_id = self._claim(space_id)
        work = self._run(space_id, selected, actor, job_id, progress)
        return await asyncio.shield(self._runner.start(work, name=f"consolidation {space_id}"))

    def _claim(self, space_id: str) -> str:
        if running := self._running.get(space_id):
            raise ConsolidationRunning(space_id, running)
        return self._running.setdefault(space_id, new_job_id())

    async def _run(
        self, space_id: str, selected: Callable[[Note], bool], actor: str, job_id: str, progress: Progress
    ) -> Consolidated:
        started = self._clock.monotonic()
        tally = Tally()
        failure: Situation | None = None
        try:
            matching = await self._consolidation.select(await self._spaces.open(space_id), selected)
            batches = self._consolidation.batches(matching)
            total = sum(map(len, batches))
            for number, batch in enumerate(batches, start=1):
                await progress(tally.processed, total, f"filing {len(batch)} notes, batch {number} of {len(batches)}")
                try:
                    await self._consolidation.file(
                        space_id, batch, actor=actor, job_id=job_id, batch=number, tally=tally
                    )
                except Situation as situation:
                    if not tally.processed:
                        raise
                    failure = situation
                    break
            await self._view.roll_forward_or_log(space_id)
            await progress(tally.processed, total, "done")
            head = (await self._spaces.open(space_id)).head
        finally:
            self._running.pop(space_id, None)
        # Another process may have filed some of them too.
        remaining = sum(1 for note in matching if head.is_pending(note.id))
        log.info("consolidated", space_id=space_id, notes=tally.processed, remaining=remaining, version=head.version)
        return Consolidated(
            status="partial" if remaining else "ok",
            space_id=space_id,
            notes_processed=tally.processed,
            notes_remaining=remaining,
            notes_extracted=tally.processed,
            bank_files_created=len(tally.created),
            bank_files_updated=len(tally.updated - tally.created),
            bank_files_unchanged=len(head.files.keys() - tally.created - tally.updated),
            operations_applied=tally.edits,
            synthesis_size=len(head.synthesis.text) if head.synthesis else 0,
            duration_seconds=round(self._clock.monotonic() - started, 1),
            version=head.version,
            job_id=job_id,
            mode="extractive",
            batches_total=len(batches),
            batches_completed=tally.batches,
            batch_size=self._consolidation.batch_size,
            code=failure.code() if failure else "limit" if remaining else "",
            message=_message(tally.processed, remaining, failure),
        )

    async def drop(self, space_id: str, notes: list[Note], *, actor: str) -> int:
        """Remove notes without filing them; their text stays in the history. How many were removed."""
        dropped = await self._consolidation.drop(space_id, notes, actor=actor, job_id=new_job_id())
        await self._view.roll_forward_or_log(space_id)
        return dropped


def contents(head: Head) -> list[BankContent]:
    """Every file of the bank, by path."""
    return [_content(head, path) for path in head.files]


def _content(head: Head, path: str) -> BankContent:
    file = head.files[path]
    return BankContent(filename=path, content=file.content, size=file.bytes, last_modified=file.modified_at)


def _message(processed: int, remaining: int, failure: Situation | None) -> str:
    if failure:
        return f"{failure.detail} {processed} notes were filed before; {remaining} still wait."
    if remaining:
        return f"{remaining} more notes wait: call again."
    return "" if processed else "No note was waiting."
