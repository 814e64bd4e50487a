"""The workflow of a consolidation: snapshot, plan, commit, then forget the notes that were kept."""

import asyncio
import base64
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.bank.edits import Plan
from app.bank.errors import BankBusy
from app.bank.extractive import Filed, consolidate
from app.bank.models import CommitKind, ConsumedNote, Edit
from app.bank.rules import compile_rules
from app.bank.store import BankStore, Draft
from app.notes.models import Note
from app.notes.service import NoteService
from app.spaces.models import Head, Opened
from app.spaces.service import SpaceService
from app.storage.store import PreconditionFailed

_ROUNDS: Final = 5
_PAUSE: Final = 0.05
"""Seconds before another attempt, at most, for each attempt made."""
BATCH_BYTES: Final = 2_000_000
"""Bytes of notes in one commit, at most: a head and its record must stay easy to move."""

Selection = Callable[[Note], bool]


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    processed: int = 0
    edits: int = 0
    created: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    batches: int = 0


class Consolidation:
    """Files notes in the bank, one commit a batch."""

    def __init__(
        self, spaces: SpaceService, notes: NoteService, bank: BankStore, *, max_notes: int, batch_size: int
    ) -> None:
        self._spaces = spaces
        self._notes = notes
        self._bank = bank
        self.max_notes = max_notes
        self.batch_size = batch_size

    async def select(self, opened: Opened, selection: Selection) -> list[Note]:
        """Every note that waits and matches, oldest first."""
        return [note for note in await self._notes.pending(opened) if selection(note)]

    def batches(self, notes: Sequence[Note]) -> list[list[Note]]:
        """The batches of one run: the oldest notes, as many as a run takes."""
        return batches(notes[: self.max_notes], self.batch_size)

    async def file(
        self, space_id: str, notes: Sequence[Note], *, actor: str, job_id: str, batch: int, tally: Tally
    ) -> None:
        """File one batch of notes, whatever others write to the bank meanwhile."""

        def draft(head: Head, rules: str, pending: Sequence[Note]) -> tuple[Plan, CommitKind]:
            return _plan(head, rules, pending), CommitKind.CONSOLIDATION

        await self._commit(space_id, notes, draft, actor=actor, job_id=job_id, batch=batch, tally=tally)

    async def drop(self, space_id: str, notes: Sequence[Note], *, actor: str, job_id: str) -> int:
        """Remove notes without filing them; their text stays in the history. How many were removed."""

        def draft(head: Head, _rules: str, pending: Sequence[Note]) -> tuple[Plan, CommitKind]:
            provenance = {
                path: {block: list(ids) for block, ids in blocks.items()} for path, blocks in head.provenance.items()
            }
            filed = tuple(note.id for note in pending)
            return Plan(files={}, provenance=provenance, edits=(), filed=filed, synthesis=""), CommitKind.GC

        tally = Tally()
        for number, batch in enumerate(batches(notes, self.batch_size), start=1):
            await self._commit(space_id, batch, draft, actor=actor, job_id=job_id, batch=number, tally=tally)
        return tally.processed

    async def _commit(
        self,
        space_id: str,
        notes: Sequence[Note],
        draft: Callable[[Head, str, Sequence[Note]], tuple[Plan, CommitKind]],
        *,
        actor: str,
        job_id: str,
        batch: int,
        tally: Tally,
    ) -> None:
        for attempt in range(_ROUNDS):
            opened = await self._spaces.open(space_id)
            rules = await self._spaces.rules_of(opened)
            pending = [note for note in notes if opened.head.is_pending(note.id)]
            if not pending:
                return
            plan, kind = await asyncio.to_thread(draft, opened.head, rules, pending)
            filed = set(plan.filed)
            kept = [note for note in pending if note.id in filed]
            try:
                await self._bank.commit(
                    opened,
                    Draft(
                        kind=kind,
                        actor=actor,
                        job_id=job_id,
                        batch=batch,
                        rules=rules,
                        files=plan.files,
                        provenance=plan.provenance,
                        edits=[_edit(edit) for edit in plan.edits],
                        synthesis=plan.synthesis if kind is CommitKind.CONSOLIDATION else None,
                        notes=kept,
                        consumed=await self._whole(space_id, kept),
                    ),
                )
            except PreconditionFailed:
                await asyncio.sleep(random.uniform(0, _PAUSE * (attempt + 1)))  # noqa: S311 - jitter, no secret
                continue
            tally.processed += len(kept)
            tally.edits += len(plan.edits)
            tally.batches += 1
            for path in plan.files:
                (tally.updated if path in opened.head.files else tally.created).add(path)
            return
        raise BankBusy(f"The bank of space '{space_id}' was changed by others {_ROUNDS} times in a row: try again.")

    async def _whole(self, space_id: str, notes: Sequence[Note]) -> list[ConsumedNote]:
        """The stored objects of the notes, as the record keeps them."""
        return [_consumed(key, note, body) for key, note, body in await self._notes.stored(space_id, notes)]


def batches(notes: Sequence[Note], size: int) -> list[list[Note]]:
    """Notes in the given order, cut by number and by bytes; a single note is never split."""
    cut: list[list[Note]] = []
    room = 0
    for note in notes:
        weight = len(note.content.encode())
        if not cut or len(cut[-1]) >= size or weight > room:
            cut.append([])
            room = BATCH_BYTES
        cut[-1].append(note)
        room -= weight
    return cut


def _plan(head: Head, rules: str, notes: Sequence[Note]) -> Plan:
    refs = {
        note_id: Filed(datetime.fromisoformat(ref.ts), ref.agent, ref.category)
        for note_id, ref in head.note_refs.items()
    }
    files = {path: file.content for path, file in head.files.items()}
    return consolidate(files, head.provenance, refs, compile_rules(rules), notes)


def _edit(edit: object) -> Edit:
    return Edit.model_validate(edit, from_attributes=True)


def _consumed(key: str, note: Note, body: bytes) -> ConsumedNote:
    digest = hashlib.sha256(body).hexdigest()
    try:
        return ConsumedNote(id=note.id, key=key, sha256=digest, object=body.decode())
    except UnicodeDecodeError:
        return ConsumedNote(
            id=note.id, key=key, sha256=digest, object=base64.b64encode(body).decode(), encoding="base64"
        )
