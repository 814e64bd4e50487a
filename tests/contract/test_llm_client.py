"""What every model promises, of the one that plays back and of the one behind a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from app.cli.fake_moods import Mood
from app.llm.client import LLM, Completion, FailureKind, Finish, LLMFailed, Message, Role, Usage
from app.llm.scripted import ScriptedLLM
from tests.contract.llm_endpoint import ANSWER, MESSAGES, SCHEMA, asking
from tests.fakes.clock import FrozenClock

Entered = Callable[..., AbstractAsyncContextManager[LLM]]


@asynccontextmanager
async def scripted(*, stuck: bool = False, fails: bool = False) -> AsyncIterator[LLM]:
    hold = asyncio.Event() if stuck else None
    answer = LLMFailed(FailureKind.UNREACHABLE, "It does not answer.", attempts=4) if fails else ANSWER
    yield ScriptedLLM([answer] * 3, model="fake", hold=hold, clock=FrozenClock())


@asynccontextmanager
async def over_http(*, stuck: bool = False, fails: bool = False) -> AsyncIterator[LLM]:
    mood = Mood.SILENCE if stuck else Mood.BROKEN if fails else Mood.PLAIN
    async with asking(lambda _number, _received: mood) as asked:
        yield asked.llm


@pytest.fixture(params=[scripted, over_http])
def a_model(request: pytest.FixtureRequest) -> Entered:
    entered: Entered = request.param
    return entered


async def test_an_answer_is_whole_and_was_heard_while_it_came(a_model: Entered) -> None:
    heard: list[str] = []
    async with a_model() as llm:
        completion = await llm.complete(MESSAGES, schema=SCHEMA, max_tokens=500, seconds=20, on_text=heard.append)
        assert (llm.model, llm.window) == ("fake", 100_000)
    assert (completion.text, completion.finish, completion.attempts) == (ANSWER, Finish.STOP, 1)
    assert "".join(heard) == ANSWER
    assert (completion.structured, completion.model) == ("json_schema", "fake")
    assert completion.usage.prompt > completion.usage.completion > 0
    assert completion.seconds >= 0


async def test_without_a_schema_nothing_holds_the_answer(a_model: Entered) -> None:
    async with a_model() as llm:
        assert (await llm.complete(MESSAGES, max_tokens=500, seconds=20)).structured == "none"


async def test_a_failure_says_its_kind(a_model: Entered) -> None:
    async with a_model(fails=True) as llm:
        with pytest.raises(LLMFailed) as caught:
            await llm.complete(MESSAGES, max_tokens=500, seconds=20)
    assert (caught.value.kind, caught.value.attempts) == (FailureKind.UNREACHABLE, 4)
    assert (caught.value.status, caught.value.code()) == (502, "llm_failed")


async def test_time_runs_out(a_model: Entered) -> None:
    async with a_model(stuck=True) as llm:
        with pytest.raises(LLMFailed) as caught:
            await llm.complete(MESSAGES, max_tokens=500, seconds=0.2)
    assert caught.value.kind is FailureKind.DEADLINE
    assert caught.value.usage.prompt > 0
    assert caught.value.usage.estimated


async def test_a_call_can_be_cancelled(a_model: Entered) -> None:
    async with a_model(stuck=True) as llm:
        call = asyncio.create_task(llm.complete(MESSAGES, max_tokens=500, seconds=20))
        for _ in range(5):
            await asyncio.sleep(0)
        call.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_after_three_failed_jobs_it_is_not_asked(a_model: Entered) -> None:
    async with a_model() as llm:
        llm.job_failed()
        llm.job_failed()
        assert (await llm.complete(MESSAGES, max_tokens=500, seconds=20)).text == ANSWER
        llm.job_failed()
        with pytest.raises(LLMFailed) as caught:
            await llm.complete(MESSAGES, max_tokens=500, seconds=20)
        assert (caught.value.kind, caught.value.attempts) == (FailureKind.CIRCUIT_OPEN, 0)
        llm.job_succeeded()
        assert (await llm.complete(MESSAGES, max_tokens=500, seconds=20)).text == ANSWER


async def test_an_estimate_grows_with_the_text(a_model: Entered) -> None:
    async with a_model() as llm:
        assert llm.estimate("") == 0
        assert 0 < llm.estimate("a") <= llm.estimate("a note") < llm.estimate("a note " * 100)


async def test_health_costs_nothing_and_names_the_model(a_model: Entered) -> None:
    async with a_model(fails=True) as llm:
        health = await llm.health()
    assert (health.ok, health.model, health.models) == (True, "fake", ("fake",))


async def test_what_was_scripted_is_played_back_in_its_order() -> None:
    cut = Completion(text="cut", finish=Finish.LENGTH, usage=Usage(10, 2))
    llm = ScriptedLLM(["one", cut, LLMFailed(FailureKind.CONTEXT, "Too long."), lambda said, _schema: said[-1].content])
    assert (await llm.complete(MESSAGES, max_tokens=1, seconds=1)).text == "one"
    assert await llm.complete(MESSAGES, schema=SCHEMA, max_tokens=2, seconds=1) is cut
    with pytest.raises(LLMFailed, match="Too long"):
        await llm.complete(MESSAGES, max_tokens=3, seconds=1)
    echo = await llm.complete([Message(Role.USER, "hello")], max_tokens=4, seconds=1)
    assert (echo.text, echo.finish) == ("hello", Finish.STOP)
    with pytest.raises(LLMFailed, match="no further answer"):
        await llm.complete(MESSAGES, max_tokens=5, seconds=1)
    assert [call.max_tokens for call in llm.calls] == [1, 2, 3, 4, 5]
    assert (llm.calls[1].schema, llm.calls[3].messages) == (SCHEMA, (Message(Role.USER, "hello"),))


async def test_one_function_may_write_every_answer() -> None:
    llm = ScriptedLLM(lambda said, schema: f"{len(said)} {schema is not None}", price_in=2.0, price_out=4.0)
    assert (await llm.complete(MESSAGES, max_tokens=1, seconds=1)).text == "2 False"
    assert (await llm.complete(MESSAGES, schema=SCHEMA, max_tokens=1, seconds=1)).text == "2 True"
    assert llm.cost(Usage(1_000_000, 1_000_000)) == 6.0


async def test_a_scripted_model_waits_until_it_may_answer() -> None:
    hold = asyncio.Event()
    llm = ScriptedLLM(["late"], hold=hold)
    call = asyncio.create_task(llm.complete(MESSAGES, max_tokens=1, seconds=20))
    async with asyncio.timeout(10):
        await llm.asked.wait()
        assert not call.done()
        hold.set()
        assert (await call).text == "late"
