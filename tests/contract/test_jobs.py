"""Jobs over HTTP: looked at, stopped, followed as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx
import pytest
from mcp.server.mcpserver import Context

from app.api.app import LiveMemory, create_app
from app.api.body import MAX_BODY
from app.bootstrap import Services, build_services
from app.core.identity import Permission
from app.core.operation import Effect
from app.core.settings import Settings
from app.jobs.job import Job
from app.jobs.models import JobState
from app.jobs.operations import operations
from app.jobs.service import JobService
from app.mcp.bridge import McpBridge
from app.mcp.progress import progress_of
from app.storage.memory import MemoryStore
from app.tokens.models import TokenCreate
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.walk import problem_of
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.jobs.stage import KIND, SPACE, Process, Steps, a_caller, short

T = TypeVar("T")

UNKNOWN: Final = f"{SPACE}.{'0' * 16}"
API: Final = "/api/v1/jobs/"


@dataclass(frozen=True, slots=True)
class WithJobs:
    """The services of the application, and the jobs of a test."""

    services: Services
    jobs: JobService

    def of(self, kind: type[T]) -> T:
        return self.jobs if kind is JobService else self.services.of(kind)  # type: ignore[return-value]  # mypy does not narrow T

    async def ready(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True)
class Serving:
    """An application whose jobs a test runs by hand."""

    app: LiveMemory
    process: Process
    store: FaultyStore
    http: httpx.AsyncClient
    tokens: dict[str, str]

    async def ask(self, method: str, path: str, *, who: str = "admin", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return await self.http.request(method, API + path, headers=headers | more.pop("headers", {}), **more)

    async def finished(self, work: Any = short, actor: str = "writer") -> Job:
        job = await self.process.jobs.start(SPACE, KIND, actor, work)
        await job.result()
        await self.process.runner.idle()
        return job


@asynccontextmanager
async def serving(*, keep_alive: float = 15) -> AsyncIterator[Serving]:
    clock = FrozenClock()
    store = FaultyStore(MemoryStore(clock))
    services = build_services(store, clock, Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY))
    tokens = {"admin": BOOTSTRAP_KEY}
    async with Process(store, clock, keep_alive=keep_alive) as process, services.opened():
        for name, permissions, spaces in (
            ("writer", "read,write", ""),
            ("another writer", "read,write", ""),
            ("reader", "read", SPACE),
            ("stranger", "read,write", "project-beta"),
        ):
            made = await services.tokens.create(
                TokenCreate(name=name.replace(" ", "-"), permissions=permissions, space_ids=spaces),
                caller=a_caller("admin", Permission.ADMIN),
            )
            tokens[name] = made.token
        app = create_app(WithJobs(services, process.jobs), (operations,), services.authenticator)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Serving(app, process, store, http, tokens)


def events_in(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The events of a stream, as a browser would read it."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


class TestLookingAtAJob:
    """`job_get`."""

    async def test_a_job_that_is_over_tells_its_outcome(self) -> None:
        async with serving() as service:
            job = await service.finished()
            answer = await service.ask("GET", job.id)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["status"], body["job_id"], body["space_id"]) == ("ok", job.id, SPACE)
        assert (body["state"], body["result"], body["actor"]) == ("done", {"status": "ok"}, "writer")
        assert body["progress"] == {"done": 1, "total": 1, "message": "filed"}
        assert body["calls"] == []
        assert "nonce" not in body

    async def test_a_job_that_runs_tells_how_far_it_is(self) -> None:
        async with serving() as service:
            work = Steps()
            job = await service.process.start(work)
            await work.arrived.get()
            body = (await service.ask("GET", job.id, who="reader")).json()
            assert (body["state"], body["result"], body["ended_at"]) == ("running", None, None)
            work.go.release()

    async def test_an_unknown_job_is_not_found(self) -> None:
        async with serving() as service:
            problem_of(await service.ask("GET", UNKNOWN), 404, "job_not_found")

    @pytest.mark.parametrize(
        "job_id", ["x", "0123456789abcdef", f"{SPACE}.", f"{SPACE}.{'g' * 16}", f"{SPACE}.{'0' * 17}"]
    )
    async def test_what_is_no_job_id_is_refused(self, job_id: str) -> None:
        async with serving() as service:
            problem_of(await service.ask("GET", job_id), 422, "invalid_input")

    async def test_an_outage_is_no_unknown_job(self) -> None:
        async with serving() as service:
            service.store.fail("get", key=f"{SPACE}/_jobs/")
            problem_of(await service.ask("GET", UNKNOWN), 503, "store_unavailable")
            problem_of(await service.ask("GET", UNKNOWN), 404, "job_not_found")


class TestPermissions:
    """A job is as private as its space."""

    @pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("DELETE", "")])
    @pytest.mark.parametrize("exists", [True, False])
    async def test_a_foreign_space_is_forbidden_whether_or_not_the_job_exists(
        self, method: str, path: str, *, exists: bool
    ) -> None:
        async with serving() as service:
            job_id = (await service.finished()).id if exists else UNKNOWN
            problem = problem_of(await service.ask(method, job_id + path, who="stranger"), 403, "forbidden")
            problem_of(await service.ask(method, job_id + path, who=""), 401, "unauthenticated")
        assert problem["detail"] == f"Access refused: this token does not give access to space '{SPACE}'."

    async def test_a_reader_follows_and_does_not_cancel(self) -> None:
        async with serving() as service:
            job = await service.finished()
            assert (await service.ask("GET", job.id, who="reader")).status_code == 200
            assert (await service.ask("GET", job.id + "/events", who="reader")).status_code == 200
            problem_of(await service.ask("DELETE", job.id, who="reader"), 403, "write_required")

    async def test_a_writer_cancels_its_own_job_and_an_admin_any(self) -> None:
        async with serving() as service:
            work = Steps()
            job = await service.process.start(work)
            problem_of(await service.ask("DELETE", job.id, who="another writer"), 403, "not_your_job")
            assert not job.cancelled.is_set()
            answer = await service.ask("DELETE", job.id, who="writer")
            assert answer.status_code == 200
            assert answer.json()["message"] == "It has been asked to stop."
            assert (await service.ask("DELETE", job.id)).status_code == 200
            work.go.release()
            await service.process.runner.idle()
            assert (await service.ask("GET", job.id)).json()["state"] == JobState.CANCELLED
        assert work.committed == []


class TestTheStream:
    """`job_events`."""

    async def test_it_replays_and_ends_with_the_result(self) -> None:
        async with serving() as service:
            job = await service.finished()
            answer = await service.ask("GET", job.id + "/events")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-request-id"]
        events = events_in(answer.text)
        assert [(number, name) for number, name, _ in events] == [(1, "queued"), (2, "planned"), (3, "done")]
        assert events[-1][2]["state"] == "done"
        assert events[-1][2]["result"] == {"status": "ok"}

    @pytest.mark.parametrize("way", ["query", "header"])
    async def test_it_goes_on_behind_the_event_that_was_heard_last(self, way: str) -> None:
        async with serving() as service:
            job = await service.finished()

            async def after(number: int) -> httpx.Response:
                if way == "query":
                    return await service.ask("GET", f"{job.id}/events", params={"after": number})
                return await service.ask("GET", f"{job.id}/events", headers={"Last-Event-ID": str(number)})

            assert [number for number, _, _ in events_in((await after(1)).text)] == [2, 3]
            over = await after(3)
            assert (over.status_code, over.content) == (204, b"")
            problem_of(await after(-1), 422, "invalid_input")

    async def test_a_line_feed_in_an_event_does_not_break_it(self) -> None:
        async def work(job: Any) -> dict[str, Any]:
            job.event("degraded", {"why": "one\n\ndata: two\r\né"})
            return {"status": "ok"}

        async with serving() as service:
            job = await service.finished(work)
            events = events_in((await service.ask("GET", job.id + "/events")).text)
        assert events[1][2]["why"] == "one\n\ndata: two\r\né"

    async def test_each_event_arrives_when_it_happens_and_a_reader_who_leaves_stops_nothing(self) -> None:
        async with serving() as service:
            work = Steps(2)
            job = await service.process.start(work)
            async with reading(service, job.id) as reader:
                assert ": keep-alive" not in await reader.until("event: queued")
                work.go.release()
                assert '"version":1' in await reader.until("event: committed")
            work.go.release()
            assert (await job.result() or {})["status"] == "ok"
        assert work.committed == [0, 1]

    async def test_while_nothing_happens_it_says_that_it_is_open(self) -> None:
        async with serving(keep_alive=0) as service:
            work = Steps()
            job = await service.process.start(work)
            async with reading(service, job.id) as reader:
                text = await reader.until("keep-alive")
            work.go.release()
        assert text.startswith("retry: 2000\n\nid: 1\nevent: queued\ndata: {")
        assert "}\n\n: keep-alive\n\n" in text

    async def test_the_answer_to_an_unknown_job_is_a_problem_and_no_stream(self) -> None:
        async with serving() as service:
            problem_of(await service.ask("GET", UNKNOWN + "/events"), 404, "job_not_found")

    async def test_a_process_that_ends_closes_it(self) -> None:
        async with serving() as service:
            work = Steps()
            job = await service.process.start(work)
            async with reading(service, job.id) as reader:
                await reader.until("event: queued")
                service.process.jobs.drain()
                async with asyncio.timeout(5):
                    await reader.over.wait()
            work.go.release()


class Reader:
    """A client that reads a stream as it comes; httpx in this process would wait for its end."""

    def __init__(self) -> None:
        self.text = ""
        self.over = asyncio.Event()
        self._more = asyncio.Condition()
        self._gone = asyncio.Event()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        async with self._more:
            self.text += message.get("body", b"").decode()
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.over.set()
            self._more.notify_all()

    async def until(self, word: str) -> str:
        """What has come, as soon as the word is in it."""
        async with asyncio.timeout(5), self._more:
            await self._more.wait_for(lambda: word in self.text and self.text.endswith("\n\n"))
        return self.text

    def leave(self) -> None:
        self._gone.set()


@asynccontextmanager
async def reading(service: Serving, job_id: str) -> AsyncIterator[Reader]:
    reader = Reader()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"{API}{job_id}/events",
        "raw_path": f"{API}{job_id}/events".encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {service.tokens['reader']}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    serving_it = asyncio.create_task(service.app(scope, reader.receive, reader.send))
    try:
        yield reader
    finally:
        reader.leave()
        async with asyncio.timeout(5):
            await serving_it


class TestFaces:
    """What each face makes of the three operations."""

    async def test_the_document_describes_them(self) -> None:
        async with serving() as service:
            document = service.app.openapi()
        one, stream = document["paths"][API + "{job_id}"], document["paths"][API + "{job_id}/events"]["get"]
        assert (one["get"]["operationId"], one["delete"]["operationId"]) == ("job_get", "job_cancel")
        assert stream["responses"]["200"]["content"].keys() == {"text/event-stream"}
        assert {item["name"] for item in stream["parameters"]} == {"job_id", "after", "Last-Event-ID"}
        assert "`job_not_found`" in stream["responses"]["404"]["description"]
        for described in (one["get"], one["delete"], stream):
            assert "confirmation_required" not in str(described)

    async def test_they_are_declared_beside_the_26(self) -> None:
        assert [(one.name, one.core, one.is_stream) for one in operations.declared] == [
            ("job_get", False, False),
            ("job_cancel", False, False),
            ("job_events", False, True),
        ]
        assert operations.declared[1].effect is not Effect.DELETES

    async def test_the_full_tools_hold_all_but_the_stream(self) -> None:
        async with serving() as service:
            bridge = McpBridge(
                service.app,
                service.app.operations,
                name="jobs",
                version="1",
                authenticator=None,  # type: ignore[arg-type]  # nobody calls
                tools="full",
                allowed_hosts=["*"],
                allowed_origins=[],
                max_body=MAX_BODY,
            )
        assert sorted(tool.name for tool in bridge.tools) == ["job_cancel", "job_get"]
        assert all(tool.output_schema for tool in bridge.tools)


class TestProgressOfATool:
    """What an MCP client hears while it waits for a job."""

    async def test_it_grows_and_repeats_nothing(self) -> None:
        heard: list[tuple[float, float | None, str]] = []

        class Told(Context[Any, Any]):
            async def report_progress(
                self, progress: float, total: float | None = None, message: str | None = None
            ) -> None:
                heard.append((progress, total, message or ""))

        report = progress_of(Told())
        for done in (0, 1, 1, 0.5, float("nan"), 2):
            await report(done, 2, f"{done:g} filed")
        assert [done for done, _, _ in heard] == [0, 1, 2]

    async def test_without_a_client_nobody_is_told(self) -> None:
        await progress_of(None)(1, 2, "filed")
        async with serving() as service:
            assert (await service.process.jobs.get((await service.finished()).id)).actor == a_caller().name
