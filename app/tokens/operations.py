"""Who may call: tokens made, listed, changed, revoked."""

from typing import Annotated

from fastapi import Depends, Path, Query

from app.core.errors import AdminRequired, ConfirmationRequired, InvalidInput, StoreUnavailable, UnknownField
from app.core.identity import Permission
from app.core.operation import Effect
from app.core.paging import MOST, Cursor, InvalidCursor, PageSize
from app.core.routing import CurrentCaller, Operations, provide
from app.tokens.errors import AmbiguousTokenHash, InvalidTokenHash, TokenBusy, TokenNotFound
from app.tokens.models import (
    Purge,
    TokenChanged,
    TokenCreate,
    TokenCreated,
    TokenDeleted,
    TokenList,
    TokensPurged,
    TokenUpdate,
)
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

_DRY_RUN = Purge()
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
    it. To rotate a token, make a second one with the same name, then revoke the first. `warnings` names spaces of the
    list that are not there: a typo would open nothing.
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


@operations.declare(
    "admin_delete_token",
    method="DELETE",
    path="/admin/tokens/{token_hash}",
    permission=Permission.ADMIN,
    effect=Effect.DELETES,
    core=False,
    example={"token_hash": _EXAMPLE_HASH, "confirm": True},
    errors=(
        InvalidInput,
        ConfirmationRequired,
        InvalidTokenHash,
        AmbiguousTokenHash,
        AdminRequired,
        TokenNotFound,
        StoreUnavailable,
    ),
)
async def delete(
    token_hash: TokenHash,
    tokens: Tokens,
    caller: CurrentCaller,
    *,
    confirm: Annotated[bool, Query(description="Must be true: nothing of the token is kept.")] = False,
) -> TokenDeleted:
    """Delete a token with all that is known of it.

    It is refused at once by this replica, and within five seconds by every other. To keep a trace of who had access,
    revoke it instead.
    """
    return await tokens.delete(token_hash, confirm=confirm, caller=caller)


@operations.declare(
    "admin_purge_tokens",
    method="POST",
    path="/admin/tokens/purge",
    permission=Permission.ADMIN,
    effect=Effect.DELETES,
    core=False,
    example={"dry_run": True},
    errors=(InvalidInput, UnknownField, AdminRequired, StoreUnavailable),
)
async def purge(tokens: Tokens, caller: CurrentCaller, request: Purge = _DRY_RUN) -> TokensPurged:
    """Remove the tokens that nobody can use any more.

    These are the revoked ones, and those that have expired. By default it only tells which they are.
    """
    return await tokens.purge(request, caller=caller)
