"""Notes left behind: reported, filed, removed."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends

from app.core.errors import AdminRequired, InvalidInput, StoreUnavailable
from app.core.identity import Permission
from app.core.operation import Effect
from app.core.routing import CurrentCaller, Operations, ReportProgress, provide
from app.gc.models import Collect, Collected
from app.gc.service import GCService
from app.storage.document import DamagedDocument

operations = Operations("gc", "Notes that nobody has consolidated.")

Collector = Annotated[GCService, Depends(provide(GCService))]

_DRY_RUN = Collect()


@operations.declare(
    "admin_gc_notes",
    method="POST",
    path="/admin/gc",
    permission=Permission.ADMIN,
    effect=Effect.DELETES,
    example={"space_id": "project-alpha", "max_age_days": 7},
    errors=(InvalidInput, AdminRequired, StoreUnavailable, DamagedDocument),
    timeout=timedelta(minutes=10),
)
async def collect(
    collector: Collector, caller: CurrentCaller, progress: ReportProgress, request: Collect = _DRY_RUN
) -> Collected:
    """Find notes that nobody has consolidated, and file or remove them.

    Without `confirm` it only reports. With `confirm` it files them in the bank of their space; with `delete_only` as
    well it removes them, keeping their text in the space's history. Recent notes are never touched.
    """
    return await collector.collect(request, caller=caller, progress=progress)
