"""Which notes wait again once something was undone, and which need not wait any more."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from app.bank.history import version_of
from app.bank.models import Commit, CommitKind, ConsumedNote, RequeuedNote
from app.notes.models import Note
from app.notes.service import note_key, requeued_note
from app.spaces.models import Head, NoteRef


@dataclass(frozen=True, slots=True)
class Returns:
    """What happens to the queue."""

    requeue: tuple[ConsumedNote, ...]
    """Notes as they were when they were filed: they are to wait again."""
    withdraw: tuple[RequeuedNote, ...]
    """Notes that wait, and whose words the bank will hold again."""


class Ancestry:
    """Which note each id stands for: a note that is put back in the queue gets another one each time."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def root(self, note_id: str) -> str:
        """The id under which the note was written."""
        while (former := self._former(note_id)) is not None:
            note_id = former
        return note_id

    def _former(self, note_id: str) -> str | None:
        if (entry := self._head.requeue.get(note_id)) is not None:
            return entry.requeued_from
        ref = self._head.note_refs.get(note_id)
        return ref.requeued_from if ref else None

    def roots(self, note_ids: Iterable[str]) -> set[str]:
        """The notes that the ids stand for."""
        return {self.root(note_id) for note_id in note_ids}

    def latest(self, roots: AbstractSet[str]) -> dict[str, str]:
        """Of each note, the id under which it was filed last."""
        found: dict[str, str] = {}
        filed = sorted(self._head.note_refs.items(), key=lambda item: version_of(item[1].history) or 0)
        for note_id, _ref in filed:
            if (root := self.root(note_id)) in roots:
                found[root] = note_id
        return found


@dataclass(slots=True)
class Life:
    """What happened to one note in some commits, under whatever ids."""

    root: str
    first: ConsumedNote | RequeuedNote
    last: ConsumedNote | RequeuedNote
    last_version: int
    kind: CommitKind


def lives(commits: Iterable[Commit], ancestry: Ancestry) -> list[Life]:
    """What happened to the notes of some commits, which are in the order of time."""
    found: dict[str, Life] = {}
    for commit in commits:
        events: list[ConsumedNote | RequeuedNote] = [*commit.consumed, *commit.requeued]
        for event in events:
            root = ancestry.root(event.id)
            if (life := found.get(root)) is None:
                found[root] = Life(root, event, event, commit.version, commit.kind)
            else:
                life.last, life.last_version, life.kind = event, commit.version, commit.kind
    return list(found.values())


def undoing_all(of: Iterable[Life]) -> tuple[list[str], set[str]]:
    """For undoing all that happened: ids of notes that wait again, and notes that need not wait any more.

    Notes removed on purpose stay removed.
    """
    requeue: list[str] = []
    withdraw: set[str] = set()
    for life in of:
        match life.first, life.last:
            case ConsumedNote(), ConsumedNote() as last if life.kind is not CommitKind.GC:
                requeue.append(last.id)
            case RequeuedNote(), RequeuedNote():
                withdraw.add(life.root)
            case _:
                continue
    return requeue, withdraw


def put_back(space_id: str, notes: Iterable[ConsumedNote], now: datetime) -> list[RequeuedNote]:
    """The notes under new ids, with the objects that they get."""
    found = []
    for note in notes:
        new_id, body = requeued_note(note.id, object_of(note), now)
        text, encoding = _text(body)
        found.append(
            RequeuedNote(
                id=new_id, key=note_key(space_id, new_id), requeued_from=note.id, object=text, encoding=encoding
            )
        )
    return found


def object_of(note: ConsumedNote | RequeuedNote) -> bytes:
    """The bytes of a note in a record."""
    if note.encoding != "base64":
        return note.object.encode()
    try:
        return base64.b64decode(note.object)
    except binascii.Error:
        return note.object.encode()


def _text(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def as_consumed(note: RequeuedNote, digest: str) -> ConsumedNote:
    """A note that need not wait any more, as the record keeps it."""
    return ConsumedNote(id=note.id, key=note.key, sha256=digest, object=note.object, encoding=note.encoding)


def withdrawn_note(note: RequeuedNote, refs: Mapping[str, NoteRef], now: datetime) -> Note:
    """The same note, as far as the head remembers it."""
    ref = refs.get(note.requeued_from)
    return Note(
        id=note.id,
        timestamp=datetime.fromisoformat(ref.ts) if ref else now,
        agent=ref.agent if ref else "",
        identity=ref.agent if ref else "",
        category=ref.category if ref else "",
        tags=(),
        content="",
        incarnation=None,
    )
