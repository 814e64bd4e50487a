"""Items moved out of a file into the archive of their month: word for word, with the notes they rest on."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from app.bank.document.blocks import ITEM, Block, digest, split_body, without, would_absorb
from app.bank.document.bullets import Bullet, anatomy, day_of
from app.bank.document.edits import AppliedEdit, EditRefused, add_section, append, new_file
from app.bank.document.layout import ARCHIVE, title_from
from app.bank.document.markdown import Document, parse
from app.bank.document.provenance import Sources, blocks_of
from app.bank.extract.pages import Filed

Provenance = Mapping[str, Sources]
Key = tuple[tuple[str, ...], str]
"""Titles down to a section, and the digest of a block there."""

_LONGEST_STEM: Final = 48
_LISTED: Final = re.compile(
    r"\s*(?:[-*+]|\d{1,9}[.)])\s+(?P<box>\[[ xX]\](?:\s+|\Z))?"
    r"(?:\d{4}-\d\d-\d\d\s+)?(?P<late>\[[ xX]\](?:\s+|\Z))?(?P<text>.*)"
)
"""A line that begins an item, in whatever item it stands."""
_MARK: Final = r" \((?:replaces|superseded|resolved|answered|done|replaced) \d{4}-\d\d-\d\d\)"
_STRUCK: Final = re.compile(rf"~~(?:(?!~~).)+~~(?:{_MARK})*\s*\Z")
_MARKED: Final = re.compile(rf"{_MARK}\s*\Z")
"""What the service writes behind an item that it strikes or ticks: all of the item is meant."""


@dataclass(frozen=True, slots=True)
class Movable:
    """A list item that may leave its file."""

    section: int
    at: int
    block: Block
    day: str
    """The day it was written."""
    path: tuple[str, ...]
    """Titles down to its section."""

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands: the section, and the block of it."""
        return self.section, self.at

    @property
    def age(self) -> tuple[str, int, int]:
        """What the oldest has the least of."""
        return self.day, *self.place

    @property
    def bytes(self) -> int:
        """How long it is."""
        return len(self.block.raw.encode())

    @property
    def key(self) -> Key:
        """What finds it again, or one that is equal to it, while others edit the file."""
        return self.path, digest(self.block.raw)

    @property
    def is_done(self) -> bool:
        """Is its box ticked?"""
        first = _LISTED.match(self.block.raw)
        return first is not None and _is_ticked(first)

    @property
    def is_over(self) -> bool:
        """Is all that it says struck or done?"""
        lines = self._lines()
        if any(map(_is_open, lines)) or not lines or not _is_past(lines[0]):
            return False
        return bool(_MARKED.search(lines[0].group())) or all(map(_is_past, lines))

    @property
    def is_open(self) -> bool:
        """Is it a task that is still to be done, or holds one?"""
        return any(map(_is_open, self._lines()))

    def _lines(self) -> list[re.Match[str]]:
        return [found for line in self.block.raw.splitlines() if (found := _LISTED.match(line))]

    @property
    def bullet(self) -> Bullet:
        """What it says."""
        return anatomy(self.block.raw)


def _is_ticked(line: re.Match[str]) -> bool:
    return "x" in (line["box"] or line["late"] or "").casefold()


def _is_past(line: re.Match[str]) -> bool:
    return _is_ticked(line) or bool(_STRUCK.match(line["text"]))


def _is_open(line: re.Match[str]) -> bool:
    return bool(line["box"] or line["late"]) and not _is_past(line)


@dataclass(frozen=True, slots=True)
class Moved:
    """A bank after items have moved."""

    files: dict[str, str]
    """All of them."""
    provenance: dict[str, dict[str, Sequence[str]]]
    edits: list[AppliedEdit]
    places: frozenset[tuple[int, int]]
    """Where the items stood that have moved."""


