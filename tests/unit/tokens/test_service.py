import asyncio
import json
from datetime import timedelta

import pytest

from app.core.errors import StoreUnavailable
from app.core.identity import Caller, Everywhere, Only, Permission
from app.core.paging import InvalidCursor
from app.storage.store import PreconditionFailed
from app.tokens.errors import AmbiguousTokenHash, InvalidTokenHash, TokenBusy, TokenNotFound
from app.tokens.models import TokenCreate, TokenUpdate, hash_of, shown_hash
from app.tokens.service import TokenService
from app.tokens.store import TokenStore, token_key, usage_key
from tests.fakes.clock import FrozenClock
from tests.unit.tokens.stores import WatchedStore

READER = TokenCreate(name="reader", permissions="read", space_ids="alpha")


async def test_creating_a_token_stores_one_object_with_everything_but_its_text(
    tokens: TokenService, store: WatchedStore, clock: FrozenClock, admin: Caller
) -> None:
    request = TokenCreate(name="one", permissions="write,read", space_ids="b,a", expires_in_days=2)

    made = await tokens.create(request, caller=admin)

    assert made.status == "created"
    assert made.hash == hash_of(made.token)
    assert (made.permissions, made.space_ids) == (["write", "read"], ["b", "a"])
    assert made.expires_at == (clock.now() + timedelta(days=2)).isoformat()
    [(key, body)] = (await store.bodies()).items()
    assert key == f"_system/tokens/{made.hash.removeprefix('sha256:')}.json"
    record = json.loads(body)
    assert len(record.pop("nonce")) == 16
    assert record == {
        "hash": made.hash,
        "name": "one",
        "permissions": ["write", "read"],
        "spaces": ["b", "a"],
        "created_at": clock.now().isoformat(),
        "expires_at": made.expires_at,
        "revoked": False,
        "created_by": "admin",
    }


