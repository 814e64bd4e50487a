"""Frozen copies of spaces."""

import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from app.backups.contents import Contents
from app.backups.copying import Copy
from app.backups.errors import BackupBusy, BackupNotFound, RestoreTargetExists
from app.backups.models import (
    BackupCreated,
    BackupDeleted,
    BackupDownload,
    BackupList,
    BackupListed,
    BackupRestored,
    BackupState,
    Manifest,
)
from app.backups.store import BackupStore, backup_prefix, manifest_key
from app.core.archive import packed_archive, stream_archive
from app.core.clock import iso
from app.core.errors import ConfirmationRequired
from app.core.identity import Caller, Everywhere, Permission
from app.core.ids import new_nonce
from app.core.operation import Progress
from app.core.paging import encode_cursor, name_after
from app.core.schema import parse_instant
from app.notes.service import NoteService
from app.spaces.errors import SpaceBusy, SpaceChanging, SpaceExists
from app.spaces.models import ADOPTED, Head
from app.spaces.service import SpaceService
from app.storage.document import DamagedDocument, parsed
from app.storage.store import GZIP, JSON, MARKDOWN, TEXT, ObjectStore, PreconditionFailed

_ROUNDS: Final = 5
_ABORTED: Final = timedelta(hours=24)
_DERIVED: Final = ("bank/", "_synthesis.md", "_meta.json", "_bank.json", "live/.keep")
"""Files of a backup that a restore does not copy: the head is written last, and the view follows from it."""
_SECOND: Final = timedelta(seconds=1)
_KINDS: Final = {"gz": GZIP, "json": JSON, "keep": TEXT}
"""Content types by the end of a file's name."""

log = structlog.get_logger(__name__)