class Mover:
    """Moves items out of one file."""

    def __init__(
        self,
        path: str,
        files: Mapping[str, str],
        provenance: Provenance,
        refs: Mapping[str, Filed],
        *,
        raw: Collection[str] = (),
        undated: str = "",
    ) -> None:
        """Nothing is put in the files of `raw`, which are no text.

        `undated` is the day of an item that tells none, and has no notes that do; without one it stays.
        """
        self._path = path
        self._files = files
        self._provenance = provenance
        self._refs = refs
        self._raw = raw
        self._undated = undated
        self._document = parse(files[path])
        self._blocks = [
            split_body(section.body, 0 if number else self._document.front)
            for number, section in enumerate(self._document.sections)
        ]

    def items(self) -> Iterator[Movable]:
        """What may leave the file, in its order."""
        for section, blocks in enumerate(self._blocks):
            path = self._document.path(section)
            for at, block in enumerate(blocks):
                if _stands_alone(block) and (day := self._day(block)):
                    yield Movable(section, at, block, day, path)

    def _day(self, block: Block) -> str:
        """The day an item begins with, or that of its newest note."""
        if day := anatomy(block.raw).day:
            return day if as_date(day) else ""
        ids = self._provenance.get(self._path, {}).get(digest(block.raw), ())
        return max((day_of(self._refs[one].ts) for one in ids if one in self._refs), default=self._undated)

    def move(self, chosen: Sequence[Movable]) -> Moved | None:
        """The bank without these in their file, or without as many of them as can go; None when none can.

        An item cannot go where the text around it would read otherwise without it.
        """
        moved = self._tried(chosen)
        if moved is not None:
            return moved
        able = self._able(chosen)
        while able and (moved := self._tried(able)) is None:
            able = able[: len(able) // 2]
        return moved

    def _able(self, chosen: Sequence[Movable]) -> list[Movable]:
        """Those that can go by themselves, or with their neighbours; not all of them need be able to go together."""
        middle = len(chosen) // 2
        halves = (chosen[:middle], chosen[middle:]) if middle else ()
        return [one for half in halves for one in (half if self._tried(half) is not None else self._able(half))]

    def _tried(self, chosen: Sequence[Movable]) -> Moved | None:
        try:
            return self._move(chosen) if chosen else None
        except EditRefused:
            return None

    def _move(self, chosen: Sequence[Movable]) -> Moved | None:
        files = dict(self._files)
        provenance = {path: dict(blocks) for path, blocks in self._provenance.items()}
        files[self._path] = self._without({item.place for item in chosen})
        edits: list[AppliedEdit] = []
        documents: dict[str, Document] = {}
        groups: dict[tuple[str, int], list[Movable]] = {}
        for item in sorted(chosen, key=lambda item: item.age):
            groups.setdefault((self._target(item.day), item.section), []).append(item)
        for (target, section), items in sorted(groups.items()):
            document = documents.get(target) or self._archive(target, items[0].day)
            documents[target] = document
            titles = self._document.path(section)
            # What stands under the title of the file itself goes under that of the archive.
            title = "" if section == self._document.title_section() or not titles else titles[-1]
            _put(document, title, "".join(_plain_lines(item.block.raw) for item in items))
            for item in items:
                name = digest(item.block.raw)
                ids = provenance.get(self._path, {}).get(name, ())
                known = provenance.setdefault(target, {})
                known[name] = sorted({*known.get(name, ()), *ids})
                edits.append(AppliedEdit("archive", target, titles, item.block.raw.rstrip("\r\n"), tuple(sorted(ids))))
        files |= {target: document.render() for target, document in documents.items()}
        left = {placed.digest for placed in blocks_of(files[self._path])}
        provenance[self._path] = {n: ids for n, ids in provenance.get(self._path, {}).items() if n in left}
        kept = {path: {n: ids for n, ids in blocks.items() if ids} for path, blocks in provenance.items()}
        places = frozenset(item.place for item in chosen)
        after = Moved(files, {path: blocks for path, blocks in kept.items() if blocks}, edits, places)
        return after if self._is_whole(after, {self._path, *documents}) else None

    def _target(self, day: str) -> str:
        """The archive of a day; where that is no text, the next one."""
        first = archive_path(self._path, day)
        number, target = 1, first
        while target in self._raw:
            number += 1
            target = f"{first.removesuffix('.md')}-{number}.md"
        return target

    def _archive(self, target: str, day: str) -> Document:
        if target in self._files:
            return parse(self._files[target])
        return new_file(f"{title_from(self._path)} {day[:7]}")

    def _without(self, places: set[tuple[int, int]]) -> str:
        gone: dict[int, set[int]] = {}
        for section, at in places:
            gone.setdefault(section, set()).add(at)
        parts = []
        for section, blocks in enumerate(self._blocks):
            kept = without(blocks, gone.get(section, ()))
            parts.append(self._document.sections[section].heading + "".join(block.raw for block in kept))
        return "".join(parts)

    def _is_whole(self, after: Moved, touched: Collection[str]) -> bool:
        """Is every block still there as often as before, and the structure of the file what it was?"""
        before = Counter(placed.digest for path in touched for placed in blocks_of(self._files.get(path, "")))
        now = Counter(placed.digest for path in touched for placed in blocks_of(after.files[path]))
        return before == now and parse(after.files[self._path]).outline() == self._document.outline()


def archive_path(path: str, day: str) -> str:
    """Where what a file said on that day is put: `archive/progress-2026-03.md`."""
    stem = re.sub(r"\.md\Z", "", path.replace("/", "-"), flags=re.IGNORECASE)
    return f"{ARCHIVE}{stem[:_LONGEST_STEM]}-{day[:7]}.md"


def _stands_alone(block: Block) -> bool:
    """Is it an item that is the same wherever it stands?"""
    return block.kind == ITEM and not would_absorb(block) and not parse(block.raw).is_open


def as_date(day: str) -> date | None:
    """The day, if there is one of that name."""
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
