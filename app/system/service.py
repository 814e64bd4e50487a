"""How the service is, and what it is."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, Literal, TypeVar

import structlog

from app.core.clock import Clock
from app.core.errors import Situation, Timeout
from app.storage.store import Examined, ObjectStore
from app.system.models import About, Health, ModelHealth, ServiceHealth, StoreHealth, ToolAbout

PROBED_KEY: Final = "_system/migrations.json"
"""An object that is there from the first start on, and small."""
_PROBE_SECONDS: Final = 5.0
"""How long an answer about the store is believed."""
_COUNT_SECONDS: Final = 30.0
"""How long a number of spaces is believed."""
_UNKNOWN: Final = -1
_PATIENCE: Final = timedelta(seconds=5)
"""How long the store is waited for."""
_DESCRIPTION: Final = (
    "Shared working memory for AI agents: live notes, consolidated into a Markdown memory bank, over REST and MCP."
)
_SHOWN: Final = 100

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """What the store did when it was last asked."""

    failure: Situation | None
    seconds: float


class Remembered(Generic[T]):
    """A value that is asked for once, however many want it, and believed for a while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asking = asyncio.Lock()
        self._value: tuple[T, float] | None = None

    async def get(self, ask: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """The value; `ask` answers with a new one and with the seconds for which it is believed."""
        async with self._asking:
            if self._value is None or self._clock.monotonic() >= self._value[1]:
                value, seconds = await ask()
                self._value = value, self._clock.monotonic() + seconds
            return self._value[0]


class SystemService:
    """Answers anybody, so it makes the store work a little at most, and tells nothing that a stranger may not know."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        *,
        name: str,
        version: str,
        tools: Sequence[tuple[str, str]],
        llm_model: str | None,
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._version = version
        self._tools = tuple(tools)
        self._llm_model = llm_model
        self._patience = patience
        self._started = clock.monotonic()
        self._probe = Remembered[Probe](clock)
        self._count = Remembered[int](clock)

    async def health(self, *, healthy: Literal["ok", "healthy"] = "ok") -> Health:
        """How the service is; `healthy` is the word for good health. It never fails: an outage is its answer."""
        probe = await self._probe.get(self._ask_store)
        count = _UNKNOWN if probe.failure else await self._count.get(self._count_spaces)
        return Health(
            status="degraded" if probe.failure or count == _UNKNOWN else healthy,
            service_name=self._name,
            version=self._version,
            uptime_seconds=round(self._clock.monotonic() - self._started, 1),
            services=ServiceHealth(s3=self._store_health(probe), llmaas=self._model_health()),
            spaces_count=count,
        )

    async def about(self) -> About:
        """What the service is."""
        return About(
            name=self._name,
            version=self._version,
            description=_DESCRIPTION,
            author="Live Memory contributors",
            documentation="/docs",
            python_version=platform.python_version(),
            platform=platform.system(),
            tools_count=len(self._tools),
            tools=[ToolAbout(name=name, description=title[:_SHOWN]) for name, title in self._tools],
        )

    async def ready(self) -> dict[str, str]:
        """What must be well before requests are sent here: the name of each check, and `ok` or what is wrong."""
        probe = await self._probe.get(self._ask_store)
        found = self._store.checks() if isinstance(self._store, Examined) else {}
        return {"store": probe.failure.code() if probe.failure else "ok", **found}

    async def _ask_store(self) -> tuple[Probe, float]:
        began = self._clock.monotonic()
        failure: Situation | None = None
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await self._store.get(PROBED_KEY)
        except Situation as situation:
            failure = situation
        except TimeoutError:
            failure = Timeout("The object store did not answer in time.")
        if failure:
            log.warning("store_probe_failed", code=failure.code())
        return Probe(failure, self._clock.monotonic() - began), _PROBE_SECONDS

    async def _count_spaces(self) -> tuple[int, float]:
        count = 0
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                async for page in self._store.list("", delimiter="/"):
                    count += sum(not folder.startswith("_") for folder in page.folders)
        except (Situation, TimeoutError):
            log.warning("space_count_failed")
            return _UNKNOWN, _PROBE_SECONDS
        return count, _COUNT_SECONDS

    def _store_health(self, probe: Probe) -> StoreHealth:
        kind = self._store.kind
        return StoreHealth(
            status="error" if probe.failure else "ok",
            kind=kind,
            bucket=self._store.location if kind == "s3" else kind,
            latency_ms=round(probe.seconds * 1000, 1),
            message="The object store does not answer." if probe.failure else None,
        )

    def _model_health(self) -> ModelHealth:
        if self._llm_model is None:
            return ModelHealth(
                status="warning",
                model=None,
                message="No language model is configured: notes are filed by the built-in extractive consolidator.",
            )
        return ModelHealth(
            status="ok", model=self._llm_model, message="A language model is configured; it was not called for this."
        )
