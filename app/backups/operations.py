"""Frozen copies: made, listed, restored, downloaded, deleted."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse

from app.backups.errors import BackupBusy, BackupDamaged, BackupNotFound, RestoreTargetExists
from app.backups.models import (
    BackupCreate,
    BackupCreated,
    BackupDeleted,
    BackupDownload,
    BackupID,
    BackupList,
    BackupRestored,
)
from app.backups.service import BackupService
from app.core.errors import (
    AdminRequired,
    ConfirmationRequired,
    Forbidden,
    InvalidInput,
    ReadRequired,
    StoreUnavailable,
    TooLarge,
    WriteRequired,
)
from app.core.identity import Permission
from app.core.ids import OptionalSpaceID, SpaceID
from app.core.operation import Effect
from app.core.paging import MOST, Cursor, InvalidCursor, PageSize
from app.core.routing import CurrentCaller, Operations, ReportProgress, archive_name, provide, wants
from app.spaces.errors import SpaceBusy, SpaceNotFound
from app.storage.document import DamagedDocument

operations = Operations("backups", "Frozen copies of spaces.")

Backups = Annotated[BackupService, Depends(provide(BackupService))]
_UNDESCRIBED = BackupCreate()
_LONG = timedelta(minutes=10)


@operations.declare(
    "backup_create",
    method="POST",
    path="/spaces/{space_id}/backups",
    status_code=201,
    permission=Permission.WRITE,
    effect=Effect.ADDS,
    example={"space_id": "project-alpha", "description": "Before the migration"},
    errors=(InvalidInput, Forbidden, WriteRequired, SpaceNotFound, BackupBusy, StoreUnavailable, DamagedDocument),
    timeout=_LONG,
)
async def create(
    space_id: SpaceID,
    backups: Backups,
    caller: CurrentCaller,
    progress: ReportProgress,
    request: BackupCreate = _UNDESCRIBED,
) -> BackupCreated:
    """Make a frozen copy of a space: rules, waiting notes, bank and history.

    All of it is of one version of the bank. A backup counts only once it is complete.
    """
    return await backups.create(space_id, request.description, caller=caller, progress=progress)


@operations.declare(
    "backup_list",
    method="GET",
    path="/backups",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha"},
    errors=(InvalidInput, InvalidCursor, Forbidden, ReadRequired, StoreUnavailable, DamagedDocument),
)
async def list_backups(
    backups: Backups,
    caller: CurrentCaller,
    space_id: OptionalSpaceID = "",
    limit: PageSize = MOST,
    cursor: Cursor = "",
) -> BackupList:
    """List the complete backups of the spaces that the token gives access to."""
    return await backups.list(space_id, caller=caller, limit=limit, cursor=cursor)


@operations.declare(
    "backup_restore",
    method="POST",
    path="/backups/{backup_id:path}/restore",
    permission=Permission.ADMIN,
    effect=Effect.REWRITES,
    example={"backup_id": "project-alpha/2026-02-20T18-05-00", "confirm": True},
    errors=(
        InvalidInput,
        ConfirmationRequired,
        AdminRequired,
        BackupNotFound,
        RestoreTargetExists,
        BackupDamaged,
        SpaceBusy,
        StoreUnavailable,
        DamagedDocument,
    ),
    timeout=_LONG,
)
async def restore(
    backup_id: BackupID,
    backups: Backups,
    caller: CurrentCaller,
    progress: ReportProgress,
    *,
    confirm: Annotated[bool, Query(description="Must be true.")] = False,
) -> BackupRestored:
    """Bring a deleted space back from a backup, byte for byte.

    The space must not exist. It appears with the last write, whole; until then every operation says it is absent.
    """
    return await backups.restore(backup_id, confirm=confirm, caller=caller, progress=progress)


@operations.declare(
    "backup_download",
    method="GET",
    path="/backups/{backup_id:path}/download",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"backup_id": "project-alpha/2026-02-20T18-05-00"},
    errors=(
        InvalidInput,
        Forbidden,
        ReadRequired,
        BackupNotFound,
        BackupDamaged,
        TooLarge,
        StoreUnavailable,
        DamagedDocument,
    ),
    response_model=BackupDownload,
    responses={200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}},
    timeout=_LONG,
)
async def download(backup_id: BackupID, backups: Backups, caller: CurrentCaller, request: Request) -> Any:
    """Download a backup as an archive.

    The answer holds a tar.gz in base64. With `Accept: application/gzip` the archive itself is sent, as a stream.
    """
    if wants(request, "application/gzip"):
        pieces = await backups.archive(backup_id, caller=caller)
        return StreamingResponse(pieces, media_type="application/gzip", headers=archive_name(backup_id))
    return await backups.download(backup_id, caller=caller)


@operations.declare(
    "backup_delete",
    method="DELETE",
    path="/backups/{backup_id:path}",
    permission=Permission.ADMIN,
    effect=Effect.DELETES,
    example={"backup_id": "project-alpha/2026-02-20T18-05-00", "confirm": True},
    errors=(InvalidInput, ConfirmationRequired, AdminRequired, BackupNotFound, StoreUnavailable, DamagedDocument),
)
async def delete(
    backup_id: BackupID,
    backups: Backups,
    caller: CurrentCaller,
    *,
    confirm: Annotated[bool, Query(description="Must be true: a deleted backup cannot be brought back.")] = False,
) -> BackupDeleted:
    """Delete a backup."""
    return await backups.delete(backup_id, confirm=confirm, caller=caller)
