"""What a process finds out about its own writes: lost answers, servers that lie, and tombstones nobody needs."""

from datetime import timedelta

import pytest
import structlog

from app.bootstrap import Services, build_services
from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.core.ids import new_nonce
from app.core.settings import Settings
from app.spaces.errors import SpaceNotFound
from app.spaces.models import Head, Opened
from app.spaces.store import SpaceStore, head_key
from app.storage.leftovers import LEFTOVERS, sweep_leftovers
from app.storage.memory import MemoryStore
from app.storage.probed import LIED, ProbedStore
from app.storage.s3 import S3Options, S3Store
from app.storage.store import ObjectStore, OutcomeUnknown, PreconditionFailed
from tests.builders import a_space
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

WEEK = timedelta(days=7)


class TwoFacedStore(MemoryStore):
    """A store that tells every writer that it has won."""

    doubted = 0
    """How often it was found out."""
    lies = True

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:
        if self.lies:
            return await self.put(key, body, content_type=content_type)
        return await super().replace(key, body, etag=etag, content_type=content_type)

    def doubt(self, key: str) -> None:
        assert key == head_key("alpha")
        self.doubted += 1


def later(head: Head) -> Head:
    return head.model_copy(update={"version": head.version + 1, "nonce": new_nonce()})


async def opened(store: ObjectStore) -> tuple[SpaceStore, Opened]:
    """What a process has that has read the space."""
    reader = SpaceStore(store)
    found = await reader.find("alpha")
    assert found is not None
    return reader, found


@pytest.mark.parametrize("lies", [True, False])
async def test_a_store_that_tells_two_writers_that_they_won_is_found_out_by_the_next_read(
    clock: FrozenClock,
    settings: Settings,
    lies: bool,  # noqa: FBT001 - a case
) -> None:
    store = TwoFacedStore(clock)
    store.lies = lies
    await a_space(build_services(store, clock, settings))
    (one, seen_by_one), (two, seen_by_two) = await opened(store), await opened(store)
    await one.replace(seen_by_one, later(seen_by_one.head))
    if lies:
        await two.replace(seen_by_two, later(seen_by_two.head))
    else:
        with pytest.raises(PreconditionFailed):
            await two.replace(seen_by_two, later(seen_by_two.head))
    with structlog.testing.capture_logs() as logged:
        await one.find("alpha")
        await two.find("alpha")
        await one.find("alpha")
    assert store.doubted == [0, 1][lies]
    assert [line["event"] for line in logged].count("store_lied") == [0, 1][lies]


async def test_an_acknowledged_write_that_is_not_there_is_a_lie_too(clock: FrozenClock, settings: Settings) -> None:
    store = TwoFacedStore(clock)
    await a_space(build_services(store, clock, settings))
    former = await store.get(head_key("alpha"))
    one, seen = await opened(store)
    await one.replace(seen, later(seen.head))
    await store.put(head_key("alpha"), getattr(former, "body", b""))
    await one.find("alpha")
    assert store.doubted == 1


async def test_others_may_go_on_from_ones_own_write(services: Services, store: FaultyStore) -> None:
    """Negative control: a head that knows of the write denies nothing."""
    await a_space(services)
    (one, seen), (two, _) = await opened(store.inner), await opened(store.inner)
    await one.replace(seen, later(seen.head))
    for _ in range(40):
        found = await two.find("alpha")
        assert found is not None
        await two.replace(found, later(found.head))
    with structlog.testing.capture_logs() as logged:
        await one.find("alpha")
    assert not logged


async def test_a_server_that_lied_is_not_well_any_more() -> None:
    store = ProbedStore(S3Store(S3Options(bucket="a"), SystemClock()), SystemClock(), "one")
    assert store.checks()["conditions"] != LIED
    store.doubt("alpha/_bank.json")
    assert (store.checks()["conditions"], store.lies) == (LIED, 1)


