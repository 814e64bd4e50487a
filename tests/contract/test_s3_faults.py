"""What an S3 store reports when answers are lost, late, cut short or wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.document import Document
from app.storage.retries import Resolution
from app.storage.s3 import Deadlines, S3Store
from app.storage.s3_errors import Answered, Unanswered
from app.storage.store import OutcomeUnknown, PreconditionFailed, Stored, StoreRefused
from tests.contract.servers import S3Server, SeaweedFS
from tests.contract.store_races import Counter, increment
from tests.fakes.fault_proxy import Fault, FaultProxy

pytest_plugins = ["tests.contract.s3_fixtures"]

SHORT = Deadlines(
    connect=timedelta(seconds=1),
    silence=timedelta(seconds=0.5),
    call=timedelta(seconds=0.7),
    operation=timedelta(seconds=2),
)
LOST = [Fault.RESET_AFTER, Fault.STALL_AFTER]
"""The write happens, and nobody says so."""


class TrustingStore(S3Store):
    """The fault: what the server says of a conditional write is believed."""

    async def _write(self, key: str, body: bytes, content_type: str, *, etag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": self._sent_as(etag)}
        try:
            reply = await self._call("put_object", Key=key, **condition, **self._content(body, content_type))
        except Answered as answer:
            raise PreconditionFailed(key) from answer
        except Unanswered as silence:
            raise StoreUnavailable from silence
        written: str = reply["ETag"].strip('"')
        return written


class Situation:
    """A store behind a proxy that spoils its requests, and another store that nobody disturbs."""

    def __init__(self, proxy: FaultProxy, store: S3Store, other: S3Store) -> None:
        self.proxy = proxy
        self.store = store
        self.other = other

    async def body(self, key: str) -> bytes | None:
        stored = await self.other.get(key)
        return stored.body if isinstance(stored, Stored) else None


@asynccontextmanager
async def spoilt(server: S3Server, kind: type[S3Store] = S3Store, **options: Any) -> AsyncIterator[Situation]:
    bucket = server.new_bucket()
    async with FaultProxy(server.endpoint).opened() as proxy:
        reached = server.options(bucket=bucket, endpoint_url=proxy.endpoint, **{"deadlines": SHORT, **options})
        store = kind(reached, SystemClock())
        other = S3Store(server.options(bucket=bucket), SystemClock())
        async with store.opened(), other.opened():
            yield Situation(proxy, store, other)


@pytest.fixture
async def world(moto: S3Server) -> AsyncIterator[Situation]:
    async with spoilt(moto) as situation:
        yield situation


class TestLostReplies:
    @pytest.mark.parametrize("fault", LOST)
    async def test_a_create_that_happened_is_a_success_and_happened_once(self, world: Situation, fault: Fault) -> None:
        world.proxy.plan("PUT", fault)
        etag = await world.store.create("a", b"mine")
        stored = await world.other.get("a")
        assert isinstance(stored, Stored)
        assert (stored.body, stored.etag) == (b"mine", etag)
        assert world.proxy.faults() == [fault]
        assert [seen.status for seen in world.proxy.requests("PUT")].count(200) == 1
        assert world.store.ambiguous == {Resolution.OWN: 1}

    @pytest.mark.parametrize("fault", LOST)
    async def test_a_replace_that_happened_is_a_success_and_happened_once(self, world: Situation, fault: Fault) -> None:
        first = await world.store.create("a", b"1")
        world.proxy.plan("PUT", fault)
        etag = await world.store.replace("a", b"2", etag=first)
        stored = await world.other.get("a")
        assert isinstance(stored, Stored)
        assert (stored.body, stored.etag) == (b"2", etag)
        assert world.proxy.faults() == [fault]
        assert [seen.status for seen in world.proxy.requests("PUT")].count(200) == 2

    async def test_a_refusal_after_an_own_write_is_recognised(self, world: Situation) -> None:
        """The HTTP library repeats a PUT by itself when a connection in use breaks: the server then says 412."""
        await world.store.get("a")
        world.proxy.plan("PUT", Fault.RESET_AFTER)
        await world.store.create("a", b"mine")
        assert [seen.status for seen in world.proxy.requests("PUT")] == [200, 412]
        assert await world.body("a") == b"mine"

    async def test_a_conflict_after_an_own_write_is_recognised(self, world: Situation) -> None:
        world.proxy.plan("PUT", Fault.CONFLICT_AFTER)
        await world.store.create("a", b"mine")
        assert world.proxy.faults() == [Fault.CONFLICT_AFTER]
        assert await world.body("a") == b"mine"

    @pytest.mark.parametrize("fault", LOST)
    async def test_a_store_that_believes_what_it_hears_is_found_out(self, moto: S3Server, fault: Fault) -> None:
        """Negative control of the tests above."""
        async with spoilt(moto, TrustingStore) as world:
            await world.store.get("a")
            world.proxy.plan("PUT", fault)
            with pytest.raises((PreconditionFailed, StoreUnavailable)):
                await world.store.create("a", b"mine")
            assert await world.body("a") == b"mine"

    async def test_no_increment_is_lost_or_made_twice_among_faults(self, moto: S3Server) -> None:
        turns = cycle([Fault.RESET_AFTER, Fault.NONE, Fault.RESET_BEFORE, Fault.NONE, Fault.SLOW_DOWN, Fault.NONE])
        async with spoilt(moto, deadlines=Deadlines()) as world:
            world.proxy.choose = lambda seen: next(turns) if seen.method == "PUT" else Fault.NONE
            await increment(world.store, "counter.json", 15)
            assert {Fault.RESET_AFTER, Fault.RESET_BEFORE, Fault.SLOW_DOWN} == set(world.proxy.faults())
            version = await Document(world.other, "counter.json", Counter).read()
            assert version is not None
            assert version.model.value == 15


class TestWritesThatDidNotHappen:
    @pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.SLOW_DOWN, Fault.STALL])
    async def test_they_are_sent_again(self, world: Situation, fault: Fault) -> None:
        world.proxy.plan("PUT", fault)
        first = await world.store.create("a", b"1")
        world.proxy.plan("PUT", fault)
        await world.store.replace("a", b"2", etag=first)
        assert await world.body("a") == b"2"
        assert world.proxy.faults() == [fault, fault]

    async def test_one_that_never_gets_through_is_no_success(self, world: Situation) -> None:
        world.proxy.choose = lambda seen: Fault.SLOW_DOWN if seen.method == "PUT" else Fault.NONE
        with pytest.raises(OutcomeUnknown):
            await world.store.create("a", b"1")
        assert await world.body("a") is None
        assert len(world.proxy.requests("PUT")) == 3


class TestForeignWrites:
    @pytest.fixture
    async def world(self, moto: S3Server) -> AsyncIterator[Situation]:
        """Nothing stalls here, so nothing has to be given up: the order of the writes is the test's alone."""
        async with spoilt(moto, deadlines=Deadlines()) as situation:
            yield situation

    @pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.RESET_BEFORE])
    async def test_one_in_between_is_a_conflict(self, world: Situation, fault: Fault) -> None:
        first = await world.other.create("a", b"1")
        world.proxy.plan("PUT", fault)
        world.proxy.choose = lambda seen: Fault.DELAY if seen.method == "GET" else Fault.NONE
        writing = asyncio.create_task(world.store.replace("a", b"mine", etag=first))
        async with asyncio.timeout(60):
            await world.proxy.arrived.wait()
        await world.other.put("a", b"theirs")
        world.proxy.released.set()
        with pytest.raises(PreconditionFailed):
            await writing
        assert await world.body("a") == b"theirs"

    async def test_one_before_a_create_is_a_conflict(self, world: Situation) -> None:
        await world.other.create("a", b"theirs")
        world.proxy.plan("PUT", Fault.RESET_BEFORE)
        with pytest.raises(PreconditionFailed):
            await world.store.create("a", b"mine")
        assert await world.body("a") == b"theirs"

    async def test_a_deletion_in_between_is_a_conflict(self, world: Situation) -> None:
        first = await world.other.create("a", b"1")
        await world.other.delete("a")
        world.proxy.plan("PUT", Fault.RESET_BEFORE)
        with pytest.raises(PreconditionFailed):
            await world.store.replace("a", b"2", etag=first)
        assert await world.body("a") is None


