"""What crashes and departed processes leave under `_system/`: removed once nobody can need it any more."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from app.storage.store import ObjectStore

LEFTOVERS: Final[Mapping[str, timedelta]] = {
    "_system/probe/": timedelta(days=1),
    "_system/leases/writer/": timedelta(days=1),
    "_system/usage/": timedelta(days=30),
}
"""Key prefix, and the age from which its objects go: trials of the server, flags and usage of ended processes."""

log = structlog.get_logger(__name__)


async def sweep_leftovers(store: ObjectStore) -> int:
    """Remove what is old enough, by the store's own clock, and return how many objects went."""
    removed = 0
    for prefix, age in LEFTOVERS.items():
        async for page in store.list(prefix):
            old = [listed.key for listed in page.objects if page.date - listed.last_modified > age]
            if old:
                left = await store.delete_many(old)
                removed += len(old) - len(left)
                log.info("leftovers_swept", prefix=prefix, removed=len(old) - len(left), remaining=len(left))
    return removed
