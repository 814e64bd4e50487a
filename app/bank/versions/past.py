"""What there is to tell of the earlier versions of a bank."""

import asyncio
from collections.abc import Sequence
from typing import Final

from app.bank.errors import FiledNoteNotFound
from app.bank.history import version_of
from app.bank.models import BlockProvenance, Commit, SourceNote
from app.bank.versions.difference import differences
from app.bank.versions.footnotes import grounds, with_footnotes
from app.bank.versions.queue import object_of
from app.bank.versions.revisions import BankDiff, BankHistory, FileDiff, FiledNote, HistoryEntry
from app.bank.versions.timeline import Timeline
from app.core.errors import FieldFault, InvalidInput
from app.core.paging import InvalidCursor, decode_cursor, encode_cursor
from app.notes.service import origin_of, shown_note
from app.spaces.models import Head, NoteRef
from app.storage.document import DamagedDocument

_SCANNED: Final = 500
"""Versions that one call looks through for a file."""


class Past:
    """Tells of earlier versions."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    async def at(self, head: Head, moment: str, *, contents: bool = True) -> Head:
        """The bank as it was then, in the shape of a head: the very head when it was as it is.

        Raises:
            VersionNotFound: the bank has never had that version.
        """
        return await self._timeline.past(head, await self._timeline.version_at(head, moment), contents=contents)

    async def history(self, head: Head, *, limit: int, cursor: str, filename: str) -> BankHistory:
        """The versions, newest first; with a file name those that changed the file."""
        newest = min(_position(cursor), head.version) if cursor else head.version
        entries: list[HistoryEntry] = []
        until = max(0, newest - (_SCANNED if filename else limit))
        reached = newest
        async for _key, commit in self._timeline.walk(head, newest, until):
            if len(entries) == limit:
                break
            reached = commit.version - 1
            changed = _changed(commit)
            if not filename or filename in changed:
                entries.append(_entry(commit, changed))
        return BankHistory(
            space_id=head.space_id,
            version=head.version,
            versions=entries,
            has_more=reached > 0,
            next_cursor=encode_cursor(str(reached)) if reached > 0 else "",
        )

    async def diff(self, head: Head, earlier: str, later: str) -> BankDiff:
        """What lies between two versions; by default between the current one and the one before it.

        Raises:
            InvalidInput: the earlier version is the later one.
            VersionNotFound: the bank has never had one of them.
        """
        end = await self._timeline.version_at(head, later) if later else head.version
        start = await self._timeline.version_at(head, earlier) if earlier else max(end - 1, 0)
        if start > end:
            detail = f"version {start} is later than version {end}: exchange `from` and `to`"
            raise InvalidInput(f"Nothing to compare: {detail}.", faults=[FieldFault("from", detail)])
        before, after = await asyncio.gather(self._timeline.past(head, start), self._timeline.past(head, end))
        files = await asyncio.to_thread(_differences, before, after)
        return BankDiff(
            space_id=head.space_id,
            from_version=start,
            to_version=end,
            files=files,
            lines_added=sum(file.lines_added for file in files),
            lines_removed=sum(file.lines_removed for file in files),
            notes_filed=sorted(
                note_id for note_id, ref in head.note_refs.items() if start < (version_of(ref.history) or 0) <= end
            ),
        )

    async def note(self, head: Head, note_id: str) -> FiledNote:
        """A note that was filed, whole; raises FiledNoteNotFound."""
        ref = head.note_refs.get(note_id)
        if ref is None:
            raise FiledNoteNotFound(head.space_id, note_id)
        commit = await self._timeline.read(ref.history)
        for note in commit.consumed:
            if note.id == note_id:
                body = object_of(note)
                return FiledNote(
                    **dict(shown_note(note_id, body)),
                    space_id=head.space_id,
                    version=commit.version,
                    kind=commit.kind.value,
                    requeued_from=origin_of(body),
                )
        raise DamagedDocument(f"The history has lost the text of note '{note_id}'.")


def provenance_of(head: Head, path: str) -> list[BlockProvenance]:
    """The blocks of a file that rest on notes."""
    found = grounds(head.files[path].content, head.provenance.get(path, {}), head.edited.get(path, ()))
    return [
        BlockProvenance(
            block=one.block,
            section=list(one.section),
            notes=[_source(note_id, head.note_refs.get(note_id)) for note_id in one.notes],
            edited=one.edited,
        )
        for one in found
    ]


def annotated(head: Head, path: str) -> str:
    """A file with a footnote for each note that it rests on."""
    return with_footnotes(head.files[path].content, head.provenance.get(path, {}), head.note_refs)


def _source(note_id: str, ref: NoteRef | None) -> SourceNote:
    if ref is None:
        return SourceNote(id=note_id, ts="", agent="", category="")
    return SourceNote(id=note_id, ts=ref.ts, agent=ref.agent, category=ref.category)


def _position(cursor: str) -> int:
    (number,) = decode_cursor(cursor, parts=1)
    if not (number.isascii() and number.isdecimal()):
        raise InvalidCursor
    return int(number)


def _changed(commit: Commit) -> list[str]:
    return [path for path, change in commit.changes.items() if change.before_sha256 != change.after_sha256]


def _entry(commit: Commit, changed: Sequence[str]) -> HistoryEntry:
    return HistoryEntry(
        version=commit.version,
        kind=commit.kind.value,
        actor=commit.actor,
        at=commit.at,
        job_id=commit.job_id,
        batch=commit.batch,
        files_changed=list(changed),
        notes_filed=len(commit.consumed),
        notes_requeued=len(commit.requeued),
        edits=len(commit.edits),
        undoes=commit.undoes,
    )


def _differences(before: Head, after: Head) -> list[FileDiff]:
    contents = [{path: file.content for path, file in head.files.items()} for head in (before, after)]
    return [
        FileDiff(filename=one.path, change=one.change, lines_added=one.added, lines_removed=one.removed, diff=one.diff)
        for one in differences(*contents)
    ]
