"""How a good author files notes: where each belongs, and what is new, done or said already."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.cli.fake_reading import Bullet, Fact, Note, Reading, Section, bare, fact_of, same, stems

Json = dict[str, Any]

_DONE: Final = 0.75
"""Share of a task's words that a report must hold to close it."""
_LONGEST_SAID: Final = 160
_SAID: Final = 5
_UNSAFE_LINE: Final = re.compile(r"\s*(?:#|`{3}|~{3}|<!--|\||---|===|[-*+] |\d+[.)] )")


def numbered(text: str) -> frozenset[str]:
    """The words that hold a number: a report on another one is about another task."""
    return frozenset(word.casefold().strip(".-") for word in re.findall(r"[\w.-]*\d[\w.-]*", text))


def tells_of(report: str, task: str) -> bool:
    """Does a report tell that a task is done, as far as its words show?"""
    wanted = stems(task)
    if not numbered(task) <= numbered(report):
        return False
    return bool(wanted) and len(wanted & stems(report)) >= _DONE * len(wanted)


@dataclass(frozen=True, slots=True)
class Understanding:
    """What an author makes of the sentences it reads."""

    fact: Callable[[str], Fact | None] = fact_of
    """The fact that a text states, in whatever words; None when it states none."""
    closes: Callable[[str, str], bool] = tells_of
    """Whether a report tells that a task is done."""


LITERAL: Final = Understanding()
"""Understands `subject is value`, and a task by its words."""


def nothing() -> Json:
    """An answer that does nothing."""
    return {"ops": [], "skipped": [], "synthesis": ""}


def an_op(verb: str, at: str, text: str, sources: Iterable[str], title: str = "", reason: str = "as noted") -> Json:
    """An operation of an answer."""
    return {"op": verb, "at": at, "title": title, "text": text, "sources": list(sources), "reason": reason}


