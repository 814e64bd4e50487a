"""The addresses of the MCP face: streamable HTTP at `/mcp`, and HTTP with SSE for older clients."""

from collections.abc import Mapping
from typing import Any, Final

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.lowlevel.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import answer
from app.core.errors import Unavailable
from app.mcp.gate import Gate, identified, open_message, replayed, unauthenticated

TRANSPORT_KEY: Final = "live_memory.mcp_transport"
"""Scope key that tells the bridge by which transport a message came."""


class Closing:
    """Tells open streams that the server is going down."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class StreamableEndpoint:
    """`/mcp`: each message is a POST of its own, and none needs an earlier one."""

    def __init__(self, gate: Gate, security: TransportSecuritySettings) -> None:
        self._gate = gate
        self._security = TransportSecurityMiddleware(security)
        self.manager: StreamableHTTPSessionManager | None = None
        """Present while the bridge runs."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            # Before authentication: a client that probes for a stream must not take a 401 for "log in first".
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        if refused := await self._security.validate_request(Request(scope), is_post=False):
            await refused(scope, receive, send)
            return
        if self.manager is None:
            await answer(Unavailable("The MCP face is not running."), scope)(scope, receive, send)
            return
        outage: Unavailable | None = None
        try:
            caller = await self._gate.caller(scope)
        except Unavailable as failed:
            caller, outage = None, failed
        if caller is not None:
            scope = identified(scope, caller)
        else:
            message = await open_message(receive)
            if not self._gate.is_open(message):
                await answer(outage or unauthenticated(scope), scope)(scope, receive, send)
                return
            receive = replayed(message, receive)
        inner = {**scope, TRANSPORT_KEY: "mcp", "headers": _trimmed(scope)}
        await AuthContextMiddleware(self.manager.handle_request)(inner, receive, send)


class EventStreamEndpoint:
    """`/sse`: a GET that stays open and carries the answers of one session."""

    def __init__(self, gate: Gate, security: TransportSecuritySettings, server: Server[Any]) -> None:
        self._gate = gate
        self._security = TransportSecurityMiddleware(security)
        self._server = server
        self.transport: SseServerTransport | None = None
        """Present while the bridge runs."""
        self.closing = Closing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await Response(status_code=405, headers={"Allow": "GET"})(scope, receive, send)
            return
        admitted = await _admitted(self._gate, self._security, scope, receive, send)
        if admitted is None:
            return
        if self.transport is None:
            await answer(Unavailable("The MCP face is not running."), scope)(scope, receive, send)
            return
        stream = _Stream(receive, send, self.closing)
        async with self.transport.connect_sse(admitted, stream.receive, stream.send) as (incoming, outgoing):
            await self._server.run(incoming, outgoing, self._server.create_initialization_options())
        await stream.finish()


class MessageEndpoint:
    """`/sse/messages/`: where the client of an open stream posts what it has to say."""

    def __init__(self, gate: Gate, security: TransportSecuritySettings, stream: EventStreamEndpoint) -> None:
        self._gate = gate
        self._security = TransportSecurityMiddleware(security)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        admitted = await _admitted(self._gate, self._security, scope, receive, send)
        if admitted is None:
            return
        if self._stream.transport is None:
            await answer(Unavailable("The MCP face is not running."), scope)(scope, receive, send)
            return
        await self._stream.transport.handle_post_message(admitted, receive, send)


class _Stream:
    """A response that ends by itself, and properly, when the server goes down."""

    def __init__(self, receive: Receive, send: Send, closing: Closing) -> None:
        self._receive = receive
        self._send = send
        self._closing = closing
        self._open = False

    async def receive(self) -> Message:
        """The client's next message; at shutdown the stream looks as if the client had left."""
        received: list[Message] = []

        async with anyio.create_task_group() as waiting:

            async def from_client() -> None:
                received.append(await self._receive())
                waiting.cancel_scope.cancel()

            async def from_server() -> None:
                await self._closing.wait()
                waiting.cancel_scope.cancel()

            waiting.start_soon(from_client)
            waiting.start_soon(from_server)
        return received[0] if received else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._open = True
        elif not message.get("more_body", False):
            self._open = False
        await self._send(message)

    async def finish(self) -> None:
        """Say that nothing more will come."""
        if self._open:
            self._open = False
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _admitted(
    gate: Gate, security: TransportSecurityMiddleware, scope: Scope, receive: Receive, send: Send
) -> Scope | None:
    """The scope with its caller, or None when the request has been refused. A stream always needs a token."""
    if refused := await security.validate_request(Request(scope), is_post=False):
        await refused(scope, receive, send)
        return None
    try:
        caller = await gate.caller(scope)
    except Unavailable as outage:
        await answer(outage, scope)(scope, receive, send)
        return None
    if caller is None:
        await answer(unauthenticated(scope), scope)(scope, receive, send)
        return None
    return {**identified(scope, caller), TRANSPORT_KEY: "sse"}


def _trimmed(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers, without the blanks that some servers leave behind a value and the SDK would compare."""
    return [(name, value.strip() if name.startswith(b"mcp-") else value) for name, value in scope["headers"]]
