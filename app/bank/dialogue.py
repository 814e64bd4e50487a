"""One batch of notes put to a model: ask, read, validate, have it repaired."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.bank.errors import BudgetSpent
from app.bank.extract.snapshot import Snapshot
from app.bank.model import prompt as prompts
from app.bank.model.answers import read
from app.bank.model.policy import Policy
from app.bank.model.proposals import Answer, Proposal, Refusal, ResolvedOp, ResolvedSkip, Trouble
from app.bank.model.validation import Resolution, Verdict, carry_out, complaints, resolve
from app.bank.till import Charge, Till, prompt_sha256
from app.jobs.service import JobHandle
from app.llm.client import Completion, FailureKind, Finish, LLMFailed, Message, Usage
from app.notes.models import Note

_REPAIRS: Final = 2
_TOLD_EVERY: Final = 400
"""Characters of an answer between two words about how far it is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for a batch, and on what."""

    space_id: str
    actor: str
    job: JobHandle
    batch: int
    """Its number in the run."""
    snapshot: Snapshot
    notes: Sequence[Note]
    is_outline: bool = False
    """Show no word of the bank but its headings: a filter does not like what it says."""

    def tell(self, name: str, data: Mapping[str, Any], *, passing: bool = False) -> None:
        """Tell those who follow the job what happens to the batch."""
        self.job.event(name, {"batch": self.batch, **data}, passing=passing)


@dataclass(slots=True)
class _Exchange:
    """A dialogue as far as it has come."""

    asked: Asked
    prompt: prompts.Prompt
    messages: list[Message]
    digest: str
    """Of the first prompt."""
    ops: tuple[ResolvedOp, ...] = ()
    skips: tuple[ResolvedSkip, ...] = ()
    synthesis: str = ""
    resolution: Resolution | None = None
    """Of the latest answer."""
    verdict: Verdict | None = None
    """On all answers; None as long as there is none of the asked form."""
    refused: tuple[Refusal, ...] = ()
    repairs: int = 0
    usage: Usage = field(default_factory=Usage)
    calls: int = 0

    def take(self, answer: Answer, policy: Policy) -> None:
        """Add what is usable of an answer."""
        asked = self.asked
        self.resolution = resolve(self.prompt.handles, answer, asked.snapshot, repaired=self.repairs > 0)
        ops = (*self.ops, *self.resolution.ops)
        self.skips += self.resolution.skips
        self.synthesis = answer.synthesis or self.synthesis
        self.verdict = carry_out(asked.snapshot, asked.notes, ops, self.skips, self.synthesis, policy=policy)
        self.ops = self.verdict.ops
        self.refused = (*self.resolution.refused, *self.verdict.refused)

    def faults(self) -> list[str]:
        """What the model is told to mend; nothing when every note is kept."""
        if self.verdict is None or self.resolution is None:
            return ["the answer was not one JSON object of the asked form"]
        return complaints(self.verdict, self.resolution) if self.verdict.uncovered else []

    def to_be_filed(self) -> list[str]:
        """Handles of the notes that are not kept yet."""
        left = None if self.verdict is None else {one.note for one in self.verdict.uncovered}
        return [handle for handle, note in self.prompt.handles.notes.items() if left is None or note.id in left]

    def charge(self, charge: Charge) -> None:
        """Add what a question took."""
        self.usage += charge.usage
        self.calls += charge.calls
        self.asked.job.charge({"batch": self.asked.batch, **charge.entry()})

    def proposal(
        self, trouble: Trouble = Trouble.NONE, detail: str = "", failure: FailureKind | None = None
    ) -> Proposal:
        return Proposal(
            ops=self.ops,
            skips=self.skips,
            synthesis=self.synthesis,
            refused=self.refused,
            repairs=self.repairs,
            usage=self.usage,
            calls=self.calls,
            trouble=trouble,
            failure=failure,
            detail=detail,
            prompt_sha256=self.digest,
        )


class Dialogue:
    """Asks the model, and believes nothing that validation does not bear out."""

    def __init__(self, till: Till, policy: Policy) -> None:
        self.till = till
        self._policy = policy

    async def hold(self, asked: Asked) -> Proposal:
        """What the model makes of the notes. It never raises for what a model may do.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        prompt = await asyncio.to_thread(
            prompts.build,
            asked.snapshot,
            asked.notes,
            budget=self.till.budget(),
            estimate=self.till.estimate,
            nfkc=self.till.nfkc,
            is_outline=asked.is_outline,
        )
        if prompt.is_too_long:
            return Proposal(trouble=Trouble.CONTEXT, detail="The notes do not fit in a prompt.")
        exchange = _Exchange(asked, prompt, list(prompt.messages), prompt_sha256(prompt.messages))
        try:
            return await self._talk(exchange)
        except LLMFailed as failure:
            trouble = Trouble.CONTEXT if failure.kind is FailureKind.CONTEXT else Trouble.FAILED
            return exchange.proposal(trouble, failure.detail, failure.kind)
        except BudgetSpent as spent:
            return exchange.proposal(Trouble.BUDGET, spent.detail)

    async def _talk(self, exchange: _Exchange) -> Proposal:
        asked = exchange.asked
        while True:
            completion = await self._ask(exchange)
            if completion.finish is Finish.REFUSED:
                return exchange.proposal(Trouble.REFUSED, "The model refused the batch.")
            await self._hear(exchange, completion)
            if completion.finish is not Finish.STOP:
                return exchange.proposal(Trouble.CUT, f"The answer was cut ({completion.finish}).")
            faults = exchange.faults()
            if not faults:
                return exchange.proposal()
            if exchange.repairs == _REPAIRS:
                break
            exchange.repairs += 1
            asked.tell("repairing", {"errors": len(faults)})
            exchange.messages += [
                prompts.answered(completion.text, nfkc=self.till.nfkc),
                prompts.repair_message(faults, exchange.to_be_filed(), nfkc=self.till.nfkc),
            ]
        if exchange.verdict is None:
            return exchange.proposal(Trouble.UNUSABLE, "The model gave no answer of the asked form.")
        return exchange.proposal()

    async def _hear(self, exchange: _Exchange, completion: Completion) -> None:
        """Take from an answer what is usable, and keep it until it is committed."""
        is_cut = completion.finish is not Finish.STOP
        answer = await asyncio.to_thread(read, completion.text, notes=len(exchange.asked.notes), is_cut=is_cut)
        if answer is None:
            return
        await asyncio.to_thread(exchange.take, answer, self._policy)
        exchange.asked.tell("validated", {"ops": len(exchange.ops), "refused": len(exchange.refused)})
        if completion.attempts and not is_cut:
            # Paid for and of use: should the process end before the commit, it is not paid for again.
            await exchange.asked.job.keep_answer(prompt_sha256(exchange.messages), completion.text)

    async def _ask(self, exchange: _Exchange) -> Completion:
        asked = exchange.asked
        return await self.till.ask(
            asked.job,
            asked.space_id,
            asked.actor,
            exchange.messages,
            schema=exchange.prompt.schema,
            max_tokens=exchange.prompt.reserve,
            charged=exchange.charge,
            on_text=_Meter(asked),
        )


class _Meter:
    """Tells how far an answer is, as it comes."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.characters = 0
        self._told = -1
        self._ops = 0

    def __call__(self, text: str) -> None:
        if self.characters == 0:
            self._asked.tell("llm_first_token", {})
        self.characters += len(text)
        self._ops += text.count('"op"')
        if (turn := self.characters // _TOLD_EVERY) != self._told:
            self._told = turn
            data = {"characters": self.characters, "ops_seen": self._ops}
            self._asked.tell("llm_progress", data, passing=True)