class BackupService:
    """Makes, lists, restores and removes backups."""

    def __init__(self, store: ObjectStore, spaces: SpaceService, notes: NoteService) -> None:
        self._objects = store
        self._store = BackupStore(store)
        self._spaces = spaces
        self._notes = notes

    async def create(self, space_id: str, description: str, *, caller: Caller, progress: Progress) -> BackupCreated:
        """Copy a space as it is at one version of its bank. The manifest, written last, makes the backup count."""
        await self._spaces.open(space_id)
        manifest, etag = await self._claim(space_id, description, caller)
        for _round in range(_ROUNDS):
            opened = await self._spaces.open(space_id)
            copy = Copy(self._store, manifest.backup_id, opened, progress)
            try:
                await copy.make(self._notes)
            except SpaceChanging:
                continue
            complete = manifest.model_copy(
                update={
                    "state": BackupState.COMPLETE,
                    "nonce": new_nonce(),
                    "incarnation": opened.head.incarnation,
                    "version": opened.head.version,
                    "files": dict(sorted(copy.files.items())),
                    "packs": dict(sorted(copy.packs.items())),
                }
            )
            try:
                await self._store.replace(complete, etag)
            except PreconditionFailed:
                raise BackupBusy(f"Backup '{manifest.backup_id}' was removed while it was made: try again.") from None
            return BackupCreated(
                backup_id=manifest.backup_id,
                space_id=space_id,
                timestamp=manifest.created_at,
                description=description,
                files_backed_up=len(copy.files),
                total_size=_size(complete),
            )
        raise BackupBusy(f"Space '{space_id}' changed {_ROUNDS} times while it was being copied: try again.")

    async def _claim(self, space_id: str, description: str, caller: Caller) -> tuple[Manifest, str]:
        """Take the first free second as the name."""
        instant = self._objects.now()
        while True:
            manifest = Manifest(
                backup_id=f"{space_id}/{instant.strftime('%Y-%m-%dT%H-%M-%S')}",
                space_id=space_id,
                state=BackupState.WRITING,
                nonce=new_nonce(),
                created_at=iso(instant),
                description=description,
                created_by=caller.name,
            )
            try:
                return manifest, await self._store.claim(manifest)
            except PreconditionFailed:
                instant = instant.replace(microsecond=0) + timedelta(seconds=1)

    async def list(self, space_id: str, *, caller: Caller, limit: int, cursor: str) -> BackupList:
        """The complete backups of the spaces that the caller sees."""
        if space_id:
            caller.demand(Permission.READ, space_id)
            names = [space_id]
        else:
            names = [name for name in await self._store.spaces() if caller.sees(name)]
        ids = itertools.chain.from_iterable(await self._store.each(sorted(names), self._store.of_space))
        manifests = [found for found in await self._store.each(ids, self._readable) if found is not None]
        complete = [manifest for manifest in manifests if manifest.state is BackupState.COMPLETE]
        spaces = sorted({manifest.space_id for manifest in complete})
        heads = dict(zip(spaces, await self._store.each(spaces, self._spaces.find_any), strict=True))
        listed = [_listed(manifest, heads[manifest.space_id]) for manifest in complete]
        visible = [item for item in listed if item.current or caller.is_admin]
        after = name_after(cursor)
        rest = [item for item in visible if item.backup_id > after]
        page = rest[:limit]
        more = len(rest) > len(page)
        return BackupList(
            backups=page,
            total=len(visible),
            filtered_by_token=not space_id and not isinstance(caller.reach, Everywhere),
            has_more=more,
            next_cursor=encode_cursor(page[-1].backup_id if page else after) if more else "",
        )

    async def _readable(self, backup_id: str) -> Manifest | None:
        """The manifest; one that is damaged must not hide the other backups."""
        try:
            found = await self._store.find(backup_id)
        except DamagedDocument:
            log.exception("manifest_damaged", backup_id=backup_id)
            return None
        return found[0] if found else await self._store.find_legacy(backup_id)

    async def _open(self, backup_id: str, caller: Caller) -> tuple[Manifest, str]:
        """The complete backup of that name; raises BackupNotFound, also for one the caller may not see."""
        found = await self._store.find(backup_id)
        if found is None and (legacy := await self._store.find_legacy(backup_id)) is not None:
            found = legacy, ""
        if found is None or found[0].state is not BackupState.COMPLETE:
            raise BackupNotFound(backup_id)
        if not caller.is_admin and not _is_current(found[0], await self._spaces.find_any(found[0].space_id)):
            raise BackupNotFound(backup_id)
        return found

    async def archive(self, backup_id: str, *, caller: Caller) -> AsyncIterator[bytes]:
        """The backup as a tar.gz, piece by piece."""
        caller.demand(Permission.READ, _space_of(backup_id))
        manifest, _etag = await self._open(backup_id, caller)
        return stream_archive(Contents(self._store, manifest).members())

    async def download(self, backup_id: str, *, caller: Caller) -> BackupDownload:
        caller.demand(Permission.READ, _space_of(backup_id))
        manifest, _etag = await self._open(backup_id, caller)
        packed = await packed_archive(Contents(self._store, manifest).members())
        return BackupDownload(
            backup_id=backup_id,
            archive_base64=packed.base64,
            archive_size=packed.size,
            files_count=packed.files,
        )

    async def restore(self, backup_id: str, *, confirm: bool, caller: Caller, progress: Progress) -> BackupRestored:
        """Bring a space back. It is seen as absent until the last write, and a retry goes on where a crash stopped."""
        if not confirm:
            raise ConfirmationRequired(f"Restoring '{backup_id}' creates its space again: repeat with confirm=true.")
        manifest, _etag = await self._open(backup_id, caller)
        space_id = manifest.space_id
        total = len(manifest.files)
        await progress(0, total, "verifying the backup")
        contents = Contents(self._store, manifest)
        for portion in contents.portions():
            await contents.each(portion, _nothing)
        saved = None if manifest.legacy else parsed(Head, f"{backup_id}/_bank.json", await contents.file("_bank.json"))
        try:
            claim = await self._spaces.claim_restore(space_id, backup_id)
        except SpaceExists:
            raise RestoreTargetExists(space_id) from None

        async def copy_back(path: str, body: bytes) -> None:
            kind = _KINDS.get(path.rpartition(".")[2], MARKDOWN)
            try:
                await self._store.write_back(f"{space_id}/{path}", body, kind)
            except PreconditionFailed:
                raise SpaceBusy(space_id) from None

        done = 0
        # The plain files of an older tool are its bank: they are copied, and adopted before the last write.
        for portion in contents.portions(but=() if manifest.legacy else _DERIVED):
            await progress(done, total, f"copying {total} files")
            # A restore that was thought to be dead must not write into what has taken its place.
            claim = await self._spaces.keep_restore(claim)
            await contents.each(portion, copy_back)
            done += len(portion.paths)
        claim = await self._spaces.keep_restore(claim)
        if saved is None and (saved := await self._spaces.first_head(space_id)) is None:
            raise SpaceBusy(space_id)
        await self._spaces.finish_restore(claim, saved)
        await progress(total, total, "done")
        return BackupRestored(backup_id=backup_id, space_id=space_id, files_restored=total)

    async def delete(self, backup_id: str, *, confirm: bool, caller: Caller) -> BackupDeleted:
        if not confirm:
            raise ConfirmationRequired(f"Deleting backup '{backup_id}' cannot be undone: repeat with confirm=true.")
        manifest, etag = await self._open(backup_id, caller)
        try:
            if manifest.legacy:
                # What is left after a crash must not pass for a backup: from now on there is a manifest that says so.
                await self._store.claim(_deleting(manifest))
            else:
                await self._store.replace(_deleting(manifest), etag)
        except PreconditionFailed:
            raise BackupNotFound(backup_id) from None
        removed, remaining = await self._remove(manifest)
        return BackupDeleted(backup_id=backup_id, files_deleted=removed, files_remaining=remaining)

    async def _remove(self, manifest: Manifest) -> tuple[int, int]:
        """Remove the files, and the manifest when they are gone: until then it says what state they are in."""
        prefix, last = backup_prefix(manifest.backup_id), manifest_key(manifest.backup_id)
        keys = [key for key in await self._store.keys(prefix) if key != last]
        left = await self._store.remove(keys)
        if not left:
            await self._store.remove([last])

        def files(of: Sequence[str]) -> int:
            return sum(len(manifest.packs.get(key.removeprefix(prefix), [key])) for key in of)

        return files(keys) - files(left), files(left)

    async def sweep_aborted(self) -> None:
        """Remove what was left of backups that were cut short, or whose deletion was."""
        for name in await self._store.spaces():
            for backup_id in await self._store.of_space(name):
                try:
                    await self._sweep(backup_id)
                except Exception:
                    # Nobody waits for it, and one bad backup must not keep the others from being swept.
                    log.exception("backup_sweep_failed", backup_id=backup_id)

    async def _sweep(self, backup_id: str) -> None:
        found = await self._store.find(backup_id)
        if found is None:
            return
        manifest, etag = found
        age = self._objects.now() - datetime.fromisoformat(manifest.created_at)
        if manifest.state is BackupState.WRITING and age > _ABORTED:
            await self._store.replace(_deleting(manifest), etag)
        elif manifest.state is not BackupState.DELETING:
            return
        removed, remaining = await self._remove(manifest)
        log.info("backup_swept", backup_id=backup_id, removed=removed, remaining=remaining)


