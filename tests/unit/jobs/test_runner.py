"""Tasks that nobody waits for."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.core.errors import Conflict
from app.jobs.service import Runner


async def test_what_running_work_starts_while_the_process_ends_is_waited_for_too() -> None:
    runner = Runner(drain=5)
    go, done = asyncio.Event(), []

    async def second() -> None:
        await asyncio.sleep(0)
        done.append("second")

    async def first() -> None:
        await go.wait()
        runner.start(second(), name="second")
        done.append("first")

    async with runner.opened():
        runner.start(first(), name="first")
        asyncio.get_running_loop().call_soon(go.set)
    assert done == ["first", "second"]


@pytest.mark.parametrize("asks", [True, False])
async def test_what_does_not_end_in_time_is_asked_to_stop_or_cancelled(*, asks: bool) -> None:
    runner = Runner(drain=0)
    asked, ended = asyncio.Event(), []

    async def work() -> None:
        try:
            await asked.wait()
            ended.append("by itself")
        except asyncio.CancelledError:
            ended.append("cut off")
            raise

    async with runner.opened():
        runner.start(work(), name="work", stop=asked.set if asks else None)
        await asyncio.sleep(0)
    assert ended == ["by itself" if asks else "cut off"]


async def test_how_each_task_ended_is_logged() -> None:
    runner = Runner(drain=5)

    async def refused() -> None:
        raise Conflict

    async def failed() -> None:
        raise ZeroDivisionError

    async def fine() -> None:
        return None

    with capture_logs() as logs:
        async with runner.opened():
            for work in (refused, failed, fine):
                runner.start(work(), name=work.__name__)
    assert [(line["event"], line["task"]) for line in logs] == [("task_refused", "refused"), ("task_failed", "failed")]
