from dataclasses import replace
from datetime import timedelta

import pytest

from app.llm.capabilities import Capabilities, Learned, Structured
from app.llm.limits import Limits
from tests.fakes.clock import FrozenClock

FULL = Capabilities(Structured.JSON_SCHEMA)
THINKING = FULL.thinking_seen()


@pytest.mark.parametrize(
    ("may", "status", "text", "left"),
    [
        (FULL, 400, "Unknown parameter: stream_options", replace(FULL, stream_options=False)),
        (FULL, 400, "use 'max_completion_tokens' instead", replace(FULL, output_field="max_completion_tokens")),
        (replace(FULL, output_field="max_completion_tokens"), 422, '["body","max_completion_tokens"]', FULL),
        (FULL, 400, "'temperature' does not support 0.3 with this model", replace(FULL, temperature=False)),
        (FULL, 500, "response_format: bad", replace(FULL, structured=Structured.JSON_OBJECT)),
        (FULL, 501, "Guided decoding is off", replace(FULL, structured=Structured.JSON_OBJECT)),
        (FULL, 404, "no json_schema here", replace(FULL, structured=Structured.JSON_OBJECT)),
        (replace(FULL, structured=Structured.JSON_OBJECT), 400, "grammar", replace(FULL, structured=Structured.NONE)),
        (replace(FULL, structured=Structured.NONE), 400, "grammar", None),
        (replace(FULL, is_fixed=True), 400, "grammar", None),
        (replace(FULL, stream_options=False), 400, "stream_options", None),
        (FULL, 400, "Extra inputs are not permitted", None),
        (FULL, 503, "response_format", None),
        (FULL, 429, "stream_options", None),
        (THINKING, 400, "Extra inputs are not permitted", replace(FULL, may_ask_not_to_think=False)),
        (THINKING, 500, "chat_template_kwargs?", replace(FULL, may_ask_not_to_think=False)),
        (THINKING, 500, "Something broke", None),
    ],
)
def test_a_refusal_tells_what_to_leave_out(
    may: Capabilities, status: int, text: str, left: Capabilities | None
) -> None:
    assert may.without_refused(status, text, is_structured=may.structured is not Structured.NONE) == left


def test_a_request_without_a_schema_is_not_refused_for_its_schema() -> None:
    assert FULL.without_refused(400, "response_format", is_structured=False) is None


def test_once_refused_thinking_is_not_mentioned_again() -> None:
    refused = THINKING.without_refused(400, "enable_thinking", is_structured=True)
    assert refused is not None
    assert refused.thinking_seen() == refused
    assert not refused.asks_not_to_think


def test_what_was_learned_is_forgotten_after_a_day() -> None:
    clock = FrozenClock()
    learned = Learned(FULL, clock, Limits())
    learned.learn(FULL.lowered())
    clock.advance(timedelta(hours=23, minutes=59))
    # Seeing the same again is no reason to believe it for longer.
    learned.learn(FULL.lowered())
    assert learned.current().structured is Structured.JSON_OBJECT
    clock.advance(timedelta(minutes=1))
    assert learned.current() == FULL


def test_the_lowest_step_has_none_below_it() -> None:
    assert FULL.lowered().lowered().lowered().structured is Structured.NONE
    assert replace(FULL, is_fixed=True).lowered().structured is Structured.JSON_SCHEMA
