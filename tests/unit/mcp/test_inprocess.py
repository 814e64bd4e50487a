import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.api.inprocess import Answer, Question, ask

QUESTION = Question(method="POST", path="/a/é/b", raw_path=b"/a/%C3%A9/b", query=b"x=1", body=b"{}")


async def answering(send: Send, *, status: int = 200, complete: bool = True) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"Content-Type", b"Text/Plain; x=y")]})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two", "more_body": not complete})


async def test_the_application_sees_a_request_like_any_other() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope, body=(await receive())["body"])
        scope["state"]["inner"] = True
        await answering(send, status=201)

    outer = {
        "scheme": "https",
        "client": ("203.0.113.9", 1),
        "root_path": "/memory",
        "headers": [(b"host", b"memory.example"), (b"cookie", b"a=b")],
        "state": {"outer": True},
    }
    answer = await ask(app, QUESTION, outer=outer, marks={"mark": 1})
    assert answer == Answer(201, {"content-type": "Text/Plain; x=y"}, b"one two")
    assert answer.media_type == "text/plain"
    assert (seen["path"], seen["raw_path"]) == ("/memory/a/é/b", b"/memory/a/%C3%A9/b")
    assert (seen["scheme"], seen["client"], seen["query_string"]) == ("https", ("203.0.113.9", 1), b"x=1")
    assert seen["headers"] == [(b"host", b"memory.example")]
    assert (seen["body"], seen["mark"]) == (b"{}", 1)
    assert outer["state"] == {"outer": True}, "the inner request keeps its own notes"


async def test_the_client_seems_present_until_it_has_its_answer() -> None:
    heard: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        listening = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not listening.done()
        await answering(send)
        heard.append((await listening)["type"])

    async with asyncio.timeout(5):
        await ask(app, QUESTION, marks={})
    assert heard == ["http.disconnect"]


async def test_an_error_after_the_answer_has_been_answered() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answering(send, status=500)
        raise LookupError

    assert (await ask(app, QUESTION, marks={})).status == 500


async def test_an_error_before_the_answer_is_whole_is_raised() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answering(send, complete=False)
        raise LookupError

    with pytest.raises(LookupError):
        await ask(app, QUESTION, marks={})


async def test_no_answer_is_an_error() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answering(send, complete=False)

    with pytest.raises(RuntimeError, match="without an answer"):
        await ask(app, QUESTION, marks={})