async def _nothing(_path: str, _body: bytes) -> None:
    """What is read is verified; that is all."""


def _size(manifest: Manifest) -> int:
    return sum(file.size for file in manifest.files.values())


def _listed(manifest: Manifest, head: Head | None) -> BackupListed:
    return BackupListed(
        backup_id=manifest.backup_id,
        space_id=manifest.space_id,
        timestamp=manifest.backup_id.partition("/")[2],
        created_at=manifest.created_at,
        description=manifest.description,
        files_count=len(manifest.files),
        total_size=_size(manifest),
        version=manifest.version,
        current=_is_current(manifest, head),
        legacy=manifest.legacy,
    )


def _is_current(manifest: Manifest, head: Head | None) -> bool:
    """Is the backup of the space that has the name, or had it last? Those of former ones are for admins."""
    if head is None:
        return False
    if not manifest.legacy:
        return head.owns(manifest.incarnation)
    # Older tools gave their spaces no incarnation. What was copied before the space began is of a former one.
    return head.owns(ADOPTED) and parse_instant(manifest.created_at) + _SECOND > parse_instant(head.about.created_at)


def _deleting(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"state": BackupState.DELETING, "nonce": new_nonce()})


def _space_of(backup_id: str) -> str:
    return backup_id.partition("/")[0]
