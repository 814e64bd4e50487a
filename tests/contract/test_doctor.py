"""What `live-memory doctor` says of a bucket that is there, and of one that is not."""

from dataclasses import replace
from datetime import timedelta

from app.cli.findings import Finding, Verdict, is_well
from app.cli.s3_checks import bucket
from app.core.clock import SystemClock
from app.storage.probe import PREFIX
from app.storage.s3 import Deadlines, S3Options, S3Store
from tests.contract.servers import S3Server

pytest_plugins = ["tests.contract.s3_fixtures"]

IMPATIENT = Deadlines(
    connect=timedelta(seconds=1),
    silence=timedelta(seconds=1),
    call=timedelta(seconds=2),
    operation=timedelta(seconds=2),
)


async def examined(options: S3Options) -> dict[str, Finding]:
    """What is found, by name; nothing may be left in the bucket."""
    store = S3Store(options, SystemClock())
    async with store.opened():
        found = {finding.name: finding async for finding in bucket(store)}
        if is_well(list(found.values())):
            assert [one.key async for page in store.list(PREFIX) for one in page.objects] == []
    return found


async def test_a_bucket_is_described(moto: S3Server) -> None:
    found = await examined(moto.options())
    assert {"endpoint", "signature", "ETag style", "conditional writes", "latency"} <= found.keys()
    assert found["endpoint"].verdict is Verdict.OK
    assert moto.endpoint in found["endpoint"].detail
    assert all(word in found["latency"].detail for word in ("put ", "get ", "list "))


async def test_an_absent_bucket_and_an_absent_server_are_problems_with_advice(moto: S3Server) -> None:
    absent = replace(moto.options(), bucket="there-is-no-such-bucket")
    silent = replace(moto.options(), endpoint_url="http://127.0.0.1:1", deadlines=IMPATIENT)
    for options in (absent, silent):
        found = await examined(options)
        assert list(found) == ["endpoint"]
        assert found["endpoint"].verdict is Verdict.PROBLEM
        assert "S3_ENDPOINT_URL" in found["endpoint"].advice
