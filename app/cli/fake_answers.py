"""How a scripted endpoint writes an answer, in each of its moods."""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from app.cli.fake_moods import Mood

WAIT: Final = 3
"""Seconds that an endpoint which is asked too often wants."""
OVERFLOW: Final = 4096
"""Tokens that an endpoint takes whose context overflows."""
PING: Final = 0.02
"""Seconds between two signs of life of an endpoint that has nothing to say."""
_PIECE: Final = 12
"""Characters in a chunk."""
_SPLIT: Final = 5
_AT_MOST: Final = 200_000
"""Chunks of an answer that goes on for ever, should nobody cut it off."""
_SEPARATORS: Final = "\u2028\u0085\u2029"
_THOUGHT: Final = 'I might say {"ops": null}, but I had better not.'
_ENDINGS: Final = {Mood.CRLF: "\r\n", Mood.CR: "\r"}
_ENDLESS: Final = frozenset({Mood.WHITESPACE_FLOOD, Mood.REPETITION, Mood.TOO_LONG})
_REASONS: Final = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class Gone(Exception):
    """The client left."""


class Head:
    """Writes what comes before a body, and a body that is short."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await self._writer.drain()

    async def body(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer of JSON, or of HTML when it is a text."""
        is_page = isinstance(content, str)
        body = (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)).encode()
        kind = "text/html" if is_page else "application/json"
        await self.start(status, {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})})
        self._writer.write(body)
        await self._writer.drain()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an author wrote, to be sent in some mood."""

    text: str
    model: str
    prompt_tokens: int
    count: Callable[[str], int]
    tells_usage: bool
    now: datetime
    asked: Mapping[str, Any]
    bearer: str

    async def write(self, mood: Mood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send it.

        Raises:
            Gone: the client left first.
        """
        head = Head(writer)
        if refusal := self._refusal(mood):
            await head.body(*refusal)
        elif mood is Mood.RESET_BEFORE_HEADERS:
            _reset(writer)
        elif mood is Mood.SILENCE:
            await _left(reader)
        elif mood is Mood.HTML:
            await head.body(200, "<!doctype html><title>Please wait</title><p>One moment, please.")
        elif mood is Mood.JSON_BODY:
            await head.body(200, self._whole())
        else:
            await head.start(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
            await self._stream(mood, reader, writer)

    async def _stream(self, mood: Mood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in self._bytes(mood):
            await _send(piece, reader, writer)
        if mood is Mood.PINGS_ONLY:
            while True:
                await _send(b": ping\n\n", reader, writer)
                await asyncio.sleep(PING)
        if mood is Mood.STALL:
            await _left(reader)
        elif mood is Mood.RESET_MID_STREAM:
            _reset(writer)
        else:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    def _bytes(self, mood: Mood) -> Iterator[bytes]:
        """The stream as it is cut into packets."""
        end = _ENDINGS.get(mood, "\n")
        ping = [f": ping{end}{end}".encode()] if mood is Mood.PINGS else []
        lines = (f"data: {event}{end}{end}".encode() for event in self._events(mood))
        if mood is Mood.UTF8_SPLIT:
            whole = b"".join(lines)
            yield from (whole[start : start + _SPLIT] for start in range(0, len(whole), _SPLIT))
            return
        for line in lines:
            yield from ping
            yield line

    def _events(self, mood: Mood) -> Iterator[str]:
        marks = {"system_fingerprint": _SEPARATORS} if mood is Mood.LINE_SEPARATOR else {}

        def chunk(delta: Mapping[str, str], finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return self._dump("chat.completion.chunk", {"choices": [choice], **marks})

        if mood is Mood.PINGS_ONLY:
            return
        yield chunk({"role": "assistant"})
        if mood is Mood.REASONING:
            yield from (chunk({"reasoning_content": piece}) for piece in _cut(_THOUGHT))
        if mood is Mood.REFUSAL:
            yield chunk({"refusal": "I had rather not."})
        else:
            yield from (chunk({"content": piece}) for piece in self._pieces(mood))
        if mood is Mood.ERROR_IN_STREAM:
            yield json.dumps({"error": {"message": "The engine stopped.", "code": 500}})
        if mood in _HALVES and mood not in _FINISHES:
            return
        yield chunk({}, _FINISHES.get(mood, "stop"))
        if self.tells_usage and mood is not Mood.NO_USAGE:
            yield self._dump("chat.completion.chunk", {"choices": [], "usage": self._usage(mood)})
        if mood is not Mood.NO_DONE:
            yield "[DONE]"

    def _pieces(self, mood: Mood) -> Iterable[str]:
        whole = _cut(self.text)
        if mood in _ENDLESS:
            return itertools.chain(whole[: len(whole) // 2], itertools.islice(_endless(mood), _AT_MOST))
        return whole[: (len(whole) + 1) // 2] if mood in _HALVES else whole

    def _whole(self) -> object:
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        told = {"choices": [choice], "usage": self._usage(Mood.JSON_BODY)}
        return json.loads(self._dump("chat.completion", told))

    def _usage(self, mood: Mood) -> Mapping[str, object]:
        thought = self.count(_THOUGHT) if mood is Mood.REASONING else 0
        written = self.count(self.text) + thought
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    def _dump(self, kind: str, content: Mapping[str, object]) -> str:
        created = int(self.now.timestamp())
        named = {"id": "chatcmpl-fake", "object": kind, "created": created, "model": self.model, **content}
        return json.dumps(named, ensure_ascii=False)

    def _refusal(self, mood: Mood) -> tuple[int, object, Mapping[str, str]] | None:
        """Status, body and headers, when the mood does not want this request."""
        at = self.now + timedelta(seconds=WAIT)
        form = (self.asked.get("response_format") or {}).get("type")
        if mood in _OPTIONS:
            is_met = {
                Mood.NO_STREAM_OPTIONS: "stream_options" in self.asked,
                Mood.NO_JSON_SCHEMA: form == "json_schema",
                Mood.NO_RESPONSE_FORMAT: form is not None,
                Mood.NO_MAX_TOKENS: "max_tokens" in self.asked,
                Mood.NO_EXTRAS: "chat_template_kwargs" in self.asked,
            }[mood]
            return (400, _error(_OPTIONS[mood], 400), {}) if is_met else None
        too_many = _error("Too many requests.", 429)
        overflow = {**_error("The request exceeds the available context size.", 400)["error"], "n_ctx": OVERFLOW}
        return {
            Mood.TOO_MANY_SECONDS: (429, too_many, {"Retry-After": str(WAIT)}),
            Mood.TOO_MANY_DATE: (429, too_many, {"Retry-After": format_datetime(at, usegmt=True)}),
            Mood.TOO_MANY_EPOCH: (429, too_many, {"X-RateLimit-Reset-Requests": str(int(at.timestamp()))}),
            Mood.UNAVAILABLE: (503, "<h1>503</h1>", {}),
            Mood.BROKEN: (500, _error("Something broke.", 500), {}),
            Mood.CONTEXT_OVERFLOW: (400, {"error": {**overflow, "type": "exceed_context_size_error"}}, {}),
            Mood.UNAUTHORIZED: (401, _error(f"This is not a key: {self.bearer}", 401), {}),
            Mood.NO_MODEL: (404, _error(f"There is no model {self.model}.", 404), {}),
            Mood.REDIRECT: (307, "", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
            Mood.FILTERED: (400, _error("The prompt goes against the content policy.", 400), {}),
        }.get(mood)


_OPTIONS: Final = {
    Mood.NO_STREAM_OPTIONS: "Unknown parameter: stream_options.",
    Mood.NO_JSON_SCHEMA: "response_format of type json_schema is not supported.",
    Mood.NO_RESPONSE_FORMAT: "response_format is not supported.",
    Mood.NO_MAX_TOKENS: "max_tokens is not supported with this model, use max_completion_tokens.",
    Mood.NO_EXTRAS: "Extra inputs are not permitted.",
}
_FINISHES: Final = {Mood.LENGTH: "length", Mood.CONTENT_FILTER: "content_filter"}
_HALVES: Final = frozenset({
    Mood.LENGTH, Mood.CONTENT_FILTER, Mood.NO_FINISH, Mood.STALL, Mood.RESET_MID_STREAM, Mood.ERROR_IN_STREAM,
})  # fmt: skip
"""Moods that send the first half of the answer only."""


def _endless(mood: Mood) -> Iterator[str]:
    if mood is Mood.WHITESPACE_FLOOD:
        return itertools.repeat(" \n\t\n")
    if mood is Mood.REPETITION:
        return itertools.repeat('{"op":"append","at":"s1","text":"- again and again"},')
    return (f"{number * number:x} is the square of {number:x}, and so on. " * 8 for number in itertools.count(1 << 40))


def _error(message: str, code: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


def _cut(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


async def _send(piece: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if reader.at_eof() or writer.is_closing():
        raise Gone
    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    await writer.drain()
    # Drain returns at once as long as there is room; the client must get a turn to leave.
    await asyncio.sleep(0)


async def _left(reader: asyncio.StreamReader) -> None:
    await reader.read()
    raise Gone


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection without the usual farewell."""
    peer = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
