"""A real server with a model behind HTTP: killed while it is answered, followed, cancelled, and told about."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.fake_authors import perfect
from app.cli.fake_llm import FakeEndpoint, Received
from app.cli.fake_moods import Mood
from tests.e2e.auditor import commits, faults, head_of
from tests.e2e.clients import connected
from tests.e2e.conftest import Server, Servers, answer

SPACE = "modelled"
RULES = "# Rules\n\n## decisions.md\nDecisions.\n\n## progress.md\nWhat is done.\n"
KEY = "sk-nobody-may-read-this-key-anywhere-0123456789"
NOTES = 6
PATIENCE = 30
LEASE = 64
"""Seconds for which the lease of a process that was killed is respected."""


class Model:
    """An endpoint that is perfect, or silent from now on."""

    def __init__(self) -> None:
        self.is_silent = False
        self.endpoint = FakeEndpoint(self._mood, perfect)
        self.url = ""

    def _mood(self, _number: int, _received: Received) -> Mood:
        return Mood.STALL if self.is_silent else Mood.PLAIN

    async def asked(self, times: int) -> Received:
        """The request, as soon as there were so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.endpoint.requests) < times:
                self.endpoint.asked.clear()
                await self.endpoint.asked.wait()
        return self.endpoint.requests[times - 1]


@asynccontextmanager
async def a_model() -> AsyncIterator[Model]:
    model = Model()
    async with model.endpoint.serving() as model.url:
        yield model


async def started(servers: Servers, url: str, **settings: str) -> Server:
    """A server that asks the model at that address."""
    model = {"LLMAAS_API_URL": url, "LLMAAS_API_KEY": KEY, "LLMAAS_MODEL": "fake", "CONSOLIDATION_BATCH_SIZE": "3"}
    return await asyncio.to_thread(servers.make(**model, **settings).start)


async def filled(server: Server, notes: int = NOTES) -> dict[str, str]:
    """A space where so many notes wait, and what they say."""
    kept: dict[str, str] = {}
    async with server.http_async() as http:
        made = await http.post("/spaces", json={"space_id": SPACE, "description": "Modelled", "rules": RULES})
        answer(made, 201)
        for number in range(notes):
            content = f"Component part-{number} of line-{number} is at version 3.{number}.1 since #{number}77"
            note = {"category": "decision", "content": content}
            kept[answer(await http.post(f"/spaces/{SPACE}/notes", json=note), 201)["filename"]] = content
    return kept


def let_the_lease_run_out(server: Server) -> None:
    """As if the time had passed for which the lease of a killed process is respected."""
    lease = server.objects / SPACE / "_lease.json"
    before = time.time() - LEASE - 1
    os.utime(lease, (before, before))


def logs(server: Server) -> str:
    return "".join((server.folder / name).read_text(encoding="utf-8") for name in ("stderr", "stdout"))


def everything_stored(server: Server) -> bytes:
    return b"".join(path.read_bytes() for path in Path(server.data).rglob("*") if path.is_file())