class Filing:
    """Makes the answer to one turn."""

    def __init__(self, reading: Reading, understood: Understanding = LITERAL) -> None:
        self._reading = reading
        self._understood = understood
        self._answer = nothing()
        self._bullets = [
            bullet for one in reading.sections if one.is_shown for bullet in one.bullets() if bullet.is_live
        ]
        self._said: dict[tuple[str, str], str] = {}
        """Category and text of the notes filed so far, then the handle."""
        self._values: dict[frozenset[str], tuple[str, str]] = {}
        """Subject, then its latest value among the notes filed so far, and the handle."""

    def file(self, notes: Sequence[Note]) -> Json:
        """Operations for these notes."""
        replaced = self._replaced(self._reading.notes)
        closed = self._closed(self._reading.notes)
        for note in notes:
            self._note(note, replaced.get(note.handle), closed.get(note.handle))
        told = [note.text for note in notes if 0 < len(note.text) <= _LONGEST_SAID]
        self._answer["synthesis"] = "\n".join(f"- {text}" for text in told[-_SAID:])
        return self._answer

    def _note(self, note: Note, newer: Note | None, report: Note | None) -> None:
        if not re.search(r"\w", note.text):
            self._answer["skipped"].append({"note": note.handle, "why": "empty", "same_as": ""})
            return
        path, title = self._place(note)
        section = self._reading.section(path, title)
        fact = self._fact(note)
        is_again = self._reading.asked is not None
        if not is_again and (twin := self._twin(note, fact, section)):
            self._answer["skipped"].append({"note": note.handle, "why": "duplicate", "same_as": twin})
            return
        self._said.setdefault((note.category, same(note.text)), note.handle)
        if fact is not None:
            self._values[fact.subject] = (fact.value, note.handle)
        old = self._outdated(fact)
        if report is not None:
            text = f"- [x] {_entry(note)} (done {report.day})"
            self._put(path, title, section, text, [note.handle, report.handle])
        elif newer is not None and (is_again or (section is None and old is None)):
            # What is not there yet has no handle, so the older value is written as it will end.
            text = f"- ~~{note.day} {note.text}~~ (superseded {newer.day})"
            self._put(path, title, section, text, [note.handle, newer.handle])
        elif old is not None:
            self._bullets.remove(old)
            text = f"- {_entry(note)}"
            self._answer["ops"].append(an_op("supersede", old.section, text, [note.handle], old.start, "a new value"))
            self._remember(note, old.section)
        else:
            if not is_again and note.category == "progress":
                self._close(note)
            box = "[ ] " if note.category == "todo" else ""
            text = f"- {box}{note.day} {note.text}" if is_again else f"- {box}{_entry(note)}"
            self._put(path, title, section, text, [note.handle])
            if section is not None and section.is_shown:
                self._remember(note, section.handle)

    def _remember(self, note: Note, section: str) -> None:
        """An entry of this answer can be superseded by a later operation of it."""
        start = _entry(note).split("\n")[0]
        self._bullets.append(Bullet(section, start, note.day, note.text, is_live=True, is_task=False))

    def _place(self, note: Note) -> tuple[str, str]:
        places = self._reading.places
        return places.get(note.category) or places.get("observation") or ("notes.md", "Notes")

    def _fact(self, note: Note) -> Fact | None:
        return self._understood.fact(note.text) if note.category in {"observation", "decision", "insight"} else None

    def _twin(self, note: Note, fact: Fact | None, section: Section | None) -> str:
        """The handle of a note, or the words of an entry, that says the same."""
        if handle := self._said.get((note.category, same(note.text))):
            return handle
        if fact is not None:
            value, handle = self._values.get(fact.subject, ("", ""))
            if handle:
                return handle if value == fact.value else ""
            for bullet in self._bullets:
                if self._understood.fact(bullet.text) == fact:
                    return bullet.start
            return ""
        return next(
            (
                bullet.start
                for bullet in self._bullets
                if section is not None and bullet.section == section.handle and same(bullet.text) == same(note.text)
            ),
            "",
        )

    def _outdated(self, fact: Fact | None) -> Bullet | None:
        if fact is None:
            return None
        for bullet in self._bullets:
            other = self._understood.fact(bullet.text)
            if other is not None and other.subject == fact.subject and other.value != fact.value:
                return bullet
        return None

    def _close(self, report: Note) -> None:
        for bullet in self._bullets.copy():
            if bullet.is_task and self._understood.closes(report.text, bullet.text):
                self._bullets.remove(bullet)
                text = f"- [x] {report.day} {report.text}"
                self._answer["ops"].append(
                    an_op("supersede", bullet.section, text, [report.handle], bullet.start, "it is done")
                )

    def _put(self, path: str, title: str, section: Section | None, text: str, sources: list[str]) -> None:
        file = self._reading.files.get(path.casefold())
        if section is not None:
            self._answer["ops"].append(an_op("append", section.handle, text, sources))
        elif file is not None:
            self._answer["ops"].append(an_op("add_section", file, text, sources, title))
        else:
            # Each entry cites its own notes: what the file has by then is added to.
            whole = text if _names(path, title) else f"## {title}\n\n{text}"
            self._answer["ops"].append(an_op("create_file", "", whole, sources, path, "the rules name this file"))

    def _replaced(self, notes: Sequence[Note]) -> dict[str, Note]:
        """Notes to which a later one of the batch gives another value."""
        last: dict[frozenset[str], tuple[Note, str]] = {}
        found: dict[str, Note] = {}
        for note in notes:
            fact = self._fact(note)
            if fact is None:
                continue
            before = last.get(fact.subject)
            if before is not None and before[1] != fact.value:
                found[before[0].handle] = note
            if before is None or before[1] != fact.value:
                last[fact.subject] = (note, fact.value)
        return found

    def _closed(self, notes: Sequence[Note]) -> dict[str, Note]:
        """Tasks that a later note of the batch reports as done."""
        return {
            task.handle: report
            for number, task in enumerate(notes)
            if task.category == "todo"
            for report in reversed(notes[number + 1 :])
            if report.category == "progress" and self._understood.closes(report.text, task.text)
        }


def _names(path: str, title: str) -> bool:
    """Does the name of a file say what the title of the section does? Then the file has no such section."""
    return bare(path.rpartition("/")[2].rpartition(".")[0]) == bare(title)


def _entry(note: Note) -> str:
    """The note as one list item, its lines kept unless they would change what is around it."""
    lines = [line.rstrip() for line in note.lines if line.strip()]
    if any(_UNSAFE_LINE.match(line) for line in lines[1:]) or "<!--" in note.text or "```" in note.text:
        return f"{note.day} {note.text}"
    return f"{note.day} " + "\n".join([lines[0].strip(), *(f"  {line.strip()}" for line in lines[1:])])
