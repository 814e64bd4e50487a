"""What each setting of the S3 client does on the wire, so that an upgrade of the SDK cannot lose one unseen."""

import asyncio
import re
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.endpoint_provider import EndpointProvider as RulesetProvider

from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.storage.keys import InvalidKey
from app.storage.s3 import Deadlines, ETagStyle, S3Options, S3Store
from app.storage.s3_events import instant_of
from app.storage.signatures import Signature
from app.storage.store import OutcomeUnknown, PreconditionFailed, Stored
from app.storage.store_time import StoreTime
from tests.contract.servers import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, SeaweedFS
from tests.fakes.clock import START, FrozenClock
from tests.fakes.fault_proxy import Fault, FaultProxy, Seen, answer_of, error_of

pytest_plugins = ["tests.contract.s3_fixtures"]


@asynccontextmanager
async def observed(server: S3Server, **options: Any) -> AsyncIterator[tuple[S3Store, FaultProxy]]:
    """A store, and a proxy that sees its requests; over https if the server is."""
    async with FaultProxy(server.endpoint.replace("https", "http"), server.ca_file).opened() as proxy:
        store = S3Store(server.options(endpoint_url=proxy.endpoint, **options), SystemClock())
        async with store.opened():
            yield store, proxy


@asynccontextmanager
async def usual(proxy: FaultProxy, server: S3Server, config: AioConfig | None = None) -> AsyncIterator[Any]:
    """A client with the SDK's own habits, for comparison."""
    settings = {
        "endpoint_url": proxy.endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "verify": str(server.ca_file) if server.ca_file else None,
        "config": config or AioConfig(),
    }
    async with get_session().create_client("s3", **settings) as client:
        yield client


async def no_page_more(store: S3Store, prefix: str = "") -> list[str]:
    return [found.key async for page in store.list(prefix) for found in page.objects]


@pytest.fixture
def tls(moto: S3Server, seaweedfs: SeaweedFS) -> S3Server:
    """The simulated server, behind the certificate of the real one."""
    return S3Server(moto.endpoint.replace("http:", "https:"), seaweedfs.https.ca_file)


class TestBodies:
    async def test_over_https_a_body_is_sent_as_it_is(self, tls: S3Server) -> None:
        async with observed(tls) as (store, proxy):
            etag = await store.create("tls/a", b"plain")
            await store.replace("tls/a", b"plain too", etag=etag)
            await store.put("tls/b", b"plain as well")
            for seen in proxy.requests("PUT"):
                assert "aws-chunked" not in seen.headers.get("content-encoding", "")
                assert "x-amz-trailer" not in seen.headers
            assert [seen.body for seen in proxy.requests("PUT")] == [b"plain", b"plain too", b"plain as well"]
            await store.delete_many(["tls/a", "tls/b"])

    async def test_over_https_the_sdk_by_itself_would_wrap_it(self, tls: S3Server) -> None:
        async with observed(tls) as (_, proxy), usual(proxy, tls) as client:
            await client.put_object(Bucket=BUCKET, Key="tls/c", Body=b"plain")
            (seen,) = proxy.requests("PUT")
            assert seen.headers["content-encoding"] == "aws-chunked"
            assert seen.body != b"plain"

    async def test_no_write_waits_to_be_told_to_continue(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            etag = await store.create("expect/a", b"1")
            await store.replace("expect/a", b"2", etag=etag)
            await store.delete_many(["expect/a"])
            assert [seen.method for seen in proxy.seen if "expect" in seen.headers] == []

    async def test_the_sdk_by_itself_would_wait(self, moto: S3Server) -> None:
        async with observed(moto) as (_, proxy), usual(proxy, moto) as client:
            await client.put_object(Bucket=BUCKET, Key="expect/b", Body=b"1")
            (seen,) = proxy.requests("PUT")
            assert seen.headers["expect"].lower() == "100-continue"

    async def test_a_multiple_deletion_bears_the_digest_that_some_servers_ask_for(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            await store.delete_many(["digest/a", "digest/b"])
            (seen,) = proxy.requests("POST")
            assert seen.headers["content-md5"] == b64encode(md5(seen.body).digest()).decode()

    async def test_the_sdk_by_itself_would_send_none(self, moto: S3Server) -> None:
        async with observed(moto) as (_, proxy), usual(proxy, moto) as client:
            await client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "digest/a"}]})
            (seen,) = proxy.requests("POST")
            assert "content-md5" not in seen.headers

    @pytest.mark.parametrize(
        ("sse", "headers"),
        [
            ("", {}),
            ("AES256", {"x-amz-server-side-encryption": "AES256"}),
            (
                "key-1",
                {
                    "x-amz-server-side-encryption": "aws:kms",
                    "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
                },
            ),
        ],
    )
    async def test_every_write_asks_for_the_encryption_that_is_set(
        self, moto: S3Server, sse: str, headers: dict[str, str]
    ) -> None:
        async with observed(moto, sse=sse) as (store, proxy):
            proxy.answer = lambda seen: answer_of("200 OK", COPIED if "sse/c" in seen.path else "", ETag='"1"')
            await store.create("sse/a", b"1")
            await store.replace("sse/a", b"2", etag="0")
            await store.put("sse/b", b"1")
            await store.copy("sse/a", "sse/c")
            assert len(proxy.seen) == 4
            for seen in proxy.seen:
                sent = {name: value for name, value in seen.headers.items() if "encryption" in name}
                assert sent == headers


