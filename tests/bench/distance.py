"""The service far from its store: a real S3 server, behind a wire of which each round trip takes its time."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from app.bootstrap import build_services
from app.core.clock import SystemClock
from app.core.settings import Settings
from app.main import assemble
from app.storage.s3 import S3Store
from tests.bench.operations import Bench, Cost
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.servers import HOST, S3Server, free_port, seaweedfs
from tests.contract.walk import ADDRESS, Service
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

MEASURED: Final = (
    "live_note", "live_read", "live_search", "bank_read", "bank_read_all", "bank_list", "space_rules", "space_info",
    "space_create", "space_list", "backup_create", "backup_delete", "space_delete",
)  # fmt: skip
"""What is done often, and what takes long."""
_START: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wire:
    """A way to a server, in a process of its own so that it takes no time of those who use it."""

    endpoint: str
    sent: "Synchronized[int]"
    received: "Synchronized[int]"

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received so far, headers included."""
        return self.sent.value, self.received.value


@contextmanager
def wire(upstream: str, milliseconds: float) -> Iterator[Wire]:
    """Have every byte arrive so much later that there and back again takes the time."""
    context = get_context("spawn")
    sent, received = context.Value("q", 0), context.Value("q", 0)
    ready, port = context.Event(), free_port()
    address = urlsplit(upstream)
    process = context.Process(
        target=_carry, args=(port, address.port, milliseconds / 2000, sent, received, ready), daemon=True
    )
    process.start()
    try:
        if not ready.wait(_START):
            raise SystemExit("The wire to the S3 server did not become ready.")
        yield Wire(f"http://{HOST}:{port}", sent, received)
    finally:
        process.kill()
        process.join()


def _carry(port: int, upstream: int, delay: float, sent: Any, received: Any, ready: Any) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, upstream)
        await asyncio.gather(_late(reader, back, delay, sent), _late(there, writer, delay, received))

    async def serve() -> None:
        server = await asyncio.start_server(accept, HOST, port)
        ready.set()
        await server.serve_forever()

    asyncio.run(serve())


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, count: Any) -> None:
    """Pass on what comes, each piece so many seconds after it came, however many are on their way."""
    loop = asyncio.get_running_loop()
    while piece := await reader.read(65_536):
        with count.get_lock():
            count.value += len(piece)
        if delay:
            loop.call_later(delay, writer.write, piece)
        else:
            writer.write(piece)
    loop.call_later(delay, writer.close)


@asynccontextmanager
async def distant(server: S3Server, way: Wire) -> AsyncIterator[Service]:
    """A service in this process on an empty bucket at the other end of the wire."""
    clock = SystemClock()
    store = FaultyStore(S3Store(server.options(bucket=server.new_bucket(), endpoint_url=way.endpoint), clock))
    settings = Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY)
    services = build_services(store, clock, settings)
    app = assemble(services, store, settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS, timeout=300) as http,
    ):
        yield Service(app, services, store, cast("FrozenClock", clock), http)


async def _measure(server: S3Server, way: Wire, notes: int) -> dict[str, Cost]:
    async with distant(server, way) as service:
        bench = Bench(service, notes_deleted=notes, traffic=way.traffic)
        await bench.prepare(notes)
        # A reading first: it fetches what a warm service knows.
        await service.admin("live_read", space_id="project-alpha", limit=500)
        return {name: await bench.cost(name, bench.rest) for name in MEASURED}


def measure_distance(console: Console, *, notes: int, latencies: Sequence[float]) -> None:
    """Print what operations cost over a real S3 server, near and far."""
    costs: dict[float, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as server:
        for latency in latencies:
            with wire(server.http.endpoint, latency) as way:
                costs[latency] = asyncio.run(_measure(server.http, way, notes))
    table = Table(title=f"On SeaweedFS, warm, {notes} notes in the space; medians in ms, over REST, client included")
    table.add_column("operation")
    for heading in (*(f"{latency:g} ms away" for latency in latencies), "CPU", "KB out", "KB in"):
        table.add_column(heading, justify="right")
    table.add_column("store requests, with what follows the answer")
    last = costs[latencies[-1]]
    for name, cost in last.items():
        near = (f"{costs[latency][name].milliseconds:.0f}" for latency in latencies)
        traffic = (f"{cost.sent / 1000:.1f}", f"{cost.received / 1000:.1f}")
        table.add_row(name, *near, f"{cost.cpu:.1f}", *traffic, cost.requests)
    console.print(table)
    console.print("Authentication asks the store at most once in five seconds for each token: none of these calls did.")
