"""Leases: one holder at a time by the store's clock, whatever the replicas' clocks say."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.document import DamagedDocument
from app.storage.lease import Held, Lease, LeaseRecord
from app.storage.memory import MemoryStore
from app.storage.s3 import S3Store
from app.storage.store import JSON, ObjectStore, PreconditionFailed, Stored
from tests.contract.servers import SeaweedFS
from tests.fakes.clock import START, FrozenClock
from tests.fakes.faulty_store import FaultyStore

pytest_plugins = ["tests.contract.s3_fixtures"]

KEY = "space/_lease.json"
TTL, MARGIN = timedelta(seconds=60), timedelta(seconds=4)
SECOND = timedelta(seconds=1)


class World:
    """A store with a clock of its own, and replicas whose clocks are wrong."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.store = FaultyStore(MemoryStore(self.clock))
        self.clocks: list[FrozenClock] = []

    def lease(self, owner: str, *, wrong_by: timedelta = timedelta(0)) -> Lease:
        clock = FrozenClock(START + wrong_by)
        self.clocks.append(clock)
        return Lease(self.store, KEY, owner, clock, ttl=TTL, margin=MARGIN)

    def pass_time(self, by: timedelta) -> None:
        for clock in (self.clock, *self.clocks):
            clock.advance(by)

    async def record(self) -> LeaseRecord:
        stored = await self.store.get(KEY)
        assert isinstance(stored, Stored)
        return LeaseRecord.model_validate_json(stored.body)


@pytest.fixture
def world() -> World:
    return World()


async def acquired(lease: Lease) -> Held:
    held = await lease.acquire()
    assert held is not None
    return held


