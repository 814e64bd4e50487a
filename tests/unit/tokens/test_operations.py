from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from app.core.errors import Situation
from app.core.identity import Caller, Everywhere, Permission
from app.core.routing import CALLER_KEY
from app.tokens.operations import operations
from app.tokens.service import TokenService


@dataclass
class OneService:
    """Just the token service, as the application would hand it out."""

    tokens: TokenService

    def of(self, _kind: type[Any]) -> TokenService:
        return self.tokens


async def problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Situation)
    return Response(error.code(), status_code=error.status)


def client(tokens: TokenService, permission: Permission = Permission.ADMIN) -> httpx.AsyncClient:
    """A client of these operations alone, authenticated as a caller with that permission."""
    app = FastAPI()
    app.state.services = OneService(tokens)
    app.include_router(operations.router)
    app.add_exception_handler(Situation, problem)

    async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER_KEY] = Caller("somebody", frozenset({permission}), Everywhere(), "bootstrap")
        await app(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(authenticated), base_url="http://test/api/v1")


async def test_the_life_of_a_token(tokens: TokenService) -> None:
    async with client(tokens) as http:
        made = await http.post("/admin/tokens", json={"name": "agent-one", "permissions": "read", "space_ids": "alpha"})
        assert made.status_code == 201
        assert made.json().keys() == {
            *("status", "name", "token", "hash", "permissions", "space_ids", "created_at", "expires_at", "warning"),
            "warnings",
        }

        [token] = (await http.get("/admin/tokens")).json()["tokens"]
        assert made.json()["token"] not in str(token)

        path = f"/admin/tokens/{token['hash']}"
        updated = await http.patch(path, json={"space_ids": "alpha,beta"})
        assert (updated.status_code, updated.json()["status"]) == (200, "ok")
        revoked = await http.post(f"{path}/revoke")
        assert (revoked.status_code, revoked.json()["status"]) == (200, "ok")

        [token] = (await http.get("/admin/tokens", params={"limit": 1})).json()["tokens"]
        assert (token["space_ids"], token["revoked"]) == (["alpha", "beta"], True)


@pytest.mark.parametrize("permission", [Permission.READ, Permission.WRITE])
async def test_only_an_admin_deals_with_tokens(tokens: TokenService, permission: Permission) -> None:
    async with client(tokens, permission) as http:
        answers = [
            await http.get("/admin/tokens"),
            await http.post("/admin/tokens", json={"name": "x", "permissions": "admin"}),
            await http.post("/admin/tokens/sha256:0123456789abc.../revoke"),
            await http.patch("/admin/tokens/sha256:0123456789abc...", json={"permissions": "admin"}),
        ]

    assert [(answer.status_code, answer.text) for answer in answers] == [(403, "admin_required")] * 4


@pytest.mark.parametrize(
    ("selector", "status", "code"),
    [("x", 422, "invalid_token_hash"), ("sha256:0123456789abc...", 404, "token_not_found")],
)
async def test_a_wrong_selector_is_named(tokens: TokenService, selector: str, status: int, code: str) -> None:
    async with client(tokens) as http:
        answer = await http.post(f"/admin/tokens/{selector}/revoke")

    assert (answer.status_code, answer.text) == (status, code)


@pytest.mark.parametrize("body", [{}, {"name": "x"}, {"name": "x", "permissions": "read", "space_ids": ","}])
async def test_a_token_that_makes_no_sense_is_not_made(tokens: TokenService, body: dict[str, str]) -> None:
    async with client(tokens) as http:
        answer = await http.post("/admin/tokens", json=body)

    assert answer.status_code == 422
    assert (await tokens.list(limit=10)).total == 0
