"""A whole store at once: its keys, its objects as files, and its end. For small ones, such as the demo's."""

from pathlib import Path

from app.storage.store import ObjectStore, Stored


async def keys_of(store: ObjectStore) -> list[str]:
    """Every key, in order."""
    return [listed.key async for page in store.list("") for listed in page.objects]


async def mirror(store: ObjectStore, folder: Path) -> Path:
    """Write every object into the folder, each under its key, and return the folder."""
    for key in await keys_of(store):
        stored = await store.get(key)
        if isinstance(stored, Stored):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.body)
    return folder


async def remove_everything(store: ObjectStore) -> None:
    """Leave nothing."""
    await store.delete_many(await keys_of(store))
