"""Who may call: tokens made, listed, changed, revoked."""

from typing import Annotated

from fastapi import Depends, Path

from app.core.errors import AdminRequired, InvalidInput, StoreUnavailable, UnknownField
from app.core.identity import Permission
from app.core.operation import Effect
from app.core.paging import MOST, Cursor, InvalidCursor, PageSize
from app.core.routing import CurrentCaller, Operations, provide
from app.tokens.errors import AmbiguousTokenHash, InvalidTokenHash, TokenBusy, TokenNotFound
from app.tokens.models import TokenChanged, TokenCreate, TokenCreated, TokenList, TokenUpdate
from app.tokens.service import TokenService

operations = Operations("tokens", "Who may call: tokens, what they may do and in which spaces.")

Tokens = Annotated[TokenService, Depends(provide(TokenService))]
TokenHash = Annotated[
    str,
    Path(
        max_length=128,
        description="Hash of the token as `admin_list_tokens` shows it, or at least its first 16 characters.",
        examples=["sha256:0123456789abc..."],
    ),
]

_EXAMPLE_HASH = "sha256:0123456789abc..."


@operations.declare(
    "admin_create_token",
    method="POST",
    path="/admin/tokens",
    status_code=201,
    permission=Permission.ADMIN,
    effect=Effect.ADDS,
    example={
        "name": "agent-one",
        "permissions": "read,write",
        "space_ids": "project-alpha",
        "expires_in_days": 90,
    },
    errors=(InvalidInput, UnknownField, AdminRequired, StoreUnavailable),
)
async def create(request: TokenCreate, tokens: Tokens, caller: CurrentCaller) -> TokenCreated:
    """Make a token for an agent or a person.

    The answer holds the token's text, the only time that it is shown. The name is the identity: notes are signed with
    it. To rotate a token, make a second one with the same name, then revoke the first.
    """
    return await tokens.create(request, caller=caller)


@operations.declare(
    "admin_list_tokens",
    method="GET",
    path="/admin/tokens",
    permission=Permission.ADMIN,
    effect=Effect.READS,
    example={},
    errors=(InvalidInput, InvalidCursor, AdminRequired, StoreUnavailable),
)
async def list_tokens(
    tokens: Tokens,
    limit: PageSize = MOST,
    cursor: Cursor = "",
) -> TokenList:
    """List the tokens, oldest first, without their text.

    Revoked and expired ones are listed too. Either hash of an item names its token in the other operations.
    """
    return await tokens.list(limit=limit, cursor=cursor)


@operations.declare(
    "admin_revoke_token",
    method="POST",
    path="/admin/tokens/{token_hash}/revoke",
    permission=Permission.ADMIN,
    effect=Effect.REWRITES,
    example={"token_hash": _EXAMPLE_HASH},
    errors=(
        InvalidInput,
        InvalidTokenHash,
        AmbiguousTokenHash,
        AdminRequired,
        TokenNotFound,
        TokenBusy,
        StoreUnavailable,
    ),
)
async def revoke(token_hash: TokenHash, tokens: Tokens, caller: CurrentCaller) -> TokenChanged:
    """Revoke a token for ever.

    It is refused at once by this replica, and within five seconds by every other. Revoking it twice is no fault.
    """
    return await tokens.revoke(token_hash, caller=caller)


@operations.declare(
    "admin_update_token",
    method="PATCH",
    path="/admin/tokens/{token_hash}",
    permission=Permission.ADMIN,
    effect=Effect.REWRITES,
    example={"token_hash": _EXAMPLE_HASH, "space_ids": "project-alpha,project-beta", "permissions": "read,write"},
    errors=(
        InvalidInput,
        InvalidTokenHash,
        AmbiguousTokenHash,
        UnknownField,
        AdminRequired,
        TokenNotFound,
        TokenBusy,
        StoreUnavailable,
    ),
)
async def update(token_hash: TokenHash, request: TokenUpdate, tokens: Tokens, caller: CurrentCaller) -> TokenChanged:
    """Change what a token may do, and in which spaces.

    Each list that is given replaces the former one; an empty one leaves it as it is. `space_ids` of `*` opens all
    spaces. The change holds at once on this replica, and within five seconds on every other.
    """
    return await tokens.update(token_hash, request, caller=caller)
