"""Who may speak to the MCP face at all. What they may do is decided by each operation, as on REST."""

import json
import re
from collections.abc import Collection
from typing import Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials
from starlette.types import Message, Receive, Scope

from app.core.errors import Unauthenticated
from app.core.identity import Authenticator, Caller

_BEARER: Final = re.compile(rb"bearer +([\x21-\x7e]{1,256}) *", re.IGNORECASE)
_LARGEST_OPEN_MESSAGE: Final = 64 * 1024
_OPEN_METHODS: Final = {"initialize", "notifications/initialized", "ping", "server/discover", "tools/list"}
"""What a client says around a call of a public operation. `tools/list` answers the same to everybody."""


class Gate:
    """Recognises callers, and the few messages that need none."""

    def __init__(self, authenticator: Authenticator, *, public_tools: Collection[str]) -> None:
        self._authenticator = authenticator
        self._public_tools = frozenset(public_tools)

    async def caller(self, scope: Scope) -> Caller | None:
        """Whoever presents a valid token in the `Authorization` header; a token in the address is never read.

        Raises:
            Unavailable: nothing can be said about the token.
        """
        token = bearer_token(scope)
        return await self._authenticator.authenticate(token) if token else None

    def is_open(self, message: object) -> bool:
        """Is this one of the messages that anybody may send?"""
        if not isinstance(message, dict):
            return False
        method, params = message.get("method"), message.get("params")
        if method == "tools/call":
            name = params.get("name") if isinstance(params, dict) else None
            return isinstance(name, str) and name in self._public_tools
        return isinstance(method, str) and method in _OPEN_METHODS


def bearer_token(scope: Scope) -> str | None:
    """The token in the request's one `Authorization` header, or None when there is none that could be valid."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    return match[1].decode("ascii") if match else None


def identified(scope: Scope, caller: Caller) -> Scope:
    """The scope as the SDK wants it: sessions belong to the credential that opened them.

    The token itself stays out, since only the credential's name is compared.
    """
    access = AccessToken(token="", client_id=caller.credential, subject=caller.credential, scopes=[])
    return {**scope, "user": AuthenticatedUser(access), "auth": AuthCredentials([])}


def unauthenticated(scope: Scope) -> Unauthenticated:
    """The refusal, whose challenge tells a missing token from one that is not valid."""
    if not any(name == b"authorization" for name, _ in scope["headers"]):
        return Unauthenticated("A bearer token is required: send the header 'Authorization: Bearer <token>'.")
    challenge = 'Bearer realm="live-memory", error="invalid_token"'
    return Unauthenticated(
        "The token is not one bearer token, or it is unknown, revoked or expired.",
        headers={"WWW-Authenticate": challenge},
    )


async def open_message(receive: Receive) -> object:
    """The JSON of a body that a stranger sends, or None when it is too large, incomplete or no JSON."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > _LARGEST_OPEN_MESSAGE:
            return None
        if not message.get("more_body", False):
            break
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed


def replayed(message: object, receive: Receive) -> Receive:
    """Receives that message again, written anew: what was checked is what will be read."""
    unread: list[Message] = [{"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}]

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    return receive_again
