"""What becomes of the notes, and what is told of it, when a model fails, refuses, babbles, forgets or lies."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.bank.errors import BudgetSpent, LlmFailed
from app.bank.models import Consolidate
from app.cli.fake_llm import Received
from app.cli.fake_moods import Mood
from app.llm.client import FailureKind, Finish, LLMFailed, Message
from tests.builders import ADMIN, a_note, a_space, silent
from tests.integration.stories import (
    FACTS,
    KEY,
    SPACE,
    Lost,
    a_world,
    by,
    model,
    notes_shown,
    over_http,
    refused,
    without_first,
)

POISON = "xyzzy-4711"
"""What the filter of the stories does not like to read."""
DOWN = LLMFailed(FailureKind.UNREACHABLE, "The model does not answer.", attempts=1)


def always(mood: Mood) -> Callable[[int, Received], Mood]:
    return lambda _number, _received: mood


async def test_a_perfect_model_files_every_note() -> None:
    world = await a_world()
    async with over_http(world) as told:
        result = await told.process.consolidate()
        audit = await told.process.told_truly(result)

    assert (result.status, result.code, result.notes_extracted, result.llm_calls) == ("ok", "", 0, 2)
    assert len(told.endpoint.requests) == 2
    assert [commit.kind.value for commit in audit.commits] == ["consolidation"] * 2
    assert all(commit.model is not None for commit in audit.commits)


HELPLESS = [
    pytest.param(Mood.BROKEN, {}, 8, id="down"),
    pytest.param(Mood.HTML, {}, 8, id="a page of a proxy"),
    pytest.param(Mood.RESET_MID_STREAM, {}, 8, id="broken connections"),
    pytest.param(Mood.TOO_MANY_SECONDS, {"consolidation_timeout": 1}, 2, id="limited for hours"),
    pytest.param(Mood.UNAUTHORIZED, {}, 1, id="wrong key"),
    pytest.param(Mood.NO_MODEL, {}, 1, id="no such model"),
]


@pytest.mark.parametrize(("mood", "settings", "requests"), HELPLESS)
async def test_without_any_answer_notes_are_filed_word_for_word_and_the_result_says_so(
    mood: Mood, settings: dict[str, Any], requests: int, caplog: pytest.LogCaptureFixture
) -> None:
    world = await a_world(**settings)
    async with over_http(world, always(mood)) as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert (result.status, result.code) == ("partial", "llm_failed")
    assert (result.notes_processed, result.notes_extracted, result.notes_remaining) == (6, 6, 0)
    assert [(fault.batch, fault.code) for fault in result.errors] == [(1, "llm_failed"), (2, "llm_failed")]
    assert len(told.endpoint.requests) == requests, "the fault was met as often as it is worth while"
    assert "'event': 'consolidated'" in caplog.text, "it does see what is logged"
    assert KEY not in caplog.text + result.model_dump_json()
    assert told.endpoint.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(("mood", "settings", "requests"), HELPLESS)
async def test_without_any_answer_notes_wait_where_they_are_to_be_left(
    mood: Mood, settings: dict[str, Any], requests: int
) -> None:
    world = await a_world(consolidation_on_uncovered="leave", **settings)
    async with over_http(world, always(mood)) as told:
        await refused(told.process, LlmFailed)
        calls = await told.process.paid_today()
        bad = len(told.endpoint.requests)
    async with over_http(world) as told:
        result = await told.process.consolidate()

    assert bad == requests
    assert calls <= bad
    assert (result.status, result.notes_processed, result.notes_extracted) == ("ok", 6, 0), "nothing was lost by it"


async def test_a_page_or_an_outage_that_passes_is_only_paid_for() -> None:
    world = await a_world()
    async with over_http(world, [Mood.HTML, Mood.UNAVAILABLE, Mood.NO_FINISH]) as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert (result.status, result.notes_extracted) == ("ok", 0)
    assert len(told.endpoint.requests) == result.llm_calls == 5


async def test_rest_tells_apart_who_is_at_fault() -> None:
    world = await a_world(consolidation_on_uncovered="leave", llm_daily_calls=2)
    process = world.process(model(DOWN, DOWN, clock=world.clock))
    async with process.served() as http:
        failed = await http.post(f"/spaces/{SPACE}/bank/consolidate")
        spent = await http.post(f"/spaces/{SPACE}/bank/consolidate")
        waiting = (await http.get(f"/spaces/{SPACE}/notes")).json()["matched"]

        assert (failed.status_code, failed.json()["code"]) == (502, "llm_failed")
        assert (spent.status_code, spent.json()["code"]) == (429, "budget_spent")
        for answer in (failed.json(), spent.json()):
            assert "6 notes still wait" in answer["detail"]
            job = (await http.get(f"/jobs/{answer['job_id']}")).json()
            assert (job["state"], job["result"]["code"]) == ("done", answer["code"])
    assert waiting == 6
    assert len((await world.audit()).waiting) == 6


async def test_a_context_that_is_too_small_ends_in_smaller_batches_and_then_without_the_model() -> None:
    world = await a_world()
    async with over_http(world, always(Mood.CONTEXT_OVERFLOW)) as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert (result.notes_extracted, result.notes_remaining) == (6, 0)
    assert (result.status, result.code) == ("partial", "llm_unusable")
    assert 1 <= len(told.endpoint.requests) <= 8
    assert result.llm_calls == len(told.endpoint.requests)


async def test_a_context_that_was_too_small_once_costs_one_more_request() -> None:
    world = await a_world()
    llm = model(LLMFailed(FailureKind.CONTEXT, "Too long.", attempts=1), clock=world.clock)
    process = world.process(llm)

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.notes_extracted, len(llm.calls)) == ("ok", 0, 4)


def dislikes(word: str) -> Callable[[int, Received], Mood]:
    return lambda _number, received: Mood.FILTERED if word in str(received.messages) else Mood.PLAIN


async def test_a_filter_that_dislikes_one_note_keeps_the_model_from_no_other() -> None:
    poisoned = [*FACTS[:5], ("observation", f"The filter of {POISON} is odd (#106).")]
    world = await a_world(poisoned)
    async with over_http(world, dislikes(POISON)) as told:
        result = await told.process.consolidate()
        audit = await told.process.told_truly(result)

    poison = next(note for note, text in world.written.items() if POISON in text)
    assert (result.status, result.code, result.notes_processed) == ("ok", "", 6)
    assert audit.extracted == {poison}
    met = [received.mood for received in told.endpoint.requests]
    assert met.count(Mood.FILTERED) == 4, "the batch, its half, the note alone, and alone without the bank"


async def test_a_disliked_note_that_is_in_the_bank_by_now_keeps_the_model_from_nothing() -> None:
    poisoned = [("observation", f"The filter of {POISON} is odd (#106)."), *FACTS[:5]]
    world = await a_world(poisoned)
    async with over_http(world, dislikes(POISON)) as told:
        result = await told.process.consolidate()
        audit = await told.process.told_truly(result)
        services = world.process(None).services
        for number in range(3):
            await world.note(services, f"The queue-{number} has port {7000 + number} (#20{number}).")
        later = await told.process.consolidate()
        last = told.endpoint.requests[-1]

    assert (result.status, result.code, result.notes_processed) == ("ok", "", 6)
    assert {POISON in world.written[note] for note in audit.extracted} == {True}
    assert (later.status, later.notes_processed, later.notes_extracted) == ("ok", 3, 0)
    asked = "\n".join(message["content"] for message in last.messages)
    assert POISON in "".join(audit.bank.values())
    assert "=== f1 activeContext.md" in asked, "the model is shown where things are"
    assert POISON not in asked
    assert FACTS[0][1] not in asked, "and not what is there"


async def test_a_model_that_refuses_what_one_space_says_is_there_for_the_others() -> None:
    world = await a_world([("observation", f"The filter of {POISON} is odd (#106).")])
    async with over_http(world, dislikes(POISON)) as told:
        for number in range(4):
            result = await told.process.consolidate()
            assert (result.status, result.notes_extracted) == ("ok", 1)
            await world.note(told.process.services, f"The filter of {POISON} is odd for {number}.5 days.")
        services = told.process.services
        await a_space(services, "beta")
        await a_note(services, "The timeout is 30 s (#1).", space_id="beta")

        other = await services.bank.consolidate("beta", Consolidate(), caller=ADMIN, progress=silent)

    assert (other.status, other.notes_processed, other.notes_extracted, other.llm_calls) == ("ok", 1, 0, 1)


@pytest.mark.parametrize("mood", [Mood.REFUSAL, Mood.CONTENT_FILTER, Mood.FILTERED])
async def test_a_model_that_refuses_everything_is_not_asked_for_ever(mood: Mood) -> None:
    world = await a_world(FACTS * 4, consolidation_batch_size=6)
    async with over_http(world, always(mood)) as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert (result.status, result.code) == ("partial", "llm_unusable")
    assert (result.notes_processed, result.notes_extracted) == (24, 24)
    assert len(told.endpoint.requests) == 8


async def test_what_is_whole_of_a_cut_answer_counts_and_the_rest_is_asked_for_again() -> None:
    world = await a_world()
    perfect = by("perfect")

    def cut(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> str:
        return without_first(perfect(messages, schema), keep=1)

    llm = model(cut, clock=world.clock, finishes=[Finish.LENGTH])
    process = world.process(llm)

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.notes_extracted, result.batches_completed) == ("ok", 0, 3)
    assert len(llm.calls) == 3
    assert FACTS[0][1] not in notes_shown(llm.calls[1].messages), "only what is left of the batch is asked for again"
    assert FACTS[1][1] in notes_shown(llm.calls[1].messages)


@pytest.mark.parametrize("mood", [Mood.LENGTH, Mood.WHITESPACE_FLOOD, Mood.REPETITION])
async def test_an_answer_that_was_cut_off_by_chance_costs_a_smaller_request_and_no_note(mood: Mood) -> None:
    world = await a_world()
    async with over_http(world, [mood]) as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert told.endpoint.requests[0].mood is mood
    assert (result.status, result.code, result.notes_extracted) == ("ok", "", 0)
    assert len(told.endpoint.requests) == result.llm_calls > 2


@pytest.mark.parametrize("mood", [Mood.LENGTH, Mood.WHITESPACE_FLOOD, Mood.REPETITION])
async def test_a_model_that_is_always_cut_off_is_given_up(mood: Mood) -> None:
    world = await a_world(FACTS * 2, consolidation_batch_size=6)
    async with over_http(world, always(mood), author="garbage") as told:
        result = await told.process.consolidate()
        await told.process.told_truly(result)

    assert (result.status, result.code, result.notes_remaining) == ("partial", "llm_unusable", 0)
    assert len(told.endpoint.requests) == 8


@pytest.mark.parametrize(
    "settings",
    [{"llm_daily_calls": 1}, {"llm_daily_cost": 0.000001}],
    ids=["calls", "cost"],
)
@pytest.mark.parametrize("leave", [False, True])
async def test_a_budget_that_is_spent_in_between_stops_the_calls(settings: dict[str, Any], leave: bool) -> None:  # noqa: FBT001 - a case
    world = await a_world(consolidation_on_uncovered="leave" if leave else "extract", **settings)
    llm = model(clock=world.clock, price_in=2.0, price_out=8.0)
    process = world.process(llm)

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.code, len(llm.calls)) == ("partial", "budget", 1)
    assert [(fault.batch, fault.code) for fault in result.errors] == [(2, "budget")]
    assert (result.notes_processed, result.notes_remaining) == ((3, 3) if leave else (6, 0))
    assert result.llm_cost > 0

    if leave:
        await refused(process, BudgetSpent, waiting=3)
        assert len(llm.calls) == 1
        world.clock.advance(timedelta(days=1))
        again = await process.consolidate()
        assert (again.status, again.notes_processed) == ("ok", 3), "tomorrow is another day"


async def test_a_failure_that_comes_after_a_success_leaves_only_the_rest_waiting() -> None:
    world = await a_world(consolidation_on_uncovered="leave")
    process = world.process(model(by("perfect"), clock=world.clock, then=DOWN))

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.code) == ("partial", "llm_failed")
    assert (result.notes_processed, result.notes_remaining, result.notes_extracted) == (3, 3, 0)


async def test_the_model_is_left_alone_after_three_jobs_that_got_nothing_out_of_it() -> None:
    world = await a_world(consolidation_on_uncovered="leave")
    llm = model(*[DOWN] * 6, clock=world.clock)
    process = world.process(llm)
    for _job in range(3):
        await refused(process, LlmFailed)
    assert len(llm.calls) == 6

    situation = await refused(process, LlmFailed)

    assert len(llm.calls) == 6, "nobody asked"
    assert "left alone" in situation.detail
    world.clock.advance(timedelta(minutes=2))
    result = await process.consolidate()
    assert (result.status, result.notes_processed, len(llm.calls)) == ("ok", 6, 8)


async def test_a_job_that_got_something_keeps_the_model_in_use() -> None:
    world = await a_world(consolidation_on_uncovered="leave")
    llm = model(DOWN, DOWN, DOWN, DOWN, by("perfect"), DOWN, clock=world.clock)
    process = world.process(llm)
    for _job in range(2):
        await refused(process, LlmFailed)
    assert (await process.consolidate()).notes_processed == 3

    result = await process.consolidate()

    assert (result.status, result.notes_processed) == ("ok", 3)


async def test_a_dry_run_costs_and_changes_nothing() -> None:
    world = await a_world()
    llm = model(clock=world.clock, price_in=2.0, price_out=8.0)
    process = world.process(llm)

    plan = await process.consolidate(dry_run=True)

    assert (plan.status, plan.batches_total, plan.notes_processed, plan.notes_remaining) == ("planned", 2, 0, 6)
    assert (len(llm.calls), plan.llm_calls, await process.paid_today()) == (0, 0, 0)
    assert plan.estimated_cost > 0
    assert sum(batch.notes for batch in plan.plan) == 6
    assert (await world.audit()).waiting == world.written.keys()
    assert not await world.keys(f"{SPACE}/_jobs/")
    result = await process.consolidate()
    assert result.llm_prompt_tokens <= plan.estimated_prompt_tokens * 2


async def test_notes_beyond_the_most_of_one_run_wait_and_the_result_says_so() -> None:
    world = await a_world(consolidation_max_notes=4)
    process = world.process(model(clock=world.clock))

    result = await process.consolidate()

    audit = await process.told_truly(result)
    assert (result.status, result.code) == ("partial", "limit")
    assert (result.notes_processed, result.notes_remaining) == (4, 2)
    assert sorted(world.written)[-2:] == sorted(audit.waiting), "the oldest go first"


async def test_a_note_too_large_for_a_prompt_is_filed_word_for_word() -> None:
    large = " ".join(f"row-{number}" for number in range(9000))
    world = await a_world([*FACTS, ("observation", f"The table of 2026 (#107): {large}")])
    llm = model(clock=world.clock)
    process = world.process(llm)

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.notes_extracted, result.notes_processed) == ("ok", 1, 7)
    assert not any("row-8999" in notes_shown(call.messages) for call in llm.calls)


async def test_no_waiting_note_means_no_call() -> None:
    world = await a_world([])
    llm = model(clock=world.clock)
    process = world.process(llm)

    result = await process.consolidate()

    await process.told_truly(result)
    assert (result.status, result.notes_processed, len(llm.calls)) == ("ok", 0, 0)


@pytest.mark.parametrize("what", ["waiting", "filed"])
async def test_the_auditor_sees_a_note_that_is_lost(what: str) -> None:
    world = await a_world()
    process = world.process(model(clock=world.clock))
    if what == "filed":
        await process.consolidate()
        opened = await process.services.spaces.open(SPACE)
        files = {path: file.model_copy(update={"content": "# Empty\n"}) for path, file in opened.head.files.items()}
        await process.services.spaces.swap(opened, opened.head.model_copy(update={"files": files, "nonce": "0" * 16}))
    else:
        await world.disk.delete(f"{SPACE}/live/{min(world.written)}")

    with pytest.raises(Lost):
        await world.audit()


async def test_the_check_sees_a_result_that_lies() -> None:
    world = await a_world()
    process = world.process(model(clock=world.clock))
    result = await process.consolidate()
    lies: list[dict[str, Any]] = [
        {"notes_processed": 5},
        {"notes_extracted": 1},
        {"status": "partial"},
        {"llm_calls": 1},
        {"version": 7},
    ]

    for lie in lies:
        with pytest.raises(AssertionError):
            await process.told_truly(result.model_copy(update=lie))
    await process.told_truly(result)


@pytest.mark.parametrize("count", [1, 4])
async def test_a_few_notes_that_no_answer_was_of_use_for_are_not_plainly_ok(count: int) -> None:
    world = await a_world(FACTS[:count])
    async with over_http(world, author=lambda _messages, _schema: "I would rather talk.") as told:
        result = await told.process.consolidate()
        audit = await told.process.told_truly(result)

    assert (result.status, result.code) == ("partial", "llm_unusable")
    assert (result.notes_processed, result.notes_extracted) == (count, count)
    assert [fault.code for fault in result.errors] == ["llm_unusable"]
    assert not audit.waiting
