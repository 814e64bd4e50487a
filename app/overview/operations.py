"""A space seen whole: listed, measured, summed up, exported."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from app.core.errors import Forbidden, InvalidInput, ReadRequired, StoreUnavailable, TooLarge
from app.core.identity import Permission
from app.core.ids import SpaceID
from app.core.operation import Effect
from app.core.paging import MOST, Cursor, InvalidCursor, PageSize
from app.core.routing import CurrentCaller, Operations, archive_name, provide, wants
from app.overview.models import SpaceExport, SpaceInfo, SpaceList, SpaceSummary
from app.overview.service import OverviewService
from app.spaces.errors import SpaceChanging, SpaceNotFound
from app.storage.document import DamagedDocument

operations = Operations("overview", "A space seen whole: rules, notes and bank together.")

Overview = Annotated[OverviewService, Depends(provide(OverviewService))]

_READS = (InvalidInput, Forbidden, ReadRequired, SpaceNotFound, StoreUnavailable, DamagedDocument)


@operations.declare(
    "space_list",
    method="GET",
    path="/spaces",
    permission=Permission.READ,
    effect=Effect.READS,
    example={},
    errors=(InvalidInput, InvalidCursor, ReadRequired, StoreUnavailable, DamagedDocument),
)
async def list_spaces(
    overview: Overview,
    caller: CurrentCaller,
    limit: PageSize = MOST,
    cursor: Cursor = "",
) -> SpaceList:
    """List the memory spaces that the token gives access to."""
    return await overview.list(caller=caller, limit=limit, cursor=cursor)


@operations.declare(
    "space_info",
    method="GET",
    path="/spaces/{space_id}",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha"},
    errors=_READS,
)
async def info(space_id: SpaceID, overview: Overview) -> SpaceInfo:
    """Tell how much a space holds: notes, files, consolidations."""
    return await overview.info(space_id)


@operations.declare(
    "space_summary",
    method="GET",
    path="/spaces/{space_id}/summary",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha"},
    errors=_READS,
)
async def summary(space_id: SpaceID, overview: Overview) -> SpaceSummary:
    """Read the rules and the whole bank of a space in one call.

    `live` tells how many notes are not in the bank yet; `live_read` reads them.
    """
    return await overview.summary(space_id)


@operations.declare(
    "space_export",
    method="GET",
    path="/spaces/{space_id}/export",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha"},
    errors=(*_READS, SpaceChanging, TooLarge),
    response_model=SpaceExport,
    responses={200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export(space_id: SpaceID, overview: Overview, request: Request) -> Any:
    """Export a space as an archive of plain files.

    The answer holds a tar.gz in base64: bank, rules, synthesis and waiting notes. With `Accept: application/gzip`
    the archive itself is sent instead, as a stream.
    """
    if wants(request, "application/gzip"):
        pieces = await overview.archive(space_id)
        return StreamingResponse(pieces, media_type="application/gzip", headers=archive_name(space_id))
    return await overview.export(space_id)
