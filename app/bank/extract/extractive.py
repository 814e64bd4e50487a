"""Files notes in the bank without a model: verbatim, each once, the newest value live and nothing lost.

The state is the bank itself, its provenance and the instants of the notes in it. Notes are taken in the order of their
time, so any split of them into batches gives the same bytes.
"""

from collections.abc import Mapping, Sequence

from app.bank.document.bullets import STATES, Bullet, anatomy, bullet_of, day_of, utc
from app.bank.document.edits import AppliedEdit, Plan, struck, ticked
from app.bank.document.layout import Layout
from app.bank.document.routing import destination_of
from app.bank.document.text import fold, hard_tokens, missing
from app.bank.extract.candidates import Duplicates, Facts, Statements
from app.bank.extract.pages import Entry, Filed, Moment, Page, Pages, Shelf
from app.bank.extract.synthesis import synthesise
from app.bank.extract.tasks import Questions, Tasks, is_open_task
from app.notes.models import Category, Note

__all__ = ["Filed", "consolidate"]


def consolidate(
    files: Mapping[str, str],
    provenance: Mapping[str, Mapping[str, Sequence[str]]],
    refs: Mapping[str, Filed],
    layout: Layout,
    notes: Sequence[Note],
) -> Plan:
    """The plan that files every note; one that `refs` or `provenance` already knows is left where it is."""
    known = {*refs, *(note_id for blocks in provenance.values() for ids in blocks.values() for note_id in ids)}
    clerk = _Clerk(Pages(files, provenance, refs, layout))
    seen: set[str] = set(known)
    for note in sorted(notes, key=lambda note: (utc(note.timestamp), note.id)):
        if note.id not in seen:
            seen.add(note.id)
            clerk.file(note)
    return Plan(
        files=clerk.pages.changed(files),
        provenance=clerk.pages.provenance(),
        edits=tuple(clerk.edits),
        filed=tuple(dict.fromkeys(note.id for note in notes)),
        synthesis=synthesise(clerk.pages),
    )


