"""The process, put together from settings."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.clock import SystemClock
from app.core.settings import Settings, StoreKind
from app.main import create, make_store
from app.storage.directory import DirectoryStore
from app.storage.memory import MemoryStore

KEY = "k" * 40
ASK = {"Authorization": f"Bearer {KEY}", "Accept": "application/json, text/event-stream"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    """A start changes the collector of the whole process, so each test gives it back."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    chosen = {"live_memory_store": StoreKind.MEMORY, "admin_bootstrap_key": KEY, **settings}
    app = create(Settings.for_tests(**chosen))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8002") as client,
    ):
        yield client


def test_putting_it_together_opens_nothing(tmp_path: Path) -> None:
    create(Settings.for_tests(live_memory_data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    clock = SystemClock()
    memory = Settings.for_tests(live_memory_store=StoreKind.MEMORY)
    assert isinstance(make_store(memory, clock), MemoryStore)
    kept = make_store(Settings.for_tests(live_memory_data_dir=tmp_path), clock)
    assert isinstance(kept, DirectoryStore)
    assert kept.location == str(tmp_path / "objects")
    shared = Settings.for_tests(s3_bucket_name="bucket", s3_access_key_id="name", s3_secret_access_key="x" * 8)
    assert (make_store(shared, clock).kind, make_store(shared, clock).location) == ("s3", "bucket")


async def test_both_faces_answer_and_the_same_token_opens_them() -> None:
    async with running() as client:
        assert (await client.get("/ready")).json()["status"] == "ready"
        assert (await client.get("/api/v1/spaces", headers=ASK)).status_code == 200
        assert (await client.get("/api/v1/spaces")).status_code == 401
        listed = await client.post("/mcp", json=LIST, headers=ASK)
    assert listed.status_code == 200
    assert "live_note" in listed.text


async def test_a_started_process_leaves_its_foundations_out_of_later_collections() -> None:
    async with running():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (50_000, 25, 50)


async def test_the_mcp_transport_answers_for_the_same_hosts_as_everything_else() -> None:
    foreign = {**ASK, "Host": "memory.example"}
    async with running() as client:
        assert (await client.post("/mcp", json=LIST, headers=foreign)).status_code == 421
    async with running(mcp_server_host="0.0.0.0") as client:  # noqa: S104 - the case in which any name is welcome
        assert (await client.post("/mcp", json=LIST, headers=foreign)).status_code == 200
        page = {**foreign, "Origin": "https://evil.example"}
        assert (await client.post("/mcp", json=LIST, headers=page)).status_code == 403
    async with running(allowed_hosts="memory.example") as client:
        assert (await client.post("/mcp", json=LIST, headers=foreign)).status_code == 200
        assert (await client.post("/mcp", json=LIST, headers=ASK)).status_code == 421


async def test_the_older_transport_can_be_switched_off() -> None:
    async with running(sse_enabled=False) as client:
        assert (await client.post("/sse/messages/", headers=ASK)).status_code == 404
    async with running() as client:
        assert (await client.post("/sse/messages/", headers=ASK)).status_code != 404
