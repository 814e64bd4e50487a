"""A file that has grown too long: what it can do without moves to the archive, and a model says what that is."""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.bank.choice import Choice
from app.bank.consolidation import snapshot_of
from app.bank.document.edits import Plan
from app.bank.document.layout import FileRule, is_archive
from app.bank.document.rules import compile_rules
from app.bank.errors import FileNotFound
from app.bank.extract.compacting import compacted, is_stuck, offered
from app.bank.extract.snapshot import Snapshot
from app.bank.model.choosing import Question, questions
from app.bank.models import CommitKind, Edit
from app.bank.store import Draft
from app.bank.till import Charge, Till
from app.bank.turns import Turns
from app.bank.versions.difference import differences
from app.bank.versions.revisions import BankCompact, BankCompacted
from app.bank.versions.writer import BankWriter
from app.core.errors import FieldFault, InvalidInput, Situation
from app.core.operation import Progress
from app.jobs.service import Job, JobHandle
from app.llm.client import Usage
from app.spaces.errors import SpaceNotFound
from app.spaces.models import Head
from app.spaces.service import SpaceService
from app.storage.lease import Held

KIND: Final = "compaction"
PARTIAL: Final = "partial"
_GROWN: Final = 1.1
_GOAL: Final = 2 / 3
"""Share of a file that stays where neither the rules nor the caller say how long it may be."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A file as somebody wishes it."""

    head: Head
    snapshot: Snapshot
    path: str
    rule: FileRule | None
    """What the rules say of it."""
    goal: int
    """Bytes."""

    @property
    def size(self) -> int:
        """How long it is."""
        return self.head.files[self.path].bytes

    @property
    def is_journal(self) -> bool:
        """Do its oldest entries go, whatever a model may think?"""
        return self.rule is not None and self.rule.append_only


