import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.core.clock import Clock
from app.core.errors import StoreUnavailable
from app.core.operation import ToolCall
from app.core.routing import TOOL_CALL_KEY
from app.llm.client import LLM, FailureKind, LLMFailed, LLMHealth
from app.llm.scripted import ScriptedLLM
from app.storage.memory import MemoryStore
from app.system.operations import operations
from app.system.service import SystemService
from tests.fakes.clock import FrozenClock
from tests.fakes.faulty_store import READS, FaultyStore

INSIDE = "a fault that names /srv/private"


class StoreOfKind(FaultyStore):
    """A store that says what it is and where."""

    def __init__(self, clock: Clock, kind: str, location: str) -> None:
        super().__init__(MemoryStore(clock))
        self._said = kind, location

    @property
    def kind(self) -> str:
        return self._said[0]

    @property
    def location(self) -> str:
        return self._said[1]

    @property
    def gets(self) -> int:
        return self.counted()["get"]

    @property
    def lists(self) -> int:
        return self.counted()["list"]

    def go_down(self, methods: Iterable[str] = READS) -> None:
        """Answer nothing more, until `heal()`."""
        self.fail(methods, lasting=True, error=lambda _call: StoreUnavailable(INSIDE))


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(clock: FrozenClock) -> StoreOfKind:
    return StoreOfKind(clock, "directory", "/srv/private")


def a_system(
    store: StoreOfKind,
    clock: FrozenClock,
    *,
    llm: LLM | None = None,
    patience: timedelta = timedelta(seconds=5),
) -> SystemService:
    tools = [("live_note", "Write a note."), ("long", "x" * 300)]
    return SystemService(store, clock, name="Memory", version="1.2.3", tools=tools, llm=llm, patience=patience)


@pytest.fixture
def system(store: StoreOfKind, clock: FrozenClock) -> SystemService:
    return a_system(store, clock)


async def test_a_service_without_a_model_is_in_good_health(
    system: SystemService, store: StoreOfKind, clock: FrozenClock
) -> None:
    await store.put("alpha/_bank.json", b"{}")
    await store.put("beta/live/note.md", b"x")
    await store.put("_system/migrations.json", b"{}")
    clock.advance(timedelta(seconds=12.34))

    health = await system.health()

    assert (health.status, health.service_name, health.version) == ("ok", "Memory", "1.2.3")
    assert (health.uptime_seconds, health.spaces_count) == (12.3, 2)
    assert (health.services.s3.status, health.services.s3.message) == ("ok", None)
    assert (health.services.llmaas.status, health.services.llmaas.model) == ("warning", None)
    assert "extractive" in health.services.llmaas.message


class Ill(ScriptedLLM):
    """A model whose endpoint does not accept the key."""

    async def health(self) -> LLMHealth:
        return LLMHealth(ok=False, message="10.1.2.3 does not accept the key.", model=self.model)


async def test_a_configured_model_is_named_and_not_called(store: StoreOfKind, clock: FrozenClock) -> None:
    model = ScriptedLLM(model="some-model")
    health = await a_system(store, clock, llm=model).health()

    assert (health.status, health.services.llmaas.status) == ("ok", "ok")
    assert health.services.llmaas.model == "some-model"
    assert model.calls == []


async def test_a_model_that_cannot_be_used_is_ill_health(store: StoreOfKind, clock: FrozenClock) -> None:
    health = await a_system(store, clock, llm=Ill()).health()

    assert (health.status, health.services.llmaas.status) == ("degraded", "error")
    assert "10.1.2.3" not in health.model_dump_json()


async def test_a_model_that_is_asked_a_question_tells_what_it_took(store: StoreOfKind, clock: FrozenClock) -> None:
    model = ScriptedLLM(["ready"], model="some-model", price_in=1_000_000.0)
    system = a_system(store, clock, llm=model)
    paid = (await system.health(deep=True)).services.llmaas

    assert (paid.status, paid.model, len(model.calls)) == ("ok", "some-model", 1)
    assert "2 out" in paid.message
    assert "costs 14" in paid.message
    assert "nothing was paid" in (await system.health()).services.llmaas.message


async def test_a_model_that_does_not_answer_is_ill_only_when_it_is_asked(
    store: StoreOfKind, clock: FrozenClock
) -> None:
    model = ScriptedLLM([LLMFailed(FailureKind.UNREACHABLE, "the endpoint answers 503")])
    system = a_system(store, clock, llm=model)

    assert (await system.health()).status == "ok"
    deep = await system.health(deep=True)

    assert (deep.status, deep.services.llmaas.status) == ("degraded", "error")
    assert "unreachable" in deep.services.llmaas.message
    assert "503" in deep.services.llmaas.message


async def test_without_a_model_there_is_nobody_to_ask(system: SystemService) -> None:
    assert (await system.health(deep=True)).services.llmaas.status == "warning"


