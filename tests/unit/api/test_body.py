import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from app.api.body import BodyGuard, check_json
from app.core.errors import InvalidInput, TooLarge
from tests.unit.api.edge_app import AS_WRITER, asking, assert_problem, make_app

THINGS = "/api/v1/spaces/alpha/things"
AS_JSON = {**AS_WRITER, "Content-Type": "application/json"}


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"b": [{"a": 1, "\\u0061": 2}]}',
        b'{"a": "\xff"}',
        '{"a": "é"}'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b'{"a": "\xed\xa0\x80"}',
        nested(65),
        nested(100_000),
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
)
def test_json_that_can_be_misread_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_json(body)
    assert refused.value.faults[0].field == "body"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        nested(64),
        b"[" + b",".join([b"[]"] * 500) + b"]",
        json.dumps({"text": "[{" * 500}).encode(),
        b'{"a": "\\ud83d\\ude00", "b": "\\u00e9"}',
        '{"a": "日本語 😀"}'.encode(),
        b'{"a": {"x": 1}, "b": {"x": 1}}',
        b'{"a": 1.5e3, "b": -0.0, "c": 12345678901234567890}',
    ],
)
def test_honest_json_passes(body: bytes) -> None:
    check_json(body)


async def test_a_refused_body_is_a_problem_and_an_accepted_one_reaches_its_operation() -> None:
    async with asking(make_app(), **AS_JSON) as client:
        assert_problem(await client.post(THINGS, content=b'{"name": "a", "name": "b"}'), 422, "invalid_input")
        problem = assert_problem(await client.post(THINGS, content=b"{"), 422, "invalid_input")
        assert problem["errors"][0]["field"] == "body"
        accepted = await client.post(THINGS, content='{"name": "é"}'.encode())
    assert accepted.status_code == 201
    assert accepted.json()["name"] == "é"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_declared_as_json_is_refused(media_type: str) -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        response = await client.post(THINGS, content=b'{"name": "cup"}', headers={"Content-Type": media_type})
    assert "application/json" in assert_problem(response, 422, "invalid_input")["detail"]


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.a+json"]
)
async def test_json_may_be_declared_in_any_spelling(media_type: str) -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        response = await client.post(THINGS, content=b'{"name": "cup"}', headers={"Content-Type": media_type})
    assert response.status_code == 201


async def test_a_body_of_the_largest_size_passes_and_one_more_byte_does_not() -> None:
    body = b'{"name": "cup"}'
    async with asking(make_app(max_body=len(body)), **AS_JSON) as client:
        assert (await client.post(THINGS, content=body)).status_code == 201
        response = await client.post(THINGS, content=body + b" ")
    assert_problem(response, 413, "too_large")
    assert response.headers["connection"] == "close"


async def test_a_body_without_a_declared_size_is_counted_as_it_comes() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 10

    async with asking(make_app(max_body=64), **AS_JSON) as client:
        assert_problem(await client.post(THINGS, content=chunks()), 413, "too_large")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    never = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with asking(make_app(body_seconds=0), **AS_JSON) as client, asyncio.timeout(5):
        assert_problem(await client.post(THINGS, content=chunks()), 408, "request_timeout")


async def test_once_the_body_is_whole_an_open_request_may_last() -> None:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}]
    seen = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        seen.append(await receive())
        seen.append(await receive())

    async def receive() -> dict[str, Any]:
        if len(messages) == 1:
            # Longer than the limit of the body: only a body is hurried.
            for _ in range(20):
                await asyncio.sleep(0)
        return messages.pop(0)

    await BodyGuard(app, limit=1, seconds=30)({"type": "http", "headers": []}, receive, _nothing)
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]


async def test_the_reader_meets_a_kind_of_error_it_passes_on() -> None:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"xx", "more_body": True}

    with pytest.raises(HTTPException) as cut:
        await BodyGuard(app, limit=1)({"type": "http", "headers": []}, receive, _nothing)
    assert cut.value.status_code == 413
    with pytest.raises(TooLarge):
        await BodyGuard(app, limit=1)({"type": "http", "headers": [(b"content-length", b"2")]}, receive, _nothing)


async def _nothing(_message: Any) -> None:
    pass