class TestAttempts:
    async def test_a_conditional_write_goes_out_once_before_it_is_read_back(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.choose = lambda seen: Fault.SLOW_DOWN if seen.method == "PUT" else Fault.NONE
            with pytest.raises(OutcomeUnknown):
                await store.create("attempts/a", b"1")
            assert [seen.method for seen in proxy.seen] == ["PUT", "GET"] * 3

    async def test_any_other_call_is_made_three_times(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.choose = lambda _: Fault.SLOW_DOWN
            answers = await asyncio.gather(
                store.get("attempts/b"),
                store.put("attempts/b", b"1"),
                store.delete("attempts/b"),
                store.delete_many(["attempts/b"]),
                return_exceptions=True,
            )
            assert all(isinstance(answer, StoreUnavailable) for answer in answers)
            assert Counter(seen.method for seen in proxy.seen) == {"GET": 3, "PUT": 3, "DELETE": 3, "POST": 3}

    async def test_the_sdk_by_itself_would_repeat_a_conditional_write(self, moto: S3Server) -> None:
        config = AioConfig(retries={"mode": "standard", "total_max_attempts": 3})
        async with observed(moto) as (_, proxy), usual(proxy, moto, config) as client:
            proxy.plan("PUT", Fault.SLOW_DOWN)
            await client.put_object(Bucket=BUCKET, Key="attempts/c", Body=b"1", IfNoneMatch="*")
            assert [seen.method for seen in proxy.seen] == ["PUT", "PUT"]

    async def test_each_request_is_reported_with_its_operation(self, moto: S3Server) -> None:
        counted: Counter[str] = Counter()
        async with FaultProxy(moto.endpoint).opened() as proxy:
            store = S3Store(
                moto.options(endpoint_url=proxy.endpoint),
                SystemClock(),
                on_request=lambda operation: counted.update([operation]),
            )
            async with store.opened():
                proxy.plan("GET", Fault.SLOW_DOWN)
                await store.get("counted/a")
                await store.put("counted/a", b"1")
                await store.copy("counted/a", "counted/b")
                await no_page_more(store, "counted/")
                await store.delete_many(["counted/a", "counted/b"])
                await store.delete("counted/a")
            assert counted == {
                "GetObject": 2, "PutObject": 1, "CopyObject": 1, "ListObjectsV2": 1, "DeleteObjects": 1,
                "DeleteObject": 1,
            }  # fmt: skip
            assert len(proxy.seen) == counted.total()


class TestConnections:
    async def test_one_connection_serves_many_calls(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            for _ in range(5):
                assert await store.get("connections/a") is None
            assert proxy.connections == 1

    @pytest.mark.parametrize(("pool", "asked", "open_at_once"), [(4, 12, 4), (64, 40, 40)])
    async def test_as_many_requests_are_on_their_way_as_the_pool_is_large(
        self, moto: S3Server, pool: int, asked: int, open_at_once: int
    ) -> None:
        async with observed(moto, pool=pool) as (store, proxy):
            proxy.choose = lambda _: Fault.DELAY
            reading = [asyncio.create_task(store.get(f"connections/{number}")) for number in range(asked)]
            async with asyncio.timeout(10):
                await proxy.connected(open_at_once)
            proxy.released.set()
            assert await asyncio.gather(*reading) == [None] * asked
            assert proxy.connections == open_at_once

    async def test_waiting_for_the_pool_does_not_count_as_the_store_s_silence(self, moto: S3Server) -> None:
        deadlines = Deadlines(call=timedelta(seconds=0.7))
        async with observed(moto, pool=1, deadlines=deadlines) as (store, proxy):
            proxy.plan("GET", Fault.STALL)
            stalled = asyncio.create_task(store.get("connections/a"))
            async with asyncio.timeout(5):
                await proxy.arrived.wait()
            assert await store.get("connections/b") is None
            with pytest.raises(StoreUnavailable):
                await stalled

    async def test_an_address_is_worked_out_once_whatever_the_key(self, moto: S3Server) -> None:
        worked_out = RulesetProvider.resolve_endpoint.cache_info
        async with observed(moto) as (store, proxy):
            await store.put("s/first", b"1")
            before = worked_out().misses
            for number in range(5):
                await store.put(f"s/{number}", b"1")
            assert worked_out().misses == before
            assert [seen.path.rpartition("/")[2] for seen in proxy.requests("PUT")] == ["first", *"01234"]

    async def test_the_sdk_by_itself_would_work_it_out_anew(self, moto: S3Server) -> None:
        worked_out = RulesetProvider.resolve_endpoint.cache_info
        async with FaultProxy(moto.endpoint).opened() as proxy, usual(proxy, moto) as client:
            before = worked_out().misses
            for number in range(5):
                await client.put_object(Bucket=BUCKET, Key=f"s/{number}", Body=b"1")
            assert worked_out().misses >= before + 5

    async def test_the_bucket_is_in_the_path(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            await store.get("paths/a")
            await store.check_bucket()
            assert [seen.path for seen in proxy.seen] == [f"/{BUCKET}/paths/a", f"/{BUCKET}"]
            assert proxy.seen[0].headers["host"] == proxy.endpoint.removeprefix("http://")


class TestSignatures:
    @pytest.mark.parametrize(
        ("signature", "of_objects", "of_bucket"),
        [
            (Signature.AUTO, "AWS4", "AWS4"),
            (Signature.V4, "AWS4", "AWS4"),
            (Signature.HYBRID, "AWS ", "AWS4"),
            (Signature.V2, "AWS ", "AWS "),
        ],
    )
    async def test_each_call_is_signed_as_chosen(
        self, moto: S3Server, signature: Signature, of_objects: str, of_bucket: str
    ) -> None:
        async with observed(moto, signature=signature) as (store, proxy):
            await store.put("signed/a", b"1")
            await store.get("signed/a")
            await store.copy("signed/a", "signed/b")
            await store.delete("signed/b")
            assert [seen.headers["authorization"][:4] for seen in proxy.seen] == [of_objects] * 4
            proxy.seen.clear()
            await no_page_more(store, "signed/")
            await store.delete_many(["signed/a"])
            await store.check_bucket()
            assert [seen.headers["authorization"][:4] for seen in proxy.seen] == [of_bucket] * 3

    async def test_version_2_without_our_correction_is_refused_for_the_bucket(self, seaweedfs: SeaweedFS) -> None:
        """Negative control: the correction is what the contract suite under version 2 rests on."""
        async with FaultProxy(seaweedfs.http.endpoint).opened() as proxy:
            config = AioConfig(signature_version="s3", s3={"addressing_style": "path"})
            async with usual(proxy, seaweedfs.http, config) as client:
                with pytest.raises(client.exceptions.ClientError) as caught:
                    await client.list_objects_v2(Bucket=BUCKET)
                assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    def test_the_secret_is_not_shown(self) -> None:
        assert "hidden-secret" not in repr(S3Options("a", secret_access_key="hidden-secret"))  # noqa: S106 - an example


class TestETags:
    @pytest.mark.parametrize("told", ['"abc"', "abc", 'W/"abc"'])
    async def test_they_are_kept_without_quotes_however_they_come(self, moto: S3Server, told: str) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("200 OK", ETag=told)
            assert await store.put("etags/a", b"") == "abc"
            stored = await store.get("etags/a")
            assert isinstance(stored, Stored)
            assert stored.etag == "abc"

    @pytest.mark.parametrize(("style", "sent"), [(ETagStyle.QUOTED, '"abc"'), (ETagStyle.BARE, "abc")])
    async def test_they_are_sent_in_the_style_that_was_found(self, moto: S3Server, style: ETagStyle, sent: str) -> None:
        async with observed(moto) as (store, proxy):
            store.etag_style = style
            proxy.answer = lambda _: answer_of("200 OK", ETag='"def"')
            await store.replace("etags/a", b"", etag="abc")
            await store.get("etags/a", unless="abc")
            assert proxy.seen[0].headers["if-match"] == sent
            assert proxy.seen[1].headers["if-none-match"] == sent

    @pytest.mark.parametrize("etag", ["", "*", '"abc"', "abc\r\n"])
    async def test_what_no_store_gave_out_is_not_sent(self, moto: S3Server, etag: str) -> None:
        async with observed(moto) as (store, proxy):
            store.etag_style = ETagStyle.BARE
            with pytest.raises(PreconditionFailed):
                await store.replace("etags/a", b"", etag=etag)
            assert proxy.seen == []
            await store.get("etags/a", unless=etag)
            assert "if-none-match" not in proxy.seen[0].headers

    async def test_a_write_that_is_answered_without_one_is_read_back(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            answers = [answer_of("200 OK"), answer_of("200 OK", "body", ETag='"abc"')]
            proxy.answer = lambda _: answers.pop(0)
            assert await store.create("etags/a", b"body") == "abc"


LISTING = "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{}</ListBucketResult>"
ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-01-31T18:05:00.123Z</LastModified>"
    "<ETag>&quot;1&quot;</ETag><Size>1</Size></Contents>"
)
COPIED = "<CopyObjectResult><ETag>&quot;1&quot;</ETag></CopyObjectResult>"
MORE = "<IsTruncated>true</IsTruncated><NextContinuationToken>token-{}</NextContinuationToken>"


class TestListings:
    async def test_an_empty_page_is_not_the_end_while_others_follow(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            bodies = [ENTRY.format("a") + MORE.format(1), MORE.format(2), MORE.format(3), ENTRY.format("b")]
            proxy.answer = lambda _: answer_of("200 OK", LISTING.format(bodies.pop(0)))
            assert await no_page_more(store) == ["a", "b"]
            assert ["continuation-token=token-" in seen.target for seen in proxy.seen] == [False, True, True, True]

    async def test_one_that_breaks_off_is_no_short_one(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            body = LISTING.format(ENTRY.format("a") + "<IsTruncated>true</IsTruncated>")
            proxy.answer = lambda _: answer_of("200 OK", body)
            with pytest.raises(StoreUnavailable):
                await no_page_more(store)

    async def test_what_other_tools_left_and_no_method_takes_is_not_shown(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            entries = [ENTRY.format(key) for key in ("a", "folder/", "a//b", "../a", "b", "c\\d")]
            folders = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in ("x/", "/"))
            proxy.answer = lambda _: answer_of("200 OK", LISTING.format("".join(entries) + folders))
            (page,) = [page async for page in store.list("", delimiter="/")]
            assert [found.key for found in page.objects] == ["a", "b"]
            assert list(page.folders) == ["x/"]

    async def test_dates_are_read_by_the_fast_parser(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("200 OK", LISTING.format(ENTRY.format("a")))
            (page,) = [page async for page in store.list("")]
            assert page.objects[0].last_modified == datetime(2026, 1, 31, 18, 5, tzinfo=UTC)
            # The SDK's own parser would leave a time zone of its own kind.
            assert page.objects[0].last_modified.tzinfo is UTC

    @pytest.mark.parametrize(
        "text", ["2026-01-31T18:05:00Z", "2026-01-31T18:05:00.000Z", "Sat, 31 Jan 2026 18:05:00 GMT", 1769882700]
    )
    def test_every_way_to_write_a_date_is_understood(self, text: str | int) -> None:
        assert instant_of(text) == datetime(2026, 1, 31, 18, 5, tzinfo=UTC)


class TestDeletions:
    async def test_a_key_that_fails_inside_a_success_is_reported(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            failed = "".join(
                f"<Error><Key>{key}</Key><Code>{code}</Code></Error>"
                for key, code in {"b": "AccessDenied", "c": "NoSuchKey"}.items()
            )
            proxy.answer = lambda _: answer_of("200 OK", f"<DeleteResult>{failed}</DeleteResult>")
            assert await store.delete_many(["a", "b", "c"]) == ["b"]

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("501 Not Implemented", "NotImplemented"),
            ("400 Bad Request", "MissingContentMD5"),
            ("405 No", "MethodNotAllowed"),
        ],
    )
    async def test_a_server_without_multiple_deletion_deletes_one_by_one(
        self, moto: S3Server, status: str, code: str
    ) -> None:
        async with observed(moto) as (store, proxy):
            for key in ("deletions/a", "deletions/b"):
                await store.put(key, b"1")
            proxy.answer = lambda seen: answer_of(status, error_of(code)) if seen.method == "POST" else None
            assert await store.delete_many(["deletions/a", "deletions/b", "deletions/c"]) == []
            assert len(proxy.requests("DELETE")) == 3
            assert await no_page_more(store, "deletions/") == []

    async def test_what_cannot_be_deleted_one_by_one_is_reported(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda seen: answer_of(
                "204 No Content" if seen.path.endswith("/a") else "403 Forbidden",
                "" if seen.path.endswith("/a") else error_of("AccessDenied"),
            )
            assert await store.delete_many(["a", "b"]) == ["b"]

    async def test_many_go_in_requests_of_250_each_key_once(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("200 OK", "<DeleteResult></DeleteResult>")
            keys = [f"deletions/{number}" for number in range(1001)]
            assert await store.delete_many([*keys, keys[0]]) == []
            assert sorted(seen.body.count(b"<Key>") for seen in proxy.seen) == [1, 250, 250, 250, 250]
            sent = [key for seen in proxy.seen for key in re.findall(rb"<Key>(.*?)</Key>", seen.body)]
            assert sorted(sent) == sorted(key.encode() for key in keys)

    async def test_after_a_request_that_fails_no_other_is_begun(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("500 Internal Server Error", error_of("InternalError"))
            with pytest.raises(StoreUnavailable):
                await store.delete_many([f"deletions/{number}" for number in range(10_000)])
            assert len({seen.body for seen in proxy.seen}) == 4, "of forty"

    async def test_an_illegal_name_is_refused_before_anything_is_deleted(self, moto: S3Server) -> None:
        async with observed(moto) as (store, proxy):
            with pytest.raises(InvalidKey):
                await store.delete_many(["a", "../b"])
            assert proxy.seen == []


class TestTime:
    @pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1), timedelta(days=-1)])
    async def test_the_store_s_clock_is_learnt_from_any_reply(self, moto: S3Server, ahead: timedelta) -> None:
        async with observed(moto) as (store, proxy):
            assert store.clock_offset is None

            def dated(_: Seen) -> bytes:
                date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
                return answer_of("404 Not Found", error_of("NoSuchKey"), Date=date)

            proxy.answer = dated
            assert await store.get("time/a") is None
            assert store.clock_offset is not None
            assert abs(store.clock_offset - ahead) < timedelta(seconds=5)
            assert abs(store.now() - datetime.now(UTC) - ahead) < timedelta(seconds=5)

    @pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Jan 2026 18:05:00 GMT"])
    async def test_a_reply_without_a_date_teaches_nothing(self, moto: S3Server, date: str) -> None:
        async with observed(moto) as (store, proxy):
            proxy.answer = lambda _: answer_of("404 Not Found", error_of("NoSuchKey"), Date=date)
            assert await store.get("time/a") is None
            assert store.clock_offset is None

    def test_many_replies_narrow_the_offset_down_and_it_stays_in_what_they_allow(self) -> None:
        clock = FrozenClock()
        time, ahead = StoreTime(clock), timedelta(hours=1, milliseconds=300)
        for step in range(200):
            clock.set(START + timedelta(milliseconds=step * 37))
            date = (clock.now() + ahead).replace(microsecond=0)
            time.learn(date, sent=clock.now(), received=clock.now())
            assert date <= time.now() <= date + timedelta(seconds=1)
        assert time.offset is not None
        assert abs(time.offset - ahead) < timedelta(milliseconds=40)

    def test_a_clock_that_is_set_is_followed_at_once(self) -> None:
        clock = FrozenClock()
        time = StoreTime(clock)
        time.learn(START, sent=START, received=START)
        clock.set(START + timedelta(days=1))
        time.learn(START, sent=clock.now(), received=clock.now())
        assert abs(time.now() - START) <= timedelta(seconds=1)