class TestAcquiring:
    async def test_one_of_many_gets_it(self, world: World) -> None:
        leases = [world.lease(f"replica {number}") for number in range(20)]
        held = [found for found in await asyncio.gather(*(lease.acquire() for lease in leases)) if found]
        assert len(held) == 1
        assert held[0].epoch == 1

    async def test_nobody_else_gets_it_while_it_is_held(self, world: World) -> None:
        await acquired(world.lease("one"))
        world.pass_time(TTL + MARGIN)
        assert await world.lease("two").acquire() is None

    async def test_it_is_taken_over_when_it_has_run_out(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.pass_time(TTL + MARGIN + SECOND)
        taken = await acquired(world.lease("two"))
        assert (held.epoch, taken.epoch) == (1, 2)
        assert not held.is_valid
        assert (await world.record()).owner == "two"

    async def test_of_many_that_find_it_run_out_one_takes_it_over(self, world: World) -> None:
        await acquired(world.lease("one"))
        world.pass_time(2 * TTL)
        leases = [world.lease(f"replica {number}") for number in range(20)]
        held = [found for found in await asyncio.gather(*(lease.acquire() for lease in leases)) if found]
        assert [found.epoch for found in held] == [2]

    @pytest.mark.parametrize("wrong_by", [timedelta(days=1), timedelta(days=-1), timedelta(hours=1)])
    async def test_a_replica_s_wrong_clock_neither_steals_nor_starves(self, world: World, wrong_by: timedelta) -> None:
        await acquired(world.lease("one"))
        other = world.lease("two", wrong_by=wrong_by)
        assert await other.acquire() is None
        world.pass_time(TTL + MARGIN + SECOND)
        assert (await acquired(other)).epoch == 2

    async def test_a_store_that_does_not_tell_the_time_is_watched_instead(self, world: World) -> None:
        await acquired(world.lease("one"))
        other = world.lease("two")
        assert await other.acquire() is None
        (_, clock) = world.clocks
        # The store's clock stands still from here on.
        clock.advance(TTL + MARGIN)
        assert await other.acquire() is None
        clock.advance(SECOND)
        assert (await acquired(other)).epoch == 2

    async def test_a_lease_that_is_renewed_is_not_mistaken_for_one_that_ran_out(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        other = world.lease("two")
        (_, clock) = world.clocks
        for _ in range(5):
            assert await other.acquire() is None
            clock.advance(TTL / 2)
            assert await held.renew()

    async def test_an_outage_is_not_a_lease_held_by_somebody(self, world: World) -> None:
        world.store.fail("get", lasting=True)
        with pytest.raises(StoreUnavailable):
            await world.lease("one").acquire()

    async def test_what_is_not_a_lease_is_not_overwritten(self, world: World) -> None:
        await world.store.create(KEY, b"something else")
        with pytest.raises(DamagedDocument):
            await world.lease("one").acquire()

    def test_a_lease_shorter_than_the_clock_is_fine_is_refused(self, world: World) -> None:
        with pytest.raises(ValueError, match="15 seconds"):
            Lease(world.store, KEY, "one", FrozenClock(), ttl=timedelta(seconds=14))


class TestHolding:
    async def test_it_is_valid_for_its_length_less_the_margin(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.pass_time(TTL - MARGIN - SECOND)
        assert held.is_valid
        world.pass_time(SECOND)
        assert not held.is_valid

    async def test_the_holder_has_stopped_before_anybody_may_take_over(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        other = world.lease("two")
        taken = None
        while taken is None:
            world.pass_time(SECOND)
            taken = await other.acquire()
            assert taken is None or not held.is_valid

    async def test_renewing_keeps_it_and_its_epoch(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        other = world.lease("two")
        for _ in range(10):
            world.pass_time(TTL / 3)
            assert await held.renew()
            assert await other.acquire() is None
        assert held.is_valid
        assert held.epoch == 1

    async def test_the_time_of_a_renewal_counts_from_before_it_was_sent(self, world: World) -> None:
        lease = world.lease("one")
        held = await acquired(lease)

        async def slow(method: str, _key: str) -> None:
            if method == "replace":
                world.pass_time(TTL / 2)

        world.store.before = slow
        assert await held.renew()
        world.pass_time(TTL / 2 - MARGIN)
        assert not held.is_valid

    async def test_one_that_was_paused_too_long_is_lost_and_knows(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.pass_time(2 * TTL)
        await acquired(world.lease("two"))
        assert not await held.renew()
        assert held.lost.is_set()
        assert (await world.record()).owner == "two"

    async def test_one_that_was_taken_over_is_lost_and_knows(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.clock.advance(2 * TTL)
        await acquired(world.lease("two"))
        assert held.is_valid, "its own time has not passed"
        assert not await held.renew()
        assert held.lost.is_set()
        assert not held.is_valid

    async def test_an_outage_does_not_lose_it_before_its_time(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.store.fail("replace")
        with pytest.raises(StoreUnavailable):
            await held.renew()
        assert held.is_valid
        assert await held.renew()

    async def test_a_released_one_is_free_at_once_and_counts_on(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        await held.release()
        assert not held.is_valid
        assert (await acquired(world.lease("two"))).epoch == 2

    async def test_releasing_what_was_taken_over_disturbs_nobody(self, world: World) -> None:
        held = await acquired(world.lease("one"))
        world.pass_time(2 * TTL)
        taken = await acquired(world.lease("two"))
        await held.release()
        assert await taken.renew()
        assert not (await world.record()).released

    async def test_a_zombie_s_commit_is_refused_by_the_swap_it_fences(self, world: World) -> None:
        head = await world.store.create("head", b"0")
        zombie = await acquired(world.lease("one"))
        world.pass_time(2 * TTL)
        await acquired(world.lease("two"))
        await world.store.replace("head", b"1", etag=head)
        assert not zombie.is_valid
        with pytest.raises(PreconditionFailed):
            await world.store.replace("head", b"zombie", etag=head)


class Beats:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._slept: asyncio.Queue[None] = asyncio.Queue()
        self._asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._asleep.set()
        await self._slept.get()

    async def asleep(self) -> None:
        async with asyncio.timeout(5):
            await self._asleep.wait()

    async def beat(self) -> None:
        """End this sleep, and wait for the next one."""
        await self.asleep()
        self._asleep.clear()
        self._slept.put_nowait(None)
        await self.asleep()


class TestTheBlock:
    async def test_it_is_renewed_three_times_in_its_length_and_released_at_the_end(self, world: World) -> None:
        beats, clock = Beats(), FrozenClock()
        lease = Lease(world.store, KEY, "one", clock, ttl=TTL, margin=MARGIN, sleep=beats.sleep)
        async with lease.holding(purpose="job 1") as held:
            assert held is not None
            assert (await world.record()).purpose == "job 1"
            first = (await world.record()).nonce
            await beats.beat()
            assert (await world.record()).nonce != first
            assert beats.asked == [20, 20]
            assert await world.lease("two").acquire() is None
        assert (await world.record()).released

    async def test_it_says_when_the_lease_is_held_by_somebody(self, world: World) -> None:
        await acquired(world.lease("one"))
        async with world.lease("two").holding() as held:
            assert held is None
        assert (await world.record()).owner == "one"

    async def test_an_outage_is_survived_and_a_loss_is_told(self, world: World) -> None:
        beats = Beats()
        lease = Lease(world.store, KEY, "one", FrozenClock(), ttl=TTL, margin=MARGIN, sleep=beats.sleep)
        async with lease.holding() as held:
            assert held is not None
            world.store.fail("replace")
            await beats.beat()
            assert held.is_valid
            world.clock.advance(2 * TTL)
            await acquired(world.lease("two"))
            await beats.asleep()
            beats._slept.put_nowait(None)  # noqa: SLF001 - there is no next sleep to wait for
            async with asyncio.timeout(5):
                await held.lost.wait()
        assert (await world.record()).owner == "two"


@pytest.fixture
async def stores(seaweedfs: SeaweedFS) -> AsyncIterator[list[ObjectStore]]:
    bucket = seaweedfs.http.new_bucket()
    made = [S3Store(seaweedfs.http.options(bucket=bucket), SystemClock()) for _ in range(2)]
    async with made[0].opened(), made[1].opened():
        yield [*made]


class TestOnARealServer:
    async def test_one_of_several_replicas_gets_it_and_the_next_one_after_it(self, stores: list[ObjectStore]) -> None:
        # Their own clocks are a year off, and stand still.
        leases = [
            Lease(store, KEY, f"replica {number}", FrozenClock())
            for number, store in enumerate([*stores, *stores, *stores])
        ]
        held = [found for found in await asyncio.gather(*(lease.acquire() for lease in leases)) if found]
        assert [found.epoch for found in held] == [1]
        assert [await lease.acquire() for lease in leases] == [None] * len(leases)
        assert await held[0].renew()
        await held[0].release()
        assert (await acquired(leases[0])).epoch == 2

    async def test_its_age_is_judged_by_the_server_s_clock(self, stores: list[ObjectStore]) -> None:
        lasting = LeaseRecord(owner="gone", epoch=7, nonce="0" * 16, ttl_s=3600)
        etag = await stores[0].create(KEY, lasting.model_dump_json().encode(), content_type=JSON)
        lease = Lease(stores[1], KEY, "one", FrozenClock(), margin=timedelta(0))
        assert await lease.acquire() is None
        over = lasting.model_copy(update={"ttl_s": -5, "nonce": "1" * 16})
        await stores[0].replace(KEY, over.model_dump_json().encode(), etag=etag, content_type=JSON)
        assert (await acquired(lease)).epoch == 8
