"""How the service is, and what it is."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, Literal, TypeVar

import structlog

from app.core.clock import Clock, iso
from app.core.errors import Situation, Timeout
from app.core.identity import Caller, Only
from app.llm.client import LLM, LLMFailed, Message, Role
from app.spaces.models import RULE_TEMPLATES
from app.storage.store import Examined, ObjectStore
from app.system.models import (
    About,
    Health,
    ModelHealth,
    ServiceHealth,
    StoreHealth,
    TemplateAbout,
    ToolAbout,
    WhoAmI,
)
from app.tokens.models import Token
from app.tokens.service import BOOTSTRAP

PROBED_KEY: Final = "_system/migrations.json"
"""An object that is there from the first start on, and small."""
_PROBE_SECONDS: Final = 5.0
"""How long an answer about the store is believed."""
_COUNT_SECONDS: Final = 30.0
"""How long a number of spaces, and an answer about the model, is believed."""
_UNKNOWN: Final = -1
_PATIENCE: Final = timedelta(seconds=5)
"""How long the store is waited for."""
_DESCRIPTION: Final = (
    "Shared working memory for AI agents: live notes, consolidated into a Markdown memory bank, over REST and MCP."
)
_SHOWN: Final = 100
_QUESTION: Final = (Message(Role.USER, "Answer with one word: ready."),)
_ANSWER_TOKENS: Final = 32
_ANSWER_SECONDS: Final = 30.0

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
        llm: LLM | None,
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._version = version
        self._tools = tuple(tools)
        self._llm = llm
        self._patience = patience
        self._started = clock.monotonic()
        self._probe = Remembered[Probe](clock)
        self._count = Remembered[int](clock)
        self._model = Remembered[ModelHealth](clock)

    async def health(self, *, healthy: Literal["ok", "healthy"] = "ok", deep: bool = False) -> Health:
        """How the service is; `healthy` is the word for good health. It never fails: an outage is its answer.

        `deep` asks the model a question, which is paid for.
        """
        probe = await self._probe.get(self._ask_store)
        count = _UNKNOWN if probe.failure else await self._count.get(self._count_spaces)
        model = await (self._pay_model() if deep else self._model.get(self._ask_model))
        is_well = not probe.failure and count != _UNKNOWN and model.status != "error"
        return Health(
            status=healthy if is_well else "degraded",
            service_name=self._name,
            version=self._version,
            uptime_seconds=round(self._clock.monotonic() - self._started, 1),
            services=ServiceHealth(s3=self._store_health(probe), llmaas=model),
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
            rule_templates=[TemplateAbout(name=name, description=what) for name, what in RULE_TEMPLATES.items()],
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

    async def _ask_model(self) -> tuple[ModelHealth, float]:
        if self._llm is None:
            message = "No language model is configured: notes are filed by the built-in extractive consolidator."
            return ModelHealth(status="warning", model=None, message=message), _COUNT_SECONDS
        found = await self._llm.health()
        if found.ok:
            message = "The model can be used; nothing was paid to know."
            return ModelHealth(status="ok", model=found.model, message=message), _COUNT_SECONDS
        # Anybody may ask, and where the endpoint is or what it says is the operator's business.
        log.warning("model_not_usable", model=found.model, message=found.message)
        message = "The model cannot be used, as the log says; notes wait, or are filed word for word."
        return ModelHealth(status="error", model=found.model, message=message), _COUNT_SECONDS

    async def _pay_model(self) -> ModelHealth:
        """Have the model write a word. Only an administrator may ask, so what it says of itself can be told."""
        if self._llm is None:
            return (await self._ask_model())[0]
        name = self._llm.model
        try:
            done = await self._llm.complete(_QUESTION, max_tokens=_ANSWER_TOKENS, seconds=_ANSWER_SECONDS)
        except LLMFailed as failed:
            message = f"It does not answer ({failed.kind}): {failed.detail}"
            return ModelHealth(status="error", model=name, message=message)
        used, cost = done.usage, self._llm.cost(done.usage)
        price = f", which costs {cost:.6g}" if cost else ""
        message = f"It answered in {done.seconds:.1f} s, with {used.prompt} tokens in and {used.completion} out{price}."
        return ModelHealth(status="ok", model=name, message=message)


def who_is(caller: Caller, known: tuple[Token, datetime | None] | None) -> WhoAmI:
    """What a caller may know of itself: everything but the text of its token."""
    token, used_at = known if known is not None else (None, None)
    reach = sorted(caller.reach.spaces) if isinstance(caller.reach, Only) else []
    is_bootstrap = caller.credential == BOOTSTRAP
    return WhoAmI(
        name=caller.name,
        client_name=caller.name,
        auth_type="bootstrap" if is_bootstrap else "token",
        is_admin=caller.is_admin,
        permissions=sorted(caller.permissions),
        space_ids=reach,
        allowed_spaces=reach,
        token_hash="" if is_bootstrap else caller.credential,
        created_at=token.created_at if token is not None else None,
        expires_at=token.expires_at if token is not None else None,
        last_used_at=iso(used_at) if used_at is not None else None,
        note="This is the administrator's first key: make tokens with admin_create_token, and use those."
        if is_bootstrap
        else "",
    )
