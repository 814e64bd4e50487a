"""Server processes on a bucket: several are one service where conditions are kept, and one writes alone elsewhere."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.servers import ACCESS_KEY, SECRET_KEY, S3Server, SeaweedFS
from tests.e2e.auditor import commits, faults, head_of
from tests.e2e.conftest import Server, Servers, answer, live_memory

pytest_plugins = ["tests.contract.s3_fixtures"]
pytestmark = pytest.mark.timeout(300)
"""Each process tries the server when it starts, which takes some of them seconds on an idle machine."""

SPACE, LEFT = "shared", "left-and-restored"
RULES = "# R\n\n## n.md\nAll."
PATIENCE = 60.0
REVOKED = 15.0
"""Seconds; the promise is five, and a busy machine may take its time between two requests."""
WRITERS = 4
NOTES = 8


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
    one, two = pair
    kept: dict[str, str] = {}
    async with one.http_async() as a, two.http_async() as b:
        answer(await a.post("/spaces", json={"space_id": SPACE, "description": "", "rules": RULES}), 201)
        for there, here in ((a, b), (b, a)):
            note = {"category": "todo", "content": f"Say it to the other, #{len(kept)}"}
            written = answer(await there.post(f"/spaces/{SPACE}/notes", json=note), 201)["filename"]
            kept[written] = note["content"]
            assert written in [one["filename"] for one in answer(await here.get(f"/spaces/{SPACE}/notes"))["notes"]]

        async def write(http: httpx.AsyncClient, writer: int) -> None:
            for number in range(NOTES):
                content = f"Writer {writer} measured {number}.{writer}.2 ms, see #{writer}{number:03d}"
                note = {"category": "observation", "content": content}
                kept[answer(await http.post(f"/spaces/{SPACE}/notes", json=note), 201)["filename"]] = content

        async def consolidate(http: httpx.AsyncClient) -> int:
            filed, is_last = 0, False
            while not is_last:
                is_last = writing.done()
                done = await http.post(f"/spaces/{SPACE}/bank/consolidate")
                assert done.status_code in {200, 409}, done.text
                filed += done.json().get("notes_processed", 0)
            return filed

        async with asyncio.timeout(90):
            writing = asyncio.gather(*(write((a, b)[writer % 2], writer) for writer in range(WRITERS)))
            counts = await asyncio.gather(consolidate(a), consolidate(b))
            await writing
        rest = answer(await b.post(f"/spaces/{SPACE}/bank/consolidate"))
        assert sum(counts) + rest["notes_processed"] == len(kept) == WRITERS * NOTES + 2
        read = [answer(await http.get(f"/spaces/{SPACE}/bank")) for http in (a, b)]
        assert read[0] == read[1]
    folder = mirrored(tmp_path / "mirror", seaweedfs.http, bucket)
    assert faults(folder, SPACE, kept) == []
    records = commits(folder, head_of(folder, SPACE))
    assert Counter(note["id"] for commit in records for note in commit["consumed"]) == Counter(kept.keys())


def test_a_token_revoked_on_one_is_refused_by_the_other_which_restores_the_ones_backup(
    pair: tuple[Server, Server], seaweedfs: SeaweedFS, bucket: str
) -> None:
    one, two = pair
    with one.http() as a, two.http() as b:
        made = answer(a.post("/admin/tokens", json={"name": "leaver", "permissions": "read"}), 201)
        with two.http(made["token"]) as there:
            assert there.get("/spaces").status_code == 200
            answer(a.post(f"/admin/tokens/{made['hash']}/revoke"))
            revoked = time.monotonic()
            while there.get("/spaces").status_code == 200:
                assert time.monotonic() - revoked < REVOKED, "it is still allowed"
            assert there.get("/spaces").json()["code"] == "unauthenticated"

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
