import json
from typing import Any

import pytest
from starlette.types import Message, Receive

from app.core.errors import StoreUnavailable, Unavailable
from app.core.identity import Caller, Everywhere
from app.mcp.gate import Gate, bearer_token, identified, open_message, replayed, unauthenticated

CALLER = Caller("me", frozenset(), Everywhere(), "hash")


class OneToken:
    """Knows one token, and a word that breaks it."""

    async def authenticate(self, token: str) -> Caller | None:
        if token == "broken":  # noqa: S105 - a word that breaks the registry
            raise StoreUnavailable
        return CALLER if token == "good" else None  # noqa: S105 - the one token


GATE = Gate(OneToken(), public_tools=["about"])


def scope(*values: bytes, query: bytes = b"") -> dict[str, Any]:
    return {"type": "http", "headers": [(b"authorization", value) for value in values], "query_string": query}


def sending(*chunks: bytes, complete: bool = True) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if complete else {"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    return receive


@pytest.mark.parametrize("value", [b"Bearer good", b"bearer good", b"BEARER  good "])
def test_a_token_is_read(value: bytes) -> None:
    assert bearer_token(scope(value)) == "good"


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b"Bearer",),
        (b"Bearer ",),
        (b"good",),
        (b"Basic good",),
        (b"Bearer good bad",),
        (b"Bearer g\xc3\xa9",),
        (b"Bearer good\x00",),
        (b"Bearer good\n",),
        (b"Bearer " + b"x" * 257,),
        (b"Bearer good", b"Bearer good"),
    ],
)
def test_everything_else_is_no_token(values: tuple[bytes, ...]) -> None:
    assert bearer_token(scope(*values)) is None


async def test_who_presents_a_token() -> None:
    assert await GATE.caller(scope(b"Bearer good")) is CALLER
    assert await GATE.caller(scope(b"Bearer bad")) is None
    assert await GATE.caller(scope(query=b"token=good")) is None
    with pytest.raises(Unavailable):
        await GATE.caller(scope(b"Bearer broken"))


@pytest.mark.parametrize(
    "message",
    [
        {"method": "initialize"},
        {"method": "notifications/initialized"},
        {"method": "ping"},
        {"method": "server/discover"},
        {"method": "tools/list"},
        {"method": "tools/call", "params": {"name": "about"}},
    ],
)
def test_open_messages(message: object) -> None:
    assert GATE.is_open(message)


@pytest.mark.parametrize(
    "message",
    [
        None,
        "ping",
        [],
        [{"method": "ping"}],
        {},
        {"method": None},
        {"method": ["ping"]},
        {"method": "resources/list"},
        {"method": "subscriptions/listen"},
        {"method": "notifications/cancelled"},
        {"method": "tools/call"},
        {"method": "tools/call", "params": "about"},
        {"method": "tools/call", "params": {"name": "write"}},
        {"method": "tools/call", "params": {"name": ["about"]}},
        {"method": "tools/call", "params": {"name": "about "}},
    ],
)
def test_closed_messages(message: object) -> None:
    assert not GATE.is_open(message)


async def test_a_strangers_message_is_read_whole_and_again() -> None:
    receive = sending(b'{"method": "x", ', b'"method": "ping"}')
    message = await open_message(receive)
    assert message == {"method": "ping"}
    again = replayed(message, sending(b"later"))
    assert json.loads((await again())["body"]) == {"method": "ping"}, "a name that came twice is there once"
    assert (await again())["body"] == b"later"


@pytest.mark.parametrize("chunks", [(b"{",), (b"",), (b"\xff",), (b"[" * 60_000,), (b" " * 40_000, b" " * 30_000)])
async def test_what_is_no_small_json_is_no_message(chunks: tuple[bytes, ...]) -> None:
    assert await open_message(sending(*chunks)) is None


async def test_a_stranger_who_leaves_said_nothing() -> None:
    assert await open_message(sending(b'{"method": "ping"}', complete=False)) is None


def test_the_challenge_tells_a_missing_token_from_a_bad_one() -> None:
    assert "invalid_token" not in str(unauthenticated(scope()).headers)
    assert "invalid_token" in unauthenticated(scope(b"Bearer bad")).headers["WWW-Authenticate"]


def test_the_sdk_knows_the_credential_and_not_the_token() -> None:
    user = identified(scope(b"Bearer good"), CALLER)["user"]
    assert (user.access_token.client_id, user.access_token.subject) == ("hash", "hash")
    assert "good" not in user.access_token.model_dump_json()
