"""The bank of a space, changed by one compare-and-swap: nobody ever sees half of a commit."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.bank.errors import CommitUnknown
from app.bank.history import HistoryStore, record_key
from app.bank.models import (
    Change,
    Commit,
    CommitKind,
    ConsumedNote,
    Edit,
    ManifestEntry,
    ModelUse,
    Refused,
    RequeuedNote,
)
from app.core.clock import iso
from app.core.errors import StoreUnavailable
from app.core.ids import new_commit_id, new_nonce
from app.notes.models import Note
from app.spaces.models import BankFile, Counters, Head, NoteRef, Opened, Requeued, Synthesis
from app.spaces.service import SpaceService
from app.storage.store import ObjectStore, PreconditionFailed

_GRACE: Final = timedelta(hours=1)
"""How long a filed note is remembered after its object is gone: a slow reader may still list it."""
_LARGE: Final = 256 * 1024
"""Bytes of content from which the next version is made in a thread: others must not wait for it."""


Guard = Callable[[str], AbstractAsyncContextManager[None]]
"""Stands around the write that makes a commit true, and is told the key of its record; it may raise on entering."""


@asynccontextmanager
async def unguarded(_key: str) -> AsyncIterator[None]:
    """For a commit that nobody can call off."""
    yield


@dataclass(frozen=True, slots=True)
class Draft:
    """A change of the bank, ready to be committed to the version it was made from."""

    kind: CommitKind
    actor: str
    job_id: str
    batch: int
    rules: str
    files: Mapping[str, str]
    """Complete new content of each file that changes."""
    provenance: Mapping[str, Mapping[str, Sequence[str]]]
    """The whole new map."""
    edits: Sequence[Edit]
    synthesis: str | Synthesis | None
    """A new text, or a synthesis that the bank has had before; None: unchanged."""
    notes: Sequence[Note] = ()
    """The notes that leave the queue."""
    consumed: Sequence[ConsumedNote] = ()
    """The same, whole."""
    refused: Sequence[Refused] = ()
    """What the model wanted and did not get."""
    model: ModelUse | None = None
    """The model's part in it; None: it had none."""
    removed: Collection[str] = ()
    """Files that go away."""
    raw: Mapping[str, str] = field(default_factory=dict)
    """Base64 of those of the files that are not UTF-8."""
    edited: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Path, then blocks that somebody has changed by hand; the flags that there were are kept."""
    requeued: Sequence[RequeuedNote] = ()
    """Notes that are put back in the queue."""
    undoes: int | None = None
    """The version that is undone, or gone back to."""
    forgets_synthesis: bool = False
    """The bank has no synthesis any more."""


def sha256(text: str) -> str:
    """The digest by which contents are compared, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


class BankStore:
    """Commits drafts."""

    def __init__(self, store: ObjectStore, spaces: SpaceService) -> None:
        self._objects = store
        self._spaces = spaces
        self._history = HistoryStore(store)

    async def commit(self, opened: Opened, draft: Draft, *, guard: Guard = unguarded) -> Opened:
        """Write the record, then swap the head: the swap is the commit point.

        A crash before it leaves a record nobody reads; a crash after it leaves notes and a view that lag behind,
        which the next touch of the space brings up to date.

        Raises:
            PreconditionFailed: the head has moved, and nothing of the draft was kept.
            CommitUnknown: the store stopped answering at the commit point.
        """
        now = self._objects.now()
        commit_id = new_commit_id()
        key = record_key(opened.head.space_id, opened.head.version + 1, commit_id)
        before = await self._without_opening(opened.head)
        if _size(before, draft) < _LARGE:
            head, record = _committed(before, draft, key, commit_id, now)
        else:
            head, record = await asyncio.to_thread(_committed, before, draft, key, commit_id, now)
        async with guard(key):
            await self._history.write(key, record)
            try:
                return await self._spaces.swap(opened, head)
            except (PreconditionFailed, StoreUnavailable) as error:
                return await self._settle(opened, key, error)

    async def _settle(self, opened: Opened, key: str, error: Exception) -> Opened:
        """Find out whether a swap that did not report success has happened, and was overtaken since."""
        try:
            present = await self._spaces.find(opened.head.space_id)
            if present is not None and await self._leads_to(present.head, key, opened.head.version):
                return present
            if present is None or present.etag != opened.etag:
                await self._history.discard(key)
                raise PreconditionFailed(key) from error
        except StoreUnavailable as outage:
            raise CommitUnknown from outage
        raise error

    async def _leads_to(self, head: Head, key: str, base: int) -> bool:
        """Is the record among the head's ancestors down to the base version?"""
        version, current, parent = head.version, head.history, head.parent
        while current is not None and version > base:
            if key in {current, parent}:
                return True
            if parent is None or (record := await self._history.read(parent)) is None:
                return False
            version, current, parent = record.version, parent, record.parent
        return False

    async def _without_opening(self, head: Head) -> Head:
        """The head without the opening rules as soon as they have their own object."""
        if head.opening is not None and await self._spaces.rules_written(head):
            return head.model_copy(update={"opening": None})
        return head


def _size(head: Head, draft: Draft) -> int:
    """About how many bytes of content the next version is made from."""
    return sum(file.bytes for file in head.files.values()) + sum(map(len, draft.files.values()))


def _committed(head: Head, draft: Draft, key: str, commit_id: str, now: datetime) -> tuple[Head, Commit]:
    """The next head, and the record of what leads to it."""
    after = _next(head, draft, key, now)
    return after, _record(head, after, draft, commit_id)


