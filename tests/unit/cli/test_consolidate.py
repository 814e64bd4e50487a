import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.cli.client import Client, Exit, Refused
from app.cli.connection import Target
from app.cli.consolidate import Filing, Left, consolidate
from app.cli.events import Event
from app.cli.render import Counted, Screen
from app.cli.table import load
from tests.unit.cli.test_render import Terminal

SERVICE = Target("http://memory.example", "lm_live_token", "--url", "--token")
OPERATIONS = {one.name: one for one in load()}
CONSOLIDATE = OPERATIONS["bank_consolidate"]
JOB = "alpha.0123456789abcdef"
RESULT = {"status": "ok", "space_id": "alpha", "notes_processed": 3, "message": "ü"}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("queued", {}),
    ("planned", {"batches": 2, "notes": 3, "mode": "llm"}),
    ("batch_started", {"batch": 1, "notes": 2, "filed": 0}),
    ("llm_first_token", {"batch": 1}),
    ("llm_progress", {"batch": 1, "characters": 1200}),
    ("validated", {"batch": 1, "ops": 2, "refused": 1}),
    ("something_of_a_later_release", {"x": 1}),
    ("batch_started", {"batch": 2, "notes": 1, "filed": 2}),
    ("degraded", {"batch": 2, "why": "failed"}),
]


class Interrupting(httpx.SyncByteStream):
    """A stream in front of which a person loses patience."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: 1\n\n"
        raise KeyboardInterrupt


class Service:
    """Starts a job, tells its events, and remembers what it was asked."""

    def __init__(
        self,
        last: dict[str, Any] | None = None,
        *,
        events: httpx.Response | None = None,
        job: dict[str, Any] | None = None,
        started: httpx.Response | None = None,
    ) -> None:
        done = {"state": "done", "result": RESULT} if last is None else last
        lines = [*STEPS, ("done", done)]
        content = "".join(
            f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for number, (name, data) in enumerate(lines, 1)
        )
        stream = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=content.encode())
        self._events = events or stream
        self._job = job or {"state": "done", "result": RESULT}
        self._started = started or httpx.Response(202, json={"status": "accepted", "job_id": JOB})
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.asked.append(f"{request.method} {path}")
        if request.method == "POST":
            self.bodies.append(json.loads(request.read()))
            return self._started
        return self._events if path.endswith("/events") else httpx.Response(200, json=self._job)

    def consolidate(self, screen: Screen | None = None, **arguments: Any) -> Any:
        with Client(SERVICE, transport=httpx.MockTransport(self)) as client:
            given = {"space_id": "alpha", **arguments}
            return consolidate(client, CONSOLIDATE, given, screen or Screen(io.StringIO(), io.StringIO()))

    def refused(self, screen: Screen | None = None) -> Refused:
        with pytest.raises(Refused) as refused:
            self.consolidate(screen)
        return refused.value


def test_the_answer_is_the_result_that_the_service_would_have_given() -> None:
    service = Service()
    answer = service.consolidate(agent="ana")
    assert service.asked == ["POST /spaces/alpha/bank/consolidate", f"GET /jobs/{JOB}/events"]
    assert service.bodies == [{"agent": "ana", "wait": False}]
    assert answer.body == RESULT
    assert answer.raw == json.dumps(RESULT, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_job_that_ended_unheard_is_looked_at() -> None:
    service = Service(events=httpx.Response(204))
    assert service.consolidate().body == RESULT
    assert service.asked[-1] == f"GET /jobs/{JOB}"


def test_a_service_that_answers_at_once_is_believed() -> None:
    service = Service(started=httpx.Response(200, json=RESULT))
    assert service.consolidate().body == RESULT
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("code", "status", "number"),
    [
        ("llm_failed", Exit.UNAVAILABLE, 502),
        ("store_unavailable", Exit.UNAVAILABLE, 503),
        ("bank_busy", Exit.CONFLICT, 409),
        ("budget_spent", Exit.LIMITED, 429),
        ("of_a_later_release", Exit.UNEXPECTED, 500),
    ],
)
def test_a_job_that_failed_is_the_refusal_of_a_service_that_waited(code: str, status: Exit, number: int) -> None:
    failed = {"status": "error", "code": code, "message": "It did not work.", "notes_remaining": 3}
    refused = Service({"state": "done", "result": failed}).refused()
    assert (refused.message, refused.code, refused.exit) == ("It did not work.", code, status)
    assert json.loads(refused.body) == {
        "type": f"urn:live-memory:problem:{code}",
        "status": number,
        "detail": "It did not work.",
        "code": code,
        "notes_remaining": 3,
    }


def test_a_job_whose_process_ended_is_no_success() -> None:
    refused = Service({"state": "interrupted", "result": None}).refused()
    assert (refused.code, refused.exit) == ("interrupted", Exit.UNAVAILABLE)
    assert "start it again" in refused.message


def test_a_token_that_may_not_look_is_told_that_the_work_goes_on() -> None:
    body = {"status": 403, "code": "read_required", "detail": "No."}
    refused = Service(events=httpx.Response(403, json=body)).refused()
    assert refused.exit is Exit.FORBIDDEN
    assert JOB in refused.message


def test_a_job_that_cannot_be_followed_is_named() -> None:
    errors = io.StringIO()
    body = {"status": 404, "code": "job_not_found", "detail": "No job."}
    refused = Service(events=httpx.Response(404, json=body)).refused(Screen(io.StringIO(), errors))
    assert refused.code == "job_not_found"
    assert f"live-memory job get {JOB}" in errors.getvalue()


def test_whoever_loses_patience_leaves_the_job_at_work() -> None:
    stream = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Interrupting())
    service = Service(events=stream)
    with pytest.raises(Left) as left:
        service.consolidate()
    assert left.value.job_id == JOB
    assert not any(asked.startswith("DELETE") for asked in service.asked)


def test_nothing_moves_where_nobody_looks() -> None:
    errors = io.StringIO()
    Service().consolidate(Screen(io.StringIO(), errors))
    assert errors.getvalue() == ""


def test_a_person_sees_what_is_filed_and_what_the_model_does() -> None:
    output, errors = io.StringIO(), Terminal()
    Service().consolidate(Screen(output, errors, {"TERM": "xterm", "COLUMNS": "100"}))
    assert "batch 2 of 2: goes on without the model" in errors.getvalue()
    assert "2 of 3 notes" in errors.getvalue()
    assert output.getvalue() == "", "the bar is no result"


def test_a_batch_in_parts_makes_more_batches_and_never_more_notes() -> None:
    class Seen(Counted):
        def __init__(self) -> None:
            super().__init__(None)
            self.said: list[tuple[str, int, int | None]] = []

        def show(self, what: str, done: int, total: int | None) -> None:
            self.said.append((what, done, total))

    seen = Seen()
    filing = Filing(seen)
    filing.take(Event(1, "planned", "", {"batches": 1, "notes": 4, "mode": "llm"}))
    for number in (1, 2, 3):
        filing.take(Event(number + 1, "batch_started", "", {"batch": number, "notes": 2, "filed": 3 * number - 3}))
    assert seen.said[-1] == ("batch 3 of 3: 2 notes", 4, 4)
    before = len(seen.said)
    filing.take(Event(9, "batch_started_again", "", {}))
    assert len(seen.said) == before