async def test_a_swap_that_was_lost_and_overtaken_is_a_success(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    await services.runner.idle()
    one, seen = await opened(store)
    other, _ = await opened(store.inner)

    async def overtaken(method: str, _key: str) -> None:
        if method == "get":
            store.before = None
            found = await other.find("alpha")
            assert found is not None
            await other.replace(found, later(found.head))

    store.fail("replace", applied=True)
    store.before = overtaken
    swapped = await one.replace(seen, later(seen.head))
    assert swapped.head.version == seen.head.version + 2


async def test_a_swap_that_never_happened_is_none(services: Services, store: FaultyStore) -> None:
    await a_space(services)
    one, seen = await opened(store)
    store.fail("replace", error=OutcomeUnknown)
    with pytest.raises(OutcomeUnknown):
        await one.replace(seen, later(seen.head))


async def test_a_tombstone_stays_for_a_week(services: Services, store: FaultyStore, clock: FrozenClock) -> None:
    await a_space(services)
    await services.runner.idle()
    await services.spaces.delete("alpha", confirm=True)
    clock.advance(WEEK - timedelta(minutes=1))
    await services.spaces.sweep_deleted()
    assert await store.inner.get(head_key("alpha")) is not None
    clock.advance(timedelta(minutes=2))
    await services.spaces.sweep_deleted()
    assert [one.key async for page in store.inner.list("alpha/") for one in page.objects] == []
    with pytest.raises(SpaceNotFound):
        await services.spaces.open("alpha")
    await a_space(services)


async def test_a_space_that_takes_the_name_meanwhile_is_not_removed_with_the_tombstone(
    services: Services, store: FaultyStore, clock: FrozenClock, settings: Settings
) -> None:
    """Even if the sweeping process stands still until its claim is nobody's any more."""
    await a_space(services)
    await services.runner.idle()
    await services.spaces.delete("alpha", confirm=True)
    clock.advance(WEEK)
    other = build_services(FaultyStore(store.inner), clock, settings)

    async def create(method: str, _key: str) -> None:
        if method == "delete":
            store.before = None
            clock.advance(timedelta(minutes=1))
            await a_space(other)

    store.before = create
    await services.spaces.sweep_deleted()
    assert store.before is None
    assert (await services.spaces.open("alpha")).head.version == 0


async def test_an_interrupted_removal_of_a_tombstone_is_finished(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await a_space(services)
    await services.runner.idle()
    await services.spaces.delete("alpha", confirm=True)
    clock.advance(WEEK)
    store.fail("delete", error=StoreUnavailable)
    for _ in range(3):
        await services.spaces.sweep_deleted()
        clock.advance(timedelta(minutes=1))
    assert await store.inner.get(head_key("alpha")) is None


async def test_what_was_written_beside_a_tombstone_goes_with_it(
    services: Services, store: FaultyStore, clock: FrozenClock
) -> None:
    await a_space(services)
    await services.runner.idle()
    await services.spaces.delete("alpha", confirm=True)
    late = "alpha/_jobs/alpha.0000000000000000.json"
    await store.inner.put(late, b"{}")
    clock.advance(WEEK)
    store.fail("delete_many", key=late)
    await services.spaces.sweep_deleted()
    assert await store.inner.get(late) is not None
    assert await store.inner.get(head_key("alpha")) is not None  # as long as it is there, somebody looks again
    for _ in range(2):
        clock.advance(timedelta(minutes=1))
        await services.spaces.sweep_deleted()
    assert [one.key async for page in store.inner.list("alpha/") for one in page.objects] == []


@pytest.mark.parametrize("prefix", LEFTOVERS)
async def test_what_processes_leave_goes_when_it_is_old_enough(
    store: FaultyStore, clock: FrozenClock, prefix: str
) -> None:
    await store.inner.put(f"{prefix}old", b"1")
    clock.advance(LEFTOVERS[prefix])
    await store.inner.put(f"{prefix}young", b"1")
    await store.inner.put("_system/tokens/old.json", b"1")
    assert await sweep_leftovers(store) == 0
    clock.advance(timedelta(seconds=1))
    assert await sweep_leftovers(store) == 1
    assert [one.key async for page in store.list(prefix) for one in page.objects] == [f"{prefix}young"]
