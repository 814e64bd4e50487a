"""Who calls: the bearer token of a request, turned into a `Caller` before anything of the body is read."""

import re
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.table import RouteTable
from app.core.errors import Unauthenticated, Unavailable
from app.core.identity import Authenticator, Caller
from app.core.routing import CALLER_KEY

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,256}\Z")
_OPEN: Final = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json", "/favicon.ico", "/mcp", "/sse"})
_OPEN_BELOW: Final = ("/docs/", "/mcp/", "/sse/")
"""The MCP transports have a gate of their own, which knows what may be asked without a token."""


class Authentication:
    """Leaves the caller in the scope, or refuses the request."""

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, table: RouteTable) -> None:
        self._app = app
        self._authenticator = authenticator
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW):
            await self._app(scope, receive, send)
            return
        if self._table.is_public(scope["method"], scope["path"]):
            caller = await self._known_caller(scope)
        else:
            caller = await self._caller(scope)
        if caller is None:
            await self._app(scope, receive, send)
            return
        scope[CALLER_KEY] = caller
        with structlog.contextvars.bound_contextvars(caller=caller.name):
            await self._app(scope, receive, send)

    async def _known_caller(self, scope: Scope) -> Caller | None:
        """On a public operation a bad token is no token, and a registry that cannot be read changes nothing."""
        try:
            return await self._caller(scope)
        except (Unauthenticated, Unavailable):
            return None

    async def _caller(self, scope: Scope) -> Caller:
        given = Headers(scope=scope).getlist("authorization")
        if not given:
            raise Unauthenticated("A bearer token is required: send the header 'Authorization: Bearer <token>'.")
        scheme, _, token = given[0].strip().partition(" ")
        if len(given) != 1 or scheme.lower() != "bearer" or not _TOKEN.match(token.strip()):
            raise _invalid_token("The Authorization header does not hold one bearer token.")
        caller = await self._authenticator.authenticate(token.strip())
        if caller is None:
            raise _invalid_token("The token is unknown, revoked or expired.")
        return caller


def _invalid_token(detail: str) -> Unauthenticated:
    challenge = 'Bearer realm="live-memory", error="invalid_token"'
    return Unauthenticated(detail, headers={"WWW-Authenticate": challenge})
