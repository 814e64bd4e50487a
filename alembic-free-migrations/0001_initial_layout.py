"""Tokens of 0.2 and 1.3 lie in one object that every change rewrites; from here on each has an object of its own.

Spaces, notes and backups of those versions need no migration: each is understood where it lies, when it is touched.
"""

from app.storage.store import ObjectStore
from app.tokens.legacy import split_registry


async def upgrade(store: ObjectStore) -> None:
    """Give each token of `_system/tokens.json` its own object; the file stays, unread from now on."""
    await split_registry(store)
