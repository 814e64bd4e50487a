import asyncio
from datetime import timedelta

import pytest

from app.core.errors import StoreUnavailable
from app.core.identity import Caller, Everywhere, Only, Permission
from app.tokens.models import TokenCreate, TokenUpdate, hash_of, new_token
from app.tokens.service import TokenService
from app.tokens.store import token_key
from tests.fakes.clock import FrozenClock
from tests.unit.tokens.conftest import BOOTSTRAP_KEY
from tests.unit.tokens.stores import WatchedStore

READER = TokenCreate(name="reader", permissions="read", space_ids="alpha")


async def test_a_token_tells_who_calls(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)

    caller = await tokens.authenticate(made.token)

    assert caller == Caller("reader", frozenset({Permission.READ}), Only(frozenset({"alpha"})), made.hash)


async def test_the_bootstrap_key_is_an_admin_everywhere_and_needs_no_store(
    tokens: TokenService, store: WatchedStore
) -> None:
    store.go_down()

    caller = await tokens.authenticate(BOOTSTRAP_KEY)

    assert caller is not None
    assert (caller.name, caller.credential, caller.reach) == ("admin", "bootstrap", Everywhere())
    assert caller.permissions == {Permission.READ, Permission.WRITE, Permission.ADMIN}
    assert await tokens.authenticate(BOOTSTRAP_KEY + "x") is None


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_bootstrap_key_nobody_has_it(store: WatchedStore, clock: FrozenClock, key: str | None) -> None:
    tokens = TokenService(store, clock, key, "replica-1")

    assert await tokens.authenticate("") is None
    assert await tokens.authenticate("None") is None


@pytest.mark.parametrize("text", ["", "x", "Ω", "\ud800", "lm_" + "x" * 300, "lm_live_" + "0" * 49])
async def test_a_text_that_is_no_token_is_refused_without_asking_the_store(
    tokens: TokenService, store: WatchedStore, text: str
) -> None:
    assert await tokens.authenticate(text) is None
    assert store.reads == 0


