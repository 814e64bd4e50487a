"""Who may call, and who decides it."""

import asyncio
import hmac
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog

from app.core.clock import Clock, iso
from app.core.errors import ConfirmationRequired, Unavailable
from app.core.identity import Caller, Everywhere, Permission
from app.core.ids import new_nonce
from app.core.paging import decode_cursor, decode_instant, encode_cursor
from app.core.schema import parse_instant
from app.storage.store import ObjectStore
from app.tokens.errors import AmbiguousTokenHash, InvalidTokenHash, TokenNotFound
from app.tokens.models import (
    Purge,
    Token,
    TokenChanged,
    TokenCreate,
    TokenCreated,
    TokenDeleted,
    TokenList,
    TokenListed,
    TokenPurged,
    TokensPurged,
    TokenUpdate,
    hash_of,
    may_be_token,
    new_token,
    rights_of,
    shown_hash,
    spaces_of,
)
from app.tokens.store import TokenStore

BOOTSTRAP: Final = "bootstrap"
_SELECTOR: Final = re.compile(r"sha256:[0-9a-f]{9,64}")
_FULL_SELECTOR: Final = len("sha256:") + 64
_FRESH: Final = 5.0
"""Seconds for which an answer of the registry is believed: how long a revocation may take on another replica."""
_GRACE: Final = 60.0
"""Seconds for which a known token is believed beyond that while the store does not answer."""
_REMEMBERED: Final = 10_000
_AT_ONCE: Final = 16
_ASKED: Final = 100
"""Spaces of a new token that are looked for; in a longer list a typo goes unnoticed."""
_WARNING: Final = "Keep this token now: it is not stored, and cannot be shown again."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer of the registry."""

    token: Token | None
    read_at: float
    """When the question was asked, by the monotonic clock."""


class _Memory:
    """What the registry answered lately. Unknown tokens are kept apart, so that guesses do not push out real ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._present: OrderedDict[str, _Known] = OrderedDict()
        self._absent: OrderedDict[str, _Known] = OrderedDict()
        self.drops = 0
        """Grows with every change: an answer asked for before one may be older than the change."""

    def recall(self, token_hash: str) -> _Known | None:
        for answers in (self._present, self._absent):
            if known := answers.get(token_hash):
                answers.move_to_end(token_hash)
                return known
        return None

    def keep(self, token_hash: str, known: _Known) -> None:
        """Remember the answer, unless a later one is known."""
        earlier = self.recall(token_hash)
        if earlier is not None and earlier.read_at > known.read_at:
            return
        self._forget(token_hash)
        answers = self._absent if known.token is None else self._present
        answers[token_hash] = known
        while len(answers) > self._limit:
            answers.popitem(last=False)

    def drop(self, token_hash: str) -> None:
        self.drops += 1
        self._forget(token_hash)

    def drop_absent(self) -> None:
        self.drops += 1
        self._absent.clear()

    def _forget(self, token_hash: str) -> None:
        self._present.pop(token_hash, None)
        self._absent.pop(token_hash, None)


