"""A served memory under load: how long callers wait."""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

SPACE = "/api/v1/spaces/bench"
START_UP = 60
"""Seconds that the service may take to become ready."""
RULES = "# Memory\n\n## activeContext.md\nWhat is being worked on.\n\n## decisions.md\nDecisions and their reasons.\n"
CATEGORIES = ("observation", "decision", "todo", "insight", "question", "progress", "issue")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP call of a measured kind."""

    method: str
    path: str
    body: Mapping[str, object] | None = None


@dataclass(slots=True)
class Measured:
    """What came of the calls of one kind."""

    name: str
    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def percentile(self, number: int) -> float:
        """Milliseconds that this many percent of the callers waited at most."""
        if len(self.waits) == 1:
            return self.waits[0] * 1000
        return statistics.quantiles(self.waits, n=100, method="inclusive")[number - 1] * 1000


def a_note(number: int) -> Request:
    category = CATEGORIES[number % len(CATEGORIES)]
    body = {"category": category, "content": f"Endpoint {number} answers with schema v{number % 9}.", "tags": "bench"}
    return Request("POST", f"{SPACE}/notes", body)


def a_reading(_number: int) -> Request:
    return Request("GET", f"{SPACE}/notes?limit=50")


def a_search(number: int) -> Request:
    return Request("GET", f"{SPACE}/notes/search?query=endpoint+{number}")


def a_bank(_number: int) -> Request:
    return Request("GET", f"{SPACE}/bank")


def a_consolidation(_number: int) -> Request:
    return Request("POST", f"{SPACE}/bank/consolidate", {})


@contextmanager
def served(folder: Path) -> Iterator[httpx.AsyncClient]:
    """A client of a service that runs in a process of its own, on an empty folder."""
    key, ready, log = secrets.token_urlsafe(32), folder / "ready.json", folder / "log"
    settings = {
        "ADMIN_BOOTSTRAP_KEY": key,
        "LIVE_MEMORY_STORE": "directory",
        "LIVE_MEMORY_DATA_DIR": str(folder / "data"),
        "LOG_LEVEL": "WARNING",
    }
    command = [str(Path(sys.executable).with_name("live-memory")), "serve", "--port", "0", "--ready-file", str(ready)]
    with (
        log.open("wb") as written,
        subprocess.Popen(command, env=os.environ | settings, cwd=folder, stdout=written, stderr=written) as process,
    ):
        try:
            address = address_of(process, ready, log)
            yield httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=300)
        finally:
            process.terminate()


def address_of(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    """Where the service answers, as soon as it does."""
    deadline = time.monotonic() + START_UP
    while process.poll() is None and time.monotonic() < deadline:
        if ready.exists():
            return str(json.loads(ready.read_text(encoding="utf-8"))["url"])
        time.sleep(0.05)
    raise SystemExit(f"The service did not become ready:\n{log.read_text(encoding='utf-8')}")


async def measure(
    client: httpx.AsyncClient, name: str, make: Callable[[int], Request], *, calls: int, callers: int
) -> Measured:
    """Send the calls from so many callers, each waiting for its answer before it sends the next."""
    measured = Measured(name)
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            request = make(number)
            begun = time.perf_counter()
            try:
                response = await client.request(request.method, request.path, json=request.body)
            except httpx.TransportError as error:
                measured.failures.append(repr(error))
                continue
            measured.waits.append(time.perf_counter() - begun)
            if not response.is_success:
                measured.failures.append(f"{response.status_code} {response.text[:200]}")

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    measured.seconds = time.perf_counter() - begun
    return measured


async def run(client: httpx.AsyncClient, *, notes: int, reads: int, callers: int) -> list[Measured]:
    async with client:
        space = {"space_id": "bench", "description": "Measured", "rules": RULES}
        (await client.post("/api/v1/spaces", json=space)).raise_for_status()
        return [
            await measure(client, "write a note", a_note, calls=notes, callers=callers),
            await measure(client, "read 50 notes", a_reading, calls=reads, callers=callers),
            await measure(client, "search", a_search, calls=reads, callers=callers),
            await measure(client, "consolidate", a_consolidation, calls=1, callers=1),
            await measure(client, "read the bank", a_bank, calls=reads, callers=callers),
        ]


def measure_load(console: Console, *, notes: int, reads: int, callers: int) -> bool:
    """Print how long callers waited; false when a call failed."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as client:
        results = asyncio.run(run(client, notes=notes, reads=reads, callers=callers))
    table = Table(title=f"Under load: {callers} callers, a served local folder, {os.cpu_count()} cores; waits in ms")
    table.add_column("call")
    for heading in ("calls", "failed", "per second", "p50", "p95", "p99"):
        table.add_column(heading, justify="right")
    for measured in results:
        waits = [f"{measured.percentile(number):.1f}" if measured.waits else "-" for number in (50, 95, 99)]
        done = len(measured.waits)
        table.add_row(measured.name, str(done), str(len(measured.failures)), f"{done / measured.seconds:.1f}", *waits)
    console.print(table)
    failures = [failure for measured in results for failure in measured.failures]
    if failures:
        console.print(f"{len(failures)} calls failed; the first: {failures[0]}")
    return not failures