class TestSilence:
    async def test_a_read_of_a_stalled_server_ends_at_the_deadline(self, world: Situation) -> None:
        world.proxy.choose = lambda _: Fault.STALL
        async with asyncio.timeout(10):
            for reading in (world.store.get("a"), anext(aiter(world.store.list("")))):
                with pytest.raises(StoreUnavailable) as caught:
                    await reading
                assert not isinstance(caught.value, OutcomeUnknown)

    async def test_a_write_to_a_stalled_server_ends_at_the_deadline_and_is_unknown(self, world: Situation) -> None:
        world.proxy.choose = lambda _: Fault.STALL
        async with asyncio.timeout(10):
            with pytest.raises(OutcomeUnknown):
                await world.store.create("a", b"1")

    async def test_a_write_that_cannot_be_read_back_is_unknown_although_it_happened(self, world: Situation) -> None:
        world.proxy.plan("PUT", Fault.RESET_AFTER)
        world.proxy.choose = lambda _: Fault.SLOW_DOWN
        with pytest.raises(OutcomeUnknown):
            await world.store.create("a", b"1")
        assert await world.body("a") == b"1"
        assert world.store.ambiguous == {Resolution.UNREADABLE: 1}

    async def test_an_outage_is_no_empty_memory(self, world: Situation) -> None:
        await world.other.create("a", b"1")
        world.proxy.choose = lambda _: Fault.SLOW_DOWN
        answers = await asyncio.gather(
            world.store.get("a"),
            anext(aiter(world.store.list(""))),
            world.store.delete_many(["a"]),
            world.store.delete("a"),
            world.store.put("b", b"1"),
            world.store.copy("a", "b"),
            return_exceptions=True,
        )
        assert [isinstance(answer, StoreUnavailable) for answer in answers] == [True] * 6
        assert not any(isinstance(answer, StoreRefused) for answer in answers)
        assert await world.body("a") == b"1"

    async def test_a_server_that_is_not_there_is_an_outage(self, moto: S3Server) -> None:
        store = S3Store(moto.options(endpoint_url="http://127.0.0.1:9", deadlines=SHORT), SystemClock())
        async with store.opened():
            with pytest.raises(StoreUnavailable):
                await store.get("a")
            with pytest.raises(OutcomeUnknown):
                await store.create("a", b"1")


