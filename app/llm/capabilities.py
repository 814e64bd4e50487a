"""What an endpoint understands, learned from what it refuses."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from app.core.clock import Clock
from app.llm.limits import Limits

_FORM: Final = re.compile(r"response_format|json_schema|json_object|guided|grammar|structured", re.IGNORECASE)
_THINKING: Final = re.compile(r"chat_template_kwargs|enable_thinking", re.IGNORECASE)
_OPTION_STATUSES: Final = frozenset({400, 404, 422, 500, 501})
_UNKNOWN_FIELD: Final = frozenset({400, 422})


class Structured(StrEnum):
    """What holds an answer to its form."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


_LOWER: Final = {
    Structured.JSON_SCHEMA: Structured.JSON_OBJECT,
    Structured.JSON_OBJECT: Structured.NONE,
    Structured.NONE: Structured.NONE,
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a request to the endpoint may contain."""

    structured: Structured
    is_fixed: bool = False
    """An operator chose what holds the answer to its form; it is not lowered."""
    stream_options: bool = True
    output_field: str = "max_tokens"
    temperature: bool = True
    asks_not_to_think: bool = False
    """The model was seen to think, and the endpoint did not refuse to be told not to."""
    may_ask_not_to_think: bool = True

    def lowered(self) -> "Capabilities":
        """One step less of form."""
        return self if self.is_fixed else replace(self, structured=_LOWER[self.structured])

    def thinking_seen(self) -> "Capabilities":
        """The model thinks before it answers, and is asked not to where that may be asked."""
        return replace(self, asks_not_to_think=True) if self.may_ask_not_to_think else self

    def without_refused(self, status: int, text: str, *, is_structured: bool) -> "Capabilities | None":
        """What is left after a refusal; None when the refusal is not about an option."""
        if status not in _OPTION_STATUSES:
            return None
        switched = "max_tokens" if self.output_field == "max_completion_tokens" else "max_completion_tokens"
        # Without a name it may be the one field that no standard knows.
        about_thinking = _THINKING.search(text) is not None or status in _UNKNOWN_FIELD
        causes = (
            (self.stream_options and "stream_options" in text, replace(self, stream_options=False)),
            ("max_completion_tokens" in text, replace(self, output_field=switched)),
            (self.temperature and "temperature" in text, replace(self, temperature=False)),
            (is_structured and _FORM.search(text) is not None and self.lowered() != self, self.lowered()),
            (self.asks_not_to_think and about_thinking, self._not_told_to_think()),
        )
        return next((left for applies, left in causes if applies), None)

    def _not_told_to_think(self) -> "Capabilities":
        return replace(self, asks_not_to_think=False, may_ask_not_to_think=False)


class Learned:
    """What is known of one model at one endpoint; forgotten after a day, since an endpoint may have been updated."""

    def __init__(self, at_first: Capabilities, clock: Clock, limits: Limits) -> None:
        self._at_first = at_first
        self._known = at_first
        self._clock = clock
        self._limits = limits
        self._until = 0.0

    def current(self) -> Capabilities:
        """What the next request may contain."""
        if self._clock.monotonic() >= self._until:
            self._known = self._at_first
        return self._known

    def learn(self, known: Capabilities) -> None:
        """Take in what a request has shown."""
        if known != self.current():
            self._known = known
            self._until = self._clock.monotonic() + self._limits.learned
