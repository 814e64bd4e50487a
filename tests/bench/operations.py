"""Each operation alone: latency, CPU and store requests, over REST and as an MCP tool."""

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import httpx
from rich.console import Console
from rich.table import Table

from app.bootstrap import build_services
from app.core.clock import SystemClock
from app.core.settings import Settings
from app.main import assemble
from app.storage.directory import DirectoryStore
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.walk import ADDRESS, CORE, SPACE, Service
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import FaultyStore

MANY: Final = 30
FEW: Final = 3
AGENTS: Final = 32
CATEGORIES: Final = ("observation", "decision", "todo", "insight", "question", "progress", "issue")

Arguments = Mapping[str, Any]
Call = Callable[[str, Arguments], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call of an operation takes, by the median of several."""

    milliseconds: float
    cpu: float
    """Milliseconds of this process, the client's part included."""
    requests: str
    """What it asks of the store."""
    sent: float = 0
    """Bytes to a store behind a network, headers included."""
    received: float = 0


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Service]:
    """A service in this process over a local folder, with every write forced to the disk."""
    clock = SystemClock()
    store = FaultyStore(DirectoryStore(folder, clock))
    settings = Settings.for_tests(admin_bootstrap_key=BOOTSTRAP_KEY)
    services = build_services(store, clock, settings)
    app = assemble(services, store, settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS, timeout=300) as http,
    ):
        yield Service(app, services, store, cast("FrozenClock", clock), http)


class Bench:
    """Calls operations on a prepared service, and measures."""

    def __init__(
        self, service: Service, *, notes_deleted: int = 20, traffic: Callable[[], tuple[int, int]] = lambda: (0, 0)
    ) -> None:
        self._service = service
        self._notes_deleted = notes_deleted
        self._traffic = traffic
        self._made = 0

    async def prepare(self, notes: int) -> None:
        await self._service.prepare()
        await self._fill(SPACE, notes)

    async def _fill(self, space_id: str, notes: int) -> None:
        """Write notes, as many at once as agents may."""
        numbers = iter(range(notes))

        async def agent() -> None:
            for number in numbers:
                await self._service.note(
                    f"Endpoint {number} answers with schema v{number % 9} since #{number}.",
                    space_id=space_id,
                    category=CATEGORIES[number % len(CATEGORIES)],
                )

        await asyncio.gather(*(agent() for _ in range(AGENTS)))

    async def arguments(self, name: str) -> Arguments:
        """The arguments of the next call, with all that it needs made."""
        self._made += 1
        match name:
            case "space_create":
                return {**self._service.example(name), "space_id": f"made-{self._made}"}
            case "space_delete":
                space_id = f"gone-{self._made}"
                space = {**self._service.example("space_create"), "space_id": space_id}
                await self._service.admin("space_create", **space)
                await self._fill(space_id, self._notes_deleted)
                return {"space_id": space_id, "confirm": True}
            case "bank_consolidate":
                for number in range(24):
                    await self._service.note(f"Fact {self._made}.{number} is new.")
            case "backup_restore":
                await self._service.admin("space_delete", space_id=SPACE, confirm=True)
            case "backup_delete":
                made = await self._service.admin("backup_create", space_id=SPACE)
                return {"backup_id": made["backup_id"], "confirm": True}
            case "admin_revoke_token" | "admin_update_token":
                made = await self._service.admin("admin_create_token", name=f"t{self._made}", permissions="read")
                return {**self._service.example(name), "token_hash": made["hash"]}
        return self._service.example(name)

    async def cost(self, name: str, call: Call) -> Cost:
        reads = self._service.operations[name].effect.value == "reads"
        times = MANY if reads or name in {"live_note", "admin_create_token", "space_create"} else FEW
        waits, cpu, sent, received = [], [], [], []
        asked: Counter[str] = Counter()
        for _turn in range(times + 1):
            arguments = await self.arguments(name)
            await self._service.services.runner.idle()
            self._service.store.calls.clear()
            out, into = self._traffic()
            began, spent = time.perf_counter(), time.process_time()
            await call(name, arguments)
            waits.append(time.perf_counter() - began)
            cpu.append(time.process_time() - spent)
            await self._service.services.runner.idle()
            sent.append(self._traffic()[0] - out)
            received.append(self._traffic()[1] - into)
            asked = Counter(method for method, _key in self._service.store.calls)
        # The first call warms up.
        return Cost(
            statistics.median(waits[1:]) * 1000,
            statistics.median(cpu[1:]) * 1000,
            ", ".join(f"{count} {method}" for method, count in sorted(asked.items())) or "-",
            statistics.median(sent[1:]),
            statistics.median(received[1:]),
        )

    async def rest(self, name: str, arguments: Arguments) -> object:
        answer = await self._service.rest(name, arguments)
        assert answer.is_success, answer.text
        return answer

    async def tool(self, name: str, arguments: Arguments) -> object:
        answer = await self._service.tool(name, arguments)
        assert not answer.is_error, answer.body
        return answer


async def _measure(folder: Path, notes: int) -> dict[str, tuple[Cost, Cost | None]]:
    async with local(folder) as service:
        bench = Bench(service)
        await bench.prepare(notes)
        costs: dict[str, tuple[Cost, Cost | None]] = {}
        # What reads the waiting notes comes before what files them.
        for name in sorted(CORE, key=lambda name: name == "bank_consolidate" or name.startswith("bank_")):
            rest = await bench.cost(name, bench.rest)
            effect = service.operations[name].effect.value
            as_tool = await bench.cost(name, bench.tool) if effect == "reads" or name == "live_note" else None
            costs[name] = (rest, as_tool)
        return {name: costs[name] for name in CORE}


def measure_operations(console: Console, *, notes: int) -> None:
    """Print a line per operation."""
    with tempfile.TemporaryDirectory() as folder:
        costs = asyncio.run(_measure(Path(folder), notes))
    table = Table(
        title=f"Each operation alone: {notes} notes, a local folder with fsync; medians in ms, client included"
    )
    table.add_column("operation")
    for heading in ("REST", "CPU", "MCP", "CPU", "MCP / REST CPU"):
        table.add_column(heading, justify="right")
    table.add_column("store requests, with the view behind the answer")
    for name, (rest, tool) in costs.items():
        as_tool = ("-",) * 3
        if tool is not None:
            as_tool = (f"{tool.milliseconds:.1f}", f"{tool.cpu:.1f}", f"{tool.cpu / rest.cpu:.1f}")
        table.add_row(name, f"{rest.milliseconds:.1f}", f"{rest.cpu:.1f}", *as_tool, rest.requests)
    console.print(table)
