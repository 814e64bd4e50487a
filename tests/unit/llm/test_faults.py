import json

import pytest

from app.llm.client import FailureKind
from app.llm.faults import is_filtered, kind_of, window_in, words_of

OPENAI = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
VLLM = "'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens."
LLAMA = '{"error":{"code":400,"message":"the request exceeds the available context size","n_ctx":2048}}'
MISTRAL = "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"
OTHERS = (
    "prompt is too long: 210000 tokens > 200000 maximum",
    "ContextWindowExceededError",
    "The input token count (9) exceeds the maximum number of tokens allowed",
    "Your request is too large",
    "context_length_exceeded",
)


@pytest.mark.parametrize("text", [OPENAI, VLLM, LLAMA, MISTRAL, *OTHERS])
def test_a_prompt_that_is_too_long_is_recognised_by_the_words_of_many(text: str) -> None:
    assert kind_of(400, text) is FailureKind.CONTEXT


@pytest.mark.parametrize(
    ("text", "window"), [(OPENAI, 8192), (VLLM, 4096), (LLAMA, 2048), (MISTRAL, 32768), ("", None)]
)
def test_some_tell_the_size_of_their_window(text: str, window: int | None) -> None:
    assert window_in(text) == window


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, "", FailureKind.AUTH),
        (403, "", FailureKind.AUTH),
        (400, "No.", FailureKind.REQUEST),
        (404, "", FailureKind.REQUEST),
        (402, "", FailureKind.REQUEST),
        (422, "", FailureKind.REQUEST),
        (302, "", FailureKind.REQUEST),
        (400, "max_tokens is too large: 100000. At most 16384 completion tokens.", FailureKind.REQUEST),
        (400, "context-free grammars are not supported", FailureKind.REQUEST),
        (413, "request entity too large", FailureKind.CONTEXT),
        *((status, "", None) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
        (503, OPENAI, None),
    ],
)
def test_a_number_says_what_can_be_done(status: int, text: str, kind: FailureKind | None) -> None:
    assert kind_of(status, text) is kind


def test_a_filter_in_front_of_the_model_is_no_refused_key() -> None:
    assert is_filtered(403, '{"error":{"code":"content_filter"}}')
    assert is_filtered(400, "Prompt injection detected")
    assert not is_filtered(403, "Forbidden")
    assert not is_filtered(500, "content_filter")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error":{"message":"No such model."}}', "No such model."),
        ('{"error":"No such model."}', "No such model."),
        ('{"message":"No such model."}', "No such model."),
        ('{"detail":[{"loc":["body"],"msg":"Field required"}]}', "Field required"),
        ("plain\n words", "plain words"),
        ("<html><body>Bad gateway", ""),
        ('{"other":1}', ""),
        ("[" * 100_000, "[" * 199 + "…"),
        ("", ""),
        (json.dumps({"error": {"message": "x" * 500}}), "x" * 199 + "…"),
    ],
)
def test_the_words_of_an_endpoint_are_one_short_line(body: str, words: str) -> None:
    assert words_of(body) == words