class TestReads:
    async def test_one_that_fails_is_repeated(self, moto: S3Server) -> None:
        async with spoilt(moto, deadlines=Deadlines()) as world:
            await world.other.create("a", b"1")
            world.proxy.plan("GET", Fault.SLOW_DOWN, Fault.RESET_BEFORE)
            assert isinstance(await world.store.get("a"), Stored)
            assert world.proxy.faults() == [Fault.SLOW_DOWN, Fault.RESET_BEFORE]

    async def test_a_body_that_breaks_off_is_read_again_and_never_taken_for_whole(self, world: Situation) -> None:
        await world.other.create("a", b"0123456789" * 100)
        world.proxy.plan("GET", Fault.TRUNCATE)
        stored = await world.store.get("a")
        assert isinstance(stored, Stored)
        assert stored.body == b"0123456789" * 100
        world.proxy.choose = lambda _: Fault.TRUNCATE
        with pytest.raises(StoreUnavailable):
            await world.store.get("a")

    async def test_a_listing_that_breaks_off_is_no_short_one(self, world: Situation) -> None:
        for number in range(5):
            await world.other.create(f"a/{number}", b"1")
        world.proxy.choose = lambda _: Fault.TRUNCATE
        with pytest.raises(StoreUnavailable):
            await anext(aiter(world.store.list("a/")))

    async def test_a_bare_404_of_somebody_on_the_way_is_no_absence(self, world: Situation) -> None:
        await world.other.create("a", b"1")
        world.proxy.choose = lambda _: Fault.NOT_FOUND
        with pytest.raises(StoreUnavailable):
            await world.store.get("a")
        with pytest.raises(StoreUnavailable):
            await world.store.copy("a", "b")


class TestRefusals:
    async def test_a_bucket_that_does_not_exist_is_refused_and_not_empty(self, moto: S3Server) -> None:
        store = S3Store(moto.options(bucket="no-such-bucket"), SystemClock())
        async with store.opened():
            for asked in (
                store.get("a"),
                store.create("a", b"1"),
                store.replace("a", b"1", etag="0"),
                store.put("a", b"1"),
                store.delete("a"),
                anext(aiter(store.list(""))),
                store.copy("a", "b"),
                store.check_bucket(),
            ):
                with pytest.raises(StoreRefused):
                    await asked

    async def test_a_wrong_secret_is_refused(self, seaweedfs: SeaweedFS) -> None:
        options = seaweedfs.http.options(secret_access_key="wrong")  # noqa: S106 - that is the point
        store = S3Store(options, SystemClock())
        async with store.opened():
            for asked in (store.get("a"), store.create("a", b"1"), anext(aiter(store.list("")))):
                with pytest.raises(StoreRefused):
                    await asked


class TestCancellation:
    async def test_a_write_is_settled_before_its_cancelled_caller_hears_of_it(self, world: Situation) -> None:
        world.proxy.choose = lambda seen: Fault.DELAY if seen.method == "PUT" else Fault.NONE
        writing = asyncio.create_task(world.store.create("a", b"1"))
        async with asyncio.timeout(5):
            await world.proxy.arrived.wait()
        writing.cancel()
        world.proxy.released.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await world.body("a") == b"1"

    async def test_a_read_ends_at_once(self, world: Situation) -> None:
        world.proxy.choose = lambda _: Fault.STALL
        reading = asyncio.create_task(world.store.get("a"))
        async with asyncio.timeout(5):
            await world.proxy.arrived.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert len(world.proxy.seen) == 1
