"""The bank of a space, changed by one compare-and-swap: nobody ever sees half of a commit."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.bank.errors import CommitUnknown
from app.bank.history import HistoryStore, record_key
from app.bank.models import Change, Commit, CommitKind, ConsumedNote, Edit, ManifestEntry
from app.core.clock import iso
from app.core.errors import StoreUnavailable
from app.core.ids import new_commit_id, new_nonce
from app.notes.models import Note
from app.spaces.models import BankFile, Counters, Head, NoteRef, Opened, Synthesis
from app.spaces.service import SpaceService
from app.storage.store import ObjectStore, PreconditionFailed

_GRACE: Final = timedelta(hours=1)
"""How long a filed note is remembered after its object is gone: a slow reader may still list it."""


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
    synthesis: str | None
    """None: unchanged."""
    notes: Sequence[Note]
    """The notes that leave the queue."""
    consumed: Sequence[ConsumedNote]
    """The same, whole."""


def sha256(text: str) -> str:
    """The digest by which contents are compared, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


class BankStore:
    """Commits drafts."""

    def __init__(self, store: ObjectStore, spaces: SpaceService) -> None:
        self._objects = store
        self._spaces = spaces
        self._history = HistoryStore(store)

    async def commit(self, opened: Opened, draft: Draft) -> Opened:
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
        head = await self._next(opened.head, draft, key, now)
        record = _record(opened.head, head, draft, commit_id)
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

    async def _next(self, head: Head, draft: Draft, key: str, now: datetime) -> Head:
        at = iso(now)
        files = dict(head.files)
        for path, content in draft.files.items():
            files[path] = BankFile(
                content=content, sha256=sha256(content), bytes=len(content.encode()), modified_at=at, history=key
            )
        refs = {
            note.id: NoteRef(history=key, ts=iso(note.timestamp), agent=note.agent, category=note.category)
            for note in draft.notes
        }
        kept = {note_id: when for note_id, when in head.consumed.items() if now - datetime.fromisoformat(when) < _GRACE}
        synthesis = head.synthesis
        if draft.synthesis is not None:
            synthesis = Synthesis(text=draft.synthesis, consolidated_at=at, notes_processed=len(draft.notes))
        opening = head.opening
        if opening is not None and await self._spaces.rules_written(head):
            opening = None
        return head.model_copy(
            update={
                "version": head.version + 1,
                "history": key,
                "parent": head.history,
                "committed_at": at,
                "nonce": new_nonce(),
                "opening": opening,
                "files": dict(sorted(files.items())),
                "synthesis": synthesis,
                "provenance": {
                    path: {block: list(ids) for block, ids in blocks.items()}
                    for path, blocks in sorted(draft.provenance.items())
                },
                "note_refs": {**head.note_refs, **refs},
                "consumed": {**kept, **dict.fromkeys(refs, at)},
                "counters": _counted(head.counters, draft, at),
                "last_job": draft.job_id,
            }
        )


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
        changes={
            path: Change(
                before_sha256=before.files[path].sha256 if path in before.files else None,
                after_sha256=after.files[path].sha256,
                after=content,
                provenance=after.provenance.get(path, {}),
            )
            for path, content in draft.files.items()
        },
        manifest={path: ManifestEntry(sha256=file.sha256, history=file.history) for path, file in after.files.items()},
        edits=list(draft.edits),
        synthesis=draft.synthesis,
        consumed=list(draft.consumed),
    )
