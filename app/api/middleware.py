"""What every request passes first: its id, the log line, the headers, the host. Plain ASGI, so nothing is buffered."""

import re
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import CODE_KEY, REQUEST_ID_KEY, HostRefused, OriginRefused, answer, situation_of
from app.api.table import RouteTable
from app.core.errors import InternalError, Situation
from app.core.ids import new_request_id
from app.core.operation import ToolCall
from app.core.routing import API_PREFIX, CALLER_KEY, TOOL_CALL_KEY

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_PROBES: Final = frozenset({"/health", "/ready"})
_TRANSPORTS: Final = frozenset({"/mcp", "/sse"})
_BELOW_TRANSPORTS: Final = ("/mcp/", "/sse/")
_UNLOGGED: Final = frozenset({"/health"})

JSON_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
HTML_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), "
        "geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()"
    ),
    "Cache-Control": "no-store",
}

access = structlog.get_logger("live_memory.access")
log = structlog.get_logger(__name__)


class RequestContext:
    """Names the request, and writes one line about it when it is over."""

    def __init__(self, app: ASGIApp, *, table: RouteTable) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call: ToolCall | None = scope.get(TOOL_CALL_KEY)
        request_id = scope[REQUEST_ID_KEY] = _chosen_id(scope, call)
        started = time.perf_counter()
        status, size = 0, 0

        async def named_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id, **_channel(scope, call)):
            try:
                await self._app(scope, receive, named_send)
            finally:
                if scope["path"] not in _UNLOGGED:
                    access.info(
                        "request",
                        method=scope["method"],
                        route=self._table.template(scope["method"], scope["path"]) or "(none)",
                        status=status or "aborted",
                        ms=round((time.perf_counter() - started) * 1000, 1),
                        bytes=size,
                        **_outcome(scope),
                    )


def _chosen_id(scope: Scope, call: ToolCall | None) -> str:
    offered = Headers(scope=scope).get("x-request-id", "")
    if _REQUEST_ID.match(offered):
        return offered
    outer = structlog.contextvars.get_contextvars().get("request_id") if call else None
    return str(outer or new_request_id())


def _channel(scope: Scope, call: ToolCall | None) -> dict[str, str]:
    if call is not None:
        return {"channel": "mcp", "operation": call.operation, "transport": call.transport}
    return {"channel": "rest" if scope["path"].startswith(API_PREFIX + "/") else "http"}


def _outcome(scope: Scope) -> dict[str, Any]:
    caller, code = scope.get(CALLER_KEY), scope.get(CODE_KEY)
    return ({"caller": caller.name} if caller else {}) | ({"code": code} if code else {})


class SecurityHeaders:
    """Adds the headers that keep a browser from doing anything clever with an answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or TOOL_CALL_KEY in scope:
            await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                is_html = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("Content-Security-Policy", HTML_POLICY if is_html else JSON_POLICY)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
            await send(message)

        await self._app(scope, receive, guarded_send)


class ErrorBoundary:
    """Answers what nobody else answered: the unforeseen is logged here, and told in one fixed sentence."""

    def __init__(self, app: ASGIApp, *, table: RouteTable) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:
            situation = self._situation(error, scope)
            if begun:
                # Half an answer is out: only breaking the connection tells the caller that it is not whole.
                raise
            await answer(situation, scope)(scope, receive, send)

    def _situation(self, error: Exception, scope: Scope) -> Situation:
        match error:
            case Situation():
                return error
            case HTTPException():
                return situation_of(error, scope, self._table)
            case _:
                log.error("unforeseen_error", kind=type(error).__name__, exc_info=error)
                return InternalError()


class HostGuard:
    """Refuses requests to a host the service does not answer for, and pages of strangers on the MCP transports.

    Both are what a page needs that makes a browser talk to a service on its user's own machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._app = app
        self._hosts = _Names(hosts)
        self._origins = _Names(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and TOOL_CALL_KEY not in scope and scope["path"] not in _PROBES:
            headers = Headers(scope=scope)
            if not self._hosts.hold_all(headers.getlist("host"), at_least=1):
                raise HostRefused("This host name is not among ALLOWED_HOSTS.")
            is_transport = scope["path"] in _TRANSPORTS or scope["path"].startswith(_BELOW_TRANSPORTS)
            if is_transport and not self._origins.hold_all(headers.getlist("origin"), at_least=0):
                raise OriginRefused("This origin is not among ALLOWED_ORIGINS.")
        await self._app(scope, receive, send)


class _Names:
    """The hosts or origins that are welcome: `*` for any; one without a port stands for all its ports."""

    def __init__(self, names: Sequence[str]) -> None:
        self._any = "*" in names
        self._names = frozenset(name.lower().removesuffix(":*") for name in names)

    def hold_all(self, given: Sequence[str], *, at_least: int) -> bool:
        """Whether the header was sent no more than once, as often as it must be, and with a welcome value."""
        if self._any:
            return True
        return at_least <= len(given) <= 1 and all(self._holds(value.strip().lower()) for value in given)

    def _holds(self, value: str) -> bool:
        return value in self._names or re.sub(r":\d{1,5}\Z", "", value) in self._names
