"""Which entries of the bank a note may repeat or replace; found without looking at all of them."""

import math
import zlib
from collections.abc import Iterator
from typing import Final

from app.bank.document.blocks import ITEM
from app.bank.document.bullets import STATES, Bullet
from app.bank.document.changes import Change, is_name
from app.bank.extract.pages import Entry, Pages, Shelf

ALIKE: Final = 0.85
"""Share of common stems from which two bullets of equal hard tokens say the same."""
_FEWEST_STEMS: Final = 3
_NAMED: Final = 2
"""Words from which a subject is named well enough to be known again by them alone."""

NearKey = tuple[frozenset[str], object]


def ranked(stems: frozenset[str]) -> list[str]:
    """The stems in one order for every text, unlike the alphabet so that no stem is always first."""
    return sorted(stems, key=lambda stem: (zlib.crc32(stem.encode()), stem))


def near_keys(bullet: Bullet) -> Iterator[NearKey]:
    """Keys of which two bullets share one if they have equal hard tokens and are alike.

    Two sets whose common part is `ALIKE` of their union share one of their first few elements in any fixed order.
    """
    stems = bullet.print.stems
    if len(stems) < _FEWEST_STEMS:
        return
    for stem in ranked(stems)[: len(stems) - math.ceil(ALIKE * len(stems)) + 1]:
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


class Statements:
    """The live entries that say what is so, by the value: what a change from that value may strike."""

    def __init__(self) -> None:
        self._by_value: dict[str, dict[tuple[str, str], Entry]] = {}

    def add(self, entry: Entry) -> None:
        if _states(entry) and not entry.page.append_only and (value := _value(entry.bullet)):
            self._by_value.setdefault(value, {})[entry.order] = entry

    def remove(self, entry: Entry, order: tuple[str, str]) -> None:
        self._by_value.get(_value(entry.bullet), {}).pop(order, None)

    def ended_by(self, change: Change) -> list[Entry]:
        """The entries that a change makes untrue; none when they may be about different things."""
        fitting: dict[tuple[frozenset[str], frozenset[str]], list[Entry]] = {}
        for _, entry in sorted(self._by_value.get(change.old, {}).items()):
            if _is_about(entry.bullet, change):
                fitting.setdefault(_topic(entry.bullet), []).append(entry)
        exact = fitting.get((change.subject, frozenset()))
        if change.subject and exact is not None:
            return exact
        return next(iter(fitting.values())) if len(fitting) == 1 else []


def _value(bullet: Bullet) -> str:
    """What an entry says is so, whatever it is said of; nothing where it does not say just that."""
    if bullet.change is not None:
        return bullet.change.new
    if bullet.stated is not None:
        return bullet.stated.value
    return bullet.choice.value if bullet.choice is not None else ""


def _topic(bullet: Bullet) -> tuple[frozenset[str], frozenset[str]]:
    """Of what an entry says it: the subject, and where that holds."""
    if bullet.change is not None:
        return bullet.change.subject, bullet.change.scope
    if bullet.stated is not None:
        return bullet.stated.subject, frozenset()
    return frozenset(), bullet.choice.scope if bullet.choice is not None else frozenset()


def _is_about(bullet: Bullet, change: Change) -> bool:
    """Can the entry be what the change ends? Many things may be `30 s`, few are called PostgreSQL."""
    subject, scope = _topic(bullet)
    known = subject | scope
    if change.subject and change.subject == subject and change.scope <= known:
        return True
    if not change.subject | change.scope <= known and known:
        return False
    return is_name(change.old) or len(change.subject) >= _NAMED