async def test_a_token_for_all_spaces_that_never_ends(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(TokenCreate(name="one", permissions="admin"), caller=admin)

    assert (made.space_ids, made.expires_at) == ([], None)
    assert json.loads((await store.bodies())[token_key(made.hash)])["spaces"] == "*"


async def test_a_token_that_could_not_be_stored_is_not_shown(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    store.go_down()

    with pytest.raises(StoreUnavailable):
        await tokens.create(READER, caller=admin)


async def test_tokens_are_listed_in_the_order_of_their_creation(
    tokens: TokenService, clock: FrozenClock, admin: Caller
) -> None:
    made = []
    for number in range(5):
        made.append(await tokens.create(READER.model_copy(update={"name": f"agent-{number}"}), caller=admin))
        clock.advance(timedelta(seconds=1))
    await tokens.revoke(made[1].hash, caller=admin)

    answer = await tokens.list(limit=500)

    assert [token.name for token in answer.tokens] == [f"agent-{number}" for number in range(5)]
    assert [token.revoked for token in answer.tokens] == [False, True, False, False, False]
    assert (answer.total, answer.next_cursor) == (5, "")
    first = answer.tokens[0]
    assert (first.hash, first.token_hash) == (shown_hash(made[0].hash), made[0].hash)
    assert (first.permissions, first.space_ids, first.created_by) == (["read"], ["alpha"], "admin")
    assert (first.created_at, first.expires_at, first.last_used_at) == (made[0].created_at, None, None)


async def test_pages_hold_every_token_once_even_of_one_instant(tokens: TokenService, admin: Caller) -> None:
    made = {(await tokens.create(READER, caller=admin)).hash for _ in range(7)}

    seen: list[str] = []
    cursor = ""
    while True:
        page = await tokens.list(limit=3, cursor=cursor)
        assert page.total == 7
        seen += [token.token_hash for token in page.tokens]
        if not (cursor := page.next_cursor):
            break

    assert len(seen) == 7
    assert set(seen) == made


async def test_a_page_of_nothing_still_counts(tokens: TokenService, admin: Caller) -> None:
    await tokens.create(READER, caller=admin)

    answer = await tokens.list(limit=0)

    assert (answer.tokens, answer.total, answer.next_cursor) == ([], 1, "")


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WzEsMl0", "WyJ4IiwieSJd", "é"])
async def test_a_cursor_of_somebody_else_is_refused(tokens: TokenService, cursor: str) -> None:
    with pytest.raises(InvalidCursor) as refusal:
        await tokens.list(limit=10, cursor=cursor)

    assert [fault.field for fault in refusal.value.faults] == ["cursor"]


async def test_an_outage_never_looks_like_an_empty_registry(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    await tokens.create(READER, caller=admin)
    store.go_down()

    with pytest.raises(StoreUnavailable):
        await tokens.list(limit=10)


async def test_an_outage_in_the_middle_of_the_list_is_an_outage(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    await tokens.create(READER, caller=admin)

    def fall() -> asyncio.Event:
        store.go_down()
        event = asyncio.Event()
        event.set()
        return event

    await tokens.create(READER, caller=admin)
    store.before_answer = fall

    with pytest.raises(StoreUnavailable):
        await tokens.list(limit=10)


async def test_only_tokens_are_listed(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    await store.put("_system/tokens/generation", b"1")
    await store.put("_system/tokens.json", b"{}")

    assert [token.token_hash for token in (await tokens.list(limit=10)).tokens] == [made.hash]


@pytest.mark.parametrize("length", [16, 20, 30, 71])
async def test_a_token_is_named_by_its_hash_or_the_start_of_it(
    tokens: TokenService, admin: Caller, length: int
) -> None:
    made = await tokens.create(READER, caller=admin)

    answer = await tokens.revoke(made.hash[:length], caller=admin)

    assert answer.status == "ok"
    assert answer.token_hash == made.hash
    assert "'reader'" in answer.message


async def test_a_token_is_named_by_exactly_what_the_list_shows(tokens: TokenService, admin: Caller) -> None:
    await tokens.create(READER, caller=admin)
    [shown] = (await tokens.list(limit=10)).tokens

    await tokens.revoke(shown.hash, caller=admin)
    await tokens.revoke(shown.token_hash, caller=admin)

    assert (await tokens.list(limit=10)).tokens[0].revoked


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "sha256:",
        "...",
        "sha256:...",
        "sha256:01234567",
        "sha256:01234567...",
        "sha256:" + "0" * 65,
        "sha256:" + "g" * 20,
        "0" * 64,
        "sha256:0123456789abc..",
        "sha256:../../generation",
        "sha256:0123456789ab\n",
    ],
)
async def test_a_text_that_names_no_token_is_refused_without_asking_the_store(
    tokens: TokenService, store: WatchedStore, admin: Caller, selector: str
) -> None:
    await tokens.create(READER, caller=admin)

    for attempt in (
        tokens.revoke(selector, caller=admin),
        tokens.update(selector, TokenUpdate(permissions="admin"), caller=admin),
    ):
        with pytest.raises(InvalidTokenHash):
            await attempt

    assert store.reads == 0


@pytest.mark.parametrize("selector", ["sha256:000000000", "sha256:0000000000000...", "sha256:" + "0" * 64])
async def test_an_absent_token_is_not_found(tokens: TokenService, admin: Caller, selector: str) -> None:
    await tokens.create(READER, caller=admin)

    with pytest.raises(TokenNotFound):
        await tokens.revoke(selector, caller=admin)
    with pytest.raises(TokenNotFound):
        await tokens.update(selector, TokenUpdate(permissions="read"), caller=admin)


async def test_a_start_that_two_tokens_share_names_neither(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    twin = made.hash[:30] + ("0" if made.hash[30] != "0" else "1") + made.hash[31:]
    [body] = (await store.bodies()).values()
    await store.create(token_key(twin), body.replace(made.hash.encode(), twin.encode()))

    with pytest.raises(AmbiguousTokenHash):
        await tokens.revoke(shown_hash(made.hash), caller=admin)
    await tokens.revoke(twin, caller=admin)

    assert await tokens.authenticate(made.token) is not None


async def test_revoking_twice_is_no_fault_and_writes_once(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.revoke(made.hash, caller=admin)
    writes = store.writes

    assert (await tokens.revoke(made.hash, caller=admin)).status == "ok"
    assert store.writes == writes


async def test_what_an_update_leaves_empty_stays(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)

    await tokens.update(made.hash, TokenUpdate(), caller=admin)
    await tokens.update(made.hash, TokenUpdate(permissions="write"), caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None
    assert (caller.permissions, caller.reach) == (frozenset({Permission.WRITE}), Only(frozenset({"alpha"})))

    await tokens.update(made.hash, TokenUpdate(space_ids="*"), caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None
    assert (caller.permissions, caller.reach) == (frozenset({Permission.WRITE}), Everywhere())


async def test_an_update_does_not_bring_a_revoked_token_back(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.revoke(made.hash, caller=admin)

    answer = await tokens.update(made.hash, TokenUpdate(permissions="admin"), caller=admin)

    assert "'reader'" in answer.message
    assert await tokens.authenticate(made.token) is None


async def test_two_racing_changes_both_last(tokens: TokenService, elsewhere: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)

    await asyncio.gather(
        tokens.update(made.hash, TokenUpdate(permissions="write"), caller=admin),
        elsewhere.update(made.hash, TokenUpdate(space_ids="beta"), caller=admin),
        elsewhere.revoke(made.hash, caller=admin),
    )

    [token] = (await tokens.list(limit=10)).tokens
    assert (token.permissions, token.space_ids, token.revoked) == (["write"], ["beta"], True)


async def test_many_racing_grants_all_last(tokens: TokenService, elsewhere: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None

    granted = await asyncio.gather(
        *[service.grant(caller, f"space-{n}") for n, service in enumerate([tokens, elsewhere] * 8)]
    )

    assert all(granted)
    [token] = (await tokens.list(limit=10)).tokens
    assert set(token.space_ids) == {"alpha", *(f"space-{n}" for n in range(16))}


async def test_who_is_overtaken_every_time_is_told_so(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    store.fail("replace", lasting=True, error=PreconditionFailed)

    with pytest.raises(TokenBusy):
        await tokens.revoke(made.hash, caller=admin)

    store.heal()
    await tokens.revoke(made.hash, caller=admin)


async def test_a_change_leaves_its_object_unlike_any_before(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    bodies = set()
    for _ in range(2):
        for permissions in ("write", "read"):
            await tokens.update(made.hash, TokenUpdate(permissions=permissions), caller=admin)
            bodies.add((await store.bodies())[token_key(made.hash)])

    assert len(bodies) == 4


async def test_a_change_keeps_fields_of_a_later_version(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    record = json.loads((await store.bodies())[token_key(made.hash)])
    await store.put(token_key(made.hash), json.dumps(record | {"email": "a@example.org"}).encode())

    await tokens.revoke(made.hash, caller=admin)

    assert json.loads((await store.bodies())[token_key(made.hash)])["email"] == "a@example.org"


async def test_a_limited_token_gains_a_space_at_once(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None

    assert await tokens.grant(caller, "beta") is True
    assert await tokens.grant(caller, "beta") is False

    after = await tokens.authenticate(made.token)
    assert after is not None
    assert after.reach == Only(frozenset({"alpha", "beta"}))


async def test_who_reaches_every_space_gains_none(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(TokenCreate(name="one", permissions="write"), caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None
    writes = store.writes

    assert await tokens.grant(caller, "beta") is False
    assert await tokens.grant(admin, "beta") is False
    assert store.writes == writes


async def test_a_token_revoked_meanwhile_gains_nothing(tokens: TokenService, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    caller = await tokens.authenticate(made.token)
    assert caller is not None
    await tokens.revoke(made.hash, caller=admin)

    assert await tokens.grant(caller, "beta") is False


async def test_the_last_use_is_shown_before_and_after_it_is_written_down(
    tokens: TokenService, clock: FrozenClock, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    clock.advance(timedelta(minutes=1))
    used_at = clock.now().isoformat()
    await tokens.authenticate(made.token)

    assert (await tokens.list(limit=10)).tokens[0].last_used_at == used_at
    await tokens.flush_usage()
    assert (await tokens.list(limit=10)).tokens[0].last_used_at == used_at


async def test_the_newest_use_on_any_replica_is_shown(
    tokens: TokenService, elsewhere: TokenService, store: WatchedStore, clock: FrozenClock, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    clock.advance(timedelta(minutes=1))
    await elsewhere.authenticate(made.token)
    newest = clock.now().isoformat()

    await elsewhere.flush_usage()
    await tokens.flush_usage()

    assert (await tokens.list(limit=10)).tokens[0].last_used_at == newest
    assert {usage_key("replica-1"), usage_key("replica-2")} <= (await store.bodies()).keys()


async def test_what_a_replica_knew_before_its_restart_stays_written_down(
    tokens: TokenService, store: WatchedStore, clock: FrozenClock, admin: Caller
) -> None:
    first, second = await tokens.create(READER, caller=admin), await tokens.create(READER, caller=admin)
    await tokens.authenticate(first.token)
    await tokens.flush_usage()

    restarted = TokenService(store, clock, None, "replica-1")
    clock.advance(timedelta(minutes=1))
    await restarted.authenticate(second.token)
    await restarted.flush_usage()

    assert all(token.last_used_at for token in (await restarted.list(limit=10)).tokens)


async def test_nothing_is_written_down_when_no_token_was_used(
    tokens: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.flush_usage()
    assert usage_key("replica-1") not in await store.bodies()

    await tokens.authenticate(made.token)
    await tokens.flush_usage()
    writes = store.writes
    await tokens.flush_usage()

    assert store.writes == writes


async def test_uses_survive_a_store_that_could_not_be_written(
    tokens: TokenService, elsewhere: TokenService, store: WatchedStore, admin: Caller
) -> None:
    made = await tokens.create(READER, caller=admin)
    await tokens.authenticate(made.token)
    store.go_down()
    with pytest.raises(StoreUnavailable):
        await tokens.flush_usage()

    store.heal()
    await tokens.flush_usage()

    assert (await elsewhere.list(limit=10)).tokens[0].last_used_at is not None


async def test_a_damaged_usage_object_is_written_anew(tokens: TokenService, store: WatchedStore, admin: Caller) -> None:
    made = await tokens.create(READER, caller=admin)
    await store.put(usage_key("replica-1"), b"{")
    await store.put(usage_key("replica-9"), b'{"last_used_at": {"sha256:0": "never"}}')
    await tokens.authenticate(made.token)

    await tokens.flush_usage()

    assert (await tokens.list(limit=10)).tokens[0].last_used_at is not None
    assert made.hash in await TokenStore(store).last_uses()
