"""The workflow of a consolidation: snapshot, plan, commit, then forget the notes that were kept."""

import asyncio
import base64
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from app.bank.document.edits import Plan
from app.bank.document.rules import compile_rules
from app.bank.document.safety import safe_note
from app.bank.errors import BankBusy
from app.bank.extract.archiving import with_archive
from app.bank.extract.extractive import Filed, consolidate
from app.bank.extract.snapshot import Snapshot
from app.bank.extract.synthesis import synthesis_of
from app.bank.model.policy import Policy
from app.bank.model.proposals import EXTRACTIVE, Proposal, Refusal
from app.bank.model.validation import carry_out, finish
from app.bank.models import CommitKind, ConsumedNote, Edit, ModelUse, Refused
from app.bank.store import BankStore, Draft, Guard, unguarded
from app.bank.till import Charge
from app.llm.client import Usage
from app.notes.models import Note
from app.notes.service import NoteService
from app.spaces.errors import SpaceNotFound
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
    extracted: int = 0
    """Of these, filed without a model."""
    edits: int = 0
    created: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    batches: int = 0
    refused: list[tuple[int, Refusal]] = field(default_factory=list)
    """The commit, by its number in the run, and an operation refused there."""
    flagged: list[str] = field(default_factory=list)
    """What was made harmless before it went into the bank."""
    repairs: int = 0
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    cost: float = 0.0
    gone: set[str] = field(default_factory=set)
    """Notes whose objects somebody has removed meanwhile."""
    head: Head | None = None
    """The bank after the latest commit."""

    def charge(self, charge: Charge) -> None:
        """Add what a question to the model took."""
        self.usage += charge.usage
        self.calls += charge.calls
        self.cost += charge.cost


@dataclass(frozen=True, slots=True)
class _Planned:
    """A plan, and what must be known of how it came about."""

    plan: Plan
    kind: CommitKind
    extracted: int = 0
    refused: Sequence[Refusal] = ()
    flagged: Sequence[str] = ()


Planner = Callable[[Snapshot, Sequence[Note]], _Planned]


