"""What every model promises."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.core.errors import Unavailable


class Role(StrEnum):
    """Who says it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens paid for. Of retried calls too: they are billed as well."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Of `prompt`, read from the endpoint's cache."""
    reasoning: int = 0
    """Of `completion`, never shown."""
    estimated: bool = False
    """Some of it was counted here, since the endpoint did not tell."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
            self.estimated or other.estimated,
        )

    def cost(self, price_in: float, price_out: float) -> float:
        """What they cost, at prices for a million tokens read and written."""
        return (self.prompt * price_in + self.completion * price_out) / 1_000_000


class Finish(StrEnum):
    """Why a model stopped writing."""

    STOP = "stop"
    LENGTH = "length"
    """It ran into its limit: the text is cut."""
    REFUSED = "refused"
    """A content filter or the model itself would not."""
    WHITESPACE_FLOOD = "whitespace_flood"
    """It was cut off here: it wrote nothing but white space any more."""
    REPETITION = "repetition"
    """It was cut off here: it repeated itself."""
    TOO_LONG = "too_long"
    """It was cut off here: more than anybody asked for."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered."""

    text: str
    finish: Finish
    usage: Usage
    """Of every attempt that this answer took."""
    attempts: int = 1
    """Requests that were made, repetitions after a refused option not counted."""
    structured: str = "none"
    """What held the answer to its form: `json_schema`, `json_object` or `none`."""
    model: str = ""
    seconds: float = 0.0


class FailureKind(StrEnum):
    """What a caller can do about a failed call."""

    AUTH = "auth"
    """The endpoint does not accept the key: nothing, before an operator has seen to it."""
    CONTEXT = "context"
    """The prompt is too long for the model, or was silently cut: send less."""
    REQUEST = "request"
    """The endpoint does not accept the request; asking again will not help."""
    DEADLINE = "deadline"
    """Time ran out."""
    UNREACHABLE = "unreachable"
    """It failed again and again; later it may work."""
    CIRCUIT_OPEN = "circuit_open"
    """It has failed so often that it is not asked for a while."""


class LLMFailed(Unavailable):
    """The model could not be used; the notes are untouched."""

    status = 502

    def __init__(self, kind: FailureKind, detail: str, *, usage: Usage = Usage(), attempts: int = 0) -> None:
        super().__init__(detail)
        self.kind = kind
        self.usage = usage
        """What was paid all the same."""
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class LLMHealth:
    """Whether a model can be used, found out without paying for it."""

    ok: bool
    message: str
    """For people; never holds the key."""
    model: str
    models: tuple[str, ...] = field(default=())
    """What the endpoint offers."""


class LLM(Protocol):
    """A model behind an endpoint."""

    @property
    def model(self) -> str:
        """Its name at the endpoint."""
        ...

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together, as far as is known by now."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Any]:
        """Connections, held for the life of the process: `complete` and `health` need them."""
        ...

    def estimate(self, text: str) -> int:
        """About how many tokens the text is, rather too many than too few."""
        ...

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int,
        seconds: float,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        """Ask, and wait for the whole answer; cancelling the task closes the connection.

        `schema` is the JSON schema the answer should keep to; an endpoint that cannot promise it is asked without.
        `seconds` is how long it may take, every attempt included. `on_text` is told each piece of text as it comes;
        after an attempt that broke off it hears the answer from its start again.

        Raises:
            LLMFailed: there is no answer.
        """
        ...

    def cost(self, usage: Usage) -> float:
        """What that costs, in the currency of the configured prices; 0 without prices."""
        ...

    def job_failed(self) -> None:
        """Tell that a whole job got nothing out of the model: after some in a row it is left alone for a while."""
        ...

    def job_succeeded(self) -> None:
        """Tell that a job got what it wanted of the model."""
        ...

    async def health(self) -> LLMHealth:
        """Can it be used? Never raises, never pays."""
        ...
