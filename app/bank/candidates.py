"""Which entries of the bank a note may repeat, replace or close; found without looking at all of them."""

import math
import zlib
from collections.abc import Iterator
from typing import Final

from app.bank.blocks import ITEM
from app.bank.bullets import STATES, Bullet
from app.bank.pages import Entry, Pages, Shelf
from app.bank.text import fold, missing, words
from app.notes.models import Category

ALIKE: Final = 0.85
"""Share of common stems from which two bullets of equal hard tokens say the same."""
CLOSED: Final = 0.75
"""Share of a task's stems that a progress note must hold to close it."""
TASKS: Final = frozenset({Category.TODO.value, Category.ISSUE.value})
_FEWEST_STEMS: Final = 3
_FEWEST_TASK_STEMS: Final = 2
_UNFINISHED: Final = words("""
    wip start started starting begin began begun working ongoing still partial partially blocked planning investigating
    not no never cannot trying failed commence commencee debut encore partiel partiellement bloque pas jamais cours
    echec reste
    """)

NearKey = tuple[frozenset[str], object]


def _ranked(stems: frozenset[str]) -> list[str]:
    """The stems in one order for every text, unlike the alphabet so that no stem is always first."""
    return sorted(stems, key=lambda stem: (zlib.crc32(stem.encode()), stem))


def near_keys(bullet: Bullet) -> Iterator[NearKey]:
    """Keys of which two bullets share one if they have equal hard tokens and are alike.

    Two sets whose common part is `ALIKE` of their union share one of their first few elements in any fixed order.
    """
    stems = bullet.print.stems
    if len(stems) < _FEWEST_STEMS:
        return
    for stem in _ranked(stems)[: len(stems) - math.ceil(ALIKE * len(stems)) + 1]:
        yield bullet.print.hard, stem


class Duplicates:
    """The live items of one section, by what they say."""

    def __init__(self, pages: Pages, shelf: Shelf) -> None:
        self._equal: dict[str, dict[tuple[str, str], Entry]] = {}
        self._near: dict[NearKey, dict[tuple[str, str], Entry]] = {}
        for block in shelf.blocks:
            if block.kind == ITEM and (entry := pages.entry_of(block)):
                self.add(entry)

    def add(self, entry: Entry) -> None:
        bullet = entry.bullet
        if not bullet.is_live:
            return
        self._equal.setdefault(bullet.core, {})[entry.order] = entry
        for key in near_keys(bullet):
            self._near.setdefault(key, {})[entry.order] = entry

    def of(self, bullet: Bullet) -> Iterator[Entry]:
        """The live entries that say the same, the equal ones first."""
        equal = self._equal.get(bullet.core, {})
        yield from (entry for _, entry in sorted(equal.items()) if entry.bullet.is_live)
        alike: dict[tuple[str, str], tuple[float, Entry]] = {}
        for key in near_keys(bullet):
            for order, entry in self._near.get(key, {}).items():
                likeness = _likeness(bullet, entry.bullet)
                if likeness >= ALIKE and order not in equal and entry.order == order and entry.bullet.is_live:
                    alike[order] = (likeness, entry)
        yield from (entry for _, (_, entry) in sorted(alike.items(), key=lambda item: (-item[1][0], item[0])))


def _likeness(one: Bullet, other: Bullet) -> float:
    """Share of common stems; nothing when the order of words or a negation tells the two apart."""
    mine, theirs = one.print.stems, other.print.stems
    if min(len(mine), len(theirs)) < ALIKE * max(len(mine), len(theirs)):
        return 0.0
    common = mine & theirs
    share = len(common) / (len(mine) + len(theirs) - len(common))
    if share < ALIKE or one.negations != other.negations:
        return 0.0
    if one.fact is not None and other.fact is not None and one.fact.value != other.fact.value:
        return 0.0
    in_order = [stem for stem in one.sequence if stem in common] == [stem for stem in other.sequence if stem in common]
    return share if in_order else 0.0


class Facts:
    """The live entries that state a fact, by their subject; only those whose time is known."""

    def __init__(self) -> None:
        self._by_subject: dict[frozenset[str], dict[tuple[str, str], Entry]] = {}

    def add(self, entry: Entry) -> None:
        bullet = entry.bullet
        if bullet.fact is None or not _states(entry):
            return
        group = self._by_subject.setdefault(bullet.fact.subject, {})
        group[entry.order] = entry
        if entry.page.append_only:
            # Nothing is struck there, so only the newest can be current; the others would only grow in number.
            journal = sorted((other for other in group.values() if other.page.append_only), key=_age)
            for older in journal[:-1]:
                del group[older.order]

    def remove(self, entry: Entry, order: tuple[str, str]) -> None:
        if entry.bullet.fact is not None:
            self._by_subject.get(entry.bullet.fact.subject, {}).pop(order, None)

    def about(self, subject: frozenset[str]) -> list[Entry]:
        """Oldest first."""
        return sorted(self._by_subject.get(subject, {}).values(), key=_age)


def _states(entry: Entry) -> bool:
    known = entry.newest is not None and not STATES.isdisjoint(entry.categories)
    return known and entry.is_item and entry.bullet.is_live and not entry.page.protected


def _age(entry: Entry) -> tuple[object, tuple[str, str]]:
    return entry.newest, entry.order


class Tasks:
    """The open todos and issues, by a few of the words a note must hold to close them."""

    def __init__(self) -> None:
        self._by_token: dict[str, dict[tuple[str, str], Entry]] = {}

    def add(self, entry: Entry) -> None:
        if is_open_task(entry) and not entry.page.append_only and not entry.page.protected:
            for token in _task_keys(entry.bullet):
                self._by_token.setdefault(token, {})[entry.order] = entry

    def remove(self, entry: Entry, order: tuple[str, str]) -> None:
        for token in _task_keys(entry.bullet):
            self._by_token.get(token, {}).pop(order, None)

    def closed_by(self, bullet: Bullet) -> list[Entry]:
        """The tasks that a progress note says are done."""
        folded = fold(bullet.core)
        if not _UNFINISHED.isdisjoint(folded.split()):
            return []
        found: dict[tuple[str, str], Entry] = {}
        for token in [*bullet.print.hard, *bullet.print.stems]:
            for order, entry in self._by_token.get(token, {}).items():
                if order not in found and _does(bullet, folded, entry.bullet):
                    found[order] = entry
        return [entry for _, entry in sorted(found.items())]


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
    return _ranked(stems)[: len(stems) - math.ceil(CLOSED * len(stems)) + 1]


def _does(note: Bullet, folded: str, task: Bullet) -> bool:
    stems = task.print.stems
    return len(stems & note.print.stems) >= CLOSED * len(stems) and not missing(task.print.hard, folded)
