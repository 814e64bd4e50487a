"""One question to a model, as it is asked and as it is paid."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.llm.capabilities import Capabilities, Structured
from app.llm.client import Message, Usage
from app.llm.reading import Reading
from app.llm.tokens import Calibration, count


@dataclass(slots=True)
class Question:
    """One question, over all of its attempts."""

    messages: Sequence[Message]
    schema: Mapping[str, Any] | None
    max_tokens: int
    on_text: Callable[[str], None] | None
    counted: float
    """Tokens of the prompt by rule of thumb."""
    may: Capabilities
    """What the next request may contain."""
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    """Of the requests that are over."""

    @property
    def structured(self) -> Structured:
        """What holds the answer to its form."""
        return self.may.structured if self.schema is not None else Structured.NONE

    def body(self, *, model: str, temperature: float, max_tokens: int) -> bytes:
        """The request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": said.role.value, "content": _plain(said.content)} for said in self.messages],
            "stream": True,
            self.may.output_field: max_tokens,
        }
        if self.may.temperature:
            body["temperature"] = temperature
        if self.may.stream_options:
            body["stream_options"] = {"include_usage": True}
        if self.may.asks_not_to_think:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        if self.structured is Structured.JSON_SCHEMA:
            form = {"name": "answer", "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.structured is Structured.JSON_OBJECT:
            body["response_format"] = {"type": "json_object"}
        # Escapes would cost several tokens a letter; half of a surrogate pair is no character at all.
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def pay(self, reading: Reading, calibration: Calibration) -> None:
        """Add what one request cost: as the endpoint counted, or else as we do."""
        told = reading.usage or Usage()
        written = count(reading.text) + count("".join(reading.reasoning))
        self.usage += replace(
            told,
            prompt=reading.prompt_tokens or calibration.likely(self.counted),
            completion=told.completion or calibration.likely(written),
            estimated=not told.prompt or (not told.completion and written > 0),
        )


def _plain(content: str) -> str:
    """The message, not beginning with `{`: gateways that look for injections refuse what looks like a request."""
    return f"JSON:\n{content}" if content.lstrip().startswith("{") else content
