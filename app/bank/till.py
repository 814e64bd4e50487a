"""Where the model is asked and paid: within the space's limits of the day, and written down whatever comes of it."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.bank.ledger import Ledger
from app.bank.model.batching import Budget
from app.bank.models import ModelUse
from app.core.errors import Situation
from app.jobs.service import JobHandle
from app.llm.client import LLM, Completion, Finish, LLMFailed, Message, Usage

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one question took."""

    usage: Usage
    calls: int
    cost: float
    outcome: str
    """How it ended: a `Finish`, a `FailureKind` or `cancelled`."""

    def entry(self) -> dict[str, Any]:
        """The same as a line in the ledger of a job."""
        return {
            "outcome": self.outcome,
            "attempts": self.calls,
            "prompt_tokens": self.usage.prompt,
            "completion_tokens": self.usage.completion,
            "cached_tokens": self.usage.cached,
            "reasoning_tokens": self.usage.reasoning,
            "estimated": self.usage.estimated,
            "cost": round(self.cost, 6),
        }


class Till:
    """The model as the work on a bank sees it: what may be asked of it, what it costs, whether it is still asked."""

    def __init__(
        self, llm: LLM, ledger: Ledger, *, prompt_budget: int, max_tokens: int, seconds: float, nfkc: bool
    ) -> None:
        """`seconds` that one answer may take; `nfkc`: send prompts in the form that some gateways demand."""
        self._llm = llm
        self._ledger = ledger
        self._prompt_budget = prompt_budget
        self._max_tokens = max_tokens
        self._seconds = seconds
        self.nfkc = nfkc

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._llm.model

    def budget(self) -> Budget:
        """What a prompt and its answer may take, as far as is known by now."""
        return Budget(window=self._llm.window, prompt=self._prompt_budget, answer=self._max_tokens)

    def estimate(self, text: str) -> int:
        """About how many tokens a text is."""
        return self._llm.estimate(text)

    def cost(self, usage: Usage) -> float:
        """What these tokens cost."""
        return self._llm.cost(usage)

    def use(self, usage: Usage, calls: int, prompt: str) -> ModelUse:
        """The model's part in a commit; `prompt` names the first conversation."""
        return ModelUse(
            model=self.model,
            prompt_sha256=prompt,
            calls=calls,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            cached_tokens=usage.cached,
            estimated=usage.estimated,
            cost=self.cost(usage),
        )

    def ended(self, *, well: bool) -> None:
        """A job is over: one after the other that fails keeps the model from being asked for a while."""
        if well:
            self._llm.job_succeeded()
        else:
            self._llm.job_failed()

    async def forget(self, space_id: str) -> None:
        """Leave nothing under the name of a space that was deleted while the model was asked about it."""
        await self._ledger.forget_today(space_id)

    async def ask(
        self,
        job: JobHandle,
        space_id: str,
        actor: str,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
        charged: Callable[[Charge], None],
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        """The model's answer, or the one that a job cut short had paid for already.

        `charged` is told what it took, also when there is none.

        Raises:
            BudgetSpent: the space may not ask any more today.
            LLMFailed: there is no answer.
        """
        known = await job.answer(prompt_sha256(messages))
        if known is not None:
            return Completion(text=known, finish=Finish.STOP, usage=Usage(), attempts=0)
        await self._ledger.demand(space_id)
        heard = 0

        def hear(text: str) -> None:
            nonlocal heard
            heard += len(text)
            if on_text is not None:
                on_text(text)

        async def settle(usage: Usage, calls: int, outcome: str) -> None:
            cost = self._llm.cost(usage)
            charged(Charge(usage, calls, cost, outcome))
            if not calls:
                return
            try:
                await self._ledger.charge(space_id, usage, calls=calls, cost=cost, actor=actor)
            except Situation as situation:
                # The answer is at hand: it is worth more than its line in the ledger.
                log.warning("usage_not_written", space_id=space_id, code=situation.code())

        try:
            completion = await self._llm.complete(
                messages, schema=schema, max_tokens=max_tokens, seconds=self._seconds, on_text=hear
            )
        except LLMFailed as failure:
            await settle(failure.usage, failure.attempts, failure.kind.value)
            raise
        except asyncio.CancelledError:
            # Nobody will tell what a call has cost that was hung up on, yet it was paid.
            read = sum(self._llm.estimate(message.content) for message in messages)
            await settle(Usage(read, heard // 3, estimated=True), 1, "cancelled")
            raise
        await settle(completion.usage, completion.attempts, completion.finish.value)
        return completion


def prompt_sha256(messages: Sequence[Message]) -> str:
    """Names a conversation by what is in it."""
    turns = [[message.role.value, message.content] for message in messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()