class TokenService:
    """The tokens there are, and who presents one."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        bootstrap_key: str | None,
        replica: str,
        *,
        remembered: int = _REMEMBERED,
        is_space: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self._store = TokenStore(store)
        self._clock = clock
        self._bootstrap_key = bootstrap_key.encode() if bootstrap_key else None
        self._replica = replica
        self._memory = _Memory(remembered)
        self._is_space = is_space
        self._uses: dict[str, datetime] = {}
        """Uses that are not written down yet: authenticating writes nothing."""

    async def authenticate(self, token: str) -> Caller | None:
        """The caller, or None when the token is unknown, revoked or expired.

        Raises:
            Unavailable: the registry cannot be read, so nothing can be said about the token.
        """
        if self._is_bootstrap_key(token):
            return Caller(
                name="admin",
                permissions=frozenset({Permission.READ, Permission.WRITE, Permission.ADMIN}),
                reach=Everywhere(),
                credential=BOOTSTRAP,
            )
        if not may_be_token(token):
            return None
        found = await self._look_up(hash_of(token))
        if found is None or found.revoked or self._has_expired(found):
            return None
        self._uses[found.hash] = self._clock.now()
        return found.caller()

    def forget_unknown(self) -> None:
        """Look every unknown token up again: tokens are being taken over from an older version."""
        self._memory.drop_absent()

    async def create(self, request: TokenCreate, *, caller: Caller) -> TokenCreated:
        """Make a token. Its text is in the answer and nowhere else."""
        text = new_token()
        warnings = await self._doubts(spaces_of(request.space_ids))
        now = self._clock.now()
        ends = now + timedelta(days=request.expires_in_days) if request.expires_in_days else None
        token = Token(
            hash=hash_of(text),
            name=request.name,
            permissions=rights_of(request.permissions),
            spaces=spaces_of(request.space_ids),
            created_at=iso(now),
            expires_at=iso(ends) if ends else None,
            revoked=False,
            created_by=caller.name,
            nonce=new_nonce(),
        )
        try:
            await self._store.add(token)
        finally:
            self._memory.drop(token.hash)
        log.info("token_created", name=token.name, token_hash=shown_hash(token.hash), by=caller.name)
        return TokenCreated(
            name=token.name,
            token=text,
            hash=token.hash,
            permissions=[*token.permissions],
            space_ids=token.space_ids,
            created_at=token.created_at,
            expires_at=token.expires_at,
            warning=_WARNING,
            warnings=warnings,
        )

    async def list(self, *, limit: int, cursor: str = "") -> TokenList:
        """The tokens in the order of their creation, those after the cursor, with their last use."""
        after = _position(cursor) if cursor else None
        tokens = await self._store.all()
        uses = await self._last_uses()
        following = [token for token in tokens if after is None or _place(token) > after]
        shown = following[:limit]
        more = len(following) > len(shown)
        return TokenList(
            tokens=[_listed(token, uses.get(token.hash)) for token in shown],
            total=len(tokens),
            has_more=more,
            next_cursor=(encode_cursor(shown[-1].created_at, shown[-1].hash) if shown else cursor) if more else "",
        )

    async def revoke(self, selector: str, *, caller: Caller) -> TokenChanged:
        """Refuse the token from now on; doing it twice is no fault."""
        token_hash = await self._select(selector)
        token = await self._change(token_hash, selector, {"revoked": True})
        log.info("token_revoked", name=token.name, token_hash=shown_hash(token.hash), by=caller.name)
        return _changed(token, "is revoked")

    async def update(self, selector: str, request: TokenUpdate, *, caller: Caller) -> TokenChanged:
        """Change what a token may do and where; what is left empty stays as it is."""
        token_hash = await self._select(selector)
        wanted: dict[str, object] = {}
        if request.space_ids:
            wanted["spaces"] = spaces_of(request.space_ids)
        if request.permissions:
            wanted["permissions"] = rights_of(request.permissions)
        token = await self._change(token_hash, selector, wanted)
        log.info(
            "token_updated",
            name=token.name,
            token_hash=shown_hash(token.hash),
            by=caller.name,
            permissions=[*token.permissions],
            spaces=token.spaces,
        )
        return _changed(token, "is updated" if wanted else "is as it was: nothing was to be changed")

    async def delete(self, selector: str, *, confirm: bool, caller: Caller) -> TokenDeleted:
        """Remove a token with its record; unlike a revoked one it is not listed any more."""
        if not confirm:
            raise ConfirmationRequired("A deleted token leaves no trace in the list: repeat with confirm=true.")
        token_hash = await self._select(selector)
        try:
            was_there, token = await self._store.remove(token_hash)
        finally:
            self._memory.drop(token_hash)
        if not was_there:
            raise TokenNotFound(selector)
        name = token.name if token is not None else ""
        log.info("token_deleted", name=name, token_hash=shown_hash(token_hash), by=caller.name)
        return TokenDeleted(
            name=name,
            token_hash=token_hash,
            message=f"Token '{name}' ({shown_hash(token_hash)}) is deleted.",
            remaining=len(await self._store.all()),
        )

    async def purge(self, request: Purge, *, caller: Caller) -> TokensPurged:
        """Remove the tokens that nobody can use any more: the revoked ones, and those that have expired."""
        tokens = await self._store.all()
        useless = [one for one in tokens if one.revoked or (self._has_expired(one) and not request.revoked_only)]
        removed = [] if request.dry_run else await self._remove(useless)
        if removed:
            log.info("tokens_purged", count=len(removed), by=caller.name)
        return TokensPurged(
            mode="dry-run" if request.dry_run else "applied",
            deleted=len(removed),
            remaining=len(tokens) - len(removed),
            tokens=[
                TokenPurged(token_hash=one.hash, name=one.name, revoked=one.revoked, expires_at=one.expires_at)
                for one in (useless if request.dry_run else removed)
            ],
            message=_purged(len(useless), len(removed), dry_run=request.dry_run),
        )

    async def _remove(self, tokens: Sequence[Token]) -> Sequence[Token]:
        try:
            left = set(await self._store.remove_many([one.hash for one in tokens]))
        finally:
            for one in tokens:
                self._memory.drop(one.hash)
        return [one for one in tokens if one.hash not in left]

    async def known(self, caller: Caller) -> tuple[Token, datetime | None] | None:
        """What is kept about the token that a caller presents, and its last use; None for the bootstrap key."""
        if caller.credential == BOOTSTRAP:
            return None
        token = await self._store.find(caller.credential)
        if token is None:
            return None
        return token, (await self._last_uses()).get(token.hash)

    async def _doubts(self, spaces: Literal["*"] | Sequence[str]) -> Sequence[str]:
        """What may be wrong about a list of spaces: a typo opens nothing, and nobody notices."""
        if self._is_space is None or isinstance(spaces, str):
            return []
        is_space = self._is_space
        gate = asyncio.Semaphore(_AT_ONCE)

        async def exists(space_id: str) -> bool:
            async with gate:
                return await is_space(space_id)

        asked = spaces[:_ASKED]
        there = await asyncio.gather(*map(exists, asked))
        return [
            f"There is no space '{space_id}' yet: the token opens it once it is created."
            for space_id, is_there in zip(asked, there, strict=True)
            if not is_there
        ]

    async def grant(self, caller: Caller, space_id: str) -> bool:
        """Let the caller's own token reach one more space, at once; False when there was nothing to change."""
        if caller.credential == BOOTSTRAP:
            return False

        def add(token: Token) -> Token:
            if token.revoked or isinstance(token.spaces, str) or space_id in token.spaces:
                return token
            return token.model_copy(update={"spaces": [*token.spaces, space_id]})

        try:
            outcome = await self._store.change(caller.credential, add)
        finally:
            self._memory.drop(caller.credential)
        granted = outcome is not None and outcome[1]
        if granted:
            log.info("space_granted", name=caller.name, token_hash=shown_hash(caller.credential), space_id=space_id)
        return granted

    async def flush_usage(self) -> None:
        """Write down when tokens were used since the last time; nothing is written when none was."""
        uses = dict(self._uses)
        if not uses:
            return
        await self._store.add_uses(self._replica, uses)
        for token_hash, at in uses.items():
            if self._uses.get(token_hash) == at:
                del self._uses[token_hash]

    def _is_bootstrap_key(self, text: str) -> bool:
        if self._bootstrap_key is None:
            return False
        return hmac.compare_digest(text.encode(errors="surrogatepass"), self._bootstrap_key)

    def _has_expired(self, token: Token) -> bool:
        return token.expires_at is not None and parse_instant(token.expires_at) <= self._clock.now()

    async def _look_up(self, token_hash: str) -> Token | None:
        """The token as the registry has it, or had it a few seconds ago."""
        asked_at = self._clock.monotonic()
        known = self._memory.recall(token_hash)
        if known is not None and asked_at < known.read_at + _FRESH:
            return known.token
        drops = self._memory.drops
        try:
            token = await self._store.find(token_hash)
        except Unavailable:
            known = self._memory.recall(token_hash)
            if known is None or known.token is None or asked_at >= known.read_at + _FRESH + _GRACE:
                raise
            log.warning("token_served_from_memory", token_hash=shown_hash(token_hash))
            return known.token
        if drops == self._memory.drops:
            self._memory.keep(token_hash, _Known(token, asked_at))
        return token

    async def _select(self, selector: str) -> str:
        """The full hash of the one token that the selector names: as listed, in full, or its start."""
        start = selector.removesuffix("...")
        if not _SELECTOR.fullmatch(start):
            raise InvalidTokenHash
        if len(start) == _FULL_SELECTOR:
            return start
        match await self._store.hashes(start):
            case []:
                raise TokenNotFound(selector)
            case [token_hash]:
                return token_hash
            case _:
                raise AmbiguousTokenHash(selector)

    async def _change(self, token_hash: str, selector: str, wanted: dict[str, object]) -> Token:
        """Change the token, and forget what was known of it even if nobody can say whether the write happened."""
        try:
            outcome = await self._store.change(token_hash, lambda token: token.model_copy(update=wanted))
        finally:
            self._memory.drop(token_hash)
        if outcome is None:
            raise TokenNotFound(selector)
        return outcome[0]

    async def _last_uses(self) -> dict[str, datetime]:
        written = await self._store.last_uses()
        return {
            token_hash: max(uses)
            for token_hash in {*written, *self._uses}
            if (uses := [known[token_hash] for known in (written, self._uses) if token_hash in known])
        }


def _place(token: Token) -> tuple[datetime, str]:
    return parse_instant(token.created_at), token.hash


def _position(cursor: str) -> tuple[datetime, str]:
    created_at, token_hash = decode_cursor(cursor, parts=2)
    return decode_instant(created_at), token_hash


def _listed(token: Token, used_at: datetime | None) -> TokenListed:
    return TokenListed(
        hash=shown_hash(token.hash),
        token_hash=token.hash,
        name=token.name,
        permissions=[*token.permissions],
        space_ids=token.space_ids,
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        last_used_at=iso(used_at) if used_at else None,
        revoked=token.revoked,
    )


def _purged(useless: int, removed: int, *, dry_run: bool) -> str:
    if dry_run:
        return f"{useless} tokens can be removed: repeat with dry_run=false."
    if removed < useless:
        return f"{removed} tokens are removed, {useless - removed} could not be: try again."
    return f"{removed} tokens are removed."


def _changed(token: Token, what: str) -> TokenChanged:
    return TokenChanged(message=f"Token '{token.name}' ({shown_hash(token.hash)}) {what}.", token_hash=token.hash)