class Consolidation:
    """Files notes in the bank, one commit a batch."""

    def __init__(
        self,
        spaces: SpaceService,
        notes: NoteService,
        bank: BankStore,
        now: Callable[[], datetime],
        *,
        policy: Policy,
        max_notes: int,
    ) -> None:
        self._spaces = spaces
        self._notes = notes
        self._bank = bank
        self._now = now
        self._policy = policy
        self.max_notes = max_notes

    async def select(self, opened: Opened, selection: Selection) -> list[Note]:
        """Every note that waits and matches, oldest first."""
        return [note for note in await self._notes.pending(opened) if selection(note)]

    async def snapshot(self, space_id: str) -> tuple[Opened, Snapshot]:
        """The bank as it is now, with the rules."""
        opened = await self._spaces.open(space_id)
        rules = await self._spaces.rules_of(opened)
        return opened, await asyncio.to_thread(snapshot_of, opened.head, rules)

    async def file(
        self,
        space_id: str,
        notes: Sequence[Note],
        proposal: Proposal = EXTRACTIVE,
        *,
        rest: bool = True,
        actor: str,
        job_id: str,
        tally: Tally,
        model: ModelUse | None = None,
        guard: Guard = unguarded,
    ) -> None:
        """File one batch of notes, whatever others write to the bank meanwhile.

        What the proposal does not keep of a note is filed word for word if `rest`, and else waits. `guard` stands
        around the write that makes it true.
        """

        def planned(snapshot: Snapshot, pending: Sequence[Note]) -> _Planned:
            if not (proposal.ops or proposal.skips):
                if not rest:
                    return _Planned(_nothing(snapshot), CommitKind.CONSOLIDATION, refused=proposal.refused)
                safe = [safe_note(note) for note in pending]
                plan = consolidate(
                    snapshot.files, snapshot.provenance, snapshot.refs, snapshot.layout, [note for note, _ in safe]
                )
                return _Planned(
                    self._archived(plan, snapshot, pending),
                    CommitKind.CONSOLIDATION,
                    len(plan.filed),
                    proposal.refused,
                    [f"note {note.id}: {flag}" for note, flags in safe for flag in flags],
                )
            verdict = carry_out(
                snapshot, pending, proposal.ops, proposal.skips, proposal.synthesis, policy=self._policy
            )
            plan = finish(snapshot, verdict, pending, consolidate) if rest else verdict.plan
            extracted = len(set(plan.filed) - set(verdict.plan.filed))
            return _Planned(
                self._archived(plan, snapshot, pending, verdict.synthesis),
                CommitKind.CONSOLIDATION,
                extracted,
                (*proposal.refused, *verdict.refused),
                verdict.flagged,
            )

        await self._commit(space_id, notes, planned, actor=actor, job_id=job_id, tally=tally, model=model, guard=guard)

    def _archived(self, plan: Plan, snapshot: Snapshot, pending: Sequence[Note], synthesis: str = "") -> Plan:
        """The plan, and then every file of it within its limit; a model's own synthesis stays."""
        refs = {**snapshot.refs, **{note.id: Filed(note.timestamp, note.agent, note.category) for note in pending}}
        done = with_archive(plan, snapshot, refs, self._now().date())
        if not synthesis:
            files = {**snapshot.files, **done.files}
            synthesis = done.synthesis or synthesis_of(files, done.provenance, refs, snapshot.layout)
        return replace(done, synthesis=synthesis)

    async def drop(self, space_id: str, notes: Sequence[Note], *, actor: str, job_id: str) -> int:
        """Remove notes without filing them; their text stays in the history. How many were removed."""

        def planned(snapshot: Snapshot, pending: Sequence[Note]) -> _Planned:
            filed = tuple(note.id for note in pending)
            return _Planned(replace(_nothing(snapshot), filed=filed), CommitKind.GC)

        tally = Tally()
        for batch in batches(notes, self.max_notes):
            await self._commit(space_id, batch, planned, actor=actor, job_id=job_id, tally=tally)
        return tally.processed

    async def _commit(
        self,
        space_id: str,
        notes: Sequence[Note],
        planner: Planner,
        *,
        actor: str,
        job_id: str,
        tally: Tally,
        model: ModelUse | None = None,
        guard: Guard = unguarded,
    ) -> None:
        for attempt in range(_ROUNDS):
            opened = await self._spaces.open(space_id)
            rules = await self._spaces.rules_of(opened)
            if not any(opened.head.owns(note.incarnation) for note in notes):
                # It was deleted, and another one has its name by now.
                raise SpaceNotFound(space_id)
            pending = [note for note in notes if note.id not in tally.gone and waits(opened.head, note)]
            if not pending:
                return
            planned = await asyncio.to_thread(_plan, planner, opened.head, rules, pending)
            plan = planned.plan
            filed = set(plan.filed)
            kept = [note for note in pending if note.id in filed]
            if not kept:
                tally.refused += [(tally.batches + 1, refusal) for refusal in planned.refused]
                return
            consumed = await self._whole(space_id, kept)
            if gone := {note.id for note in kept} - {note.id for note in consumed}:
                # What cannot be kept whole is not filed: somebody has taken it out of the queue.
                tally.gone |= gone
                continue
            try:
                committed = await self._bank.commit(
                    opened,
                    Draft(
                        kind=planned.kind,
                        actor=actor,
                        job_id=job_id,
                        batch=tally.batches + 1,
                        rules=rules,
                        files=plan.files,
                        provenance=plan.provenance,
                        edits=[_edit(edit) for edit in plan.edits],
                        synthesis=plan.synthesis if planned.kind is CommitKind.CONSOLIDATION else None,
                        notes=kept,
                        consumed=consumed,
                        refused=[Refused.model_validate(one, from_attributes=True) for one in planned.refused],
                        model=model,
                    ),
                    guard=guard,
                )
            except PreconditionFailed:
                await asyncio.sleep(random.uniform(0, _PAUSE * (attempt + 1)))  # noqa: S311 - jitter, no secret
                continue
            tally.head = committed.head
            tally.batches += 1
            tally.processed += len(kept)
            tally.extracted += planned.extracted
            tally.edits += len(plan.edits)
            tally.refused += [(tally.batches, refusal) for refusal in planned.refused]
            tally.flagged += planned.flagged
            for path in plan.files:
                (tally.updated if path in opened.head.files else tally.created).add(path)
            return
        raise BankBusy(f"The bank of space '{space_id}' was changed by others {_ROUNDS} times in a row: try again.")

    async def _whole(self, space_id: str, notes: Sequence[Note]) -> list[ConsumedNote]:
        """The stored objects of the notes, as the record keeps them."""
        return [_consumed(key, note, body) for key, note, body in await self._notes.stored(space_id, notes)]


def waits(head: Head, note: Note) -> bool:
    """Is the note one of this space, and still to be filed?"""
    return head.owns(note.incarnation) and head.is_pending(note.id)


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


def snapshot_of(head: Head, rules: str) -> Snapshot:
    """One version of a bank, as planning sees it."""
    return Snapshot(
        files={path: file.content for path, file in head.files.items()},
        provenance=head.provenance,
        refs={
            note_id: Filed(datetime.fromisoformat(ref.ts), ref.agent, ref.category)
            for note_id, ref in head.note_refs.items()
        },
        layout=compile_rules(rules),
        rules=rules,
        synthesis=head.synthesis.text if head.synthesis else "",
        raw=frozenset(path for path, file in head.files.items() if file.raw is not None),
    )


def _plan(planner: Planner, head: Head, rules: str, pending: Sequence[Note]) -> _Planned:
    return planner(snapshot_of(head, rules), pending)


def _nothing(snapshot: Snapshot) -> Plan:
    """The plan that changes nothing."""
    provenance = {
        path: {block: list(ids) for block, ids in blocks.items()} for path, blocks in snapshot.provenance.items()
    }
    return Plan(files={}, provenance=provenance, edits=(), filed=(), synthesis="")


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
