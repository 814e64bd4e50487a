"""Where tokens are kept: one object each, so that two changes never meet unless they concern the same token."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

import structlog
from pydantic import ValidationError

from app.core.clock import iso
from app.core.ids import new_nonce
from app.core.schema import Record, parse_instant
from app.storage.store import JSON, ObjectStore, PreconditionFailed, Stored
from app.tokens.errors import TokenBusy
from app.tokens.models import HASH_PREFIX, Token, Usage

TOKENS: Final = "_system/tokens/"
USAGE: Final = "_system/usage/"
_SUFFIX: Final = ".json"
_AT_ONCE: Final = 32
_ROUNDS: Final = 32
"""A round is lost only to somebody who won one, so this outlasts as many simultaneous changes of one token."""

R = TypeVar("R", bound=Record)

log = structlog.get_logger(__name__)


def token_key(token_hash: str) -> str:
    """Key of the token with that hash."""
    return f"{TOKENS}{token_hash.removeprefix(HASH_PREFIX)}{_SUFFIX}"


def usage_key(replica: str) -> str:
    """Key of what one replica knows about the use of tokens."""
    return f"{USAGE}{replica}{_SUFFIX}"


class TokenStore:
    """The registry of tokens. A record that cannot be understood counts as absent, so it gives no right."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def find(self, token_hash: str) -> Token | None:
        """The token with that full hash, revoked and expired ones included."""
        found = await self._store.get(token_key(token_hash))
        return _token(found) if isinstance(found, Stored) else None

    async def add(self, token: Token) -> None:
        """Write a new token."""
        await self._store.create(token_key(token.hash), _body(token), content_type=JSON)

    async def change(self, token_hash: str, change: Callable[[Token], Token]) -> tuple[Token, bool] | None:
        """Change a token by a pure function that may run again; the token, and whether anything was written.

        None when there is no such token.

        Raises:
            TokenBusy: others were faster every time.
        """
        key = token_key(token_hash)
        nonce = new_nonce()
        for _round in range(_ROUNDS):
            found = await self._store.get(key)
            if not isinstance(found, Stored) or (before := _token(found)) is None:
                return None
            after = change(before)
            if after == before:
                return before, False
            after = after.model_copy(update={"nonce": nonce})
            try:
                await self._store.replace(key, _body(after), etag=found.etag, content_type=JSON)
            except PreconditionFailed:
                continue
            return after, True
        raise TokenBusy

    async def remove(self, token_hash: str) -> tuple[bool, Token | None]:
        """Remove the record of a token for ever: was there one, and what it said if it could be understood."""
        key = token_key(token_hash)
        found = await self._store.get(key)
        if not isinstance(found, Stored):
            return False, None
        await self._store.delete(key)
        return True, _token(found)

    async def remove_many(self, hashes: Sequence[str]) -> Sequence[str]:
        """Remove the records of tokens, and return the hashes of those that may still be there."""
        left = set(await self._store.delete_many([token_key(token_hash) for token_hash in hashes]))
        return [token_hash for token_hash in hashes if token_key(token_hash) in left]

    async def hashes(self, start: str) -> list[str]:
        """Full hashes that start like this, understood or not."""
        return [
            HASH_PREFIX + key.removeprefix(TOKENS).removesuffix(_SUFFIX)
            for key in await self._keys(TOKENS + start.removeprefix(HASH_PREFIX))
        ]

    async def all(self) -> list[Token]:
        """Every token, in the order of creation."""
        objects = await self._read(await self._keys(TOKENS))
        tokens = [token for token in map(_token, objects) if token is not None]
        return sorted(tokens, key=lambda token: (parse_instant(token.created_at), token.hash))

    async def last_uses(self) -> dict[str, datetime]:
        """When each token was last used, as far as any replica has written it down."""
        newest: dict[str, datetime] = {}
        for stored in await self._read(await self._keys(USAGE)):
            if usage := _parsed(Usage, stored):
                merge_uses(newest, usage)
        return newest

    async def add_uses(self, replica: str, uses: dict[str, datetime]) -> None:
        """Add to what this replica has written down about uses; only it writes there."""
        key = usage_key(replica)
        found = await self._store.get(key)
        known = (_parsed(Usage, found) if isinstance(found, Stored) else None) or Usage()
        newest = dict(uses)
        merge_uses(newest, known)
        usage = known.model_copy(update={"last_used_at": {digest: iso(at) for digest, at in sorted(newest.items())}})
        await self._store.put(key, _body(usage), content_type=JSON)

    async def _keys(self, prefix: str) -> list[str]:
        folder = prefix[: prefix.rindex("/") + 1]
        return [
            listed.key
            async for page in self._store.list(prefix)
            for listed in page.objects
            if listed.key.endswith(_SUFFIX) and "/" not in listed.key.removeprefix(folder)
        ]

    async def _read(self, keys: Sequence[str]) -> list[Stored]:
        """The objects under these keys, read a bounded number at a time; those gone meanwhile are left out."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(key: str) -> Stored | None:
            async with gate:
                found = await self._store.get(key)
            return found if isinstance(found, Stored) else None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read(key)) for key in keys]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [stored for task in tasks if (stored := task.result()) is not None]


def merge_uses(newest: dict[str, datetime], usage: Usage) -> None:
    """Add the uses that are later than those known."""
    for token_hash, text in usage.last_used_at.items():
        at = parse_instant(text)
        if token_hash not in newest or newest[token_hash] < at:
            newest[token_hash] = at


def _token(stored: Stored) -> Token | None:
    token = _parsed(Token, stored)
    if token is not None and token_key(token.hash) != stored.key:
        log.warning("token_misplaced", key=stored.key)
        return None
    return token


def _parsed(kind: type[R], stored: Stored) -> R | None:
    try:
        return kind.model_validate_json(stored.body)
    except ValidationError as error:
        log.warning("record_unreadable", key=stored.key, fields=[".".join(map(str, e["loc"])) for e in error.errors()])
        return None


def _body(record: Record) -> bytes:
    return record.model_dump_json(indent=2).encode()
