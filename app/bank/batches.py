"""One batch of a run: put to the model, taken apart where it fails there, and filed in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from app.bank.consolidation import Consolidation, Tally, waits
from app.bank.dialogue import Asked, Dialogue
from app.bank.model.batching import Batch, halves
from app.bank.model.proposals import EXTRACTIVE, Proposal, Trouble
from app.bank.models import BatchFault, ModelUse
from app.core.errors import Situation
from app.jobs.service import JobHandle
from app.llm.client import FailureKind
from app.notes.models import Note
from app.spaces.errors import SpaceNotFound
from app.spaces.service import SpaceService

SHOWN: Final = 50
"""Files, refused operations and faults that are told of a run."""
_UNUSABLE: Final = 8
"""Answers in a row that are of no use before the model is not asked any more: more than it takes to find the one note
in a batch that it will not take."""
_FAILED: Final = 2
"""Batches in a row without any answer before it is not asked any more."""
_HOPELESS: Final = {FailureKind.AUTH, FailureKind.REQUEST, FailureKind.CIRCUIT_OPEN}


@dataclass(slots=True)
class Run:
    """A run as far as it has come."""

    space_id: str
    job: JobHandle
    actor: str
    tally: Tally = field(default_factory=Tally)
    asking: bool = True
    """May the model still be asked?"""
    is_outline: bool = False
    """Show the model no word of the bank but its headings: it does not take the rest."""
    taken: frozenset[str] = frozenset()
    """The notes that are filed now; the others of the selection are for another run."""
    asked: int = 0
    """Dialogues with the model."""
    most: int = 0
    """So many there may be."""
    answered: int = 0
    """Batches that the model has answered for: with something of use, or with a refusal."""
    detail: str = ""
    """What was wrong with the last one that was not."""
    unusable: int = 0
    failed: int = 0
    faults: list[BatchFault] = field(default_factory=list)
    """Batches that lost their call to the model."""
    code: str = ""
    failure: Situation | None = None
    lost: Situation | None = None
    """Why it stopped asking before its end: it holds the lease no longer."""

    def lose(self, number: int, code: str, message: str) -> None:
        """Note that a batch lost its call to the model."""
        self.code = self.code or code
        self.faults.append(BatchFault(batch=number, code=code, message=message))


class Batches:
    """Settles batches, one after the other."""

    def __init__(
        self, spaces: SpaceService, consolidation: Consolidation, *, dialogue: Dialogue | None, extract: bool
    ) -> None:
        self._spaces = spaces
        self._consolidation = consolidation
        self._dialogue = dialogue
        self._extract = extract
        """File word for word what the model does not file well."""

    async def settle(self, run: Run, number: int, batch: Batch) -> list[Batch]:
        """File one batch; the smaller ones that take its place when it could not be filed as it was."""
        if batch.is_extractive:
            await self._file(run, batch.notes, EXTRACTIVE, rest=True)
            return []
        proposal = EXTRACTIVE
        if run.asking:
            proposal = await self._ask(run, number, batch)
            self._judge(run, number, proposal)
            if proposal.trouble.is_of_the_batch and run.asking:
                return await self._split(run, number, batch, proposal)
        else:
            run.lose(number, run.code, "The model is not asked any more in this run.")
        await self._file(run, batch.notes, proposal, rest=self._extract)
        return []

    async def _split(self, run: Run, number: int, batch: Batch, proposal: Proposal) -> list[Batch]:
        """File what is usable of an answer; the rest of the notes in smaller batches, or by themselves."""
        filed = run.tally.processed
        if proposal.ops:
            await self._file(run, batch.notes, proposal, rest=False)
        if run.tally.processed > filed:
            # As long as each answer files something, the model is worth asking.
            run.unusable = 0
            run.answered += 1
            waiting = await self._waiting(run.space_id, batch.notes)
            return [Batch(tuple(waiting), is_extractive=False)] if waiting else []
        smaller = halves(batch)
        if not smaller and proposal.trouble is Trouble.REFUSED and not run.is_outline:
            # It may be the bank that it does not take, with what an earlier note has brought into it.
            run.is_outline = True
            proposal = await self._ask(run, number, batch)
            self._judge(run, number, proposal)
            run.is_outline = proposal.trouble is Trouble.NONE
        if not smaller:
            # A single note that the model does not take is no fault of the batches around it.
            await self._file(run, batch.notes, proposal, rest=self._extract)
        return list(smaller)

    async def _ask(self, run: Run, number: int, batch: Batch) -> Proposal:
        assert self._dialogue is not None  # noqa: S101 - a run only asks when there is a model
        opened, snapshot = await self._consolidation.snapshot(run.space_id)
        if not any(opened.head.owns(note.incarnation) for note in batch.notes):
            # Another space has the name by now: these notes are none of its business.
            raise SpaceNotFound(run.space_id)
        run.asked += 1
        asked = Asked(run.space_id, run.actor, run.job, number, snapshot, batch.notes, is_outline=run.is_outline)
        proposal = await run.job.unless_cancelled(self._dialogue.hold(asked))
        run.tally.usage += proposal.usage
        run.tally.calls += proposal.calls
        run.tally.cost += self._dialogue.till.cost(proposal.usage)
        run.tally.repairs += proposal.repairs
        return proposal

    def _judge(self, run: Run, number: int, proposal: Proposal) -> None:
        """Take note of what went wrong, and whether to go on asking."""
        trouble = proposal.trouble
        if trouble is Trouble.NONE:
            run.unusable = run.failed = 0
            run.answered += 1
            return
        run.detail = proposal.detail
        run.job.event("degraded", {"batch": number, "why": trouble.value, "detail": proposal.detail})
        if trouble is Trouble.REFUSED:
            # It is there and answers: other spaces, and other notes, must not go without it.
            run.answered += 1
        if trouble.is_of_the_batch:
            run.unusable += 1
            if run.unusable >= _UNUSABLE or run.asked >= run.most:
                run.asking = False
                run.lose(number, "llm_unusable", proposal.detail)
        elif trouble is Trouble.BUDGET:
            run.asking = False
            run.lose(number, "budget", proposal.detail)
        else:
            run.failed += 1
            run.asking = run.failed < _FAILED and proposal.failure not in _HOPELESS
            run.lose(number, "llm_failed", proposal.detail)

    async def _file(self, run: Run, notes: Sequence[Note], proposal: Proposal, *, rest: bool) -> None:
        before = run.tally.batches
        await self._consolidation.file(
            run.space_id,
            notes,
            proposal,
            rest=rest,
            actor=run.actor,
            job_id=run.job.id,
            tally=run.tally,
            model=self._use(proposal),
            guard=run.job.committing,
        )
        if run.tally.head is not None and run.tally.batches > before:
            changed = sorted(run.tally.created | run.tally.updated)
            data = {"version": run.tally.head.version, "filed": run.tally.processed, "files": changed[:SHOWN]}
            run.job.event("committed", data)

    def _use(self, proposal: Proposal) -> ModelUse | None:
        if self._dialogue is None or not proposal.prompt_sha256:
            return None
        return self._dialogue.till.use(proposal.usage, proposal.calls, proposal.prompt_sha256)

    async def _waiting(self, space_id: str, notes: Sequence[Note]) -> list[Note]:
        head = (await self._spaces.open(space_id)).head
        return [note for note in notes if waits(head, note)]
