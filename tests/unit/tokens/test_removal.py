"""Tokens deleted, purged, and told about themselves."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from app.core.errors import ConfirmationRequired, StoreUnavailable
from app.core.identity import Caller, Permission
from app.storage.memory import MemoryStore
from app.system.service import who_is
from app.tokens.errors import InvalidTokenHash, TokenNotFound
from app.tokens.models import Purge, TokenCreate, TokenCreated
from app.tokens.service import TokenService
from app.tokens.store import token_key
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore
from tests.unit.tokens.conftest import BOOTSTRAP_KEY

SPACES = {"alpha", "beta"}


async def is_space(space_id: str) -> bool:
    return space_id in SPACES


async def made(tokens: TokenService, admin: Caller, name: str = "one", days: int = 0, spaces: str = "") -> TokenCreated:
    request = TokenCreate(name=name, permissions="read,write", space_ids=spaces, expires_in_days=days)
    return await tokens.create(request, caller=admin)


async def names(tokens: TokenService) -> list[str]:
    return [token.name for token in (await tokens.list(limit=100)).tokens]


async def test_a_deleted_token_is_refused_and_not_listed(tokens: TokenService, admin: Caller) -> None:
    token = await made(tokens, admin)
    await made(tokens, admin, "other")
    assert await tokens.authenticate(token.token) is not None

    gone = await tokens.delete(token.hash, confirm=True, caller=admin)

    assert (gone.status, gone.name, gone.token_hash, gone.remaining) == ("deleted", "one", token.hash, 1)
    assert await tokens.authenticate(token.token) is None
    assert await names(tokens) == ["other"]
    with pytest.raises(TokenNotFound):
        await tokens.delete(token.hash, confirm=True, caller=admin)


async def test_deleting_wants_a_confirmation_and_a_hash(tokens: TokenService, admin: Caller) -> None:
    token = await made(tokens, admin)
    with pytest.raises(ConfirmationRequired):
        await tokens.delete(token.hash, confirm=False, caller=admin)
    with pytest.raises(InvalidTokenHash):
        await tokens.delete("", confirm=True, caller=admin)
    assert await names(tokens) == ["one"]


async def test_a_record_that_nobody_understands_can_be_deleted(
    tokens: TokenService, store: MemoryStore, admin: Caller
) -> None:
    digest = "sha256:" + "ab" * 32
    await store.put(token_key(digest), b"not a token")
    gone = await tokens.delete(digest[:16], confirm=True, caller=admin)
    assert (gone.token_hash, gone.name) == (digest, "")
    assert await store.get(token_key(digest)) is None


async def three_tokens(tokens: TokenService, clock: FrozenClock, admin: Caller) -> None:
    await made(tokens, admin, "live", days=30)
    await made(tokens, admin, "expired", days=1)
    revoked = await made(tokens, admin, "revoked")
    await tokens.revoke(revoked.hash, caller=admin)
    clock.advance(timedelta(days=2))


async def test_a_dry_run_only_tells(tokens: TokenService, clock: FrozenClock, admin: Caller) -> None:
    await three_tokens(tokens, clock, admin)
    told = await tokens.purge(Purge(), caller=admin)
    assert (told.mode, told.deleted, told.remaining) == ("dry-run", 0, 3)
    assert sorted(token.name for token in told.tokens) == ["expired", "revoked"]
    assert len(await names(tokens)) == 3


@pytest.mark.parametrize(("revoked_only", "left"), [(False, ["live"]), (True, ["expired", "live"])])
async def test_a_purge_leaves_what_can_be_used(
    tokens: TokenService,
    clock: FrozenClock,
    admin: Caller,
    revoked_only: bool,  # noqa: FBT001 - a table
    left: list[str],
) -> None:
    await three_tokens(tokens, clock, admin)
    told = await tokens.purge(Purge(dry_run=False, revoked_only=revoked_only), caller=admin)
    assert (told.mode, told.deleted, told.remaining) == ("applied", 3 - len(left), len(left))
    assert sorted(await names(tokens)) == left
    again = await tokens.purge(Purge(dry_run=False, revoked_only=revoked_only), caller=admin)
    assert (again.deleted, again.tokens) == (0, [])


async def test_what_could_not_be_removed_is_not_said_to_be(clock: FrozenClock, admin: Caller) -> None:
    store = FaultyStore(MemoryStore(clock))
    tokens = TokenService(store, clock, BOOTSTRAP_KEY, "replica-1")
    await three_tokens(tokens, clock, admin)
    store.fail("delete_many")
    with pytest.raises(StoreUnavailable):
        await tokens.purge(Purge(dry_run=False), caller=admin)
    assert len(await names(tokens)) == 3
    store.fail("delete")
    [token] = [token for token in (await tokens.list(limit=9)).tokens if token.name == "live"]
    with pytest.raises(StoreUnavailable):
        await tokens.delete(token.token_hash, confirm=True, caller=admin)
    assert len(await names(tokens)) == 3


async def test_a_space_that_is_not_there_is_told(clock: FrozenClock, admin: Caller) -> None:
    tokens = TokenService(MemoryStore(clock), clock, BOOTSTRAP_KEY, "replica-1", is_space=is_space)
    token = await made(tokens, admin, spaces="alpha,alhpa,beta")
    assert token.status == "created"
    assert token.space_ids == ["alpha", "alhpa", "beta"]
    assert token.warnings == ["There is no space 'alhpa' yet: the token opens it once it is created."]
    assert (await made(tokens, admin, spaces="alpha")).warnings == []
    assert (await made(tokens, admin)).warnings == []


async def test_an_outage_while_spaces_are_looked_for_makes_no_token(clock: FrozenClock, admin: Caller) -> None:
    async def down(_space_id: str) -> bool:
        raise StoreUnavailable

    tokens = TokenService(MemoryStore(clock), clock, BOOTSTRAP_KEY, "replica-1", is_space=down)
    with pytest.raises(StoreUnavailable):
        await made(tokens, admin, spaces="alpha")
    assert await names(tokens) == []


@pytest.mark.parametrize("days", [True, False, "soon", "7", None, 1.5, [7], -1])
def test_days_are_a_whole_number(days: object) -> None:
    with pytest.raises(ValidationError):
        TokenCreate.model_validate({"name": "n", "permissions": "read", "expires_in_days": days})


@pytest.mark.parametrize("days", [0, 7, 7.0])
def test_a_whole_number_of_days_is_taken(days: float) -> None:
    request = TokenCreate.model_validate({"name": "n", "permissions": "read", "expires_in_days": days})
    assert request.expires_in_days == days


@pytest.mark.parametrize("right", ["any", "public"])
def test_what_every_token_may_do_is_no_permission_to_give(right: str) -> None:
    with pytest.raises(ValidationError):
        TokenCreate(name="n", permissions=right)


async def test_a_token_is_told_about_itself_without_its_text(
    tokens: TokenService, clock: FrozenClock, admin: Caller
) -> None:
    token = await made(tokens, admin, days=30, spaces="beta,alpha")
    caller = await tokens.authenticate(token.token)
    assert caller is not None
    told = who_is(caller, await tokens.known(caller))

    assert (told.name, told.auth_type, told.is_admin) == ("one", "token", False)
    assert (told.permissions, told.space_ids) == (["read", "write"], ["alpha", "beta"])
    assert (told.token_hash, told.created_at, told.expires_at) == (token.hash, token.created_at, token.expires_at)
    assert told.last_used_at is not None
    assert told.last_used_at[:19] == clock.now().isoformat()[:19]
    assert token.token not in told.model_dump_json()


async def test_the_first_key_is_told_that_it_is_one(tokens: TokenService) -> None:
    caller = await tokens.authenticate(BOOTSTRAP_KEY)
    assert caller is not None
    told = who_is(caller, await tokens.known(caller))
    assert (told.auth_type, told.is_admin, told.space_ids, told.token_hash) == ("bootstrap", True, [], "")
    assert (told.created_at, told.expires_at) == (None, None)
    assert "admin_create_token" in told.note
    assert BOOTSTRAP_KEY not in told.model_dump_json()


async def test_a_token_that_may_nothing_yet_may_ask_who_it_is(tokens: TokenService, admin: Caller) -> None:
    token = await made(tokens, admin)
    caller = await tokens.authenticate(token.token)
    assert caller is not None
    bare = Caller(caller.name, frozenset(), caller.reach, caller.credential)
    bare.demand(Permission.ANY)
    assert not bare.may(Permission.READ)
    assert who_is(bare, await tokens.known(bare)).permissions == []
