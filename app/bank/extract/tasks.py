"""Which tasks and questions a note closes; found without looking at all of them."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from app.bank.document.bullets import Bullet
from app.bank.document.changes import asks_why, begins_as_answer, closed_references, gives_reason, named
from app.bank.document.text import fold, missing, words
from app.bank.extract.candidates import ranked
from app.bank.extract.pages import Entry
from app.notes.models import Category

CLOSED: Final = 0.75
"""Share of a task's stems that a progress note must hold to close it."""
ANSWERED: Final = 0.75
"""Share of a question's stems that a note must hold to answer it."""
TASKS: Final = frozenset({Category.TODO.value, Category.ISSUE.value})
_FEWEST_STEMS: Final = 3
_FEWEST_TASK_STEMS: Final = 2
_REPAIRS: Final = words("fix resolve solve repair close correct corriger resoudre reparer fermer clore regler")
_AFTERWARDS: Final = words("""
    write add test document announce tell ask verify check monitor release deploy backport review port update watch
    rediger ecrire ajouter tester documenter annoncer dire demander verifier surveiller deployer livrer relire reporter
    """)
"""What is done about an issue that was fixed: a fix does not do it."""
_UNFINISHED: Final = words("""
    wip start started starting begin began begun working ongoing still partial partially blocked planning investigating
    not no never cannot trying failed commence commencee debut encore partiel partiellement bloque pas jamais cours
    echec reste
    """)
_UNKNOWN: Final = words("""
    unknown unclear undecided open maybe perhaps depends investigating wonder asked ask postponed later inconnu flou
    indecis ouverte peut-etre depend demande reporte tard
    """)
"""In a note that does not answer."""
_INVERSION: Final = re.compile(r"\w+-(?:t-)?(?:il|elle|on|ils|elles|nous|vous|je|tu|ce)")
"""A verb before its pronoun: French asks so, and answers otherwise."""


class Questions:
    """The open questions, by the rarest of their words."""

    def __init__(self) -> None:
        self._by_stem: dict[str, dict[tuple[str, str], Entry]] = {}
        self._by_number: dict[str, dict[tuple[str, str], Entry]] = {}

    def add(self, entry: Entry) -> None:
        if not _is_open_question(entry) or entry.page.append_only or entry.page.protected:
            return
        for index, key in self._places(entry.bullet):
            index.setdefault(key, {})[entry.order] = entry

    def remove(self, entry: Entry, order: tuple[str, str]) -> None:
        for index, key in self._places(entry.bullet):
            index.get(key, {}).pop(order, None)

    def _places(self, question: Bullet) -> Iterator[tuple[dict[str, dict[tuple[str, str], Entry]], str]]:
        yield from ((self._by_number, number) for number in question.cites)
        stems = question.print.stems
        if len(stems) >= (_FEWEST_TASK_STEMS if question.print.hard else _FEWEST_STEMS):
            for stem in ranked(stems)[: len(stems) - math.ceil(ANSWERED * len(stems)) + 1]:
                yield self._by_stem, stem

    def answered_by(self, note: Bullet, *, decides: bool) -> list[Entry]:
        """The questions that a note answers: a decision by what it decides, others only where they say so."""
        folded = fold(note.core)
        if "?" in folded or not _UNKNOWN.isdisjoint(folded.split()):
            return []
        says_so = begins_as_answer(note.core)
        found: dict[tuple[str, str], Entry] = {}
        for number in note.cites if says_so else ():
            asked = self._by_number.get(number, {})
            if len(asked) == 1:
                found |= asked
        for stem in note.print.stems:
            for order, entry in self._by_stem.get(stem, {}).items():
                question = entry.bullet
                clear = says_so or (gives_reason(folded) if asks_why(question.core) else decides)
                if clear and order not in found and _holds(note, folded, question, ANSWERED, but=_INVERSION):
                    found[order] = entry
        return [entry for _, entry in sorted(found.items())]


def _is_open_question(entry: Entry) -> bool:
    known = entry.newest is not None and entry.categories == {Category.QUESTION.value}
    return known and entry.is_item and entry.bullet.is_live


class Tasks:
    """The open todos and issues, by a few of the words a note must hold to close them."""

    def __init__(self) -> None:
        self._by_token: dict[str, dict[tuple[str, str], Entry]] = {}
        self._by_number: dict[str, dict[tuple[str, str], Entry]] = {}

    def add(self, entry: Entry) -> None:
        if is_open_task(entry) and not entry.page.append_only and not entry.page.protected:
            for token in _task_keys(entry.bullet):
                self._by_token.setdefault(token, {})[entry.order] = entry
            for number in entry.bullet.cites:
                self._by_number.setdefault(number, {})[entry.order] = entry

    def remove(self, entry: Entry, order: tuple[str, str]) -> None:
        for token in _task_keys(entry.bullet):
            self._by_token.get(token, {}).pop(order, None)
        for number in entry.bullet.cites:
            self._by_number.get(number, {}).pop(order, None)

    def closed_by(self, bullet: Bullet) -> list[Entry]:
        """The tasks that a progress note says are done."""
        folded = fold(bullet.core)
        if not _UNFINISHED.isdisjoint(folded.split()):
            return []
        found = self._fixed(closed_references(bullet.core))
        for token in [*bullet.print.hard, *bullet.print.stems]:
            for order, entry in self._by_token.get(token, {}).items():
                if order not in found and _holds(bullet, folded, entry.bullet, CLOSED):
                    found[order] = entry
        return [entry for _, entry in sorted(found.items())]

    def _fixed(self, numbers: Iterable[str]) -> dict[tuple[str, str], Entry]:
        """The tasks that are nothing but what these numbers name."""
        closed = frozenset(numbers)
        citing = {order: entry for number in closed for order, entry in self._by_number.get(number, {}).items()}
        whole = {order: entry for order, entry in citing.items() if entry.bullet.cites <= closed}
        issues = {order: entry for order, entry in whole.items() if Category.ISSUE.value in entry.categories}
        todos = {order: entry for order, entry in whole.items() if order not in issues}
        repairs = {order: entry for order, entry in todos.items() if _begins_with(entry.bullet, _REPAIRS)}
        if not issues and not repairs and len(todos) == 1:
            # Nothing else carries the number, so the todo is the thing itself, unless it comes after the fix.
            repairs = {order: entry for order, entry in todos.items() if not _begins_with(entry.bullet, _AFTERWARDS)}
        return issues | repairs


def _begins_with(task: Bullet, verbs: frozenset[str]) -> bool:
    spoken = named(task.core)
    return bool(spoken) and spoken[0] in verbs


def is_open_task(entry: Entry) -> bool:
    """Is it a todo or an issue that nobody has closed?"""
    return (
        entry.is_item and entry.newest is not None and not TASKS.isdisjoint(entry.categories) and entry.bullet.is_live
    )


def _task_keys(task: Bullet) -> list[str]:
    stems = task.print.stems
    if len(stems) < (_FEWEST_TASK_STEMS if task.print.hard else _FEWEST_STEMS):
        return []
    if task.print.hard:
        return [max(task.print.hard, key=lambda token: (len(token), token))]
    return ranked(stems)[: len(stems) - math.ceil(CLOSED * len(stems)) + 1]


def _holds(note: Bullet, folded: str, other: Bullet, share: float, *, but: re.Pattern[str] | None = None) -> bool:
    """Does a note hold so much of another's stems, and all its hard tokens but those of some shape?"""
    stems = other.print.stems
    hard = frozenset(token for token in other.print.hard if but is None or not but.fullmatch(token))
    return len(stems & note.print.stems) >= share * len(stems) and not missing(hard, folded)
