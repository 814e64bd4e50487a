import asyncio

import pytest

from app.storage.memory import MemoryStore
from tests.fakes.clock import FrozenClock


async def test_others_run_between_a_read_and_a_write() -> None:
    store = MemoryStore(FrozenClock())
    order: list[str] = []

    async def read_and_write(name: str) -> None:
        await store.get("a")
        order.append(f"{name} has read")
        await store.put("a", name.encode())
        order.append(f"{name} has written")

    await asyncio.gather(read_and_write("one"), read_and_write("two"))
    assert order == ["one has read", "two has read", "one has written", "two has written"]


async def test_a_cancelled_write_did_nothing() -> None:
    store = MemoryStore(FrozenClock())
    writing = asyncio.ensure_future(store.create("a", b"1"))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.get("a") is None
