"""A proxy in front of an S3 server that spoils the requests it is told to spoil, and remembers each one."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

HOST: Final = "127.0.0.1"
LONGEST: Final = 64 * 1024
"""Bytes of a request's or an answer's head."""


class Fault(StrEnum):
    """What may happen to one request."""

    NONE = "none"
    DELAY = "delay"
    """It reaches the server when the proxy is released."""
    SLOW_DOWN = "503"
    """It is turned away before it reaches the server."""
    RESET_BEFORE = "reset_before"
    """The connection breaks before it reaches the server."""
    RESET_AFTER = "reset_after"
    """The server carries it out, and the connection breaks instead of an answer."""
    STALL = "stall"
    """It never reaches the server, and there is no answer until the proxy ends."""
    STALL_AFTER = "stall_after"
    """The server carries it out, and there is no answer until the proxy ends."""
    CONFLICT_AFTER = "conflict_after"
    """The server carries it out, and the answer is 409."""
    NOT_FOUND = "404"
    """Somebody on the way says that there is nothing, without a word of S3."""
    TRUNCATE = "truncate"
    """The answer breaks off in the middle of its body."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request, and what was done to it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    fault: Fault
    status: int
    """Of the server's answer; 0 when it was never asked."""

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)


Choice = Callable[[Seen], Fault]
Answer = Callable[[Seen], bytes | None]


class FaultProxy:
    """Passes requests on, except where a fault is due: those of `plan` first, in this order, then what `choose` says.

    The plan counts requests of the planned method only, so that reads in between do not use it up.
    """

    def __init__(self, upstream: str, certificate: Path | None = None) -> None:
        address = urlsplit(upstream)
        assert address.hostname is not None
        assert address.port is not None
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
        self._host, self._port = address.hostname, address.port
        self.seen: list[Seen] = []
        self.choose: Choice = lambda _: Fault.NONE
        self.answer: Answer = lambda _: None
        """Answers in the server's place, unless it returns None."""
        self.connections = 0
        """Accepted so far."""
        self.released = asyncio.Event()
        """Lets delayed requests go on."""
        self.arrived = asyncio.Event()
        """Set when a request has met a fault."""
        self._plan: deque[tuple[str, Fault]] = deque()
        self._accepted = asyncio.Event()
        self._ended = asyncio.Event()
        self._port_here = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://{HOST}:{self._port_here}"

    def plan(self, method: str, *faults: Fault) -> None:
        """Spoil the next requests of this method, one after the other."""
        self._plan.extend((method, fault) for fault in faults)

    def faults(self) -> list[Fault]:
        """What has happened, in order, apart from nothing."""
        return [seen.fault for seen in self.seen if seen.fault is not Fault.NONE]

    def requests(self, method: str) -> list[Seen]:
        """The requests of one method, in order."""
        return [seen for seen in self.seen if seen.method == method]

    async def connected(self, times: int) -> None:
        """Wait until so many connections were accepted."""
        while self.connections < times:
            self._accepted.clear()
            await self._accepted.wait()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["FaultProxy"]:
        server = await asyncio.start_server(self._accept, HOST, 0, limit=LONGEST, ssl=self._tls)
        self._port_here = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._ended.set()
            server.close()
            for serving in self._serving:
                serving.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._accepted.set()
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve(reader, writer):
                pass
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Treat one request; is the connection good for another?"""
        start, headers = await _head(reader)
        method, target, _ = start.split(" ", 2)
        if headers.get("expect", "").lower() == "100-continue":
            # The server behind is not asked: a client that waits for this would wait for ever.
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, headers)
        seen = Seen(method, target, headers, body, Fault.NONE, 0)
        fault = self._due(seen)
        if fault is not Fault.NONE:
            self.arrived.set()
        if fault is Fault.DELAY:
            await self.released.wait()
        if fault in _UNHEARD:
            status, answer = 0, b""
        elif (instead := self.answer(seen)) is not None:
            status, answer = 0, instead
        else:
            status, answer = await self._asked(start, headers, body, method)
        self.seen.append(Seen(method, target, headers, body, fault, status))
        if fault in {Fault.STALL, Fault.STALL_AFTER}:
            await self._ended.wait()
        if fault in _BREAKING:
            return False
        if fault is Fault.TRUNCATE:
            end = answer.index(b"\r\n\r\n") + 4
            answer = answer[: end + (len(answer) - end) // 2]
        answer = _ANSWERS.get(fault, answer)
        writer.write(answer[: answer.index(b"\r\n\r\n") + 4] if method == "HEAD" else answer)
        await writer.drain()
        return fault is not Fault.TRUNCATE

    def _due(self, seen: Seen) -> Fault:
        if self._plan and self._plan[0][0] == seen.method:
            return self._plan.popleft()[1]
        return self.choose(seen)

    async def _asked(self, start: str, headers: dict[str, str], body: bytes, method: str) -> tuple[int, bytes]:
        """The server's status and its whole answer, with its length in place of chunks."""
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=LONGEST)
        try:
            sent = {name: value for name, value in headers.items() if name not in _HOP}
            sent |= {"connection": "close"} | ({"content-length": str(len(body))} if body or method != "GET" else {})
            lines = [start, *(f"{name}: {value}" for name, value in sent.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            await writer.drain()
            first, answered = await _head(reader)
            while first.split(" ")[1] == "100":
                first, answered = await _head(reader)
            status = int(first.split(" ")[1])
            bodiless = method == "HEAD" or status in {204, 304}
            content = b"" if bodiless else await _body(reader, answered, to_the_end=True)
        finally:
            writer.close()
        kept = {name: value for name, value in answered.items() if name not in _HOP}
        if not bodiless:
            kept["content-length"] = str(len(content))
        elif "content-length" in answered and status != 204:
            kept["content-length"] = answered["content-length"]
        head = [first, *(f"{name}: {value}" for name, value in kept.items()), "", ""]
        return status, "\r\n".join(head).encode("latin-1") + content


_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect"})


def answer_of(status: str, body: str = "", **headers: str) -> bytes:
    """The bytes of an answer."""
    sent = {"Content-Type": "application/xml", "Content-Length": str(len(body.encode())), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", body]).encode()


def error_of(code: str) -> str:
    """The body of an S3 error."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"


_ANSWERS: Final = {
    Fault.SLOW_DOWN: answer_of("503 Slow Down", error_of("SlowDown")),
    Fault.CONFLICT_AFTER: answer_of("409 Conflict", error_of("ConditionalRequestConflict")),
    Fault.NOT_FOUND: answer_of("404 Not Found", "<html>There is nothing here.</html>"),
}


_UNHEARD: Final = frozenset({Fault.STALL, Fault.RESET_BEFORE, Fault.SLOW_DOWN, Fault.NOT_FOUND})
"""The server never learns of the request."""
_BREAKING: Final = frozenset({Fault.STALL, Fault.STALL_AFTER, Fault.RESET_BEFORE, Fault.RESET_AFTER})
"""The client gets no answer."""


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The first line, and the headers with names in lower case."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return first, {name.strip().lower(): value.strip() for name, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], *, to_the_end: bool = False) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        pieces: list[bytes] = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while (await reader.readuntil(b"\r\n")) != b"\r\n":
            pass
        return b"".join(pieces)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read() if to_the_end else b""