async def test_an_outage_is_an_answer_and_tells_nothing_of_the_inside(
    system: SystemService, store: StoreOfKind
) -> None:
    store.go_down()

    health = await system.health()

    assert (health.status, health.services.s3.status, health.spaces_count) == ("degraded", "error", -1)
    assert INSIDE not in health.model_dump_json()
    assert store.lists == 0


async def test_spaces_that_cannot_be_counted_are_minus_one(
    system: SystemService, store: StoreOfKind, clock: FrozenClock
) -> None:
    store.go_down({"list"})
    assert ((health := await system.health()).status, health.spaces_count) == ("degraded", -1)

    store.heal()
    clock.advance(timedelta(seconds=5))

    assert ((health := await system.health()).status, health.spaces_count) == ("ok", 0)


async def test_a_path_of_the_machine_is_shown_to_nobody_but_a_bucket_is(
    system: SystemService, clock: FrozenClock
) -> None:
    plain = (await system.health()).services.s3
    bucket = (await a_system(StoreOfKind(clock, "s3", "memories"), clock).health()).services.s3

    assert (plain.kind, plain.bucket) == ("directory", "directory")
    assert (bucket.kind, bucket.bucket) == ("s3", "memories")


async def test_a_crowd_of_callers_makes_the_store_work_once(
    system: SystemService, store: StoreOfKind, clock: FrozenClock
) -> None:
    await asyncio.gather(*[system.health() for _ in range(50)], *[system.ready() for _ in range(50)])
    assert (store.gets, store.lists) == (1, 1)

    clock.advance(timedelta(seconds=5))
    await asyncio.gather(*[system.health() for _ in range(50)])
    assert (store.gets, store.lists) == (2, 1)

    clock.advance(timedelta(seconds=25))
    await system.health()
    assert (store.gets, store.lists) == (3, 2)


async def test_an_outage_is_remembered_as_well(system: SystemService, store: StoreOfKind, clock: FrozenClock) -> None:
    store.go_down()
    for _ in range(10):
        await system.health()
    assert store.gets == 1

    store.heal()
    assert (await system.health()).status == "degraded"
    clock.advance(timedelta(seconds=5))
    assert (await system.health()).status == "ok"


@pytest.mark.parametrize("silent", ["get", "list"])
async def test_a_store_that_does_not_answer_is_not_waited_for(
    store: StoreOfKind, clock: FrozenClock, silent: str
) -> None:
    async def hang(method: str, _key: str) -> None:
        if method == silent:
            await asyncio.Event().wait()

    store.before = hang
    system = a_system(store, clock, patience=timedelta(milliseconds=10))

    async with asyncio.timeout(5):
        health = await system.health()

    assert (health.status, health.spaces_count) == ("degraded", -1)
    assert await system.ready() == {"store": "timeout" if silent == "get" else "ok"}


async def test_the_service_is_ready_while_its_store_answers(
    system: SystemService, store: StoreOfKind, clock: FrozenClock
) -> None:
    assert await system.ready() == {"store": "ok"}

    store.go_down()
    clock.advance(timedelta(seconds=5))

    assert await system.ready() == {"store": "store_unavailable"}


async def test_the_service_tells_what_it_is(system: SystemService, store: StoreOfKind) -> None:
    store.go_down()

    about = await system.about()

    assert (about.status, about.name, about.version, about.documentation) == ("ok", "Memory", "1.2.3", "/docs")
    assert about.author == "Live Memory contributors"
    assert about.tools_count == len(about.tools) == 2
    assert about.tools[0].model_dump() == {"name": "live_note", "description": "Write a note."}
    assert len(about.tools[1].description) == 100


class OneService:
    """Just the system service, as the application would hand it out."""

    def __init__(self, system: SystemService) -> None:
        self.system = system

    def of(self, _kind: type[Any]) -> SystemService:
        return self.system


async def _silent(_done: float, _total: float | None, _message: str) -> None:
    pass


@pytest.mark.parametrize(("transport", "word"), [(None, "ok"), ("sse", "ok"), ("mcp", "healthy")])
async def test_the_word_for_good_health_is_the_one_that_clients_of_the_transport_look_for(
    system: SystemService, store: StoreOfKind, clock: FrozenClock, transport: str | None, word: str
) -> None:
    app = FastAPI()
    app.state.services = OneService(system)
    app.include_router(operations.router)

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if transport is not None:
            scope[TOOL_CALL_KEY] = ToolCall("system_health", transport, _silent)
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(called), base_url="http://test/api/v1") as http:
        assert (await http.get("/system/health")).json()["status"] == word
        store.go_down()
        clock.advance(timedelta(seconds=5))
        answer = await http.get("/system/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_anybody_may_ask_what_the_service_is(system: SystemService) -> None:
    app = FastAPI()
    app.state.services = OneService(system)
    app.include_router(operations.router)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/api/v1") as http:
        answer = await http.get("/system/about")

    assert answer.status_code == 200
    assert answer.json()["tools_count"] == 2