class _Clerk:
    """Files one note after the other."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.edits: list[AppliedEdit] = []
        self._duplicates: dict[int, Duplicates] = {}
        self._facts = Facts()
        self._statements = Statements()
        self._tasks = Tasks()
        self._questions = Questions()
        for entry in pages.entries.values():
            self._learn(entry)

    def _learn(self, entry: Entry) -> None:
        if entry.newest is not None and entry.is_item:
            self._facts.add(entry)
            self._statements.add(entry)
            self._tasks.add(entry)
            self._questions.add(entry)

    def file(self, note: Note) -> None:
        self.pages.refs[note.id] = Filed(note.timestamp, note.agent, note.category)
        path, title = destination_of(note, self.pages.layout, self.pages.pages)
        page, is_new = self.pages.page(path)
        if is_new:
            self._record("create_file", page, page.shelves[-1], "", note)
        shelf, is_new = page.shelf_for(title, note.category)
        if is_new:
            self._record("add_section", page, shelf, shelf.section.title, note)
        duplicates = self._duplicates.get(id(shelf))
        if duplicates is None:
            duplicates = self._duplicates[id(shelf)] = Duplicates(self.pages, shelf)
        raw = bullet_of(note, with_box=note.category == Category.TODO.value and not page.append_only)
        bullet = anatomy(raw)
        if note.category == Category.PROGRESS.value:
            self._close(note, bullet)
        if note.category in STATES:
            self._answer(note, bullet)
        if twin := self._twin(note, bullet, duplicates):
            twin.rest_on(note.id, self.pages.refs[note.id])
            self._learn(twin)
            self._record("join", page, shelf, twin.raw, note)
            return
        self._end(note, bullet)
        raw = self._supersede(note, bullet, raw)
        entry = self.pages.file(page, shelf, raw, note.id)
        duplicates.add(entry)
        self._learn(entry)
        self._record("append" if page.append_only else "prepend", page, shelf, raw, note)

    def _twin(self, note: Note, bullet: Bullet, duplicates: Duplicates) -> Entry | None:
        """The live entry of the section that already says all the note says."""
        moment = _moment(note)
        tokens = None
        for entry in duplicates.of(bullet):
            if note.category == Category.PROGRESS.value and is_open_task(entry):
                continue
            if bullet.fact is not None and any(
                other is not entry and other.bullet.fact != bullet.fact and _between(entry, other, moment)
                for other in self._facts.about(bullet.fact.subject)
            ):
                # The value has changed since, and the note says that it changed back.
                continue
            tokens = hard_tokens(note.content) if tokens is None else tokens
            if not missing(tokens, fold(entry.raw)):
                return entry
        return None

    def _end(self, note: Note, bullet: Bullet) -> None:
        """Strike what was so before the change that the note tells of."""
        if bullet.change is None or not _may_supersede(note, bullet):
            return
        day = day_of(note.timestamp)
        for entry in self._statements.ended_by(bullet.change):
            if entry.newest is not None and entry.newest < _moment(note):
                self._retire(entry, [struck(block.raw, "superseded", day) for block in entry.blocks], "change", note)

    def _supersede(self, note: Note, bullet: Bullet, raw: str) -> str:
        """Strike the older values of the note's subject; the note's own text, struck when a newer value is known."""
        if bullet.fact is None or not _may_supersede(note, bullet):
            return raw
        moment, day = _moment(note), day_of(note.timestamp)
        replaced = ""
        for entry in self._facts.about(bullet.fact.subject):
            fact = entry.bullet.fact
            if entry.newest is None or fact is None or fact.value == bullet.fact.value:
                continue
            if entry.newest > moment:
                if note.category not in STATES:
                    # That something was done stays true, whatever became of it.
                    return raw
                return struck(raw, "superseded", day_of(entry.newest[0]))
            if entry.page.append_only:
                replaced = entry.bullet.day or day_of(entry.newest[0])
                continue
            self._retire(entry, [struck(block.raw, "superseded", day) for block in entry.blocks], "supersede", note)
        if replaced:
            return f"{raw[:-1]} (replaces {replaced})\n"
        return raw

    def _close(self, note: Note, bullet: Bullet) -> None:
        """Tick the todos and strike the issues that the note says are done."""
        for entry in self._tasks.closed_by(bullet):
            if entry.oldest is not None and entry.oldest < _moment(note):
                day = day_of(note.timestamp)
                self._retire(entry, [ticked(block.raw, day) for block in entry.blocks], "close", note)

    def _answer(self, note: Note, bullet: Bullet) -> None:
        """Strike the questions that the note answers."""
        for entry in self._questions.answered_by(bullet, decides=note.category == Category.DECISION.value):
            if entry.newest is not None and entry.newest < _moment(note):
                day = day_of(note.timestamp)
                self._retire(entry, [struck(block.raw, "answered", day) for block in entry.blocks], "answer", note)

    def _retire(self, entry: Entry, raws: list[str], op: str, note: Note) -> None:
        order = entry.order
        self._facts.remove(entry, order)
        self._statements.remove(entry, order)
        self._tasks.remove(entry, order)
        self._questions.remove(entry, order)
        retired = self.pages.rewrite(entry, raws)
        path = retired.page.path
        self.edits.append(AppliedEdit(op, path, (), retired.raw.rstrip("\r\n"), (note.id,)))

    def _record(self, op: str, page: Page, shelf: Shelf, text: str, note: Note) -> None:
        self.edits.append(AppliedEdit(op, page.path, page.section_path(shelf), text.rstrip("\r\n"), (note.id,)))


def _may_supersede(note: Note, bullet: Bullet) -> bool:
    """Does the note say how things are, or that they were changed?"""
    return note.category in STATES or (note.category == Category.PROGRESS.value and bullet.change is not None)


def _moment(note: Note) -> Moment:
    return utc(note.timestamp), note.id


def _between(entry: Entry, other: Entry, moment: Moment) -> bool:
    """Is `other` newer than the entry and not newer than the note?"""
    if entry.newest is None or other.newest is None:
        return False
    return entry.newest < other.newest <= moment
