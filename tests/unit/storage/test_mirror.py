from pathlib import Path

from app.storage.memory import MemoryStore
from app.storage.mirror import keys_of, mirror, remove_everything
from tests.fakes.clock import FrozenClock


async def test_a_store_becomes_files_and_ends_empty(tmp_path: Path) -> None:
    store = MemoryStore(FrozenClock())
    objects = {"a/b/c.md": b"\x00\xff", "a/d": b"", "e": b"1"}
    for key, body in objects.items():
        await store.put(key, body)
    assert await keys_of(store) == sorted(objects)
    folder = await mirror(store, tmp_path / "mirror")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == objects
    await remove_everything(store)
    assert await keys_of(store) == []
