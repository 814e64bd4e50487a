"""A bucket as the service uses it: as far as its server can be trusted, and not before it was tried."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.core.settings import ConditionalWrites, Settings
from app.main import create
from app.storage.probed import ANOTHER_WRITER, SINGLE_WRITER, ProbedStore
from app.storage.s3 import S3Options, S3Store
from app.storage.single_writer import FLAGS
from app.storage.store import ObjectStore, PreconditionFailed, StoreRefused
from tests.contract.servers import ACCESS_KEY, SECRET_KEY, S3Server
from tests.fakes.fault_proxy import FaultProxy, answer_of, error_of

pytest_plugins = ["tests.contract.s3_fixtures"]

SOON = timedelta(milliseconds=50)
KEY = "a-bootstrap-key-of-the-tests-0123456789"


def probed(options: S3Options, owner: str = "one", **how: Any) -> ProbedStore:
    clock = SystemClock()
    return ProbedStore(S3Store(options, clock), clock, owner, pause=SOON, **{"patience": timedelta(seconds=60), **how})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.02)


async def check_conditions(store: ObjectStore, key: str) -> None:
    """The second of two creators, and a writer with an old ETag, are told."""
    first = await store.create(key, b"first")
    with pytest.raises(PreconditionFailed):
        await store.create(key, b"second")
    await store.replace(key, b"third", etag=first)
    with pytest.raises(PreconditionFailed):
        await store.replace(key, b"fourth", etag=first)


async def flags(server: S3Server, bucket: str) -> list[str]:
    store = S3Store(server.options(bucket=bucket), SystemClock())
    async with store.opened():
        return [found.key async for page in store.list(FLAGS) for found in page.objects]


@asynccontextmanager
async def behind_a_proxy(server: S3Server) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.endpoint).opened() as proxy:
        yield proxy


def refuse_all(proxy: FaultProxy) -> None:
    proxy.answer = lambda _: answer_of("403 Forbidden", error_of("AccessDenied"))


def serve_again(proxy: FaultProxy) -> None:
    proxy.answer = lambda _: None


class TestAServerThatKeepsConditions:
    async def test_it_is_in_use_once_the_store_is_open(self, moto: S3Server) -> None:
        bucket = moto.new_bucket()
        store = probed(moto.options(bucket=bucket))
        assert store.checks()["conditions"] == "unknown"
        async with store.opened():
            await until(lambda: store.checks() == {"conditions": "full"})
            await check_conditions(store, "a")
        assert await flags(moto, bucket) == []

    async def test_several_replicas_may_use_it(self, moto: S3Server) -> None:
        options = moto.options(bucket=moto.new_bucket())
        one, two = (probed(options, owner, replicas=2, demand=ConditionalWrites.REQUIRE) for owner in ("one", "two"))
        async with one.opened(), two.opened():
            # A busy machine may fail the first probe of the two that run at once; the next one settles it.
            await until(lambda: one.checks() == two.checks() == {"conditions": "full"})
            await one.create("a", b"of one")
            with pytest.raises(PreconditionFailed):
                await two.create("a", b"of two")

    async def test_it_is_used_alone_when_conditions_are_off(self, moto: S3Server) -> None:
        bucket = moto.new_bucket()
        store = probed(moto.options(bucket=bucket), demand=ConditionalWrites.OFF)
        async with store.opened():
            assert store.checks() == {"conditions": SINGLE_WRITER}
            assert len(await flags(moto, bucket)) == 1
        assert await flags(moto, bucket) == []


class TestAServerThatIgnoresConditions:
    async def test_it_is_used_by_one_process_and_then_by_the_next(self, rclone: S3Server) -> None:
        options = rclone.options(bucket=rclone.new_bucket())
        one, two = probed(options), probed(options, "two", patience=timedelta(0))
        async with one.opened():
            assert one.checks() == {"conditions": SINGLE_WRITER}
            await check_conditions(one, "a")
            async with two.opened():
                await until(lambda: two.checks()["conditions"] == ANOTHER_WRITER)
                with pytest.raises(StoreUnavailable):
                    await two.create("b", b"of two")
        async with two.opened():
            await until(lambda: two.checks() == {"conditions": SINGLE_WRITER})
            await two.create("b", b"of two")

    async def test_it_is_not_used_when_conditions_are_required(self, rclone: S3Server) -> None:
        store = probed(rclone.options(bucket=rclone.new_bucket()), demand=ConditionalWrites.REQUIRE)
        async with store.opened():
            assert store.checks() == {"store": "ok", "conditions": "none"}
            for refused in (store.create("a", b""), store.put("a", b""), store.get("a")):
                with pytest.raises(StoreUnavailable):
                    await refused

    async def test_several_replicas_are_refused_in_one_sentence(self, rclone: S3Server) -> None:
        store = probed(rclone.options(bucket=rclone.new_bucket()), replicas=2)
        with pytest.raises(StoreRefused, match=r"^REPLICAS is 2, but [^\n]+\.$"):
            async with store.opened():
                pytest.fail("it was opened")


class TestAServerThatIsAway:
    async def test_the_start_goes_on_and_the_store_is_used_when_the_server_is_back(self, moto: S3Server) -> None:
        async with behind_a_proxy(moto) as proxy:
            refuse_all(proxy)
            store = probed(moto.options(bucket=moto.new_bucket(), endpoint_url=proxy.endpoint))
            async with store.opened():
                assert store.checks() == {"store": "store_refused", "conditions": "unknown"}
                with pytest.raises(StoreUnavailable):
                    await store.get("a")
                with pytest.raises(StoreUnavailable):
                    await anext(aiter(store.list("")))
                serve_again(proxy)
                await until(lambda: store.checks() == {"conditions": "full"})
                await check_conditions(store, "a")
            with pytest.raises(StoreUnavailable):
                await store.get("a")

    async def test_it_can_be_closed_while_the_server_is_away(self, moto: S3Server) -> None:
        store = probed(moto.options(endpoint_url="http://127.0.0.1:1"), patience=timedelta(0))
        async with store.opened():
            assert store.checks()["conditions"] == "unknown"

    async def test_the_service_says_503_until_then(self, moto: S3Server) -> None:
        async with behind_a_proxy(moto) as proxy:
            refuse_all(proxy)
            settings = Settings.for_tests(
                admin_bootstrap_key=KEY,
                s3_endpoint_url=proxy.endpoint,
                s3_bucket_name=moto.new_bucket(),
                s3_region_name="us-east-1",
                s3_access_key_id=ACCESS_KEY,
                s3_secret_access_key=SECRET_KEY,
            )
            app = create(settings)
            transport = httpx.ASGITransport(app)
            headers = {"Authorization": f"Bearer {KEY}"}
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client,
            ):
                refused = await client.get("/ready")
                assert (refused.status_code, refused.json()["checks"]["conditions"]) == (503, "unknown")
                spaces = await client.get("/api/v1/spaces")
                assert (spaces.status_code, spaces.json()["code"]) == (503, "store_unavailable")
                serve_again(proxy)
                async with asyncio.timeout(60):
                    while (ready := await client.get("/ready")).status_code == 503:  # noqa: ASYNC110 - as a balancer asks
                        await asyncio.sleep(0.1)
                assert ready.json()["checks"]["conditions"] == "full"
                assert (await client.get("/api/v1/spaces")).status_code == 200
                health = (await client.get("/api/v1/system/health")).json()["services"]["s3"]
                assert (health["kind"], health["bucket"]) == ("s3", settings.s3_bucket_name)