class Compaction:
    """Makes files shorter without losing a word."""

    def __init__(
        self,
        spaces: SpaceService,
        writer: BankWriter,
        turns: Turns,
        till: Till | None,
        now: Callable[[], datetime],
        *,
        over: float,
    ) -> None:
        """`over`: how many times as long as the rules allow a file gets before it is tended; 0: none ever is."""
        self._spaces = spaces
        self._writer = writer
        self._turns = turns
        self._till = till
        self._now = now
        self._over = over
        self._in_vain: dict[tuple[str, str], int] = {}
        """Space and file, and how long the file was when it was last tended without becoming short enough."""

    async def compact(
        self, space_id: str, request: BankCompact, *, actor: str, progress: Progress, seconds: float
    ) -> BankCompacted:
        """Bring one file to its length, or say what that would take. The work goes on when the caller goes away.

        Raises:
            FileNotFound: there is no such file.
            InvalidInput: nothing may leave it, by its rules or because it is no text.
            ConsolidationRunning: a model is being asked about this space already.
            LlmFailed, BudgetSpent: the model said nothing of use, and nothing could go without it.
            BankBusy: others were faster each time.
        """
        opened = await self._spaces.open(space_id)
        task = await asyncio.to_thread(_task, opened.head, await self._spaces.rules_of(opened), request)
        if task.size <= task.goal:
            return _told(task, "unchanged", f"It has no more than {task.goal} bytes.")
        if request.dry_run:
            return await asyncio.to_thread(self._planned, task)

        async def work(job: JobHandle, held: Held | None) -> dict[str, Any]:
            done = await self._work(task, request, Choice(job, space_id, task.path, actor, held))
            return done.model_dump(mode="json")

        leased = self._till is not None and not task.is_journal
        job = await self._turns.start(space_id, KIND, actor, work, announced=not request.wait, leased=leased)
        if not request.wait:
            return _accepted(task, job)
        result = await job.result(seconds=seconds, progress=progress)
        return _accepted(task, job) if result is None else BankCompacted.model_validate(result)

    async def tend(
        self,
        space_id: str,
        paths: AbstractSet[str],
        *,
        job: JobHandle,
        actor: str,
        held: Held | None,
        charged: Callable[[Charge], None],
    ) -> set[str]:
        """Bring those of the files to their limits that are much longer than the rules allow; part of another job.

        Gives the files that have changed. A file that stayed too long is tended again when it has grown by a tenth.

        Raises:
            Situation: the model, or the store, failed.
        """
        changed: set[str] = set()
        if not self._over:
            return changed
        opened = await self._spaces.open(space_id)
        rules = await self._spaces.rules_of(opened)
        layout = compile_rules(rules)
        for path in sorted(paths & opened.head.files.keys()):
            rule, size = layout.rule_of(path), opened.head.files[path].bytes
            if rule is None or not rule.limit or rule.protected or rule.append_only or is_archive(path):
                continue
            if size <= max(rule.limit * self._over, self._in_vain.get((space_id, path), 0) * _GROWN):
                continue
            self._in_vain[space_id, path] = size
            request = BankCompact(filename=path)
            task = await asyncio.to_thread(_task, opened.head, rules, request)
            done = await self._work(task, request, Choice(job, space_id, path, actor, held, charged))
            if done.size_after <= rule.limit * self._over:
                del self._in_vain[space_id, path]
            if done.entries_moved:
                changed |= {path, *done.archives}
            job.event("compacted", {"file": path, "action": done.action, "entries": done.entries_moved})
        return changed

    def _planned(self, task: _Task) -> BankCompacted:
        """What it would take. The model is not asked."""
        today = self._now().date()
        free = compacted(task.path, task.snapshot, task.goal, today)
        asked = self._questions(task, free)
        prompt, answer = sum(one.tokens for one in asked), sum(one.reserve for one in asked)
        cost = self._till.cost(Usage(prompt, answer)) if self._till is not None else 0.0
        moved = len(free.edits) if free is not None else 0
        told = _told(task, "planned", f"{self._outlook(task, moved, asked)} Nothing was done.")
        return told.model_copy(
            update={
                "entries_moved": moved,
                "size_after": _size(task, free),
                "estimated_prompt_tokens": prompt,
                "estimated_completion_tokens": answer,
                "estimated_cost": round(cost, 6),
            }
        )

    def _outlook(self, task: _Task, moved: int, asked: Sequence[Question]) -> str:
        first = f"{_counted(moved)}, {'the oldest' if task.is_journal else 'struck or done'}, would go."
        if asked:
            return f"{first} For the rest the model would be asked{'' if len(asked) == 1 else f' {len(asked)} times'}."
        if self._till is None and not task.is_journal:
            return f"{first} There is no model to say what else could."
        return first

    def _questions(self, task: _Task, free: Plan | None) -> list[Question]:
        """What the model has to be asked when no more than that can go without it."""
        excess = _size(task, free) - task.goal
        if self._till is None or task.is_journal or excess <= 0:
            return []
        return questions(
            task.path,
            offered(task.path, task.snapshot, self._now().date()),
            excess,
            rule=task.rule.description if task.rule is not None else "",
            budget=self._till.budget(),
            estimate=self._till.estimate,
            nfkc=self._till.nfkc,
        )

    async def _work(self, task: _Task, request: BankCompact, choice: Choice) -> BankCompacted:
        before = len(choice.job.answers_used)
        try:
            free = await asyncio.to_thread(compacted, task.path, task.snapshot, task.goal, self._now().date())
            asked = await asyncio.to_thread(self._questions, task, free)
            if self._till is not None and asked:
                await choice.make(self._till, asked)
            if choice.trouble is not None and free is None and not choice.wanted:
                raise choice.trouble
            choice.job.check_cancelled()
            return await self._commit(task, request, choice)
        except Situation as situation:
            space_id = task.head.space_id
            if self._till is None or await self._spaces.find(space_id) is not None:
                # What was paid for and not committed is of use to the next one who asks.
                del choice.job.answers_used[before:]
                raise
            # It was deleted meanwhile: nothing may be left under its name, not even what was paid.
            await self._till.forget(space_id)
            raise SpaceNotFound(space_id) from situation

    async def _commit(self, task: _Task, request: BankCompact, choice: Choice) -> BankCompacted:
        async def make(head: Head, rules: str) -> tuple[Draft | None, tuple[_Task, Plan | None]]:
            if not head.owns(task.head.incarnation):
                raise SpaceNotFound(head.space_id)
            # Others may have edited the file meanwhile: what is left of the wanted entries goes, as far as it has to.
            present = await asyncio.to_thread(_task, head, rules, request, goal=task.goal)
            plan = await asyncio.to_thread(
                compacted, present.path, present.snapshot, present.goal, self._now().date(), choice.wanted
            )
            return self._draft(present, rules, plan, choice), (present, plan)

        opened, (present, plan) = await self._writer.change(task.head.space_id, make)
        choice.job.progress(1, 1, "done")
        return await asyncio.to_thread(self._report, present, plan, choice, version=opened.head.version)

    def _draft(self, task: _Task, rules: str, plan: Plan | None, choice: Choice) -> Draft | None:
        if plan is None:
            return None
        flagged = task.head.edited.get(task.path, ())
        return Draft(
            kind=CommitKind.COMPACTION,
            actor=choice.actor,
            job_id=choice.job.id,
            batch=0,
            rules=rules,
            files=plan.files,
            provenance=plan.provenance,
            edits=[Edit.model_validate(edit, from_attributes=True) for edit in plan.edits],
            synthesis=None,
            model=choice.use(self._till),
            edited=dict.fromkeys(plan.files, flagged),
        )

    def _report(self, task: _Task, plan: Plan | None, choice: Choice, *, version: int) -> BankCompacted:
        size = _size(task, plan)
        told = self._stayed(task, choice) if plan is None else _moved(task, plan, size)
        if choice.trouble is not None:
            message = f"{choice.trouble.detail} {told.message}"
            told = told.model_copy(update={"status": PARTIAL, "code": choice.trouble.code(), "message": message})
        elif size > task.goal and not told.code:
            told = told.model_copy(update={"status": PARTIAL, "code": "too_long"})
        before = {task.path: task.snapshot.files[task.path]}
        after = before if plan is None else {task.path: plan.files[task.path]}
        return told.model_copy(
            update={
                "diff": "".join(one.diff for one in differences(before, after)),
                "version": version,
                "job_id": choice.job.id,
                "llm_calls": choice.calls,
                "llm_prompt_tokens": choice.usage.prompt,
                "llm_completion_tokens": choice.usage.completion,
                "llm_usage_estimated": choice.usage.estimated,
                "llm_cost": round(choice.cost, 6),
            }
        )

    def _stayed(self, task: _Task, choice: Choice) -> BankCompacted:
        """Why nothing has moved."""
        if task.size <= task.goal:
            return _told(task, "unchanged", f"It has no more than {task.goal} bytes by now.")
        if is_stuck(task.path, task.snapshot, self._now().date(), choice.wanted):
            message = "What could go stands where the text around it would read otherwise without it: edit it by hand."
            return _told(task, "unchanged", message).model_copy(update={"status": PARTIAL, "code": "stuck"})
        if self._till is None and not task.is_journal:
            message = "Nothing in it is struck or done, and without a model nobody can say what else it can do without."
            return _told(task, "unchanged", message)
        return _told(task, "unchanged", "Nothing in it can go: what is still to be done stays, and what is needed.")


