"""Server processes on a bucket: several are one service where conditions are kept, and one writes alone elsewhere."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.demo import history, play
from app.cli.demo_report import Report
from app.cli.demo_stage import on_a_bucket
from app.core.settings import Settings
from tests.contract.servers import ACCESS_KEY, SECRET_KEY, S3Server, SeaweedFS
from tests.e2e.conftest import Server, Servers, answer, live_memory
from tests.e2e.together import (
    RULES,
    check_that_a_revoked_token_is_soon_refused,
    check_that_each_note_is_filed_once,
    check_the_stored_files,
)

pytest_plugins = ["tests.contract.s3_fixtures"]
pytestmark = pytest.mark.timeout(300)
"""Each process tries the server when it starts, which takes some of them seconds on an idle machine."""

SPACE, LEFT = "shared", "left-and-restored"
PATIENCE = 60.0
DEMO = 60
"""Notes of the demo: enough for its five rounds and both of its faces."""


def reach(server: S3Server, bucket: str, **more: str) -> dict[str, str]:
    return {
        "S3_ENDPOINT_URL": server.endpoint,
        "S3_BUCKET_NAME": bucket,
        "S3_REGION_NAME": "us-east-1",
        "S3_ACCESS_KEY_ID": ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": SECRET_KEY,
        **more,
    }


def ready(server: Server, *, within: float = PATIENCE) -> tuple[int, dict[str, str]]:
    """The status and the checks of `/ready`: the first that are well, or the last when none become so."""
    until = time.monotonic() + within
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as http:
        while (said := http.get("/ready")).status_code == 503 and time.monotonic() < until:
            time.sleep(0.1)
    return said.status_code, said.json()["checks"]


def objects(server: S3Server, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """What is in the bucket, read without the service."""
    client = server.client()
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert not found["IsTruncated"]
    keys = [one["Key"] for one in found.get("Contents", ()) if not one["Key"].endswith("/")]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def mirrored(folder: Path, server: S3Server, bucket: str) -> Path:
    """The bucket as a folder, such as the auditor reads."""
    for key, body in objects(server, bucket).items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return folder


def memory(http: httpx.Client, space_id: str) -> list[dict[str, Any]]:
    """All that the service says of the space's contents."""
    return [answer(http.get(f"/spaces/{space_id}/{part}")) for part in ("bank", "rules", "notes")]


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.http.new_bucket()


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS, bucket: str
) -> Iterator[tuple[Server, Server]]:
    """Two processes on one bucket, which both end well."""
    servers = Servers(tmp_path_factory.mktemp("pair"))
    shared = reach(seaweedfs.http, bucket, REPLICAS="2", S3_CONDITIONAL_WRITES="require")
    try:
        one, two = servers.make(**shared).start(), servers.make(**shared).start()
        for server in (one, two):
            status, checks = ready(server)
            assert (status, checks["store"], checks["conditions"]) == (200, "ok", "full"), server.log()
        yield one, two
        assert (one.stop(), two.stop()) == (0, 0)
    finally:
        servers.end()


