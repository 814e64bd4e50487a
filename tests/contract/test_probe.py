"""The start-up probe: which stores it trusts, which it finds out, and how those are used all the same."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.probe import PREFIX, Conditions, choose_signature, probe, probe_conditions
from app.storage.s3 import Deadlines, ETagStyle, S3Options, S3Store
from app.storage.signatures import Signature
from app.storage.single_writer import FLAGS, NotAlone, SingleWriterStore, WriterFlag
from app.storage.store import ObjectStore, PreconditionFailed, Stored, StoreRefused
from tests.contract.servers import S3Server, SeaweedFS
from tests.contract.store_races import check_counter, check_create_race, check_replace_race
from tests.contract.test_object_store import CarelessStore, HastyStore
from tests.fakes.clock import FrozenClock
from tests.fakes.fault_proxy import Fault, FaultProxy, Seen, answer_of, error_of
from tests.fakes.faulty_store import FaultyStore

pytest_plugins = ["tests.contract.s3_fixtures"]

IMPATIENT = Deadlines(silence=timedelta(seconds=2))
TTL, MARGIN = timedelta(seconds=60), timedelta(seconds=4)


class CreateOnlyStore(MemoryStore):
    """A store that knows `If-None-Match` and has not heard of `If-Match`."""

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:  # noqa: ARG002 - the fault
        return await self.put(key, body, content_type=content_type)


class RefusingStore(MemoryStore):
    """A store that says so when it is given a condition."""

    async def create(self, key: str, body: bytes, *, content_type: str = "") -> str:  # noqa: ARG002 - the fault
        raise StoreRefused(key)

    async def replace(self, key: str, body: bytes, *, etag: str, content_type: str = "") -> str:  # noqa: ARG002 - the fault
        raise StoreRefused(key)


async def left_behind(store: ObjectStore) -> list[str]:
    return [found.key async for page in store.list(PREFIX) for found in page.objects]


@asynccontextmanager
async def proxied(server: S3Server, deadlines: Deadlines = IMPATIENT) -> AsyncIterator[tuple[S3Store, FaultProxy]]:
    async with FaultProxy(server.endpoint).opened() as proxy:
        store = S3Store(server.options(endpoint_url=proxy.endpoint, deadlines=deadlines), SystemClock())
        async with store.opened():
            yield store, proxy


class TestServers:
    async def test_the_simulated_server_keeps_all_conditions(self, moto: S3Server) -> None:
        store = S3Store(moto.options(), SystemClock())
        async with store.opened():
            verdict = await probe(store)
            assert await left_behind(store) == []
        assert verdict.conditions is Conditions.FULL
        assert (list(verdict.creators), list(verdict.writers)) == ([1, 1, 1], [1, 1, 1])
        assert verdict.problems == []
        assert (verdict.signature, verdict.etag_style) == (Signature.V4, ETagStyle.QUOTED)
        assert verdict.clock_offset is not None

    async def test_the_real_server_keeps_all_conditions(self, seaweedfs: SeaweedFS) -> None:
        store = S3Store(seaweedfs.http.options(deadlines=IMPATIENT), SystemClock())
        async with store.opened():
            verdict = await probe(store)
            assert await left_behind(store) == []
        assert verdict.conditions is Conditions.FULL
        assert verdict.problems == []
        assert verdict.signature is Signature.V4

    async def test_the_careless_server_keeps_none(self, rclone: S3Server) -> None:
        store = S3Store(rclone.options(), SystemClock())
        async with store.opened():
            verdict = await probe(store)
            assert await left_behind(store) == []
        assert verdict.conditions is Conditions.NONE
        assert len(verdict.problems) == 2


class TestVerdicts:
    async def test_a_store_that_keeps_conditions_is_trusted(self) -> None:
        store = MemoryStore(FrozenClock())
        assert (await probe_conditions(store)).conditions is Conditions.FULL
        assert await left_behind(store) == []

    @pytest.mark.parametrize(
        ("kind", "conditions"),
        [
            (CarelessStore, Conditions.NONE),
            (RefusingStore, Conditions.NONE),
            (CreateOnlyStore, Conditions.CREATE_ONLY),
        ],
    )
    async def test_one_that_ignores_or_refuses_them_is_not(
        self, kind: type[MemoryStore], conditions: Conditions
    ) -> None:
        verdict = await probe_conditions(kind(FrozenClock()))
        assert verdict.conditions is conditions
        assert verdict.problems

    async def test_one_that_keeps_them_in_turn_only_is_found_out_by_the_races(self) -> None:
        verdict = await probe_conditions(HastyStore(FrozenClock()))
        assert verdict.conditions is Conditions.NONE
        assert max(verdict.creators) > 1
        assert max(verdict.writers) > 1

    async def test_without_races_it_would_be_trusted(self) -> None:
        """Negative control: nothing else in the probe sees it."""
        assert (await probe_conditions(HastyStore(FrozenClock()), rounds=0)).conditions is Conditions.FULL

    async def test_an_outage_is_no_verdict(self, moto: S3Server) -> None:
        async with proxied(moto, Deadlines(call=timedelta(seconds=0.3))) as (store, proxy):
            proxy.choose = lambda _: Fault.SLOW_DOWN
            with pytest.raises(StoreUnavailable):
                await probe(store)


class TestDialects:
    async def test_a_server_that_wants_bare_etags_gets_them(self, moto: S3Server) -> None:
        async with proxied(moto) as (store, proxy):

            def picky(seen: Seen) -> bytes | None:
                quoted = seen.headers.get("if-match", "").startswith('"')
                return answer_of("412 Precondition Failed", error_of("PreconditionFailed")) if quoted else None

            proxy.answer = picky
            verdict = await probe(store)
            assert verdict.conditions is Conditions.FULL
            assert verdict.etag_style is store.etag_style is ETagStyle.BARE

    @pytest.mark.parametrize("signature", [Signature.V4, Signature.HYBRID, Signature.V2])
    async def test_the_signature_that_works_is_found(self, moto: S3Server, signature: Signature) -> None:
        def understood(seen: Seen) -> bool:
            is_v4 = seen.headers["authorization"].startswith("AWS4")
            match signature:
                case Signature.V4:
                    return is_v4
                case Signature.HYBRID:
                    # An object has a name behind the bucket's.
                    return is_v4 == (seen.path.count("/") == 1)
                case _:
                    return not is_v4

        async with proxied(moto) as (store, proxy):
            proxy.answer = lambda seen: (
                None if understood(seen) else answer_of("403 Forbidden", error_of("SignatureDoesNotMatch"))
            )
            assert await choose_signature(store) is signature
            assert store.signature is signature

    async def test_when_none_works_the_store_is_refused(self, moto: S3Server) -> None:
        async with proxied(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("403 Forbidden", error_of("AccessDenied"))
            with pytest.raises(StoreRefused, match=r"v4.*hybrid.*v2"):
                await choose_signature(store)


class Pair:
    """Two processes that share a store which ignores conditions."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.store = FaultyStore(CarelessStore(self.clock))
        self.clocks = [FrozenClock(), FrozenClock()]
        self.one, self.two = (
            WriterFlag(self.store, clock, name, ttl=TTL, margin=MARGIN)
            for name, clock in zip(("one", "two"), self.clocks, strict=True)
        )

    def pass_time(self, by: timedelta) -> None:
        for clock in (self.clock, *self.clocks):
            clock.advance(by)

    async def flags(self) -> int:
        return sum([len(page.objects) async for page in self.store.list(FLAGS)])


