"""What becomes of the notes, and what is told of it, when the store fails, people step in or two do the same."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.bank.errors import ConsolidationRunning
from app.bank.versions.revisions import BankWrite
from app.cli.fake_authors import AUTHORS
from app.core.errors import Situation, StoreUnavailable
from app.gc.models import Collect
from app.jobs.errors import Cancelled
from app.jobs.models import JobState
from app.llm.client import Message
from app.llm.scripted import ScriptedLLM
from app.spaces.errors import SpaceNotFound
from app.spaces.models import SpaceRulesUpdate
from tests.builders import ADMIN, RULES, a_caller, a_note, a_space, silent
from tests.integration.stories import SPACE, Process, Scripted, World, a_world, model

HEAD = f"{SPACE}/_bank.json"
HISTORY = f"{SPACE}/_history/"
LEDGER = f"{SPACE}/_usage/"
ANSWERS = f"{SPACE}/_jobs/answers/"
JOBS = f"{SPACE}/_jobs/"


async def all_wait(world: World) -> None:
    assert (await world.audit()).waiting == world.written.keys()


class Held:
    """A process whose model has been asked, and does not answer before it is told to."""

    def __init__(self, world: World, **request: Any) -> None:
        self.go_on = asyncio.Event()
        self.llm: Scripted = model(clock=world.clock, hold=self.go_on)
        self.process: Process = world.process(self.llm)
        self.running = asyncio.create_task(self.process.consolidate(**request))

    async def asked(self) -> None:
        async with asyncio.timeout(20):
            await self.llm.asked.wait()
        self.llm.asked.clear()

    async def answer(self) -> Any:
        """Let it answer, whatever it is asked; what the caller gets."""
        self.go_on.set()
        async with asyncio.timeout(20):
            return await self.running

    async def answer_once(self) -> None:
        """Let it answer, and wait until it is asked again."""
        self.go_on.set()
        self.llm.heard.clear()
        async with asyncio.timeout(20):
            await self.llm.heard.wait()
        self.go_on.clear()
        await self.asked()


async def test_a_store_that_fails_at_the_first_commit_leaves_every_note_and_keeps_the_answer() -> None:
    world = await a_world()
    llm = model(clock=world.clock)
    process = world.process(llm)
    fault = process.store.fail("replace", key=HEAD)

    with pytest.raises(StoreUnavailable):
        await process.consolidate()
    await process.services.runner.idle()

    assert fault.met == 1
    await all_wait(world)
    process.store.heal()
    result = await process.consolidate()
    await world.audit()
    assert (result.status, result.notes_processed, result.llm_calls) == ("ok", 6, 1)
    assert len(llm.calls) == 2, "the answer that had been paid was not paid again"


async def test_a_store_that_fails_at_the_second_commit_leaves_the_rest_and_keeps_its_answer() -> None:
    world = await a_world()
    llm = model(clock=world.clock)
    process = world.process(llm)
    fault = process.store.fail("replace", key=HEAD, nth=2)

    result = await process.consolidate()

    assert fault.met == 1
    await process.told_truly(result)
    assert (result.status, result.code) == ("partial", "store_unavailable")
    assert (result.notes_processed, result.notes_remaining) == (3, 3)
    again = await process.consolidate()
    await world.audit()
    assert (again.status, again.notes_processed, again.llm_calls) == ("ok", 3, 0)
    assert len(llm.calls) == 2


async def test_a_store_that_is_lost_after_the_first_commit_does_not_hide_that_commit() -> None:
    world = await a_world()
    process = world.process(model(clock=world.clock))
    commit = process.store.fail("replace", key=HEAD, nth=2)

    async def lose_it(method: str, key: str) -> None:
        if commit.met:
            process.store.fail(method, key=key)

    process.store.before = lose_it
    result = await process.consolidate()

    assert commit.met == 1
    assert (result.status, result.code, result.notes_processed) == ("partial", "commit_unknown", 3)
    assert result.notes_remaining == 3
    audit = await world.audit()
    assert len(audit.waiting) == 3


async def test_a_lost_reply_at_the_commit_is_found_out() -> None:
    world = await a_world()
    llm = model(clock=world.clock)
    process = world.process(llm)
    fault = process.store.fail("replace", key=HEAD, applied=True)

    result = await process.consolidate()

    assert fault.met == 1
    await process.told_truly(result)
    assert (result.status, result.notes_processed, len(llm.calls)) == ("ok", 6, 2)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    ("methods", "key"),
    [
        ("put", ANSWERS),
        ("get", ANSWERS),
        ("create", JOBS),
        ("delete_many", ANSWERS),
    ],
)
async def test_what_only_saves_money_or_tells_may_fail(methods: str, key: str, applied: bool) -> None:  # noqa: FBT001 - a case
    if applied and methods == "get":
        return
    world = await a_world()
    process = world.process(model(clock=world.clock))
    fault = process.store.fail(methods, key=key, applied=applied)

    result = await process.consolidate()

    assert fault.met == 1
    await world.audit()
    assert (result.status, result.notes_processed, result.llm_calls) == ("ok", 6, 2)


@pytest.mark.parametrize("applied", [False, True])
async def test_a_ledger_that_cannot_be_written_costs_no_answer(applied: bool) -> None:  # noqa: FBT001 - a case
    world = await a_world()
    process = world.process(model(clock=world.clock))
    fault = process.store.fail("create", key=LEDGER, applied=applied)

    result = await process.consolidate()

    assert fault.met == 1
    assert (result.status, result.notes_processed, result.llm_calls) == ("ok", 6, 2)
    assert await process.paid_today() == (2 if applied else 1)
    await world.audit()


async def test_a_ledger_that_cannot_be_read_keeps_a_limited_space_from_asking() -> None:
    world = await a_world(llm_daily_calls=100)
    llm = model(clock=world.clock)
    process = world.process(llm)
    fault = process.store.fail("get", key=LEDGER)

    with pytest.raises(StoreUnavailable):
        await process.consolidate()

    assert (fault.met, len(llm.calls)) == (1, 0)
    await process.services.runner.idle()
    await all_wait(world)


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_record_that_cannot_be_written_stops_just_there(nth: int) -> None:
    world = await a_world()
    process = world.process(model(clock=world.clock))
    fault = process.store.fail("create", key=HISTORY, nth=nth)

    if nth == 1:
        with pytest.raises(StoreUnavailable):
            await process.consolidate()
        await process.services.runner.idle()
        await all_wait(world)
    else:
        result = await process.consolidate()
        await process.told_truly(result)
        assert (result.status, result.code, result.notes_processed) == ("partial", "store_unavailable", 3)
    assert fault.met == 1


async def test_two_at_once_in_one_process_are_told_which_job_runs() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()

    async with held.process.served() as http:
        refused = await http.post(f"/spaces/{SPACE}/bank/consolidate")
        assert (refused.status_code, refused.json()["code"]) == (409, "consolidation_running")
        job = (await http.get(f"/jobs/{refused.json()['job_id']}")).json()
        assert job["state"] == "running"
        result = await held.answer()

    assert result.job_id == refused.json()["job_id"]
    await held.process.told_truly(result)
    assert len(held.llm.calls) == 2


async def test_two_at_once_in_two_processes_are_told_which_job_runs_and_when_to_come_back() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    other_llm = model(clock=world.clock)
    other = world.process(other_llm)

    async with other.served() as http:
        refused = await http.post(f"/spaces/{SPACE}/bank/consolidate")
    result = await held.answer()

    assert (refused.status_code, refused.json()["code"]) == (409, "consolidation_running")
    assert refused.json()["job_id"] == result.job_id
    assert 0 < int(refused.headers["Retry-After"]) <= 65
    assert other_llm.calls == []
    await held.process.told_truly(result)
    assert (await world.process(other_llm).consolidate()).status == "ok", "the lease was given back"


async def test_a_process_that_is_gone_is_waited_for_no_longer_than_its_lease() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    other = world.process(model(clock=world.clock))

    world.clock.advance(timedelta(seconds=62))
    with pytest.raises(ConsolidationRunning) as caught:
        await other.consolidate()
    assert caught.value.extra["job_id"], "named to the end, the seconds of grace included"
    assert caught.value.retry_after == 2 + 1
    world.clock.advance(timedelta(seconds=caught.value.retry_after))
    result = await other.consolidate()
    late = await held.answer()

    assert (result.status, result.notes_processed) == ("ok", 6)
    assert (late.status, late.notes_processed, late.notes_remaining) == ("ok", 0, 0), "everything was filed by then"
    assert len(held.llm.calls) == 1, "who has lost the lease pays for no further batch"
    audit = await world.audit()
    assert set(audit.filed.values()) == {result.job_id}


async def test_a_client_that_goes_away_changes_nothing() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()

    held.running.cancel()
    await asyncio.gather(held.running, return_exceptions=True)
    held.go_on.set()
    await held.process.services.runner.idle()

    audit = await world.audit()
    assert not audit.waiting
    [job_id] = set(audit.filed.values())
    job = await held.process.job(job_id)
    assert (job.state, job.result and job.result["notes_processed"]) == (JobState.DONE, 6)


async def test_a_job_that_is_cancelled_before_its_first_commit_is_an_error_and_files_nothing() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    job_id = await the_job(held.process)

    await held.process.services.jobs.cancel(job_id, caller=ADMIN)
    with pytest.raises(Cancelled):
        await asyncio.wait_for(held.running, 20)

    await all_wait(world)
    job = await held.process.job(job_id)
    assert (job.state, job.result and job.result["code"]) == (JobState.CANCELLED, "cancelled")
    assert [call.outcome for call in job.calls] == ["cancelled"], "a call that was cut off is paid all the same"
    assert await held.process.paid_today() == 1
    held.go_on.set()
    assert (await held.process.consolidate()).notes_processed == 6


async def test_rest_cancels_and_tells_the_one_who_waits() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    held.running.cancel()
    await asyncio.gather(held.running, return_exceptions=True)
    job_id = await the_job(held.process)

    async with held.process.served() as http:
        waiting = asyncio.create_task(http.get(f"/jobs/{job_id}/events"))
        assert (await http.delete(f"/jobs/{job_id}")).status_code == 200
        events = (await asyncio.wait_for(waiting, 20)).text
        job = (await http.get(f"/jobs/{job_id}")).json()

    assert (job["state"], job["result"]["code"]) == ("cancelled", "cancelled")
    assert "event: done" in events
    await all_wait(world)


async def the_job(process: Process) -> str:
    with pytest.raises(ConsolidationRunning) as caught:
        await process.consolidate()
    job_id: str = caught.value.extra["job_id"]
    return job_id


async def test_a_job_that_is_cancelled_after_a_batch_keeps_the_batch() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    job_id = await the_job(held.process)
    await held.answer_once()

    await held.process.services.jobs.cancel(job_id, caller=ADMIN)
    result = await asyncio.wait_for(held.running, 20)

    audit = await world.audit()
    assert (result.status, result.code) == ("partial", "cancelled")
    assert (result.notes_processed, result.notes_remaining) == (3, 3) == (len(audit.filed), len(audit.waiting))
    job = await held.process.job(job_id)
    assert (job.state, job.result) == (JobState.CANCELLED, result.model_dump(mode="json"))


async def test_only_who_started_it_or_an_admin_may_cancel() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    job_id = await the_job(held.process)

    with pytest.raises(Situation, match="only they or an admin"):
        await held.process.services.jobs.cancel(job_id, caller=a_caller("agent-b"))

    assert (await held.answer()).status == "ok"


async def test_an_edit_by_hand_during_the_call_survives() -> None:
    world = await a_world()
    await world.process(None).consolidate()
    services = world.process(None).services
    await world.note(services, "The index of search-api has 12 shards (#201).", category="decision")
    held = Held(world)
    await held.asked()
    before = (await services.spaces.open(SPACE)).head.files["decisions.md"].content
    edited = before + "\nBy hand: ask team-ops first (#900).\n"

    await services.bank.write(SPACE, "decisions.md", BankWrite(content=edited), caller=ADMIN)
    result = await held.answer()

    audit = await held.process.told_truly(result, of=1)
    assert (result.status, result.notes_processed, len(held.llm.calls)) == ("ok", 1, 1)
    assert "By hand: ask team-ops first (#900)." in audit.bank["decisions.md"]
    assert "12 shards (#201)" in "".join(audit.bank.values())
    assert [commit.kind.value for commit in audit.commits][:2] == ["consolidation", "manual"]


async def test_rules_that_change_during_the_call_are_kept_to() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()

    rules = RULES.replace("progress.md", "journal.md")
    await world.process(None).services.spaces.update_rules(SPACE, SpaceRulesUpdate(rules=rules), caller=ADMIN)
    result = await held.answer()

    audit = await held.process.told_truly(result)
    assert (result.status, result.notes_processed) == ("ok", 6)
    assert set(audit.bank) <= {"activeContext.md", "decisions.md", "journal.md"}


async def test_notes_that_somebody_else_files_during_the_call_are_filed_once() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    request = Collect(space_id=SPACE, max_age_days=0, confirm=True, delete_only=True)

    await world.process(None).services.gc.collect(request, caller=ADMIN, progress=silent)
    result = await held.answer()

    assert (result.status, result.notes_processed, result.notes_remaining) == ("ok", 0, 0)
    services = world.process(None).services
    head = (await services.spaces.open(SPACE)).head
    assert (head.version, set(head.note_refs)) == (1, set(world.written))


async def test_notes_that_are_written_during_the_call_wait() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()

    late = await world.note(world.process(None).services, "The proxy speaks TLS 1.3 (#300).", category="decision")
    result = await held.answer()

    audit = await world.audit()
    assert (result.status, result.notes_processed, result.notes_remaining) == ("ok", 6, 0)
    assert audit.waiting == {late}


async def test_a_space_that_is_deleted_during_the_call_stays_deleted() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()

    await world.process(None).services.spaces.delete(SPACE, confirm=True)
    left = set(await world.keys())
    with pytest.raises(SpaceNotFound):
        await held.answer()
    await held.process.services.runner.idle()

    assert set(await world.keys()) == left == {HEAD}, "only the tombstone"
    with pytest.raises(SpaceNotFound):
        await world.process(None).services.spaces.open(SPACE)


async def test_a_space_that_takes_the_name_of_a_deleted_one_gets_nothing_of_it() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    services = world.process(None).services

    await services.spaces.delete(SPACE, confirm=True)
    await a_space(services, SPACE)
    with pytest.raises(SpaceNotFound):
        await held.answer()
    await held.process.services.runner.idle()

    head = (await services.spaces.open(SPACE)).head
    assert (head.version, head.files, head.note_refs, head.history) == (0, {}, {}, None)
    assert not await world.keys(ANSWERS)
    world.written.clear()
    await world.note(services, "A new beginning (#1).")
    fresh = world.process(model(clock=world.clock))
    result = await fresh.consolidate()
    assert (result.status, result.notes_processed) == ("ok", 1)
    await world.audit()


async def test_a_note_whose_object_is_gone_during_the_call_is_not_said_to_be_filed() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    gone = min(world.written)

    await world.disk.delete(f"{SPACE}/live/{gone}")
    del world.written[gone]
    result = await held.answer()

    audit = await held.process.told_truly(result)
    assert (result.status, result.notes_processed, result.notes_remaining) == ("ok", 5, 0)
    assert gone not in audit.filed


async def test_who_does_not_wait_is_told_where_to_ask() -> None:
    world = await a_world()
    process = world.process(model(clock=world.clock))

    async with process.served() as http:
        accepted = await http.post(f"/spaces/{SPACE}/bank/consolidate", json={"wait": False})
        assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")
        await process.services.runner.idle()
        job = (await http.get(f"http://localhost{accepted.headers['Location']}")).json()

    result = job["result"]
    assert (job["state"], result["status"], result["notes_processed"]) == ("done", "ok", 6)
    assert result["job_id"] == accepted.json()["job_id"]
    assert not (await world.audit()).waiting


async def test_a_job_that_cannot_be_announced_is_not_begun_and_blocks_nobody() -> None:
    world = await a_world()
    llm = model(clock=world.clock)
    process = world.process(llm)
    fault = process.store.fail("create", key=JOBS)

    with pytest.raises(StoreUnavailable):
        await process.consolidate(wait=False)

    assert (fault.met, len(llm.calls)) == (1, 0)
    await all_wait(world)
    assert (await world.process(model(clock=world.clock)).consolidate()).notes_processed == 6


async def test_who_has_waited_long_enough_is_told_where_to_ask() -> None:
    world = await a_world(consolidation_wait=0)
    held = Held(world)

    accepted = await asyncio.wait_for(asyncio.shield(held.running), 20)
    await held.asked()
    assert (accepted.status, accepted.notes_processed) == ("accepted", 0)
    await all_wait(world)
    held.go_on.set()
    job = await held.process.job(accepted.job_id)

    assert (job.state, job.result and job.result["notes_processed"]) == (JobState.DONE, 6)


async def test_a_process_that_ends_during_the_call_says_so_and_leaves_every_note() -> None:
    world = await a_world()
    held = Held(world)
    await held.asked()
    job_id = await the_job(held.process)
    stop = held.process.services.runner

    for task, stopping in list(stop._tasks.items()):  # noqa: SLF001 - what the runner does at the end of the process
        if stopping is not None and not task.done():
            stopping()
    with pytest.raises(Situation) as caught:
        await asyncio.wait_for(held.running, 20)

    assert (caught.value.status, caught.value.code()) == (503, "interrupted")
    await all_wait(world)
    job = await held.process.job(job_id)
    assert job.state is JobState.INTERRUPTED


async def test_agents_who_are_no_admin_file_their_own_notes_alone() -> None:
    world = await a_world()
    services = world.process(None).services
    other = (await a_note(services, "The queue-broker has 3 nodes (#400).", caller=a_caller("agent-b"))).filename
    process = world.process(model(clock=world.clock))

    result = await process.consolidate(caller=a_caller("agent-a"))

    world.written[other] = "The queue-broker has 3 nodes (#400)."
    audit = await world.audit()
    assert (result.status, result.notes_processed, result.notes_remaining) == ("ok", 6, 0)
    assert audit.waiting == {other}


async def test_an_unforeseen_failure_after_a_commit_tells_what_was_committed() -> None:
    world = await a_world()
    perfect = AUTHORS["perfect"]
    asked = 0

    def breaks(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise ZeroDivisionError
        return perfect(
            [{"role": one.role.value, "content": one.content} for one in messages], dict(schema) if schema else None
        )

    process = world.process(ScriptedLLM(breaks, clock=world.clock))
    result = await process.consolidate()

    assert (result.status, result.code, result.notes_processed) == ("partial", "internal_error", 3)
    audit = await world.audit()
    assert (len(audit.filed), len(audit.waiting)) == (3, 3)
