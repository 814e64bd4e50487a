"""Everything an endpoint may do with a request, on a real socket, and what the client makes of it."""

import asyncio
import io
import itertools
import json
import logging
import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from math import ceil
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from app.cli.fake_authors import Json
from app.cli.fake_llm import FakeEndpoint, Received
from app.cli.fake_moods import Mood
from app.core.logging import configure_logging
from app.llm.client import Completion, FailureKind, Finish, LLMFailed, Message, Role, Usage
from app.llm.openai import OpenAILLM
from app.llm.tokens import count_messages
from tests.contract.llm_endpoint import ANSWER, KEY, MESSAGES, SCHEMA, SHORT, TLS, Asked, answering, asking, writes
from tests.fakes.clock import FrozenClock
from tests.fakes.sleeper import Sleeper

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
STALLED = replace(SHORT, between_chunks=0.5)


def always(mood: Mood) -> Callable[[int, Received], Mood]:
    return lambda _number, _received: mood


async def ask(asked: Asked, *, seconds: float = 20, schema: Json | None = SCHEMA, max_tokens: int = 500) -> Completion:
    return await asked.llm.complete(
        MESSAGES, schema=schema, max_tokens=max_tokens, seconds=seconds, on_text=asked.heard.append
    )


async def failure(asked: Asked, *, seconds: float = 20) -> LLMFailed:
    with pytest.raises(LLMFailed) as caught:
        await ask(asked, seconds=seconds)
    return caught.value


