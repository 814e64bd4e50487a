from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.cli.client import Client, Exit, Refused
from app.cli.connection import Target
from app.cli.events import ATTEMPTS, Event, Stream, follow

SERVICE = Target("http://memory.example", "lm_live_token", "--url", "--token")
JOB = "alpha.0123456789abcdef"
EVENTS = {"Content-Type": "text/event-stream"}


def told(number: int, name: str, data: str = "{}") -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {data}\n\n".encode()


class Broken(httpx.SyncByteStream):
    """A stream whose connection breaks after these bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("gone")


class Service:
    """Answers one request after the other as it was told."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked_after: list[str] = []
        self.paused: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked_after.append(request.headers["last-event-id"])
        assert request.headers["accept"] == "text/event-stream"
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def events(self, after: int = 0) -> list[Event]:
        with Client(SERVICE, transport=httpx.MockTransport(self)) as client:
            return list(follow(client, JOB, after=after, sleep=self.paused.append))


def answer(content: bytes) -> httpx.Response:
    return httpx.Response(200, headers=EVENTS, content=content)


def read(*pieces: bytes) -> list[Event]:
    return list(Stream().read(pieces))


def test_events_are_read_however_they_are_cut() -> None:
    whole = b"retry: 500\n\n: keep-alive\n\n" + told(1, "queued", '{"at":"2026","text":"\u2028 ü"}')
    expected = [Event(1, "queued", "2026", {"text": "\u2028 \u00fc"})]
    assert read(whole) == expected
    assert read(*(whole[start : start + 1] for start in range(len(whole)))) == expected
    assert read(whole.replace(b"\n", b"\r\n")) == expected


@pytest.mark.parametrize("data", ["", "[]", "nonsense"])
def test_what_is_no_event_is_passed_over(data: str) -> None:
    assert read(told(1, "x", data), told(2, "y")) == [Event(2, "y", "", {})]
    assert read(b"data: {}\n\n") == [], "it has no number"


def test_a_job_is_followed_to_its_end() -> None:
    service = Service(answer(told(1, "queued") + told(2, "done", '{"state":"done"}') + told(3, "never")))
    assert [event.name for event in service.events()] == ["queued", "done"]
    assert (service.asked_after, service.paused) == (["0"], [])


def test_a_broken_stream_is_taken_up_behind_the_last_event() -> None:
    service = Service(
        httpx.Response(200, headers=EVENTS, stream=Broken(b"retry: 250\n\n" + told(4, "planned") + b"id: 5\nev")),
        httpx.ConnectError("refused"),
        answer(b": keep-alive\n\n"),
        answer(told(5, "batch_started") + told(6, "done")),
    )
    assert [event.number for event in service.events(after=3)] == [4, 5, 6]
    assert service.asked_after == ["3", "4", "4", "4"]
    assert service.paused == [0.25, 0.25, 0.25]


def test_a_service_that_has_no_more_to_tell_ends_it() -> None:
    service = Service(answer(told(1, "queued")), httpx.Response(204))
    assert [event.name for event in service.events()] == ["queued"]


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (httpx.ConnectError("refused"), Exit.UNAVAILABLE),
        (httpx.Response(503, json={"code": "store_unavailable", "detail": "Not now."}), Exit.UNAVAILABLE),
        (answer(b"retry: 1\n\n"), Exit.UNAVAILABLE),
    ],
)
def test_a_service_that_stays_away_is_given_up(last: httpx.Response | Exception, status: Exit) -> None:
    service = Service(last)
    with pytest.raises(Refused) as refused:
        service.events()
    assert refused.value.exit is status
    assert len(service.asked_after) == ATTEMPTS + 1


def test_signs_of_life_are_no_reason_to_give_up() -> None:
    silent = [answer(b": keep-alive\n\n") for _ in range(3 * ATTEMPTS)]
    assert [event.name for event in Service(*silent, answer(told(1, "done"))).events()] == ["done"]


def problem(status: int, code: str) -> httpx.Response:
    body: dict[str, Any] = {"status": status, "code": code, "detail": "No."}
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (problem(404, "job_not_found"), Exit.NOT_FOUND),
        (problem(403, "read_required"), Exit.FORBIDDEN),
        (problem(401, "unauthenticated"), Exit.UNAUTHENTICATED),
        (httpx.Response(200, json={"status": "ok"}), Exit.UNEXPECTED),
    ],
)
def test_a_refusal_is_told_at_once(refusal: httpx.Response, status: Exit) -> None:
    service = Service(refusal)
    with pytest.raises(Refused) as refused:
        service.events()
    assert refused.value.exit is status
    assert len(service.asked_after) == 1