@pytest.fixture
def pair() -> Pair:
    return Pair()


NOW = timedelta(0)


class TestTheFlag:
    async def test_the_first_one_holds_and_the_second_withdraws(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        with pytest.raises(NotAlone):
            await pair.two.acquire(patience=NOW)
        assert pair.one.is_held
        assert not pair.two.is_held
        assert await pair.flags() == 1

    async def test_of_two_at_once_never_do_both_hold(self, pair: Pair) -> None:
        for _ in range(30):
            await asyncio.gather(pair.one.acquire(patience=NOW), pair.two.acquire(patience=NOW), return_exceptions=True)
            assert not (pair.one.is_held and pair.two.is_held)
            await pair.one.release()
            await pair.two.release()
            assert await pair.flags() == 0

    async def test_the_holder_keeps_it_however_often_others_look_in(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        for _ in range(10):
            pair.pass_time(TTL / 3)
            renewed, looked_in = await asyncio.gather(pair.one.renew(), pair.two.renew())
            assert renewed
            assert not looked_in
        assert await pair.flags() == 1

    async def test_a_flag_is_never_overwritten_and_never_missing_meanwhile(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        pair.store.forget_calls()

        async def one_at_least(_method: str, _key: str) -> None:
            pair.store.before = None
            assert await pair.flags() >= 1
            pair.store.before = one_at_least

        pair.store.before = one_at_least
        assert await pair.one.renew()
        pair.store.before = None
        written = [key for method, key in pair.store.calls if method == "put"]
        removed = [key for method, key in pair.store.calls if method == "delete"]
        assert len(written) == len(removed) == 1
        assert written != removed

    async def test_the_flag_of_a_process_that_died_counts_until_it_is_too_old(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        pair.pass_time(TTL + MARGIN)
        assert not pair.one.is_held
        with pytest.raises(NotAlone):
            await pair.two.acquire(patience=NOW)
        pair.pass_time(timedelta(seconds=1))
        await pair.two.acquire(patience=NOW)

    async def test_one_that_was_paused_finds_that_it_is_not_alone_any_more(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        pair.pass_time(2 * TTL)
        await pair.two.acquire(patience=NOW)
        assert not pair.one.is_held
        assert not await pair.one.renew()
        assert pair.two.is_held

    async def test_a_failed_renewal_leaves_no_flag_that_locks_its_own_process_out(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        pair.store.fail("put", applied=True)
        with pytest.raises(StoreUnavailable):
            await pair.one.renew()
        pair.pass_time(TTL)
        assert await pair.one.renew()
        assert await pair.flags() == 1

    async def test_when_it_is_released_the_next_one_gets_it(self, pair: Pair) -> None:
        await pair.one.acquire(patience=NOW)
        await pair.one.release()
        await pair.two.acquire(patience=NOW)


@asynccontextmanager
async def alone(inner: ObjectStore) -> AsyncIterator[ObjectStore]:
    store = SingleWriterStore(inner, WriterFlag(inner, SystemClock(), "only"), patience=NOW)
    async with store.opened():
        yield store


class TestTheFallback:
    async def test_it_makes_a_careless_store_pass_every_race(self) -> None:
        async with alone(CarelessStore(SystemClock())) as store:
            await check_create_race(store, "a")
            await check_replace_race(store, "b")
            await check_counter(store, "c", writers=8, increments=10)

    async def test_it_does_so_on_a_real_careless_server(self, rclone: S3Server) -> None:
        async with alone(S3Store(rclone.options(bucket=rclone.new_bucket()), SystemClock())) as store:
            await check_create_race(store, "a")
            await check_replace_race(store, "b")
            await check_counter(store, "c", writers=4, increments=4)

    async def test_that_server_by_itself_lets_everybody_win(self, rclone: S3Server) -> None:
        """Negative control of the test above."""
        store = S3Store(rclone.options(bucket=rclone.new_bucket()), SystemClock())
        async with store.opened():
            first = await store.create("a", b"1")
            await store.create("a", b"2")
            await store.replace("a", b"3", etag=first)

    async def test_every_method_does_what_it_says(self) -> None:
        async with alone(MemoryStore(SystemClock())) as store:
            etag = await store.create("a", b"1")
            with pytest.raises(PreconditionFailed):
                await store.create("a", b"2")
            second = await store.replace("a", b"2", etag=etag)
            for key, stale in {"a": etag, "absent": second}.items():
                with pytest.raises(PreconditionFailed):
                    await store.replace(key, b"3", etag=stale)
            assert await store.copy("a", "b")
            await store.put("c", b"4")
            await store.delete("a")
            assert await store.get("a") is None
            assert isinstance(await store.get("b"), Stored)
            assert await store.delete_many(["b", "c"]) == []
            assert [found.key async for page in store.list("") for found in page.objects if found.key < "_"] == []

    async def test_a_second_process_is_kept_out_until_the_first_has_ended(self) -> None:
        inner = MemoryStore(SystemClock())
        async with alone(inner):
            with pytest.raises(NotAlone):
                async with alone(inner):
                    pass
        async with alone(inner) as store:
            await store.create("a", b"1")

    async def test_a_process_whose_flag_ran_out_writes_nothing_and_still_reads(self) -> None:
        inner, clock = MemoryStore(SystemClock()), FrozenClock()
        flag = WriterFlag(inner, clock, "only", ttl=TTL, margin=MARGIN)
        store = SingleWriterStore(inner, flag, patience=NOW)
        async with store.opened():
            etag = await store.create("a", b"1")
            clock.advance(TTL)
            for attempt in (
                store.create("b", b""), store.replace("a", b"2", etag=etag), store.put("b", b""),
                store.delete("a"), store.delete_many(["a"]), store.copy("a", "b"),
            ):  # fmt: skip
                with pytest.raises(NotAlone):
                    await attempt
            stored = await store.get("a")
            assert isinstance(stored, Stored)
            assert stored.body == b"1"


async def contend(options: S3Options, folder: Path, name: str, turns: int) -> int:
    """Become the only writer again and again, and count how often somebody else was writing too."""
    overlaps = 0
    store = S3Store(options, SystemClock())
    async with store.opened():
        flag = WriterFlag(store, SystemClock(), name, pause=timedelta(milliseconds=200))
        for _ in range(turns):
            await flag.acquire(patience=timedelta(seconds=100))
            try:
                # What only one process may do at a time, told by something that needs no store.
                (folder / "writing").touch(exist_ok=False)
            except FileExistsError:
                overlaps += 1
            else:
                stored = await store.get("turns")
                done = int(stored.body) if isinstance(stored, Stored) else 0
                await store.put("turns", str(done + 1).encode())
                (folder / "writing").unlink()
            await flag.release()
    return overlaps


def run_contender(talk: Connection, options: S3Options, folder: Path, turns: int) -> None:
    overlaps = asyncio.run(contend(options, folder, f"process-{os.getpid()}", turns))
    talk.send(overlaps)


async def test_of_many_processes_on_a_careless_server_one_writes_at_a_time(rclone: S3Server, tmp_path: Path) -> None:
    processes, turns = 3, 3
    options = rclone.options(bucket=rclone.new_bucket())
    context = get_context("forkserver")
    # Forked from a process that has imported everything and started nothing.
    context.set_forkserver_preload([__name__])
    with ExitStack() as stack:
        talks: list[Connection] = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=run_contender, args=(theirs, options, tmp_path, turns), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            theirs.close()
            talks.append(ours)
        overlaps = [await asyncio.to_thread(talk.recv) for talk in talks]
        for talk in talks:
            talk.close()
    assert overlaps == [0] * processes
    store = S3Store(options, SystemClock())
    async with store.opened():
        stored = await store.get("turns")
        assert isinstance(stored, Stored)
        assert stored.body == str(processes * turns).encode()
