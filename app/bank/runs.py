"""One run of a consolidation: which notes, in which batches, and what became of them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog

from app.bank.batches import SHOWN, Batches, Run
from app.bank.compaction import Compaction
from app.bank.consolidation import Consolidation, Selection, Tally, batches, waits
from app.bank.dialogue import Dialogue
from app.bank.errors import BudgetSpent, ConsolidationRunning, LlmFailed
from app.bank.extract.snapshot import Snapshot
from app.bank.ledger import seconds_left
from app.bank.model.batching import Batch, plan_batches
from app.bank.models import Consolidated, PlannedBatch, RefusedOperation
from app.bank.turns import Turns
from app.bank.view import View
from app.core.clock import Clock
from app.core.errors import InternalError, Situation, StoreUnavailable
from app.core.operation import Progress
from app.jobs.service import Job, JobHandle
from app.llm.client import Usage
from app.notes.models import Note
from app.spaces.errors import SpaceNotFound
from app.spaces.models import Head
from app.spaces.service import SpaceService
from app.storage.lease import Held

KIND: Final = "consolidation"
ACCEPTED: Final = "accepted"
"""Status of an answer that does not wait for the work."""
_DIALOGUES: Final = 2
"""Dialogues for each planned batch, at most, and so many more: what is worse than that is not worth its price."""
_DIALOGUES_MORE: Final = 20

log = structlog.get_logger(__name__)


class Runs:
    """Runs consolidations, with a model or without."""

    def __init__(
        self,
        spaces: SpaceService,
        consolidation: Consolidation,
        view: View,
        turns: Turns,
        compaction: Compaction,
        clock: Clock,
        *,
        dialogue: Dialogue | None,
        batch_size: int,
        extract: bool,
    ) -> None:
        self._spaces = spaces
        self._consolidation = consolidation
        self._view = view
        self._turns = turns
        self._compaction = compaction
        self._clock = clock
        self._dialogue = dialogue
        self._batch_size = batch_size
        self._batches = Batches(spaces, consolidation, dialogue=dialogue, extract=extract)

    @property
    def mode(self) -> str:
        """`llm` or `extractive`."""
        return "extractive" if self._dialogue is None else "llm"

    async def start(
        self, space_id: str, selected: Selection, *, actor: str, announced: bool = False, leased: bool = False
    ) -> Job:
        """Begin to file the selected notes; the work goes on whoever goes away.

        `announced`: for a caller who will not wait. `leased`: no other process may do the same meanwhile, which is
        always so when a model is paid for it.

        Raises:
            ConsolidationRunning: one of this space is under way.
        """

        async def work(job: JobHandle, held: Held | None) -> dict[str, Any]:
            done = await self.run(space_id, selected, job=job, actor=actor, held=held)
            return done.model_dump(mode="json")

        paid = self._dialogue is not None
        return await self._turns.start(space_id, KIND, actor, work, announced=announced, leased=leased or paid)

    async def outcome(
        self, job: Job, *, progress: Progress | None = None, seconds: float | None = None
    ) -> Consolidated:
        """What a run did; when it is not over in time, where to ask for it."""
        result = await job.result(seconds=seconds, progress=progress)
        return self.accepted(job) if result is None else Consolidated.model_validate(result)

    def accepted(self, job: Job) -> Consolidated:
        """The answer to a caller who does not wait."""
        return Consolidated(
            status=ACCEPTED,
            space_id=job.space_id,
            job_id=job.id,
            mode=self.mode,
            message=f"The work goes on: job_get, on REST GET …/jobs/{job.id}, tells how far it is.",
        )

    async def plan(self, space_id: str, selected: Selection) -> Consolidated:
        """What a run would do and cost. The model is not asked."""
        opened, snapshot = await self._consolidation.snapshot(space_id)
        matching = await self._consolidation.select(opened, selected)
        planned = await self._planned(snapshot, matching)
        shown = [
            PlannedBatch(
                notes=len(batch.notes),
                mode="extractive" if batch.is_extractive else "llm",
                prompt_tokens=batch.tokens_in,
                completion_tokens=batch.tokens_out,
            )
            for batch in planned
        ]
        return Consolidated(
            status="planned",
            space_id=space_id,
            notes_remaining=len(matching),
            version=opened.head.version,
            mode=self.mode,
            batches_total=len(planned),
            batch_size=self._size,
            plan=shown,
            estimated_prompt_tokens=sum(one.prompt_tokens for one in shown),
            estimated_completion_tokens=sum(one.completion_tokens for one in shown),
            estimated_cost=self._estimated_cost(shown),
        )

    def _estimated_cost(self, planned: Sequence[PlannedBatch]) -> float:
        if self._dialogue is None:
            return 0.0
        return round(
            sum(self._dialogue.till.cost(Usage(one.prompt_tokens, one.completion_tokens)) for one in planned), 6
        )

    @property
    def _size(self) -> int:
        return self._consolidation.max_notes if self._dialogue is None else self._batch_size

    async def _planned(self, snapshot: Snapshot, matching: Sequence[Note]) -> list[Batch]:
        notes = matching[: self._consolidation.max_notes]
        if self._dialogue is None:
            return [Batch(tuple(part), is_extractive=True) for part in batches(notes, self._size)]
        return await asyncio.to_thread(
            plan_batches,
            snapshot,
            notes,
            size=self._batch_size,
            budget=self._dialogue.till.budget(),
            estimate=self._dialogue.till.estimate,
            nfkc=self._dialogue.till.nfkc,
        )

    async def run(
        self, space_id: str, selected: Selection, *, job: JobHandle, actor: str, held: Held | None = None
    ) -> Consolidated:
        """File the selected notes, and say truly what became of them.

        Raises:
            Situation: there were notes, and none was filed.
        """
        started = self._clock.monotonic()
        run = Run(space_id, job, actor, asking=self._dialogue is not None)
        opened, snapshot = await self._consolidation.snapshot(space_id)
        matching = await self._consolidation.select(opened, selected)
        queue = deque(await self._planned(snapshot, matching))
        planned = len(queue)
        run.most = _DIALOGUES * planned + _DIALOGUES_MORE
        run.taken = frozenset(note.id for batch in queue for note in batch.notes)
        total = len(run.taken)
        tokens = sum(batch.tokens_in + batch.tokens_out for batch in queue)
        job.event("planned", {"batches": planned, "notes": total, "mode": self.mode, "tokens": tokens})
        number = settled = 0
        try:
            while queue:
                job.check_cancelled()
                if held is not None and not held.is_valid:
                    # Another process may be paying for the same by now.
                    run.lost = ConsolidationRunning(space_id, "")
                    break
                number += 1
                batch = queue.popleft()
                job.progress(
                    run.tally.processed, total, f"filing {len(batch.notes)} notes; {len(queue)} batches after this"
                )
                job.event("batch_started", {"batch": number, "notes": len(batch.notes), "filed": run.tally.processed})
                queue.extendleft(reversed(await self._batches.settle(run, number, batch)))
                settled = len(job.answers_used)
        except SpaceNotFound:
            await self._leave_nothing(space_id)
            raise
        except Situation as situation:
            # An answer that was not committed is of use to the next run.
            del job.answers_used[settled:]
            if not run.tally.processed:
                raise
            run.failure = situation
        except Exception:
            if not run.tally.processed:
                raise
            # What was committed before is told all the same.
            log.exception("consolidation_failed", space_id=space_id, job_id=job.id)
            run.failure = InternalError()
        finally:
            if run.tally.calls and self._dialogue is not None:
                self._dialogue.till.ended(well=run.answered > 0)
        if run.asked and not run.answered and not run.faults and run.failure is None:
            run.lose(number, "llm_unusable", run.detail)
        await self._tend(run, held)
        await self._view.roll_forward_or_log(space_id)
        job.progress(run.tally.processed, total, "done")
        head = await self._head_after(run)
        return self._outcome(run, head, matching, planned, self._clock.monotonic() - started)

    async def _tend(self, run: Run, held: Held | None) -> None:
        """Bring files that have grown far too long to their limits. The notes are filed, whatever becomes of it."""
        if not run.answered or not run.asking or run.failure or run.lost or run.tally.head is None:
            return
        try:
            changed = await self._compaction.tend(
                run.space_id,
                run.tally.created | run.tally.updated,
                job=run.job,
                actor=run.actor,
                held=held,
                charged=run.tally.charge,
            )
            run.tally.created |= changed - run.tally.head.files.keys()
            run.tally.updated |= changed & run.tally.head.files.keys()
        except Situation as situation:
            run.job.event("not_compacted", {"code": situation.code(), "detail": situation.detail})
            log.info("not_compacted", space_id=run.space_id, job_id=run.job.id, code=situation.code())
        except Exception:
            run.job.event("not_compacted", {"code": InternalError().code()})
            log.exception("compaction_failed", space_id=run.space_id, job_id=run.job.id)

    async def _leave_nothing(self, space_id: str) -> None:
        if self._dialogue is not None and await self._spaces.find(space_id) is None:
            await self._dialogue.till.forget(space_id)

    async def _head_after(self, run: Run) -> Head:
        """The bank as it is now; as the run has left it, when the store does not answer any more."""
        try:
            return (await self._spaces.open(run.space_id)).head
        except StoreUnavailable:
            if run.tally.head is None:
                raise
            return run.tally.head

    def _outcome(self, run: Run, head: Head, matching: Sequence[Note], planned: int, seconds: float) -> Consolidated:
        tally = run.tally
        # Another process may have filed some of them too.
        left = {note.id for note in matching if note.id not in tally.gone and waits(head, note)}
        remaining = len(left)
        failure = run.failure or (run.lost if remaining else None)
        status = "ok"
        if remaining or run.faults or failure:
            status = "partial"
        short = "" if not remaining else "uncovered" if left & run.taken else "limit"
        code = failure.code() if failure else run.code or short
        if matching and remaining == len(matching) and not tally.processed:
            raise run.lost or _nothing_filed(run, remaining, self._clock)
        log.info("consolidated", space_id=run.space_id, status=status, notes=tally.processed, version=head.version)
        return Consolidated(
            status=status,
            space_id=run.space_id,
            notes_processed=tally.processed,
            notes_remaining=remaining,
            notes_extracted=tally.extracted,
            bank_files_created=len(tally.created),
            bank_files_updated=len(tally.updated - tally.created),
            bank_files_unchanged=len(head.files.keys() - tally.created - tally.updated),
            operations_applied=tally.edits,
            operations_failed=len(tally.refused),
            operations_refused=[
                RefusedOperation(
                    batch=batch, op=one.number, verb=one.verb, target=one.target, code=one.code, reason=one.reason
                )
                for batch, one in tally.refused[:SHOWN]
            ],
            flagged=tally.flagged[:SHOWN],
            repairs=tally.repairs,
            synthesis_size=len(head.synthesis.text) if head.synthesis else 0,
            llm_tokens_used=tally.usage.prompt + tally.usage.completion,
            llm_prompt_tokens=tally.usage.prompt,
            llm_completion_tokens=tally.usage.completion,
            llm_usage_estimated=tally.usage.estimated,
            llm_calls=tally.calls,
            llm_cost=round(tally.cost, 6),
            duration_seconds=round(seconds, 1),
            version=head.version,
            job_id=run.job.id,
            mode=self.mode,
            batches_total=max(planned, tally.batches),
            batches_completed=tally.batches,
            batch_size=self._size,
            code=code,
            message=_message(tally, len(matching), remaining, len(left & run.taken), run),
            errors=run.faults[:SHOWN],
        )


def _message(tally: Tally, matching: int, remaining: int, uncovered: int, run: Run) -> str:
    if failure := run.failure or (run.lost if remaining else None):
        return f"{failure.detail} {tally.processed} notes were filed before; {remaining} still wait."
    if run.faults:
        lost = f"{run.faults[0].message} {_counted(len(run.faults), 'batch', 'batches')} went without the model."
        return f"{lost} {tally.processed} notes were filed; {remaining} still wait."
    if uncovered:
        return f"The model did not file {uncovered} notes well, so they go on waiting: {remaining} wait in all."
    if remaining:
        return f"{remaining} more notes wait: call again."
    if tally.processed:
        return ""
    return "The notes were filed by somebody else meanwhile." if matching else "No note was waiting."


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _nothing_filed(run: Run, remaining: int, clock: Clock) -> Situation:
    """Why there were notes, and none was filed."""
    extra = {"job_id": run.job.id, "space_id": run.space_id, "notes_remaining": remaining}
    detail = f"{run.faults[0].message if run.faults else 'None was filed well.'} All {remaining} notes still wait."
    if run.code == "budget":
        return BudgetSpent(detail, extra=extra, retry_after=seconds_left(clock.now()))
    return LlmFailed(detail, extra=extra)