async def test_two_servers_on_a_bucket_read_each_other_at_once_and_file_each_note_once(
    pair: tuple[Server, Server], seaweedfs: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    kept = await check_that_each_note_is_filed_once(*pair, SPACE, notes=32)
    check_the_stored_files(mirrored(tmp_path / "mirror", seaweedfs.http, bucket), SPACE, kept)


def test_a_token_revoked_on_one_is_refused_by_the_other(pair: tuple[Server, Server]) -> None:
    check_that_a_revoked_token_is_soon_refused(*pair)


def test_a_backup_of_one_is_restored_by_the_other(
    pair: tuple[Server, Server], seaweedfs: SeaweedFS, bucket: str
) -> None:
    one, two = pair
    with one.http() as a, two.http() as b:
        answer(a.post("/spaces", json={"space_id": LEFT, "description": "Kept", "rules": RULES}), 201)
        for number in range(3):
            note = {"category": "decision", "content": f"Décision #{number}: 1.{number} → 2.{number}"}
            answer(a.post(f"/spaces/{LEFT}/notes", json=note), 201)
        assert answer(a.post(f"/spaces/{LEFT}/bank/consolidate"))["notes_processed"] == 3
        answer(a.post(f"/spaces/{LEFT}/notes", json={"category": "todo", "content": "Wait for it (#9)."}), 201)
        backup = answer(a.post(f"/spaces/{LEFT}/backups", json={"description": "Before"}), 201)["backup_id"]
        said = memory(a, LEFT)
        stored = [objects(seaweedfs.http, bucket, f"{LEFT}/{part}") for part in ("live/2", "_history/", "_rules.md")]
        assert all(stored)

        answer(a.delete(f"/spaces/{LEFT}", params={"confirm": "true"}))
        assert b.get(f"/spaces/{LEFT}/bank").status_code == 404
        answer(b.post(f"/backups/{backup}/restore", params={"confirm": "true"}))
        assert memory(b, LEFT) == memory(a, LEFT) == said
        again = [objects(seaweedfs.http, bucket, f"{LEFT}/{part}") for part in ("live/2", "_history/", "_rules.md")]
        assert again == stored


async def test_the_demo_tells_the_same_story_over_two_servers_on_a_bucket(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    name = seaweedfs.http.new_bucket()
    settings = Settings.for_tests(
        **{key.lower(): value for key, value in reach(seaweedfs.http, name).items()},
        s3_conditional_writes="require",
    )
    async with on_a_bucket(tmp_path, 2, settings) as stage:
        story = await play(stage, history(DEMO), Report())
        check_the_stored_files(await stage.objects(), "uvicorn", story.written)
        assert {service.rest for service in stage.services} == {stage.door(0).rest, stage.door(1).rest}
        assert len({service.rest for service in stage.services}) == 2
        # The demo's own audit reads the same files, and sees what is planted in them.
        assert story.ledger is not None
        assert story.ledger.lost({**story.written, "gone": "x"}) == ["gone"]
    assert [check.claim for check in story.checks if not check.holds] == []
    assert story.is_true
    assert len(story.written) == DEMO
    assert objects(seaweedfs.http, name) == {}


def test_the_demo_leaves_a_bucket_alone_that_is_in_use(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    name = seaweedfs.http.new_bucket()
    seaweedfs.http.client().put_object(Bucket=name, Key="mine", Body=b"mine")
    done = live_memory("demo", "--notes", "5", "--s3", folder=tmp_path, **reach(seaweedfs.http, name))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"the bucket '{name}' is not empty" in done.stderr
    assert objects(seaweedfs.http, name) == {"mine": b"mine"}


def test_a_bucket_whose_server_ignores_conditions_is_served_by_one_process(servers: Servers, rclone: S3Server) -> None:
    settings = reach(rclone, rclone.new_bucket())
    one = servers.make(**settings).start()
    status, checks = ready(one)
    assert (status, checks["conditions"]) == (200, "none, single writer"), one.log()
    with one.http() as http:
        answer(http.post("/spaces", json={"space_id": SPACE, "description": "", "rules": RULES}), 201)
        assert http.post("/spaces", json={"space_id": SPACE, "description": "", "rules": RULES}).status_code == 409
        answer(http.post(f"/spaces/{SPACE}/notes", json={"category": "todo", "content": "Alone (#1)."}), 201)
        assert answer(http.post(f"/spaces/{SPACE}/bank/consolidate"))["notes_processed"] == 1

        two = servers.make(**settings).start()
        status, checks = ready(two, within=0)
        assert (status, checks["conditions"]) in {(503, "unknown"), (503, "none, another writer")}
        with two.http() as other:
            note = other.post(f"/spaces/{SPACE}/notes", json={"category": "todo", "content": "Too many (#2)."})
            assert (note.status_code, note.json()["code"]) == (503, "store_unavailable")
        bank = answer(http.get(f"/spaces/{SPACE}/bank"))
    assert one.stop() == 0
    status, checks = ready(two)
    assert (status, checks["conditions"]) == (200, "none, single writer"), two.log()
    with two.http() as http:
        assert answer(http.get(f"/spaces/{SPACE}/bank")) == bank


def test_several_replicas_of_such_a_bucket_are_refused_in_one_sentence(servers: Servers, rclone: S3Server) -> None:
    folder = servers.make().data
    folder.mkdir()
    settings = reach(rclone, rclone.new_bucket(), REPLICAS="2")
    done = live_memory("serve", "--port", "0", folder=folder, **settings)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.splitlines()[-1].startswith("live-memory: REPLICAS is 2, but")