@pytest.mark.parametrize(
    ("mood", "is_told"),
    [
        (Mood.PLAIN, True),
        (Mood.PINGS, True),
        (Mood.CRLF, True),
        (Mood.CR, True),
        (Mood.UTF8_SPLIT, True),
        (Mood.LINE_SEPARATOR, True),
        (Mood.REASONING, True),
        (Mood.JSON_BODY, True),
        (Mood.NO_DONE, True),
        (Mood.NO_USAGE, False),
    ],
)
async def test_every_good_answer_is_read_exactly_in_one_request(mood: Mood, is_told: bool) -> None:  # noqa: FBT001 - a table
    async with asking([mood]) as asked:
        completion = await ask(asked)
    assert completion.text == ANSWER
    assert completion.finish is Finish.STOP
    assert "".join(asked.heard) == ANSWER
    assert (completion.attempts, len(asked.requests), completion.structured) == (1, 1, "json_schema")
    assert completion.usage.estimated is not is_told
    told = sum(-(-len(message.content.encode()) // 4) for message in MESSAGES)
    assert completion.usage.prompt == told if is_told else completion.usage.prompt >= told
    assert completion.usage.completion > 0
    assert completion.usage.reasoning == (12 if mood is Mood.REASONING else 0)


@pytest.mark.parametrize(
    ("moods", "waits", "is_paid"),
    [
        ([Mood.TOO_MANY_SECONDS], [3.0], False),
        ([Mood.TOO_MANY_DATE], [3.0], False),
        ([Mood.TOO_MANY_EPOCH], [3.0], False),
        ([Mood.UNAVAILABLE, Mood.UNAVAILABLE], [None, None], False),
        ([Mood.RESET_BEFORE_HEADERS], [None], True),
        ([Mood.RESET_MID_STREAM], [None], True),
        ([Mood.NO_FINISH], [None], True),
        ([Mood.STALL], [None], True),
        ([Mood.ERROR_IN_STREAM], [None], True),
        ([Mood.HTML], [None], True),
    ],
)
async def test_what_may_pass_is_tried_again_and_succeeds(
    moods: list[Mood],
    waits: list[float | None],
    is_paid: bool,  # noqa: FBT001 - a table
) -> None:
    async with asking(moods, limits=STALLED if Mood.STALL in moods else SHORT) as asked:
        completion = await ask(asked)
    assert (completion.text, completion.finish) == (ANSWER, Finish.STOP)
    assert completion.attempts == len(asked.requests) == len(moods) + 1
    assert [seen.mood for seen in asked.requests] == [*moods, Mood.PLAIN]
    for number, (waited, wanted) in enumerate(zip(asked.sleeper.waited, waits, strict=True)):
        if wanted is None:
            assert 0.1 * 2**number <= waited <= 0.2 * 2**number
        else:
            assert waited == pytest.approx(wanted, abs=1.0)
            assert waited > 0
    # What was sent and lost has to be paid, so it is counted, by us.
    once = sum(-(-len(message.content.encode()) // 4) for message in MESSAGES)
    assert (completion.usage.prompt > once) is is_paid
    assert completion.usage.estimated is is_paid


@pytest.mark.parametrize(
    ("mood", "kind", "requests"),
    [
        (Mood.CONTEXT_OVERFLOW, FailureKind.CONTEXT, 1),
        (Mood.UNAUTHORIZED, FailureKind.AUTH, 1),
        (Mood.NO_MODEL, FailureKind.REQUEST, 1),
        (Mood.REDIRECT, FailureKind.REQUEST, 1),
        (Mood.BROKEN, FailureKind.UNREACHABLE, 4),
        (Mood.UNAVAILABLE, FailureKind.UNREACHABLE, 4),
        (Mood.RESET_BEFORE_HEADERS, FailureKind.UNREACHABLE, 4),
        (Mood.HTML, FailureKind.UNREACHABLE, 4),
    ],
)
async def test_what_does_not_pass_fails_for_the_right_reason(mood: Mood, kind: FailureKind, requests: int) -> None:
    async with asking(always(mood)) as asked:
        error = await failure(asked)
    assert error.kind is kind
    assert error.attempts == len(asked.requests) == requests
    assert asked.heard == []
    is_paid = mood in {Mood.RESET_BEFORE_HEADERS, Mood.HTML}
    assert (error.usage.prompt > 0) is is_paid
    assert error.usage.estimated is is_paid


@pytest.mark.parametrize(
    ("mood", "finish", "structured"),
    [
        (Mood.WHITESPACE_FLOOD, Finish.WHITESPACE_FLOOD, "json_object"),
        (Mood.REPETITION, Finish.REPETITION, "json_object"),
        (Mood.LENGTH, Finish.LENGTH, "json_schema"),
        (Mood.CONTENT_FILTER, Finish.REFUSED, "json_schema"),
        (Mood.REFUSAL, Finish.REFUSED, "json_schema"),
        (Mood.FILTERED, Finish.REFUSED, "json_schema"),
    ],
)
async def test_an_answer_of_no_use_says_why_after_one_request(mood: Mood, finish: Finish, structured: str) -> None:
    async with asking([mood]) as asked:
        completion = await ask(asked)
        assert (completion.finish, completion.attempts, len(asked.requests)) == (finish, 1, 1)
        # A model that runs wild under a grammar is asked for less of it the next time.
        assert (await ask(asked)).structured == structured


@pytest.mark.parametrize("mood", [Mood.WHITESPACE_FLOOD, Mood.REPETITION, Mood.TOO_LONG])
async def test_an_answer_without_an_end_is_cut_off_and_the_endpoint_sees_it(mood: Mood) -> None:
    async with asking([mood], limits=replace(SHORT, longest=20_000)) as asked:
        completion = await ask(asked)
        async with asyncio.timeout(10):
            await asked.requests[0].gone.wait()
    assert completion.finish is Finish(mood.value.replace("-", "_"))
    assert completion.usage.estimated
    assert completion.usage.completion > 0


@pytest.mark.parametrize("mood", [Mood.WHITESPACE_FLOOD, Mood.REPETITION])
async def test_without_watchdogs_such_an_answer_goes_on_and_on(mood: Mood) -> None:
    async with asking([mood], limits=replace(SHORT, whitespace=10**9, repetition_after=10**9)) as asked:
        length, enough = 0, asyncio.Event()

        def count(text: str) -> None:
            nonlocal length
            length += len(text)
            if length > 2 * (SHORT.whitespace + SHORT.repetition_after):
                enough.set()

        call = asyncio.create_task(asked.llm.complete(MESSAGES, max_tokens=10, seconds=20, on_text=count))
        async with asyncio.timeout(20):
            await enough.wait()
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(
    ("mood", "requests", "then"),
    [
        (Mood.NO_STREAM_OPTIONS, 2, {"stream_options": None, "max_tokens": 500}),
        (Mood.NO_JSON_SCHEMA, 2, {"response_format": {"type": "json_object"}}),
        (Mood.NO_RESPONSE_FORMAT, 3, {"response_format": None}),
        (Mood.NO_MAX_TOKENS, 2, {"max_tokens": None, "max_completion_tokens": 500}),
    ],
)
async def test_what_an_endpoint_does_not_know_is_learned_within_one_attempt(
    mood: Mood, requests: int, then: dict[str, Any]
) -> None:
    async with asking(always(mood)) as asked:
        first = await ask(asked)
        assert (first.text, first.attempts, len(asked.requests)) == (ANSWER, 1, requests)
        assert asked.sleeper.waited == []
        assert {name: asked.requests[-1].body.get(name) for name in then} == then
        assert first.usage.estimated is (mood is Mood.NO_STREAM_OPTIONS)
        # It is known now.
        await ask(asked)
        assert len(asked.requests) == requests + 1
        # And asked again a day later, since the endpoint may have learned something too.
        asked.clock.advance(_DAY)
        await ask(asked)
        assert len(asked.requests) == 2 * requests + 1


async def test_an_endpoint_that_refuses_everything_in_turn_is_not_asked_without_end() -> None:
    refused = itertools.cycle(
        [Mood.NO_STREAM_OPTIONS, Mood.NO_JSON_SCHEMA, Mood.NO_RESPONSE_FORMAT, Mood.NO_MAX_TOKENS]
    )
    moods = list(itertools.islice(refused, 4))
    async with asking(moods) as asked:
        completion = await ask(asked)
        assert (completion.attempts, completion.structured) == (1, "none")
        assert len(asked.requests) == 5
    few = replace(SHORT, refused_options=2)
    async with asking(moods, limits=few) as asked:
        assert (await failure(asked)).kind is FailureKind.REQUEST
        assert len(asked.requests) == 3


async def test_what_an_operator_chose_is_not_lowered() -> None:
    async with asking(always(Mood.NO_JSON_SCHEMA), structured="json_schema") as asked:
        assert (await failure(asked)).kind is FailureKind.REQUEST
        assert len(asked.requests) == 1
    async with asking(structured="none") as asked:
        assert (await ask(asked)).structured == "none"
        assert "response_format" not in asked.requests[0].body


async def test_pings_alone_are_no_answer_and_content_resets_the_patience() -> None:
    async with asking([Mood.PINGS_ONLY], limits=replace(SHORT, first_byte=0.5)) as asked:
        completion = await ask(asked)
    assert (completion.text, completion.attempts) == (ANSWER, 2)
    # A client that takes any sign of life for progress would wait until the deadline.
    async with asking([Mood.PINGS_ONLY]) as asked:
        assert (await failure(asked, seconds=0.7)).kind is FailureKind.DEADLINE


@pytest.mark.parametrize("mood", [Mood.SILENCE, Mood.STALL, Mood.PINGS_ONLY])
async def test_one_deadline_covers_all_attempts(mood: Mood) -> None:
    async with asking(always(mood), limits=replace(SHORT, first_byte=0.4, between_chunks=0.4)) as asked:
        error = await failure(asked, seconds=0.6)
        assert error.kind is FailureKind.DEADLINE
        assert 1 <= error.attempts == len(asked.requests) < 4
        assert error.usage.prompt > 0
        assert error.usage.estimated


@pytest.mark.parametrize("mood", [Mood.SILENCE, Mood.STALL, Mood.PINGS_ONLY, Mood.TOO_LONG])
async def test_the_deadline_cuts_into_an_attempt_that_breaks_no_other_limit(mood: Mood) -> None:
    async with asking([mood], limits=replace(SHORT, longest=10**9)) as asked, asyncio.timeout(15):
        error = await failure(asked, seconds=0.4)
        assert (error.kind, error.attempts) == (FailureKind.DEADLINE, 1)
        await asked.requests[0].gone.wait()


async def test_a_delay_beyond_the_deadline_fails_at_once() -> None:
    async with asking([Mood.TOO_MANY_SECONDS]) as asked:
        error = await failure(asked, seconds=2)
        assert (error.kind, error.attempts, asked.sleeper.waited) == (FailureKind.DEADLINE, 1, [])
        assert "3 seconds" in error.detail
    async with asking() as asked:
        assert (await failure(asked, seconds=0)).kind is FailureKind.DEADLINE
        assert not asked.requests


async def test_cancelling_closes_the_connection_and_the_endpoint_sees_it() -> None:
    async with asking([Mood.STALL]) as asked:
        started = asyncio.Event()
        call = asyncio.create_task(
            asked.llm.complete(MESSAGES, max_tokens=10, seconds=20, on_text=lambda _text: started.set())
        )
        async with asyncio.timeout(10):
            await started.wait()
            assert not asked.requests[0].gone.is_set()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asked.requests[0].gone.wait()
        assert len(asked.requests) == 1


async def test_a_prompt_that_was_cut_in_silence_is_found_out() -> None:
    async with asking([Mood.FRONT_TRUNCATION]) as asked:
        error = await failure(asked)
        assert (error.kind, len(asked.requests)) == (FailureKind.CONTEXT, 1)
        assert error.usage.prompt < 0.45 * count_messages(MESSAGES)
        assert not error.usage.estimated
        # That much is what the endpoint takes, as far as is known now.
        assert asked.llm.window == error.usage.prompt
        assert asked.llm.estimate("a" * 3000) == 1150
        asked.clock.advance(_DAY)
        assert asked.llm.window == 100_000
    # An endpoint that does not count cannot be found out.
    async with asking(lambda _number, _received: Mood.NO_USAGE) as asked:
        assert (await ask(asked)).text == ANSWER


async def test_an_overflow_tells_the_size_of_the_window() -> None:
    async with asking([Mood.CONTEXT_OVERFLOW]) as asked:
        await failure(asked)
        assert asked.llm.window == 4096


async def test_the_estimate_follows_what_the_endpoint_counts() -> None:
    async with asking() as asked:
        before = asked.llm.estimate("x" * 3000)
        await ask(asked)
        assert before == 1150
        # It counts four bytes for a token where the rule of thumb takes three.
        assert 750 < asked.llm.estimate("x" * 3000) < 863


async def test_a_request_says_what_it_must_and_nothing_else() -> None:
    async with asking() as asked:
        messages = [*MESSAGES, Message(Role.ASSISTANT, '{"ops":[]}'), Message(Role.USER, '\n {"again": "é"}')]
        await asked.llm.complete(messages, schema=SCHEMA, max_tokens=10**7, seconds=20)
        seen = asked.requests[0]
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert set(seen.body) == {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "temperature",
        "response_format",
    }
    assert seen.body["stream"] is True
    assert seen.body["temperature"] == 0.3
    assert seen.body["max_tokens"] == 100_000 - ceil(1.15 * count_messages(messages))
    assert seen.body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
    assert b"\\u" not in seen.raw
    assert "décision de Zoé" in seen.raw.decode()
    assert [message["role"] for message in seen.messages] == ["system", "user", "assistant", "user"]
    assert not any(message["content"].lstrip().startswith("{") for message in seen.messages)
    assert seen.messages[2]["content"].endswith('{"ops":[]}')


async def test_half_a_letter_in_a_prompt_is_not_the_end_of_the_call() -> None:
    async with asking() as asked:
        await asked.llm.complete([Message(Role.USER, "broken \ud83d here")], max_tokens=10, seconds=20)
        assert asked.requests[0].messages[0]["content"] == "broken ? here"


async def test_a_model_that_thinks_is_asked_not_to_where_that_is_known() -> None:
    async with asking([Mood.REASONING]) as asked:
        await ask(asked)
        await ask(asked)
        assert "chat_template_kwargs" not in asked.requests[0].body
        assert asked.requests[1].body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_an_endpoint_that_knows_no_such_question_is_not_asked_again() -> None:
    def refusing(_number: int, received: Received) -> Mood:
        return Mood.NO_EXTRAS if "chat_template_kwargs" in received.body else Mood.REASONING

    async with asking(refusing) as asked:
        for _ in range(3):
            assert (await ask(asked)).attempts == 1
        sent = ["chat_template_kwargs" in seen.body for seen in asked.requests]
        assert sent == [False, True, False, False]


async def test_the_circuit_opens_after_three_failed_jobs_and_lets_one_call_try() -> None:
    async with asking([Mood.BROKEN] * 4) as asked:
        for _ in range(2):
            asked.llm.job_failed()
        asked.llm.job_succeeded()
        for _ in range(2):
            asked.llm.job_failed()
        assert asked.llm.estimate("x") == 1
        asked.llm.job_failed()
        assert (await failure(asked)).kind is FailureKind.CIRCUIT_OPEN
        assert not asked.requests
        asked.clock.advance(_MINUTE)
        assert (await failure(asked)).kind is FailureKind.UNREACHABLE
        assert (await failure(asked)).kind is FailureKind.CIRCUIT_OPEN
        asked.clock.advance(_MINUTE)
        assert (await ask(asked)).text == ANSWER
        # The rest of the job that tried is let through.
        assert (await ask(asked)).text == ANSWER
        assert len(asked.requests) == 6


async def test_health_lists_the_models_once_a_minute_and_pays_nothing() -> None:
    async with asking(served_window=32_768) as asked:
        assert asked.llm.window == 100_000
        first, *others = await asyncio.gather(*(asked.llm.health() for _ in range(5)))
        assert first.ok
        assert all(other is first for other in others)
        assert first.models == ("fake",)
        assert asked.llm.window == 32_768
        asked.clock.advance(_MINUTE)
        assert (await asked.llm.health()).ok
        assert (len(asked.endpoint.listings), len(asked.requests)) == (2, 0)
        assert asked.endpoint.listings[0].headers["authorization"] == f"Bearer {KEY}"
    async with asking(model="another") as asked:
        health = await asked.llm.health()
        assert (health.ok, health.models) == (False, ("fake",))
        assert "no model 'another'" in health.message


async def test_health_never_raises_and_says_what_is_wrong() -> None:
    async with asking() as asked:
        pass
    closed = await asked.llm.health()
    assert (closed.ok, closed.message) == (False, "The model is not in use.")
    llm = _client("http://127.0.0.1:9/v1")
    async with llm.opened():
        gone = await llm.health()
        assert not gone.ok
        assert "does not answer" in gone.message
        assert KEY not in str(gone)
    endpoint = FakeEndpoint()
    async with endpoint.serving() as url:
        llm = _client(url.removesuffix("/v1"))
        async with llm.opened():
            assert "404" in (await llm.health()).message


def _client(url: str, key: str = KEY) -> OpenAILLM:
    clock = FrozenClock()
    return OpenAILLM(url=url, key=SecretStr(key), model="fake", clock=clock, limits=SHORT, tls=TLS, sleep=Sleeper())


async def test_an_endpoint_that_is_not_there_costs_nothing() -> None:
    llm = _client("http://127.0.0.1:9/v1")
    async with llm.opened():
        with pytest.raises(LLMFailed) as caught:
            await llm.complete(MESSAGES, max_tokens=10, seconds=20)
    assert (caught.value.kind, caught.value.attempts) == (FailureKind.UNREACHABLE, 4)
    assert caught.value.usage == Usage()


async def test_the_cost_is_that_of_the_prices() -> None:
    async with asking() as asked:
        assert asked.llm.cost(Usage(prompt=1_000_000, completion=500_000)) == pytest.approx(5.8)
        assert asked.llm.cost(Usage()) == 0


async def test_outside_of_its_context_it_is_not_usable_and_it_opens_again() -> None:
    async with asking() as asked:
        async with asyncio.timeout(10):
            assert (await ask(asked)).text == ANSWER
    with pytest.raises(RuntimeError, match="opened"):
        await ask(asked)


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


async def test_a_proxy_of_the_environment_does_not_matter() -> None:
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), nowhere)
    with environment(**proxies, NO_PROXY="", no_proxy=""):
        async with asking() as asked:
            assert (await ask(asked)).text == ANSWER
            assert (await asked.llm.health()).ok
        # The same environment does lead astray who listens to it.
        async with FakeEndpoint().serving() as url, httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{url}/models")


async def test_splitting_text_into_lines_would_lose_every_chunk_with_a_separator_in_it() -> None:
    endpoint = FakeEndpoint([Mood.LINE_SEPARATOR], writes(ANSWER))
    async with endpoint.serving() as url, httpx.AsyncClient(trust_env=False) as client:
        body = {"model": "fake", "messages": []}
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: {")]
    assert lines
    for line in lines:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)


@pytest.mark.parametrize(
    "mood",
    [
        Mood.PLAIN,
        Mood.UNAUTHORIZED,
        Mood.BROKEN,
        Mood.RESET_MID_STREAM,
        Mood.HTML,
        Mood.NO_STREAM_OPTIONS,
        Mood.REDIRECT,
    ],
)
async def test_the_key_is_in_no_log_error_or_text(mood: Mood) -> None:
    written = io.StringIO()
    chatty = ("httpx", "httpcore", "asyncio")
    configure_logging(level="DEBUG", stream=written)
    for name in chatty:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        async with asking(always(mood)) as asked:
            shown = [repr(asked.llm), str(asked.llm)]
            try:
                shown.append(repr(await ask(asked)))
            except LLMFailed as error:
                log = structlog.get_logger("test")
                log.exception("call_failed")
                log.warning("call_failed", error=error, detail=error.detail)
                shown += _everything_said(error)
            shown.append(repr(await asked.llm.health()))
            # It was sent, so there was something to leak.
            assert asked.requests[0].headers["authorization"].endswith(KEY)
    finally:
        for name in chatty:
            logging.getLogger(name).setLevel(logging.WARNING)
        configure_logging(level="INFO")
    assert written.getvalue()
    assert KEY not in written.getvalue() + "".join(shown)
    assert "Zoé" not in written.getvalue()


def _everything_said(error: BaseException | None) -> list[str]:
    said: list[str] = []
    while error is not None:
        said += [str(error), repr(error), *traceback.format_exception(error)]
        said += map(repr, vars(error).values())
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize(
    "url",
    ["", "localhost:11434/v1", "ftp://host/v1", "https://", "https://name:secret-word@host/v1", "http://host:99999/v1",
     "https://host/v1?key=secret-word"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match="address of the model") as caught:
        _client(url)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("key", ["clé-secret-word", "two secret-word", "line\nsecret-word"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="key of the model") as caught:
        _client("http://host/v1", key)
    assert "secret-word" not in "".join(_everything_said(caught.value))


async def test_many_calls_at_once_do_not_mix() -> None:
    def author(messages: list[dict[str, str]], _schema: Json | None) -> str:
        return f"You said {messages[-1]['content']}"

    async with asking(author=author) as asked:
        said = await asyncio.gather(
            *(asked.llm.complete([Message(Role.USER, str(n))], max_tokens=9, seconds=20) for n in range(12))
        )
    assert [completion.text for completion in said] == [f"You said {n}" for n in range(12)]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


GOOD = http(b'data: {"choices":[{"delta":{"content":"good"},"finish_reason":"stop"}]}\n\n')


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(b'data: {"error":{"message":"No.","code":400}}\n\n'), "good"),
        (http(b'data: {"error":"maximum context length is 512"}\n\n'), FailureKind.CONTEXT),
        (http(b'data: {"error":{"message":"The prompt is too long.","code":400}}\n\n'), FailureKind.CONTEXT),
        (http(b'data: {"error":{"message":"No.","code":401}}\n\n'), FailureKind.AUTH),
        (http(b'data: {"error":{"message":"jailbreak","code":400}}\n\n'), Finish.REFUSED),
        (http(b'data: {"choices":[{"finish_reason":"error"}]}\n\n'), "good"),
        (http(b"data: {broken\n\n"), "good"),
        (http(b'{"error":{"message":"Busy."}}'), "good"),
        (http(b""), "good"),
        (http(b"not gzip", "200 OK", "Content-Encoding: gzip"), "good"),
        (http(b"not gzip", "400 Bad", "Content-Encoding: gzip"), FailureKind.REQUEST),
        (http(b"x" * 300_000, "400 Bad"), FailureKind.REQUEST),
        (http(b"", "204 No Content"), FailureKind.REQUEST),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: {}\n\n", "good"),
        (b"SSH-2.0\r\n\r\n", "good"),
        (http(b'data: {"choices":[{"delta":{"content":"good"}}]}\ndata: [DONE]\n'), "good"),
    ],
)
async def test_stranger_answers_are_understood_too(answer: bytes, outcome: str | FailureKind | Finish) -> None:
    async with answering(answer, GOOD) as url:
        llm = _client(url)
        async with llm.opened():
            call = llm.complete(MESSAGES, schema=SCHEMA, max_tokens=10, seconds=20)
            if isinstance(outcome, FailureKind):
                with pytest.raises(LLMFailed) as caught:
                    await call
                assert caught.value.kind is outcome
                return
            completion = await call
    assert outcome in (completion.text, completion.finish)


async def test_an_answer_that_is_nothing_but_surroundings_is_cut_off() -> None:
    padded = http(b'data: {"choices":[],"padding":"' + b"x" * 200_000 + b'"}\n\n')
    async with answering(padded) as url:
        llm = OpenAILLM(
            url=url, key=None, model="m", clock=FrozenClock(), limits=replace(SHORT, longest_body=100_000), tls=TLS
        )
        async with llm.opened():
            completion = await llm.complete(MESSAGES, max_tokens=10, seconds=20)
    assert (completion.finish, completion.text) == (Finish.TOO_LONG, "")


async def test_health_takes_nothing_for_a_list_of_models_that_is_none() -> None:
    async with answering(http(b"<html>")) as url:
        llm = _client(url)
        async with llm.opened():
            health = await llm.health()
    assert not health.ok
    assert "does not list its models" in health.message


@pytest.mark.parametrize("error", [TimeoutError, KeyError])
async def test_an_error_of_the_listener_is_the_listeners(error: type[Exception]) -> None:
    def fails(_text: str) -> None:
        raise error

    async with asking() as asked:
        with pytest.raises(error):
            await asked.llm.complete(MESSAGES, max_tokens=10, seconds=20, on_text=fails)
        assert len(asked.requests) == 1
        assert (await ask(asked)).text == ANSWER


async def test_whatever_happens_a_call_ends_in_time_with_few_requests() -> None:
    hasty = replace(SHORT, first_byte=0.5, between_chunks=0.3, without_content=0.3, longest=20_000)

    async def once(seed: int) -> str:
        moods = random.Random(seed).choices(list(Mood), k=12)  # noqa: S311 - the same ones in every run
        async with asking(moods, limits=hasty) as asked, asyncio.timeout(30):
            try:
                outcome = (await ask(asked, seconds=3)).finish.value
            except LLMFailed as error:
                outcome = error.kind.value
            assert 1 <= len(asked.requests) <= SHORT.attempts * (1 + SHORT.refused_options)
            return outcome

    outcomes = await asyncio.gather(*(once(seed) for seed in range(24)))
    assert len(set(outcomes)) > 5


@pytest.mark.parametrize(("length", "is_well"), [(1_000, True), (20_000, False)])
async def test_health_reads_no_more_than_a_list_of_models(length: int, *, is_well: bool) -> None:
    listing = json.dumps({"data": [{"id": "m", "description": "x" * length}]}).encode()
    async with answering(http(listing)) as url:
        llm = OpenAILLM(
            url=url, key=None, model="m", clock=FrozenClock(), limits=replace(SHORT, longest_listing=10_000), tls=TLS
        )
        async with llm.opened():
            health = await llm.health()
    assert health.ok is is_well
    assert ("more than a list of models" in health.message) is not is_well
