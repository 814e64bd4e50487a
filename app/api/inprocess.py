"""Asks the application itself: one ASGI call, with all of its middleware and none of the network."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
from starlette.types import ASGIApp, Message

_INHERITED: Final = ("asgi", "http_version", "scheme", "client", "server", "root_path")
"""What the inner request has in common with the one that caused it: logs then see the real peer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the application, as its route will see it."""

    method: str
    path: str
    """With plain values: this is what the router matches."""
    raw_path: bytes
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole response of the application."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


async def ask(
    app: ASGIApp, question: Question, *, outer: Mapping[str, Any] | None = None, marks: Mapping[str, Any]
) -> Answer:
    """Let the application answer a request that never was on a wire.

    `outer` is the scope of the request that caused this one, `marks` are scope keys for the application to find.
    An error the application raises after it has answered is not ours: it has been answered.
    """
    outer = outer or {}
    finished = anyio.Event()
    unread: list[Message] = [{"type": "http.request", "body": question.body or b"", "more_body": False}]
    head: dict[str, Any] = {}
    chunks: list[bytes] = []

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.update(status=message["status"], headers=_texts(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                finished.set()

    try:
        await app(_scope(question, outer, marks), receive, send)
    except Exception:
        if not finished.is_set():
            raise
    if not finished.is_set():
        raise RuntimeError(f"{question.method} {question.path} ended without an answer")
    return Answer(status=head["status"], headers=head["headers"], body=b"".join(chunks))


def _scope(question: Question, outer: Mapping[str, Any], marks: Mapping[str, Any]) -> MutableMapping[str, Any]:
    root = outer.get("root_path", "")
    return {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "client": None,
        "server": None,
        "root_path": "",
        **{key: outer[key] for key in _INHERITED if key in outer},
        "type": "http",
        "method": question.method,
        "path": root + question.path,
        "raw_path": root.encode() + question.raw_path,
        "query_string": question.query,
        "headers": [(b"host", _host(outer)), *question.headers],
        # A copy, since what the inner request notes about itself is not true of the outer one.
        "state": dict(outer.get("state", {})),
        **marks,
    }


def _host(outer: Mapping[str, Any]) -> bytes:
    return next((value for name, value in outer.get("headers", ()) if name == b"host"), b"localhost")


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
