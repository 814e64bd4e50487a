"""A model that says what it was told to say."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

from app.core.clock import Clock, SystemClock
from app.llm.breaker import Breaker
from app.llm.client import Completion, FailureKind, Finish, LLMFailed, LLMHealth, Message, Usage
from app.llm.limits import Limits
from app.llm.tokens import Calibration, count, count_messages

Writer = Callable[[Sequence[Message], Mapping[str, Any] | None], str]
"""Writes an answer to the messages; the schema is what the answer should keep to."""
ScriptedAnswer = str | Completion | LLMFailed | Writer


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """What the model was asked."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None
    max_tokens: int
    seconds: float


class ScriptedLLM:
    """Plays back answers in their order, or lets one function write them all; remembers what it was asked.

    With `hold` every call waits for that event before it answers; `asked` is set as soon as somebody waits.
    """

    def __init__(
        self,
        answers: Iterable[ScriptedAnswer] | Writer = (),
        *,
        model: str = "scripted",
        window: int = 100_000,
        price_in: float = 0.0,
        price_out: float = 0.0,
        hold: asyncio.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._always = answers if callable(answers) else None
        self._answers = iter(()) if callable(answers) else iter(answers)
        self._model = model
        self._window = window
        self._prices = (price_in, price_out)
        self._hold = hold
        self._clock = clock or SystemClock()
        self._breaker = Breaker(self._clock, Limits())
        self._calibration = Calibration()
        self.calls: list[ScriptedCall] = []
        self.asked = asyncio.Event()

    @property
    def model(self) -> str:
        return self._model

    @property
    def window(self) -> int:
        return self._window

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["ScriptedLLM"]:
        """Nothing to open."""
        yield self

    def estimate(self, text: str) -> int:
        return self._calibration.estimate(text)

    def cost(self, usage: Usage) -> float:
        return usage.cost(*self._prices)

    def job_failed(self) -> None:
        self._breaker.job_failed()

    def job_succeeded(self) -> None:
        self._breaker.job_succeeded()

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int,
        seconds: float,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        if not self._breaker.lets_through():
            raise LLMFailed(FailureKind.CIRCUIT_OPEN, "The model failed several times in a row; it is left alone.")
        self.calls.append(ScriptedCall(tuple(messages), schema, max_tokens, seconds))
        began = self._clock.monotonic()
        await self._wait(messages, seconds)
        answer: ScriptedAnswer | None = self._always or next(self._answers, None)
        match answer:
            case None:
                raise LLMFailed(FailureKind.UNREACHABLE, "The script has no further answer.", attempts=1)
            case LLMFailed():
                raise answer
            case Completion():
                completion = answer
            case _:
                text = answer if isinstance(answer, str) else answer(messages, schema)
                completion = Completion(
                    text=text,
                    finish=Finish.STOP,
                    usage=Usage(ceil(count_messages(messages)), ceil(count(text)), estimated=True),
                    structured="none" if schema is None else "json_schema",
                    model=self._model,
                    seconds=self._clock.monotonic() - began,
                )
        if on_text is not None and completion.text:
            on_text(completion.text)
        self._breaker.answered()
        return completion

    async def _wait(self, messages: Sequence[Message], seconds: float) -> None:
        self.asked.set()
        try:
            async with asyncio.timeout(seconds):
                if self._hold is not None:
                    await self._hold.wait()
                else:
                    # Whoever asks a model lets others work meanwhile.
                    await asyncio.sleep(0)
        except TimeoutError:
            paid = Usage(ceil(count_messages(messages)), estimated=True)
            raise LLMFailed(FailureKind.DEADLINE, "The model did not answer in time.", usage=paid, attempts=1) from None

    async def health(self) -> LLMHealth:
        return LLMHealth(ok=True, message="The model answers from a script.", model=self._model, models=(self._model,))
