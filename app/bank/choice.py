"""Asking a model which entries a file can do without: one question after the other, paid for and judged."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from app.bank.errors import ConsolidationRunning, LlmFailed
from app.bank.extract.moving import Key
from app.bank.model import prompt as prompts
from app.bank.model.choosing import Question, chosen, complaint
from app.bank.models import ModelUse
from app.bank.till import Charge, Till, prompt_sha256
from app.core.errors import Situation
from app.jobs.service import JobHandle
from app.llm.client import Finish, LLMFailed, Message, Usage
from app.storage.lease import Held

_ATTEMPTS: Final = 2
"""Times that a model is asked one question, until its answer can be read."""


@dataclass(slots=True)
class Choice:
    """What a model has said of one file, as far as it was asked."""

    job: JobHandle
    space_id: str
    path: str
    actor: str
    held: Held | None
    charged: Callable[[Charge], None] | None = None
    """Is told of every charge too."""
    answers: list[list[Key]] = field(default_factory=list)
    """What was answered to each question."""
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    cost: float = 0.0
    prompt: str = ""
    """Names the first conversation; empty when nothing was asked."""
    trouble: Situation | None = None
    """Why it was not asked to the end."""

    @property
    def wanted(self) -> list[Key]:
        """The entries that the file can do without, the one needed least first: of each answer in turn."""
        return [key for rank in zip_longest(*self.answers) for key in rank if key is not None]

    def charge(self, charge: Charge) -> None:
        """Add what a question took."""
        self.usage += charge.usage
        self.calls += charge.calls
        self.cost += charge.cost
        self.job.charge(charge.entry())
        if self.charged is not None:
            self.charged(charge)

    def use(self, till: Till | None) -> ModelUse | None:
        """The model's part in the commit."""
        return till.use(self.usage, self.calls, self.prompt) if till is not None and self.prompt else None

    async def make(self, till: Till, questions: Sequence[Question]) -> None:
        """Ask as long as the answers are of use. What goes wrong is the `trouble`; what was answered before counts.

        Raises:
            Cancelled: the work should stop.
        """
        try:
            for number, question in enumerate(questions):
                self.job.progress(number, len(questions), f"asking which entries of {self.path} may go")
                if self.held is not None and not self.held.is_valid:
                    # Another process may be paying for the same by now.
                    raise ConsolidationRunning(self.space_id, "")
                self.answers.append(await self._ask(till, question))
        except LLMFailed as failure:
            self.trouble = LlmFailed(f"The model gave no answer: {failure.detail}")
        except Situation as situation:
            self.job.check_cancelled()
            self.trouble = situation
        # Whoever stops it, or has no money left, says nothing about the model.
        if self.answers or (self.calls and isinstance(self.trouble, LlmFailed)):
            till.ended(well=bool(self.answers))

    async def _ask(self, till: Till, question: Question) -> list[Key]:
        messages: list[Message] = list(question.messages)
        self.prompt = self.prompt or prompt_sha256(messages)
        reserve = question.reserve
        for _ in range(_ATTEMPTS):
            asking = till.ask(
                self.job,
                self.space_id,
                self.actor,
                messages,
                schema=question.schema,
                max_tokens=reserve,
                charged=self.charge,
            )
            completion = await self.job.unless_cancelled(asking)
            if completion.finish is Finish.REFUSED:
                raise LlmFailed(f"The model refused to look at '{self.path}'.")
            found = await asyncio.to_thread(chosen, question, completion.text)
            if found is not None:
                if completion.attempts:
                    await self.job.keep_answer(prompt_sha256(messages), completion.text)
                return found
            if completion.finish is Finish.LENGTH:
                reserve = question.most
            else:
                messages += [prompts.answered(completion.text, nfkc=till.nfkc), complaint()]
        raise LlmFailed(f"The model did not say which entries of '{self.path}' may go.")
