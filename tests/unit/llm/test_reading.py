import json
from typing import Any

import pytest

from app.llm.client import Finish, Usage
from app.llm.reading import Chunks, ErrorInside, Reading, Unreadable


def taken(*chunks: dict[str, Any]) -> Reading:
    reading = Reading()
    for chunk in chunks:
        reading.take(chunk)
    return reading


def delta(finish: object = None, **said: object) -> dict[str, Any]:
    return {"choices": [{"delta": said, "finish_reason": finish}]}


def test_text_is_put_together_and_reasoning_is_kept_apart() -> None:
    reading = taken(
        delta(role="assistant", content=None),
        delta(reasoning_content="hm "),
        delta(content="a"),
        delta(reasoning="hm"),
        delta(content=[{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "b"}]),
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"object": "unknown"},
        delta("stop"),
    )
    assert (reading.text, "".join(reading.reasoning), reading.finish) == ("ab", "hm hm", Finish.STOP)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("tool_calls", Finish.STOP),
        ("length", Finish.LENGTH),
        ("model_length", Finish.LENGTH),
        ("content_filter", Finish.REFUSED),
        (None, None),
        ("", None),
        (7, None),
    ],
)
def test_the_reason_of_the_end(reason: object, finish: Finish | None) -> None:
    assert taken(delta(reason)).finish is finish


def test_a_refusal_is_one_although_it_ends_like_an_answer() -> None:
    assert taken(delta(refusal="No."), delta("stop")).finish is Finish.REFUSED


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, Usage(7, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}, Usage(7, 3, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 4}, Usage(7, 3, 4)),
        ({"prompt_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 2}}, Usage(7, 0, 0, 2)),
        ({"prompt_tokens": None, "completion_tokens": "3", "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": -7, "completion_tokens": True}, Usage()),
    ],
)
def test_what_an_endpoint_counted_is_taken_as_far_as_it_makes_sense(counted: dict[str, Any], usage: Usage) -> None:
    assert taken({"choices": [], "usage": counted}).usage == usage


def test_the_last_count_is_the_one_that_holds() -> None:
    reading = taken(
        {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}, {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    )
    assert reading.usage == Usage(7, 2)
    assert reading.prompt_tokens == 7
    assert taken({"usage": None}).usage is None
    # Some leave what they had in their cache out of the prompt.
    assert taken({"usage": {"prompt_tokens": 7, "cached_tokens": 100}}).prompt_tokens == 107


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "x", "code": 503}, 503),
        ({"message": "x", "code": "429"}, 429),
        ({"message": "x", "status": 400}, 400),
        ({"message": "x", "code": "rate_limit"}, 500),
        ({"message": "x", "code": 7}, 500),
        ("x", 500),
    ],
)
def test_an_error_in_the_middle_names_its_number_or_is_the_servers_fault(error: object, status: int) -> None:
    with pytest.raises(ErrorInside) as caught:
        taken({"error": error})
    assert caught.value.status == status


def test_an_end_by_an_error_is_an_error() -> None:
    with pytest.raises(ErrorInside):
        taken(delta("error"))


def read(*pieces: bytes) -> tuple[list[Any], bool]:
    chunks = Chunks()
    found = [chunk for piece in pieces for chunk in chunks.feed(piece)]
    return found + ([] if chunks.is_done else chunks.close()), chunks.is_done


def test_a_stream_and_a_whole_body_are_told_apart() -> None:
    assert read(b'data: {"a":1}\n\ndata: [DONE]\n\n') == ([{"a": 1}], True)
    assert read(b'data: {"a":1}\n\n') == ([{"a": 1}], False)
    assert read(b" \n", b'{"a":', b"1}") == ([{"a": 1}], True)
    assert read(b'\xef\xbb\xbf{"a":1}') == ([{"a": 1}], True)
    assert read(b'data: \n\ndata: {"a":1}\n\n') == ([{"a": 1}], False)
    assert read(b": ping\n\n", b'data: {"a":1}\n\n') == ([{"a": 1}], False)


def test_events_with_a_single_line_end_between_them_are_read_all_the_same() -> None:
    assert read(b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n') == ([{"a": 1}, {"b": 2}], True)
    assert read(b'data: {"a":\ndata: 1}\n\n') == ([{"a": 1}], False)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"plain", b": ping\n\n", b"event: x\n\n", b"[1]", b'{"a":', b"data: <html>\n\n", b"data: 7\n\n",
     b"data: " + b"[" * 100_000 + b"\n\n"],
)  # fmt: skip
def test_anything_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body)


def test_a_long_line_is_read_in_time_that_grows_with_its_length_alone() -> None:
    event = b"data: " + json.dumps({"a": "x" * 2_000_000}).encode() + b"\n\n"
    found, _ = read(*(event[start : start + 1000] for start in range(0, len(event), 1000)))
    assert len(found[0]["a"]) == 2_000_000