async def test_a_mistyped_token_is_refused_without_asking_the_store(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    token = (await tokens.create(READER, caller=admin)).token
    wrong = token[:20] + ("a" if token[20] != "a" else "b") + token[21:]

    assert await tokens.authenticate(wrong) is None
    assert store.reads == 0

    assert await tokens.authenticate(token) is not None
    assert store.reads == 1


async def test_an_adopted_token_of_the_old_shape_is_accepted(tokens: TokenService, store: WatchedStore) -> None:
    text = "lm_" + "aB3-_" * 8 + "xyz"
    body = (
        f'{{"hash": "{hash_of(text)}", "name": "old", "permissions": ["write"], "spaces": "*", '
        '"created_at": "2026-02-20T18:05:12.345678+00:00", "email": "kept"}'
    )
    await store.create(token_key(hash_of(text)), body.encode())

    caller = await tokens.authenticate(text)

    assert caller is not None
    assert caller.name == "old"


async def test_a_revoked_token_is_refused_at_once(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    assert await tokens.authenticate(made.token) is not None

    await tokens.revoke(made.hash, caller=admin)

    assert await tokens.authenticate(made.token) is None


async def test_a_token_ends_at_its_instant_even_while_it_is_remembered(
    tokens: TokenService, clock: FrozenClock, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER.model_copy(update={"expires_in_days": 1}), caller=admin)
    clock.advance(timedelta(days=1, seconds=-1))
    assert await tokens.authenticate(made.token) is not None
    reads = store.reads

    clock.advance(timedelta(seconds=1))

    assert await tokens.authenticate(made.token) is None
    assert store.reads == reads


async def test_a_token_is_read_once_in_five_seconds(
    tokens: TokenService, clock: FrozenClock, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)

    for _ in range(10):
        await tokens.authenticate(made.token)
    clock.advance(timedelta(seconds=4.9))
    await tokens.authenticate(made.token)
    assert store.reads == 1

    clock.advance(timedelta(seconds=0.1))
    await tokens.authenticate(made.token)
    assert store.reads == 2


async def test_an_unknown_token_is_asked_for_once_in_five_seconds(
    tokens: TokenService, clock: FrozenClock, store: WatchedStore
) -> None:
    stranger = new_token()

    for _ in range(10):
        assert await tokens.authenticate(stranger) is None
    assert store.reads == 1

    clock.advance(timedelta(seconds=5))
    assert await tokens.authenticate(stranger) is None
    assert store.reads == 2


async def test_another_replica_learns_of_a_revocation_within_five_seconds(
    tokens: TokenService, elsewhere: TokenService, clock: FrozenClock, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    assert await elsewhere.authenticate(made.token) is not None

    await tokens.revoke(made.hash, caller=admin)
    clock.advance(timedelta(seconds=5))

    assert await elsewhere.authenticate(made.token) is None


async def test_a_change_of_rights_holds_at_once_here_and_within_five_seconds_elsewhere(
    tokens: TokenService, elsewhere: TokenService, clock: FrozenClock, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    await elsewhere.authenticate(made.token)

    await tokens.update(made.hash, TokenUpdate(permissions="write", space_ids="beta"), caller=admin)
    here = await tokens.authenticate(made.token)
    clock.advance(timedelta(seconds=5))
    there = await elsewhere.authenticate(made.token)

    assert here == there == Caller("reader", frozenset({Permission.WRITE}), Only(frozenset({"beta"})), made.hash)


async def test_an_answer_from_before_a_change_is_not_remembered(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    asked, go_on = asyncio.Event(), asyncio.Event()

    def hold() -> asyncio.Event:
        asked.set()
        return go_on

    store.before_answer = hold
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        slow = group.create_task(tokens.authenticate(made.token))
        await asked.wait()
        await tokens.revoke(made.hash, caller=admin)
        go_on.set()

    assert slow.result() is not None
    assert await tokens.authenticate(made.token) is None


async def test_known_tokens_serve_for_a_minute_of_outage_and_no_longer(
    tokens: TokenService, clock: FrozenClock, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    store.go_down()

    clock.advance(timedelta(seconds=64.9))
    assert await tokens.authenticate(made.token) is not None

    clock.advance(timedelta(seconds=0.1))
    with pytest.raises(StoreUnavailable):
        await tokens.authenticate(made.token)

    store.heal()
    assert await tokens.authenticate(made.token) is not None


async def test_an_outage_never_makes_a_token_unknown(
    tokens: TokenService, elsewhere: TokenService, clock: FrozenClock, store: WatchedStore, admin: Caller
) -> None:
    made, stranger = await tokens.create(READER, caller=admin), new_token()
    assert await elsewhere.authenticate(stranger) is None
    store.go_down()
    clock.advance(timedelta(seconds=5))

    for text in (made.token, stranger, new_token()):
        with pytest.raises(StoreUnavailable):
            await elsewhere.authenticate(text)


async def test_a_revoked_or_ended_token_is_not_revived_by_an_outage(
    tokens: TokenService, clock: FrozenClock, store: WatchedStore, admin: Caller
) -> None:
    revoked = await tokens.create(READER, caller=admin)
    ending = await tokens.create(READER.model_copy(update={"expires_in_days": 1}), caller=admin)
    await tokens.revoke(revoked.hash, caller=admin)
    clock.advance(timedelta(days=1, seconds=-10))
    assert await tokens.authenticate(revoked.token) is None
    assert await tokens.authenticate(ending.token) is not None

    store.go_down()
    clock.advance(timedelta(seconds=10))

    assert await tokens.authenticate(revoked.token) is None
    assert await tokens.authenticate(ending.token) is None


async def test_after_a_revocation_with_unknown_outcome_the_token_is_not_served_from_memory(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    store.fail("replace", applied=True)

    with pytest.raises(StoreUnavailable):
        await tokens.revoke(made.hash, caller=admin)

    assert await tokens.authenticate(made.token) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"hash": "sha256:0"}'])
async def test_a_damaged_record_gives_no_right_and_does_not_stop_the_list(
    tokens: TokenService, store: WatchedStore, admin: Caller, body: bytes
) -> None:
    whole, damaged = await tokens.create(READER, caller=admin), await tokens.create(READER, caller=admin)
    await store.put(token_key(damaged.hash), body)

    assert await tokens.authenticate(damaged.token) is None
    assert await tokens.authenticate(whole.token) is not None
    assert [token.token_hash for token in (await tokens.list(limit=500)).tokens] == [whole.hash]


async def test_a_record_under_the_key_of_another_gives_no_right(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made, stranger = await tokens.create(READER, caller=admin), new_token()
    await store.copy(token_key(made.hash), token_key(hash_of(stranger)))

    assert await tokens.authenticate(stranger) is None
    assert (await tokens.list(limit=500)).total == 1


async def test_guesses_do_not_push_known_tokens_out_of_memory(
    store: WatchedStore, clock: FrozenClock, admin: Caller
) -> None:
    tokens = TokenService(store, clock, None, "replica-1", remembered=2)
    made = [(await tokens.create(READER, caller=admin)).token for _ in range(2)]
    for token in made:
        await tokens.authenticate(token)

    for _ in range(5):
        await tokens.authenticate(new_token())
    store.go_down()

    assert all([await tokens.authenticate(token) for token in made])


async def test_the_memory_is_bounded_and_forgets_what_was_used_longest_ago(
    store: WatchedStore, clock: FrozenClock, admin: Caller
) -> None:
    tokens = TokenService(store, clock, None, "replica-1", remembered=2)
    first, second, third = [(await tokens.create(READER, caller=admin)).token for _ in range(3)]
    for token in (first, second, first, third):
        await tokens.authenticate(token)
    store.go_down()

    assert await tokens.authenticate(first) is not None
    assert await tokens.authenticate(third) is not None
    with pytest.raises(StoreUnavailable):
        await tokens.authenticate(second)


async def test_authenticating_writes_nothing(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    writes = store.writes

    for _ in range(20):
        await tokens.authenticate(made.token)

    assert store.writes == writes


async def test_no_token_can_be_read_in_the_store(clock: FrozenClock, admin: Caller) -> None:
    store = WatchedStore(clock)
    tokens = TokenService(store, clock, BOOTSTRAP_KEY, "replica-1")
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    await tokens.authenticate(BOOTSTRAP_KEY)
    await tokens.update(made.hash, TokenUpdate(permissions="write"), caller=admin)
    await tokens.flush_usage()

    everything = b"".join(key.encode() + body for key, body in (await store.bodies()).items())

    assert made.hash.encode() in everything
    assert made.token.encode() not in everything
    assert made.token[8:40].encode() not in everything
    assert BOOTSTRAP_KEY.encode() not in everything