def _next(head: Head, draft: Draft, key: str, now: datetime) -> Head:
    at = iso(now)
    files = _files(head, draft, key, at)
    refs = {
        note.id: NoteRef(
            history=key,
            ts=iso(note.timestamp),
            agent=note.agent,
            category=note.category,
            requeued_from=head.requeue[note.id].requeued_from if note.id in head.requeue else None,
        )
        for note in draft.notes
    }
    kept = {note_id: when for note_id, when in head.consumed.items() if now - datetime.fromisoformat(when) < _GRACE}
    synthesis = head.synthesis
    if draft.synthesis is not None:
        synthesis = (
            draft.synthesis
            if isinstance(draft.synthesis, Synthesis)
            else Synthesis(text=draft.synthesis, consolidated_at=at, notes_processed=len(draft.notes))
        )
    elif draft.forgets_synthesis:
        synthesis = None
    note_refs = {**head.note_refs, **refs}
    requeue = {note.id: Requeued(history=key, requeued_from=note.requeued_from) for note in draft.requeued}
    return head.model_copy(
        update={
            "version": head.version + 1,
            "history": key,
            "parent": head.history,
            "committed_at": at,
            "nonce": new_nonce(),
            "files": files,
            "synthesis": synthesis,
            "provenance": {
                path: {block: list(ids) for block, ids in blocks.items()}
                for path, blocks in sorted(draft.provenance.items())
            },
            "edited": _edited(head, draft),
            "note_refs": note_refs,
            "consumed": {**kept, **dict.fromkeys(refs, at)},
            "requeue": {
                note_id: entry for note_id, entry in {**head.requeue, **requeue}.items() if note_id not in note_refs
            },
            "counters": _counted(head.counters, draft, at),
            "last_job": draft.job_id or head.last_job,
        }
    )


def _files(head: Head, draft: Draft, key: str, at: str) -> dict[str, BankFile]:
    """The files of the next version.

    The record holds a file also when nothing but the sources of its blocks has changed, so that one record tells both.
    """
    files = {path: file for path, file in head.files.items() if path not in draft.removed}
    for path in files.keys() - draft.files.keys():
        if _sources(draft.provenance, path) != _sources(head.provenance, path):
            files[path] = files[path].model_copy(update={"history": key})
    for path, content in draft.files.items():
        raw = draft.raw.get(path)
        body = content.encode() if raw is None else base64.b64decode(raw)
        files[path] = BankFile(
            content=content,
            sha256=hashlib.sha256(body).hexdigest(),
            bytes=len(body),
            modified_at=at,
            history=key,
            raw=raw,
        )
    return dict(sorted(files.items()))


def _sources(provenance: Mapping[str, Mapping[str, Sequence[str]]], path: str) -> dict[str, list[str]]:
    return {block: list(ids) for block, ids in provenance.get(path, {}).items()}


def _edited(head: Head, draft: Draft) -> dict[str, list[str]]:
    """The flags of the blocks that are still there and rest on notes."""
    found: dict[str, list[str]] = {}
    for path in sorted(head.edited.keys() | draft.edited.keys()):
        flagged = {*head.edited.get(path, ()), *draft.edited.get(path, ())}
        if kept := sorted(flagged & draft.provenance.get(path, {}).keys()):
            found[path] = kept
    return found


def _counted(counters: Counters, draft: Draft, at: str) -> Counters:
    if draft.kind is not CommitKind.CONSOLIDATION:
        return counters
    return Counters(
        consolidation_count=counters.consolidation_count + (1 if draft.batch == 1 else 0),
        total_notes_processed=counters.total_notes_processed + len(draft.notes),
        last_consolidation=at,
    )


def _record(before: Head, after: Head, draft: Draft, commit_id: str) -> Commit:
    return Commit(
        version=after.version,
        commit_id=commit_id,
        parent_version=before.version,
        parent=before.history,
        kind=draft.kind,
        actor=draft.actor,
        job_id=draft.job_id,
        batch=draft.batch,
        at=after.committed_at,
        rules_sha256=sha256(draft.rules),
        changes=_changes(before, after),
        manifest={
            path: ManifestEntry(
                sha256=file.sha256, history=file.history, bytes=file.bytes, modified_at=file.modified_at
            )
            for path, file in after.files.items()
        },
        edits=list(draft.edits),
        refused=list(draft.refused),
        model=draft.model,
        synthesis=_written_synthesis(before, after),
        consumed=list(draft.consumed),
        requeued=list(draft.requeued),
        undoes=draft.undoes,
        synthesis_now=after.synthesis,
        last_consolidation=after.counters.last_consolidation,
    )


def _written_synthesis(before: Head, after: Head) -> str | None:
    if after.synthesis == before.synthesis:
        return None
    return after.synthesis.text if after.synthesis else ""


def _changes(before: Head, after: Head) -> dict[str, Change]:
    found = {
        path: Change(
            before_sha256=before.files[path].sha256 if path in before.files else None,
            after_sha256=file.sha256,
            after=file.content,
            raw=file.raw,
            provenance=after.provenance.get(path, {}),
        )
        for path, file in after.files.items()
        if file.history == after.history
    }
    for path in before.files.keys() - after.files.keys():
        found[path] = Change(before_sha256=before.files[path].sha256, after_sha256=None, after=None)
    return dict(sorted(found.items()))
