import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.cli.client import Client, Exit, Refused, exit_of
from app.cli.connection import Target
from app.cli.table import load

OPERATIONS = {one.name: one for one in load()}
SERVICE = Target("http://memory.example/team", "lm_live_token", "--url", "--token")
Handler = Callable[[httpx.Request], httpx.Response]


class Recorder:
    """A service that answers every request the same way, and remembers the last."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.answer = httpx.Response(200, json={"status": "ok"}) if answer is None else answer
        self.request = httpx.Request("GET", "http://nobody.example")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        request.read()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def call(self, name: str, **arguments: Any) -> Any:
        with Client(SERVICE, transport=httpx.MockTransport(self)) as client:
            return client.call(OPERATIONS[name], arguments)

    def refused(self, name: str = "space_info", **arguments: Any) -> Refused:
        with pytest.raises(Refused) as refused:
            self.call(name, **(arguments or {"space_id": "alpha"}))
        return refused.value


def problem(status: int, code: str = "space_not_found") -> httpx.Response:
    body = {"status": status, "code": code, "detail": "No space 'alpha'.", "request_id": "r1",
            "errors": [{"field": "space_id", "message": "wrong"}]}  # fmt: skip
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


def test_arguments_go_where_they_belong() -> None:
    service = Recorder()
    service.call("live_note", space_id="alpha", category="todo", content="ünï")
    assert service.request.method == "POST"
    assert service.request.url == "http://memory.example/team/api/v1/spaces/alpha/notes"
    assert json.loads(service.request.content) == {"category": "todo", "content": "ünï"}
    assert service.request.headers["content-type"] == "application/json"
    assert service.request.headers["authorization"] == "Bearer lm_live_token"
    service.call("live_read", space_id="alpha", limit=5, since="2026-01-01T00:00:00+02:00")
    assert dict(service.request.url.params) == {"limit": "5", "since": "2026-01-01T00:00:00+02:00"}
    assert service.request.content == b""
    service.call("space_delete", space_id="alpha", confirm=True)
    assert (service.request.method, dict(service.request.url.params)) == ("DELETE", {"confirm": "true"})
    service.call("bank_consolidate", space_id="alpha")
    assert json.loads(service.request.content) == {}


def test_without_a_token_none_is_sent() -> None:
    service = Recorder()
    with Client(Target("http://a.example", None, "", ""), transport=httpx.MockTransport(service)) as client:
        client.call(OPERATIONS["system_health"], {})
    assert "authorization" not in service.request.headers


@pytest.mark.parametrize(
    ("name", "arguments", "path"),
    [
        ("bank_read", {"space_id": "a", "filename": "fold er/ü?#.md"}, "/bank/files/fold%20er/%C3%BC%3F%23.md"),
        ("backup_download", {"backup_id": "a/2026-01-01T00-00-00"}, "/api/v1/backups/a/2026-01-01T00-00-00/download"),
        ("admin_revoke_token", {"token_hash": "sha256:ab"}, "/api/v1/admin/tokens/sha256%3Aab/revoke"),
    ],
)
def test_a_name_in_the_address_is_quoted(name: str, arguments: dict[str, str], path: str) -> None:
    service = Recorder()
    service.call(name, **arguments)
    assert service.request.url.raw_path.decode().endswith(path)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("space_info", {"space_id": "alpha/rules"}),
        ("space_delete", {"space_id": ".."}),
        ("space_info", {"space_id": ""}),
        ("bank_read", {"space_id": "alpha", "filename": "../../../beta/rules"}),
        ("bank_read", {"space_id": "alpha", "filename": "a//b"}),
    ],
)
def test_a_name_cannot_lead_to_another_operation(name: str, arguments: dict[str, str]) -> None:
    service = Recorder()
    refused = service.refused(name, **arguments)
    assert refused.exit is Exit.INVALID
    assert service.request.url.host == "nobody.example", "nothing was sent"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, 7), (401, 3), (403, 4), (404, 5), (405, 7), (408, 7), (409, 6), (412, 6), (413, 7), (415, 7), (421, 7),
        (422, 7), (428, 6), (429, 8), (500, 1), (501, 1), (502, 9), (503, 9), (504, 9),
    ],
)  # fmt: skip
def test_a_status_of_http_is_an_exit_status(status: int, expected: int) -> None:
    assert exit_of(status) == expected
    assert Recorder(problem(status)).refused().exit == expected
    assert Recorder(httpx.Response(status, text="<html>")).refused().exit == expected


def test_a_problem_is_told_whole() -> None:
    answer = problem(404)
    refused = Recorder(answer).refused()
    assert (refused.message, refused.code, refused.request_id) == ("No space 'alpha'.", "space_not_found", "r1")
    assert refused.faults == (("space_id", "wrong"),)
    assert refused.body == answer.content


@pytest.mark.parametrize(
    ("answer", "exit_status", "said"),
    [
        (httpx.ConnectError("refused"), 9, "cannot be reached"),
        (httpx.ConnectTimeout("slow"), 9, "cannot be reached"),
        (httpx.ReadTimeout("slow"), 9, "did not answer in time"),
        (httpx.RemoteProtocolError("cut"), 9, "stopped in the middle"),
        (httpx.Response(307, headers={"Location": "https://b.example"}), 1, "https://b.example"),
        (httpx.Response(200, text="hello"), 1, "not as a Live Memory service"),
        (httpx.Response(200, json=[1]), 1, "not as a Live Memory service"),
        (httpx.Response(204), 1, "not as a Live Memory service"),
    ],
)
def test_what_is_no_answer_is_a_failure(answer: httpx.Response | Exception, exit_status: int, said: str) -> None:
    refused = Recorder(answer).refused()
    assert (refused.exit, said in refused.message) == (exit_status, True), refused.message


def test_a_write_without_an_answer_is_doubtful_and_a_read_is_not() -> None:
    slow = Recorder(httpx.ReadTimeout("slow"))
    assert "may or may not" in slow.refused("live_note", space_id="a", category="todo", content="x").message
    assert "may or may not" not in slow.refused("space_info", space_id="a").message


def archive(answer: httpx.Response) -> bytes:
    target = Target("http://memory.example", None, "", "")
    with (
        Client(target, transport=httpx.MockTransport(lambda _request: answer)) as client,
        client.archive(OPERATIONS["space_export"], {"space_id": "alpha"}) as download,
    ):
        return b"".join(download.pieces)


def test_an_archive_comes_as_it_is() -> None:
    assert (
        archive(httpx.Response(200, content=b"\x1f\x8b...", headers={"Content-Type": "application/gzip"}))
        == b"\x1f\x8b..."
    )


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(Refused, match="something else than an archive"):
        archive(httpx.Response(200, json={"status": "ok"}))
    with pytest.raises(Refused, match="No space 'alpha'") as refused:
        archive(problem(404))
    assert refused.value.exit is Exit.NOT_FOUND
