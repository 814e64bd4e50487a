"""What each operation does to its file."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from app.bank.document import edits
from app.bank.document.blocks import BLANK, FENCE, FRONT, ITEM, TEXT, Block, digest, insert, split_body
from app.bank.document.bullets import anatomy, day_of, utc
from app.bank.document.edits import EditRefused
from app.bank.document.layout import title_from
from app.bank.document.markdown import Document, Section, heading_of, parse
from app.bank.document.text import fold, hard_tokens, missing, stems
from app.bank.model.grounding import (
    OWN_WORDS,
    claimed_by,
    differ_in_language,
    invented,
    is_placeholder,
    source_of,
    ungrounded,
)
from app.bank.model.guard import as_struck, is_repeated, loss_of, unsaid
from app.bank.model.matching import called, fresh_of, is_struck, start_of
from app.bank.model.policy import Policy
from app.bank.model.proposals import (
    ADD_SECTION,
    APPEND,
    CREATE_FILE,
    DELETE_SECTION,
    PREPEND,
    REPLACE,
    SUPERSEDE,
)
from app.bank.model.sheets import Sheet, Sheets, checkpoint, roll_back
from app.bank.model.tracing import Job
from app.notes.models import Note

_SHOWN: Final = 60
_LISTED: Final = 8
_DONE: Final = re.compile(r"\s*\((?:done|closed|resolved|fait|terminée?)\b[^()]*\)\s*\Z", re.IGNORECASE)
_SPOKEN_OF: Final = 0.5
"""Share of the stems of a line that notes must hold to speak of the same."""
_BOX: Final = 12
"""Characters of an item within which its box stands."""


class Verbs:
    """The operations, on one version of a bank."""

    def __init__(self, sheets: Sheets, notes: Mapping[str, Note], policy: Policy) -> None:
        self._sheets = sheets
        self._notes = notes
        self._policy = policy
        self._folded: dict[str, str] = {}
        self._rules: str | None = None
        self._ruled: list[frozenset[str]] | None = None

    def do(self, job: Job) -> None:
        """Do what the operation says; it may leave the file half changed when it refuses."""
        op, sheet = job.op, job.sheet
        if job.point is None and op.op == CREATE_FILE:
            self._ground(job, (sheet.path, title_from(sheet.path)))
            sheet.replaced |= {id(section) for section in sheet.document.sections}
            job.record(CREATE_FILE, (), job.text)
            return
        if job.point is None:
            job.record(CREATE_FILE, (), "")
        if op.op == CREATE_FILE:
            self._ground(job, (sheet.path, title_from(sheet.path)))
            self._pour(job)
            return
        at = self._target(job)
        path = sheet.document.path(at)
        context = (sheet.path, *path)
        match op.op:
            case "append" | "prepend":
                self._ground(job, context)
                self._add(job, at, op.op, job.text)
            case "add_section":
                self._ground(job, (*context, sheet.document.sections[at].title))
                self._add_section(job, at if op.section_path else 0, job.title, job.text)
            case "supersede":
                self._supersede(job, at, context)
            case "replace":
                self._ground(job, (*context, sheet.document.sections[at].body))
                self._replace(job, at)
            case _:
                self._delete(job, at)

    def _target(self, job: Job) -> int:
        op, sheet = job.op, job.sheet
        found = sheet.find(op.section_path, op.seen)
        if len(found) == 1:
            return found[0]
        if found:
            raise EditRefused("ambiguous_target", f"{len(found)} sections of '{sheet.path}' have that title.")
        titles = [section.title for section in sheet.document.sections[1:]]
        raise EditRefused("unknown_target", f"'{sheet.path}' has no such section; {_list_of(titles, 'sections')}")

    def _ground(self, job: Job, context: Sequence[str], text: str | None = None) -> None:
        tokens = claimed_by(job.text if text is None else text)
        if job.op.op == ADD_SECTION:
            tokens |= claimed_by(f"# {job.title}\n")
        absent = ungrounded(tokens, (self._source(note_id) for note_id in job.op.sources))
        if absent:
            absent = ungrounded(absent, [fold("\n".join(context))])
        if absent:
            if self._rules is None:
                self._rules = fold(self._sheets.snapshot.rules)
            # Rules are full of small numbers, and none of them is what a note measured.
            named = frozenset(token for token in absent if not any(map(str.isdigit, token)))
            absent = (absent - named) | ungrounded(named, [self._rules])
        if absent:
            shown = ", ".join(f'"{token[:_SHOWN]}"' for token in sorted(absent)[:_LISTED])
            raise EditRefused("ungrounded", f"No note it cites says {shown}.")
        self._ground_prose(job, context, job.text if text is None else text)

    def _ground_prose(self, job: Job, context: Sequence[str], text: str) -> None:
        """Refuse a text with a sentence that nothing it rests on says."""
        cited = [self._notes[note_id] for note_id in job.op.sources]
        known = stems("\n".join(self._source(note.id) for note in cited)) | OWN_WORDS
        # Each piece of what was there before may be said again, and two cannot lend their words to a third.
        places = [stems(block.raw) for piece in context for block in split_body(piece) if block.kind != BLANK]
        known |= frozenset[str]().union(*(stems(name) for name in context if "\n" not in name))
        foreign = differ_in_language(text, "\n".join(note.content for note in cited))
        said = invented(text, known, places, foreign=foreign)
        if said and not foreign:
            # What the rules say of a file or a section may stand at its top.
            if self._ruled is None:
                self._ruled = [stems(line) for line in self._sheets.snapshot.rules.splitlines() if line.strip()]
            said = invented(text, known, [*places, *self._ruled])
        if said:
            start = " ".join(said.split())[:_SHOWN]
            raise EditRefused("ungrounded", f'No note it cites says "{start}"; say only what they say.')

    def _source(self, note_id: str) -> str:
        found = self._folded.get(note_id)
        if found is None:
            found = self._folded[note_id] = source_of(self._notes[note_id])
        return found

    def _add(self, job: Job, at: int, verb: str, text: str, *, struck_too: bool = False) -> None:
        """Append or prepend what the section does not say yet."""
        sheet = job.sheet
        fresh = _fresh(job, at, text, struck_too=struck_too)
        if not fresh:
            _checked(text)
            job.record("join", sheet.document.path(at), text)
            return
        (edits.prepend if verb == PREPEND else edits.append)(sheet.document, at, fresh)
        job.record(verb, sheet.document.path(at), fresh)

    def _add_section(self, job: Job, parent: int, title: str, text: str) -> None:
        sheet = job.sheet
        document = sheet.document
        heading = heading_of(f"# {title}")
        if heading is None:
            raise EditRefused("bad_shape", "It has no title.")
        title = heading[1]
        if len(document.sections) == 1 and document.is_open:
            raise EditRefused("structure", "The file ends in an open fence or comment.")
        before = checkpoint(sheet)
        at = edits.add_section(document, parent, title, text)
        if len(document.sections) == len(before.sections):
            # The section is there already, so it only takes what it does not say yet.
            roll_back(sheet, before)
            self._add(job, at, APPEND, text)
            return
        added = document.sections[at]
        inner = [level for level, _ in parse("\n" + text).outline()]
        if inner and min(inner) <= added.level:
            raise EditRefused("structure", f"A heading in the text must be below level {added.level}.")
        sheet.settle(at)
        sheet.replaced.add(id(added))
        job.record(ADD_SECTION, document.path(at), text)

    def _pour(self, job: Job) -> None:
        """Add what a file that exists was to be created with, section by section."""
        sheet = job.sheet
        poured = parse(job.text)
        if poured.is_open:
            raise EditRefused("structure", "The text leaves a fence or a comment open.")
        tops = [at for at, section in enumerate(poured.sections) if section.level == 1]
        if tops and tops != [1]:
            raise EditRefused("structure", f"'{sheet.path}' exists, and its text has several titles.")
        base = sheet.document.path(sheet.document.title_section())
        for number, section in enumerate(poured.sections):
            if section.level <= 1:
                if not is_placeholder(section.body):
                    self._add(job, sheet.document.title_section(), APPEND, section.body.strip("\r\n"))
                continue
            above = poured.path(number)[len(tops) : -1]
            found = sheet.find((*base, *above)) if above else [0]
            if len(found) != 1:
                raise EditRefused("ambiguous_target", f"It is not clear where in '{sheet.path}' this belongs.")
            self._add_section(job, found[0], section.title, section.body.strip("\r\n"))
        if not job.edits:
            job.record("join", base, job.text)

    def _supersede(self, job: Job, at: int, context: Sequence[str]) -> None:
        sheet, op = job.sheet, job.op
        document = sheet.document
        blocks = sheet.blocks(at)
        _checked(job.text)
        parts = split_body(job.text)
        # A sentence that stands in for an entry is an entry.
        text = f"- {' '.join(job.text.split())}" if [part.kind for part in parts] == [TEXT] else job.text
        if (done := _ticked(blocks, text)) is not None and not sheet.append_only:
            newest = self._newest(sheet, blocks[done])
            if newest is None or not _is_older(job.moment, newest):
                self._close(job, at, blocks, done, context)
                return
        own = {anatomy(block.raw).core for block in split_body(text) if block.kind == ITEM}
        found = called(blocks, job.title, own)
        if not found and not _fresh(job, at, text):
            self._ground(job, (*context, document.sections[at].body))
            job.record("join", document.path(at), text)
            return
        if not op.shown:
            raise EditRefused("unknown_target", "The section was not shown whole: append the new fact instead.")
        if len(found) != 1:
            starts = [start_of(block.raw) for block in blocks if block.kind == ITEM and anatomy(block.raw).is_live]
            code = "ambiguous_target" if found else "unknown_target"
            raise EditRefused(
                code, f"{len(found)} entries begin like '{job.title[:_SHOWN]}'; {_list_of(starts, 'entries')}"
            )
        self._strike_entry(job, at, blocks, found[0], text, context)

    def _strike_entry(
        self, job: Job, at: int, blocks: list[Block], place: int, text: str, context: Sequence[str]
    ) -> None:
        """Strike an entry and put the text above it; an entry newer than the text stays, and the text is struck."""
        sheet, document = job.sheet, job.sheet.document
        old = blocks[place]
        self._ground(job, (*context, old.raw))
        newest = self._newest(sheet, old)
        if newest is not None and _is_older(job.moment, newest):
            day = day_of(newest[0])
            late = [
                as_struck(block, "superseded", day) for block in split_body(text) if block.kind not in {BLANK, FENCE}
            ]
            fresh = _fresh(job, at, "".join(raw if raw.endswith("\n") else f"{raw}\n" for raw in late), struck_too=True)
            if not fresh:
                job.record("join", document.path(at), text)
                return
            if sheet.append_only:
                edits.append(document, at, fresh)
            else:
                self._insert(sheet, at, blocks, place + 1, fresh)
            job.record(SUPERSEDE, document.path(at), fresh)
            return
        if sheet.append_only:
            fresh = _fresh(job, at, text)
            if fresh:
                was = anatomy(old.raw).day or (day_of(newest[0]) if newest else "")
                fresh = _replacing(fresh, was)
                edits.append(document, at, fresh)
            job.record(SUPERSEDE if fresh else "join", document.path(at), fresh or text)
            return
        fresh = _fresh(job, at, text)
        before = digest(old.raw)
        old.raw = edits.struck(old.raw, "superseded", day_of(job.moment[0]))
        job.struck[before] = digest(old.raw)
        self._insert(sheet, at, blocks, place, fresh)
        job.record(SUPERSEDE, document.path(at), fresh or text)

    def _close(self, job: Job, at: int, blocks: list[Block], done: int, context: Sequence[str]) -> None:
        """Tick the box of a task that was written again as done."""
        old = blocks[done]
        self._ground(job, (*context, old.raw))
        before = digest(old.raw)
        old.raw = edits.ticked(old.raw, day_of(job.moment[0]))
        job.struck[before] = digest(old.raw)
        # It says what the closing note says, with its date.
        job.joined[digest(old.raw)] = old.raw
        document = job.sheet.document
        document.sections[at].body = "".join(block.raw for block in blocks)
        job.record("close", document.path(at), old.raw)

    def _insert(self, sheet: Sheet, at: int, blocks: list[Block], place: int, text: str) -> None:
        document = sheet.document
        section = document.sections[at]
        if text:
            lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
            added = split_body(document.newline.join(lines) + document.newline)
            edits.end_heading(document, section)
            insert(blocks, place, added, document.newline, heading=section.heading)
        section.body = "".join(block.raw for block in blocks)
        if at < len(document.sections) - 1 and section.body and not section.body.endswith(("\n", "\r")):
            section.body += document.newline

    def _newest(self, sheet: Sheet, block: Block) -> tuple[datetime, str] | None:
        """When the newest note that a block rests on was written; its date where nothing else is known."""
        known: list[tuple[datetime, str]] = []
        for note_id in sheet.sources.get(digest(block.raw), ()):
            if note := self._notes.get(note_id):
                known.append((utc(note.timestamp), note_id))
            elif filed := self._sheets.snapshot.refs.get(note_id):
                known.append((utc(filed.ts), note_id))
        if known:
            return max(known)
        day = anatomy(block.raw).day
        try:
            return (utc(datetime.fromisoformat(day)), "") if day else None
        except ValueError:
            return None

    def _replace(self, job: Job, at: int) -> None:
        sheet, op, policy = job.sheet, job.op, self._policy
        document = sheet.document
        section = document.sections[at]
        _checked(job.text)
        if not op.shown:
            raise EditRefused("unknown_target", "The section was not shown whole: append instead.")
        old = [block for block in sheet.blocks(at) if block.kind not in {BLANK, FRONT}]
        if not _fresh(job, at, job.text) and all(digest(block.raw) in job.joined or is_struck(block) for block in old):
            job.record("join", document.path(at), job.text)
            return
        if id(section) in sheet.replaced:
            raise EditRefused("duplicate_replace", "The section is replaced already in this batch.")
        if op.seen and sheet.seen(at) != op.seen:
            raise EditRefused("lossy", "The section has changed since it was shown: append instead.")
        before = checkpoint(sheet)
        is_stale = digest(section.body) != sheet.seen(at)
        removed = "".join(block.raw for block in old)
        edits.replace(document, at, job.text)
        loss = loss_of(removed, job.text, self._sheets, sheet)
        is_kept = not is_stale and loss.stems >= policy.kept_stems and loss.share <= policy.loss
        if is_kept:
            is_kept = self._put_back(job, at, old, loss.tokens)
        if not is_kept:
            roll_back(sheet, before)
            job.struck.clear()
            # What the old body said is not said anew: an entry that was struck since stays struck, and a piece of one
            # is nothing that the cited notes say.
            self._ground(job, (), _fresh(job, at, job.text, struck_too=True))
            self._add(job, at, APPEND, job.text, struck_too=True)
            job.joined.clear()
            return
        sheet.replaced.add(id(section))
        job.joined.clear()
        job.record(REPLACE, document.path(at), job.text)

    def _put_back(self, job: Job, at: int, old: list[Block], lost: frozenset[str]) -> bool:
        """Put back what the new text does not say again; False when nothing but appending keeps it.

        An entry that a cited note speaks of is struck. One that none speaks of was only left out, and stays as it was.
        """
        sheet = job.sheet
        # Something struck is over already: only what else is said nowhere brings it back.
        gone = {id(block) for block in unsaid(old, self._sheets, live=True, near=(sheet, at)) if not is_struck(block)}
        left = [block for block in old if id(block) in gone or missing(lost, fold(block.raw)) != lost]
        if not left:
            return True
        spoken = frozenset[str]().union(*(stems(self._notes[note_id].content) for note_id in job.op.sources))
        back: list[str] = []
        for block in left:
            if block.kind not in {ITEM, TEXT}:
                return False
            newest = self._newest(sheet, block)
            if newest is not None and _is_older(job.moment, newest):
                return False
            said = stems(block.raw)
            if len(said & spoken) < _SPOKEN_OF * len(said):
                back.append(block.raw)
                continue
            raw = as_struck(block, "superseded", day_of(job.moment[0]))
            job.struck[digest(block.raw)] = digest(raw)
            back.append(raw)
        try:
            for raw in back:
                edits.append(sheet.document, at, raw.strip("\r\n"))
        except EditRefused:
            return False
        here = self._sheets.folded_section(sheet.document.sections[at])
        return not self._sheets.missing(missing(lost, here), near=sheet.path)

    def _delete(self, job: Job, at: int) -> None:
        sheet, op = job.sheet, job.op
        document = sheet.document
        if not op.section_path or at == document.title_section():
            raise EditRefused("structure", "It names a file, not a section: files are not deleted.")
        if not op.shown:
            raise EditRefused("unknown_target", "The section was not shown whole.")
        if op.seen and sheet.seen(at) != op.seen:
            raise EditRefused("lossy", "The section has changed since it was shown.")
        path = document.path(at)
        blocks = [block for below in range(at, document.subtree_end(at)) for block in sheet.blocks(below)]
        removed = edits.delete_section(document, at)
        if not document.render().strip():
            raise EditRefused("lossy", "Nothing would be left of the file.")
        lost = self._sheets.missing(hard_tokens(removed), near=sheet.path)
        if lost or not is_repeated(blocks, self._sheets):
            shown = ", ".join(f'"{token[:_SHOWN]}"' for token in sorted(lost)[:_LISTED]) or "what it says"
            raise EditRefused("lossy", f"The bank would lose {shown}.")
        job.record(DELETE_SECTION, path, removed.strip())


def _fresh(job: Job, at: int, text: str, *, struck_too: bool = False) -> str:
    """What of the text the section does not say yet; the blocks that say the rest join the sources."""
    found = fresh_of(text, job.sheet.blocks(at), job.sheet.sources, job.op.sources, struck_too=struck_too)
    job.joined.update(found.joined)
    return found.text


def _checked(text: str) -> None:
    """Refuse text with headings, or that leaves something open."""
    edits.append(Document([Section(0, "", "", "")]), 0, text)


def _list_of(names: Sequence[str], what: str) -> str:
    if not names:
        return f"there are no {what}."
    shown = ", ".join(f'"{name[:_SHOWN]}"' for name in names[:_LISTED])
    return f"its {what}: {shown}{', …' if len(names) > _LISTED else '.'}"


def _ticked(blocks: Sequence[Block], text: str) -> int | None:
    """The one open task that the text says again with its box ticked."""
    items = [block for block in split_body(text) if block.kind == ITEM]
    if len(items) != 1 or "[x]" not in items[0].raw.partition("\n")[0].lower()[:_BOX]:
        return None
    said = anatomy(_DONE.sub("", items[0].raw)).core
    found = [
        number
        for number, block in enumerate(blocks)
        if block.kind == ITEM and "[ ]" in block.raw[:_BOX] and anatomy(block.raw).core == said
    ]
    return found[0] if len(found) == 1 else None


def _is_older(moment: tuple[datetime, str], newest: tuple[datetime, str]) -> bool:
    """Is the moment before the other one? Where only a day is known, the day decides."""
    if not newest[1]:
        return day_of(moment[0]) < day_of(newest[0])
    return moment[0] < newest[0]


def _replacing(text: str, day: str) -> str:
    head, newline, rest = text.partition("\n")
    return (
        f"{head.rstrip()} (replaces {day}){newline}{rest}"
        if day
        else f"{head.rstrip()} (replaces an earlier entry){newline}{rest}"
    )
