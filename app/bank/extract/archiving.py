"""Keeps files within the limits of the rules: what is over moves to `archive/`, month by month, and nothing is lost."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from app.bank.document.blocks import BLANK, ITEM, MARKER, Block, digest, split_body, would_absorb
from app.bank.document.bullets import anatomy, day_of
from app.bank.document.edits import AppliedEdit, EditRefused, Plan, add_section, append, new_file
from app.bank.document.layout import ARCHIVE, FileRule, Layout, is_archive, title_from
from app.bank.document.markdown import Document, parse
from app.bank.document.provenance import Sources, blocks_of
from app.bank.extract.pages import Filed
from app.bank.extract.synthesis import synthesis_of

RESTS: Final = timedelta(days=30)
"""How long a struck line stays where it was: so long somebody may still wonder where the value has gone."""
_LONGEST_STEM: Final = 48
_OVER: Final = re.compile(r"\((?:superseded|resolved|answered|done|replaced) (?P<day>\d{4}-\d\d-\d\d)\)\s*(?:\n|\Z)")

Provenance = Mapping[str, Sources]


@dataclass(frozen=True, slots=True)
class _Movable:
    """A list item that may leave its file."""

    section: int
    at: int
    block: Block
    day: str
    """The day it was written."""

    @property
    def place(self) -> tuple[int, int]:
        return self.section, self.at

    @property
    def age(self) -> tuple[str, int, int]:
        return self.day, *self.place


def archived(
    files: Mapping[str, str],
    provenance: Provenance,
    refs: Mapping[str, Filed],
    layout: Layout,
    today: date,
) -> Plan:
    """The plan that brings every file to its limit as far as it goes; without anything to move it changes nothing.

    Lines struck more than 30 days ago and finished tasks leave first. An append-only journal gives up its oldest
    months, and of the present one its oldest entries. Whatever is current stays, so a file may remain too long.
    """
    bank = dict(files)
    sources = {path: dict(blocks) for path, blocks in provenance.items()}
    edits: list[AppliedEdit] = []
    for path in sorted(files):
        rule = layout.rule_of(path)
        if rule is None or rule.limit is None or rule.protected or is_archive(path):
            continue
        moved = _Mover(path, rule.limit, bank, sources, refs).moved(rule, today)
        if moved is not None:
            bank, sources = moved.files, moved.provenance
            edits += moved.edits
    changed = {path: content for path, content in sorted(bank.items()) if files.get(path) != content}
    return Plan(
        files=changed,
        provenance={path: {name: list(ids) for name, ids in blocks.items()} for path, blocks in sources.items()},
        edits=tuple(edits),
        filed=(),
        synthesis=synthesis_of(bank, sources, refs, layout) if changed else "",
    )


def with_archive(plan: Plan, files: Mapping[str, str], refs: Mapping[str, Filed], layout: Layout, today: date) -> Plan:
    """A plan made for these files, and then every file of the result brought to its limit; one commit does both."""
    second = archived({**files, **plan.files}, plan.provenance, refs, layout, today)
    if not second.files:
        return plan
    return Plan(
        files={**plan.files, **second.files},
        provenance=second.provenance,
        edits=plan.edits + second.edits,
        filed=plan.filed,
        synthesis=second.synthesis,
    )


@dataclass(frozen=True, slots=True)
class _Moved:
    files: dict[str, str]
    provenance: dict[str, dict[str, Sequence[str]]]
    edits: list[AppliedEdit]


class _Mover:
    """Moves items out of one file."""

    def __init__(
        self,
        path: str,
        limit: int,
        files: Mapping[str, str],
        provenance: Mapping[str, Mapping[str, Sequence[str]]],
        refs: Mapping[str, Filed],
    ) -> None:
        self._path = path
        self._limit = limit
        self._files = files
        self._provenance = provenance
        self._refs = refs
        self._document = parse(files[path])
        self._blocks = [
            split_body(section.body, 0 if number else self._document.front)
            for number, section in enumerate(self._document.sections)
        ]

    def moved(self, rule: FileRule, today: date) -> _Moved | None:
        """The bank without what had to leave the file; None when nothing can, or not safely."""
        excess = len(self._files[self._path].encode()) - self._limit
        if excess <= 0:
            return None
        items = list(self._items())
        if rule.append_only:
            chosen = _oldest(items, excess, today)
        else:
            chosen = [item for item in items if _is_over(item.block, today)]
        if not chosen:
            return None
        try:
            return self._move(chosen)
        except EditRefused:
            return None

    def _items(self) -> Iterator[_Movable]:
        for section, blocks in enumerate(self._blocks):
            for at, block in enumerate(blocks):
                if _stands_alone(block) and (day := self._day(block)):
                    yield _Movable(section, at, block, day)

    def _day(self, block: Block) -> str:
        """The day an item begins with, or that of its newest note; nothing when nobody can tell."""
        if day := anatomy(block.raw).day:
            return day if _as_date(day) else ""
        ids = self._provenance.get(self._path, {}).get(digest(block.raw), ())
        return max((day_of(self._refs[one].ts) for one in ids if one in self._refs), default="")

    def _move(self, chosen: Sequence[_Movable]) -> _Moved | None:
        files = dict(self._files)
        provenance = {path: dict(blocks) for path, blocks in self._provenance.items()}
        files[self._path] = self._without({item.place for item in chosen})
        edits: list[AppliedEdit] = []
        groups: dict[tuple[str, int], list[_Movable]] = {}
        for item in sorted(chosen, key=lambda item: item.age):
            groups.setdefault((archive_path(self._path, item.day), item.section), []).append(item)
        for (target, section), items in sorted(groups.items()):
            document = (
                parse(files[target]) if target in files else new_file(f"{title_from(self._path)} {items[0].day[:7]}")
            )
            titles = self._document.path(section)
            # What stands under the title of the file itself goes under that of the archive.
            title = "" if section == self._document.title_section() or not titles else titles[-1]
            _put(document, title, "".join(_plain_lines(item.block.raw) for item in items))
            files[target] = document.render()
            for item in items:
                name = digest(item.block.raw)
                ids = provenance.get(self._path, {}).get(name, ())
                known = provenance.setdefault(target, {})
                known[name] = sorted({*known.get(name, ()), *ids})
                edits.append(AppliedEdit("archive", target, titles, item.block.raw.rstrip("\r\n"), tuple(sorted(ids))))
        left = {placed.digest for placed in blocks_of(files[self._path])}
        provenance[self._path] = {n: ids for n, ids in provenance.get(self._path, {}).items() if n in left}
        kept = {path: {n: ids for n, ids in blocks.items() if ids} for path, blocks in provenance.items()}
        after = _Moved(files, {path: blocks for path, blocks in kept.items() if blocks}, edits)
        return after if self._is_whole(after, {self._path, *(target for target, _ in groups)}) else None

    def _without(self, places: set[tuple[int, int]]) -> str:
        parts = []
        for section, blocks in enumerate(self._blocks):
            kept: list[Block] = []
            removed = False
            for at, block in enumerate(blocks):
                if (section, at) in places:
                    removed = True
                    continue
                if removed and block.kind == BLANK and (not kept or kept[-1].kind == BLANK):
                    continue
                removed = removed and block.kind == BLANK
                kept.append(block)
            parts.append(self._document.sections[section].heading + "".join(block.raw for block in kept))
        return "".join(parts)

    def _is_whole(self, after: _Moved, touched: AbstractSet[str]) -> bool:
        """Is every block still there as often as before, and the structure of the file what it was?"""
        before = Counter(placed.digest for path in touched for placed in blocks_of(self._files.get(path, "")))
        now = Counter(placed.digest for path in touched for placed in blocks_of(after.files[path]))
        return before == now and parse(after.files[self._path]).outline() == self._document.outline()


def archive_path(path: str, day: str) -> str:
    """Where what a file said on that day is put: `archive/progress-2026-03.md`."""
    stem = re.sub(r"\.md\Z", "", path.replace("/", "-"), flags=re.IGNORECASE)
    return f"{ARCHIVE}{stem[:_LONGEST_STEM]}-{day[:7]}.md"


def _oldest(items: Sequence[_Movable], excess: int, today: date) -> list[_Movable]:
    """The oldest entries of a journal: whole months as long as there are older ones, and never the newest entry."""
    ordered = sorted(items, key=lambda item: item.age)
    present = f"{today:%Y-%m}"
    chosen: list[_Movable] = []
    for number, item in enumerate(ordered[:-1]):
        month = item.day[:7]
        begins = not number or ordered[number - 1].day[:7] != month
        if excess <= 0 and (begins or month >= present):
            break
        chosen.append(item)
        excess -= len(item.block.raw.encode())
    return chosen


def _is_over(block: Block, today: date) -> bool:
    """Is the item a finished task, or was it struck long ago?"""
    bullet = anatomy(block.raw)
    if bullet.is_live:
        return False
    if re.match(r"\[[xX]\] ", " ".join(MARKER.sub("", block.raw, count=1).split())):
        return True
    struck_on = None
    if said := _OVER.search(block.raw.replace("\r\n", "\n").replace("\r", "\n")):
        struck_on = _as_date(said["day"])
    struck_on = struck_on or _as_date(bullet.day)
    return struck_on is not None and today - struck_on > RESTS


def _stands_alone(block: Block) -> bool:
    """Is it an item that is the same wherever it stands?"""
    return block.kind == ITEM and not would_absorb(block) and not parse(block.raw).is_open


def _as_date(day: str) -> date | None:
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


def _put(document: Document, title: str, text: str) -> None:
    if title:
        add_section(document, 0, title, text)
    else:
        append(document, document.title_section(), text)


def _plain_lines(raw: str) -> str:
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"