def _task(head: Head, rules: str, request: BankCompact, *, goal: int = 0) -> _Task:
    file = head.files.get(request.filename)
    if file is None:
        raise FileNotFound(head.space_id, request.filename)
    snapshot = snapshot_of(head, rules)
    rule = snapshot.layout.rule_of(request.filename)
    reason = ""
    if file.raw is not None:
        reason = "it is no text"
    elif is_archive(request.filename):
        reason = "it is an archive itself"
    elif rule is not None and rule.protected:
        reason = "its rules say that it is rarely modified"
    if reason:
        raise InvalidInput(
            f"Nothing can leave '{request.filename}': {reason}.", faults=[FieldFault("filename", reason)]
        )
    limit = (rule.limit if rule is not None else None) or int(file.bytes * _GOAL)
    return _Task(head, snapshot, request.filename, rule, goal or request.target_bytes or limit)


def _size(task: _Task, plan: Plan | None) -> int:
    """How long the file is after the plan."""
    return task.size if plan is None else len(plan.files[task.path].encode())


def _counted(entries: int) -> str:
    return f"{entries} {'entry' if entries == 1 else 'entries'}"


def _moved(task: _Task, plan: Plan, size: int) -> BankCompacted:
    """What has moved, and how far that goes."""
    over = "" if size <= task.goal else f" It still has {size - task.goal} bytes more than it should."
    message = f"{_counted(len(plan.edits))} moved to the archive, word for word; bank_revert undoes it.{over}"
    return _told(task, "moved", message).model_copy(
        update={
            "entries_moved": len(plan.edits),
            "archives": sorted(plan.files.keys() - {task.path}),
            "size_after": size,
        }
    )


def _accepted(task: _Task, job: Job) -> BankCompacted:
    message = f"The work goes on: job_get, on REST GET …/jobs/{job.id}, tells how far it is."
    return _told(task, "accepted", message).model_copy(update={"status": "accepted", "job_id": job.id})


def _told(task: _Task, action: str, message: str) -> BankCompacted:
    return BankCompacted(
        space_id=task.head.space_id,
        filename=task.path,
        action=action,
        size_before=task.size,
        size_after=task.size,
        target_bytes=task.goal,
        version=task.head.version,
        message=message,
    )
