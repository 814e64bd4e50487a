"""What the notes of a space amount to."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from app.bank.compaction import Compaction
from app.bank.consolidation import Consolidation, Selection
from app.bank.errors import FileNotFound, OtherAgent
from app.bank.history import is_record_of
from app.bank.models import BankContent, BankEntry, BankList, BankRead, BankReadAll, Consolidate, Consolidated
from app.bank.runs import Runs
from app.bank.store import BankStore
from app.bank.versions.by_hand import HandEdits
from app.bank.versions.past import Past, annotated, provenance_of
from app.bank.versions.reversal import Reversal
from app.bank.versions.revisions import (
    BankCompact,
    BankCompacted,
    BankDiff,
    BankFileDeleted,
    BankHistory,
    BankRepaired,
    BankRevert,
    BankReverted,
    BankWrite,
    BankWritten,
    FiledNote,
)
from app.bank.versions.sweep import OrphanSweep
from app.bank.versions.timeline import Timeline
from app.bank.versions.writer import BankWriter
from app.bank.view import View, render_view, synthesis_object
from app.core.errors import ConfirmationRequired
from app.core.identity import Caller
from app.core.ids import new_job_id
from app.core.operation import Progress
from app.jobs.service import Runner
from app.notes.models import Note
from app.spaces.models import Head, Opened
from app.spaces.service import SpaceService
from app.storage.store import ObjectStore

T = TypeVar("T")

log = structlog.get_logger(__name__)


__all__ = ["BankService", "is_record_of", "render_view", "synthesis_object"]


class BankService:
    """The banks of the spaces: read as they are and as they were, changed by consolidation and by hand."""

    def __init__(
        self,
        store: ObjectStore,
        spaces: SpaceService,
        consolidation: Consolidation,
        runs: Runs,
        compaction: Compaction,
        view: View,
        runner: Runner,
        *,
        wait: float,
    ) -> None:
        """`wait`: seconds until a caller who waits for a consolidation is told to ask for it later."""
        self._spaces = spaces
        self._consolidation = consolidation
        self._view = view
        self._runner = runner
        self._runs = runs
        self._compaction = compaction
        self._wait = wait
        timeline = Timeline(store)
        writer = BankWriter(spaces, BankStore(store, spaces))
        self._past = Past(timeline)
        self._hand = HandEdits(writer, timeline)
        self._reversal = Reversal(writer, timeline, store)
        self._orphans = OrphanSweep(store, spaces, timeline)
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

    async def at(self, opened: Opened, moment: str, *, contents: bool = True) -> Opened:
        """The bank as it was at a version or an instant: the very same when it was as it is, or nothing is asked.

        Without `contents` its files have no text.

        Raises:
            VersionNotFound: the bank has never had that version.
        """
        if not moment:
            return opened
        past = await self._past.at(opened.head, moment, contents=contents)
        return opened if past is opened.head else replace(opened, head=past)

    async def read(self, opened: Opened, filename: str, *, sources: bool = False, provenance: bool = False) -> BankRead:
        """One file; with `sources` as footnotes in its text, with `provenance` as a list beside it."""
        head = opened.head
        if filename not in head.files:
            raise FileNotFound(head.space_id, filename)
        found = BankRead(space_id=head.space_id, version=head.version, **dict(_content(head, filename)))
        if sources:
            text = annotated(head, filename)
            found = found.model_copy(update={"content": text, "size": len(text.encode())})
        return found.model_copy(update={"provenance": provenance_of(head, filename)}) if provenance else found

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

    async def consolidate(
        self, space_id: str, request: Consolidate, *, caller: Caller, progress: Progress
    ) -> Consolidated:
        """File the selected notes, or say what that would take. The work goes on when the caller goes away.

        Raises:
            OtherAgent: the notes of another agent, and the caller is no admin.
            ConsolidationRunning: one of this space is under way.
        """
        wanted = request.agent.strip()
        if not caller.is_admin:
            if wanted and wanted != caller.name:
                raise OtherAgent(wanted, caller.name)
            wanted = caller.name
        await self._spaces.open(space_id)

        def selected(note: Note) -> bool:
            return not wanted or note.identity == wanted

        if request.dry_run:
            return await self._runs.plan(space_id, selected)
        job = await self._runs.start(space_id, selected, actor=caller.name, announced=not request.wait)
        if not request.wait:
            return self._runs.accepted(job)
        return await self._runs.outcome(job, progress=progress, seconds=self._wait)

    async def consolidate_selected(
        self, space_id: str, selected: Selection, *, actor: str, leased: bool = False
    ) -> Consolidated:
        """File the notes that the selection holds for, and wait until that is done."""
        return await self._runs.outcome(await self._runs.start(space_id, selected, actor=actor, leased=leased))

    async def history(self, opened: Opened, *, limit: int, cursor: str, filename: str) -> BankHistory:
        """The versions of the bank, newest first; with a file name those that changed the file."""
        return await self._past.history(opened.head, limit=limit, cursor=cursor, filename=filename)

    async def diff(self, opened: Opened, earlier: str, later: str) -> BankDiff:
        """What lies between two versions, each named by a number or an instant."""
        return await self._past.diff(opened.head, earlier, later)

    async def note(self, opened: Opened, note_id: str) -> FiledNote:
        """A note that was filed, whole; raises FiledNoteNotFound."""
        return await self._past.note(opened.head, note_id)

    async def write(
        self, space_id: str, filename: str, request: BankWrite, *, caller: Caller, if_match: str = ""
    ) -> BankWritten:
        """Give a file of the bank just this content."""
        return await self._finished(
            space_id, self._hand.write(space_id, filename, request, actor=caller.name, if_match=if_match)
        )

    async def delete(
        self,
        space_id: str,
        filename: str,
        *,
        confirm: bool,
        if_version: int | None = None,
        caller: Caller,
        if_match: str = "",
    ) -> BankFileDeleted:
        """Take a file out of the bank."""
        if not confirm:
            raise ConfirmationRequired(f"Deleting '{filename}' takes it out of the bank: repeat with confirm=true.")
        return await self._finished(
            space_id,
            self._hand.delete(space_id, filename, if_version=if_version, actor=caller.name, if_match=if_match),
        )

    async def compact(
        self, space_id: str, request: BankCompact, *, caller: Caller, progress: Progress
    ) -> BankCompacted:
        """Have a file give up what it can do without."""
        return await self._compaction.compact(
            space_id, request, actor=caller.name, progress=progress, seconds=self._wait
        )

    async def repair(self, space_id: str, *, dry_run: bool, caller: Caller) -> BankRepaired:
        """Put file names right, and have everything said once."""
        return await self._finished(space_id, self._hand.repair(space_id, dry_run=dry_run, actor=caller.name))

    async def revert(self, space_id: str, request: BankRevert, *, caller: Caller) -> BankReverted:
        """Undo one version, or go back to one. The notes that wait again have their objects when this returns."""
        return await self._finished(space_id, self._reversal.revert(space_id, request, actor=caller.name))

    async def _finished(self, space_id: str, work: Coroutine[Any, Any, T]) -> T:
        """Let the work go on to its end when the caller goes away, and bring the plain view up to date."""

        async def run() -> T:
            done = await work
            await self._view.roll_forward_or_log(space_id)
            return done

        return await asyncio.shield(self._runner.start(run(), name=f"edit {space_id}"))

    async def sweep(self, space_id: str) -> int:
        """Remove the commit records that no head leads to, once they are a day old. How many were removed."""
        return await self._orphans.sweep(space_id)

    async def sweep_all(self) -> None:
        """The same for every space, once a day however often it is called."""
        await self._orphans.sweep_all()

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