async def test_a_server_killed_during_the_answer_loses_nothing_and_its_successor_finishes(servers: Servers) -> None:
    async with a_model() as model:
        server = await started(servers, model.url)
        kept = await filled(server)
        model.is_silent = True
        async with server.http_async() as http:
            waiting = asyncio.create_task(http.post(f"/spaces/{SPACE}/bank/consolidate"))
            request = await model.asked(1)
            server.kill()
            with pytest.raises(httpx.TransportError):
                await waiting
            await asyncio.wait_for(request.gone.wait(), PATIENCE)
        assert faults(server.objects, SPACE, kept) == []
        assert head_of(server.objects, SPACE)["version"] == 0

        model.is_silent = False
        await asyncio.to_thread(server.start)
        async with server.http_async() as http:
            early = await http.post(f"/spaces/{SPACE}/bank/consolidate")
            assert (early.status_code, early.json()["code"]) == (409, "consolidation_running")
            assert 0 < int(early.headers["Retry-After"]) <= LEASE + 1
            let_the_lease_run_out(server)
            filed = answer(await http.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert (filed["status"], filed["notes_processed"], filed["notes_extracted"]) == ("ok", NOTES, 0)
        assert server.stop() == 0
    assert faults(server.objects, SPACE, kept) == []


async def test_a_server_killed_between_answer_and_commit_does_not_pay_again(servers: Servers) -> None:
    async with a_model() as model:
        server = await started(servers, model.url)
        kept = await filled(server, notes=3)
        answers = server.objects / SPACE / "_jobs" / "answers"
        async with server.http_async() as http:
            waiting = asyncio.create_task(http.post(f"/spaces/{SPACE}/bank/consolidate"))
            await model.asked(1)
            async with asyncio.timeout(PATIENCE):
                while not (found := list(answers.glob("*.txt"))) and not waiting.done():  # noqa: ASYNC110 - a file of another process sets no event
                    await asyncio.sleep(0)
            server.kill()
            await asyncio.gather(waiting, return_exceptions=True)
        before = head_of(server.objects, SPACE)["version"]
        assert faults(server.objects, SPACE, kept) == []

        await asyncio.to_thread(server.start)
        let_the_lease_run_out(server)
        async with server.http_async() as http:
            filed = answer(await http.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert filed["status"] == "ok"
        assert filed["notes_processed"] == (0 if before else 3)
        assert found or before, "the moment was met"
        assert len(model.endpoint.requests) == 1
        assert server.stop() == 0
    assert faults(server.objects, SPACE, kept) == []
    assert [commit["version"] for commit in commits(server.objects, head_of(server.objects, SPACE))] == [1]


async def test_the_official_client_hears_how_far_it_is(servers: Servers) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with a_model() as model:
        server = await started(servers, model.url)
        await filled(server)
        async with connected(server, "modern", server.admin_key) as client:
            called = await client.call_tool("bank_consolidate", {"space_id": SPACE}, progress_callback=hear)
        assert not called.is_error
        assert called.structured_content
        assert called.structured_content["notes_processed"] == NOTES
    assert [total for _, total, _ in heard] == [NOTES] * len(heard)
    done = [progress for progress, _, _ in heard]
    assert done == sorted(set(done))
    assert done[-1] == NOTES


async def test_a_job_is_followed_from_where_the_reader_was(servers: Servers) -> None:
    async with a_model() as model:
        server = await started(servers, model.url)
        await filled(server)
        async with server.http_async() as http:
            begun = answer(await http.post(f"/spaces/{SPACE}/bank/consolidate", json={"wait": False}), 202)
            path = f"/jobs/{begun['job_id']}/events"
            events = await followed(http, path)
            names = [name for _, name, _ in events]
            assert names[0] == "queued"
            assert names[-1] == "done"
            assert names.count("batch_started") == names.count("validated") == 2
            assert events[-1][2]["result"]["notes_processed"] == NOTES
            ids = [number for number, _, _ in events]
            assert ids == sorted(set(ids))
            middle = ids[len(ids) // 2]
            again = await followed(http, path, **{"Last-Event-ID": str(middle)})
            assert lasting(again) == lasting([event for event in events if event[0] > middle])
            assert (await http.get(path, headers={"Last-Event-ID": str(ids[-1])})).status_code == 204


def lasting(events: list[tuple[int, str, dict[str, Any]]]) -> list[tuple[int, str, dict[str, Any]]]:
    """Those that no later one takes the place of."""
    return [event for event in events if event[1] != "llm_progress"]


async def followed(http: httpx.AsyncClient, path: str, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Every event of a stream up to its end: id, name, data."""
    found = []
    async with http.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        event: dict[str, str] = {}
        async for line in stream.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if "id" in event:
                found.append((int(event["id"]), event["event"], json.loads(event["data"])))
            event = {}
    return found


async def test_cancelling_hangs_up_on_the_model(servers: Servers) -> None:
    async with a_model() as model:
        server = await started(servers, model.url)
        kept = await filled(server)
        model.is_silent = True
        async with server.http_async() as http:
            begun = answer(await http.post(f"/spaces/{SPACE}/bank/consolidate", json={"wait": False}), 202)
            request = await model.asked(1)
            assert not request.gone.is_set()
            answer(await http.delete(f"/jobs/{begun['job_id']}"))
            await asyncio.wait_for(request.gone.wait(), PATIENCE)
            await followed(http, f"/jobs/{begun['job_id']}/events")
            job = answer(await http.get(f"/jobs/{begun['job_id']}"))
            assert (job["state"], job["result"]["code"]) == ("cancelled", "cancelled")
            assert [call["outcome"] for call in job["calls"]] == ["cancelled"]
            assert answer(await http.get(f"/spaces/{SPACE}/notes"))["matched"] == NOTES
    assert faults(server.objects, SPACE, kept) == []


async def test_health_tells_whether_the_model_answers_and_nothing_shows_its_key(servers: Servers) -> None:
    async with a_model() as model:
        server = await started(servers, model.url)
        async with server.http_async() as http:
            well = answer(await http.get("/system/health"))
            assert well["status"] in {"ok", "healthy"}
            assert well["services"]["llmaas"]["status"] == "ok"
        assert model.endpoint.listings[0].headers["authorization"] == f"Bearer {KEY}", "it does have the key"
        assert server.stop() == 0
    # The endpoint is gone by now.
    await asyncio.to_thread(server.start)
    kept = await filled(server)
    async with server.http_async() as http:
        ill = answer(await http.get("/system/health"))
        filed = answer(await http.post(f"/spaces/{SPACE}/bank/consolidate"))
        job = answer(await http.get(f"/jobs/{filed['job_id']}"))
        ready = await http.get(f"{server.base_url}/ready")
    assert (ill["status"], ill["services"]["llmaas"]["status"]) == ("degraded", "error")
    assert ready.status_code == 200, "notes can be written and read all the same"
    assert (filed["status"], filed["code"], filed["notes_extracted"]) == ("partial", "llm_failed", NOTES)
    assert server.stop() == 0
    for said in (json.dumps([well, ill, filed, job]), logs(server)):
        assert KEY not in said
    assert KEY.encode() not in everything_stored(server)
    assert faults(server.objects, SPACE, kept) == []


async def test_a_wrong_key_is_told_without_showing_it(servers: Servers) -> None:
    endpoint = FakeEndpoint(lambda _number, _received: Mood.UNAUTHORIZED, perfect)
    async with endpoint.serving() as url:
        server = await started(servers, url, CONSOLIDATION_ON_UNCOVERED="leave")
        kept = await filled(server)
        async with server.http_async() as http:
            refused = await http.post(f"/spaces/{SPACE}/bank/consolidate")
        assert (refused.status_code, refused.json()["code"]) == (502, "llm_failed")
        assert KEY not in refused.text + logs(server)
        assert len(endpoint.requests) == 1
        assert KEY in endpoint.requests[0].headers["authorization"]
    assert faults(server.objects, SPACE, kept) == []
