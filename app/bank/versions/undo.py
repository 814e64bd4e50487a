"""One earlier change of a file undone, section by section and block by block, with all that was done since kept."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

from app.bank.document.blocks import BLANK, FRONT, MARKER, Block, digest, insert, split_body
from app.bank.document.markdown import Document, Section, parse
from app.bank.document.provenance import blocks_of
from app.bank.versions.alignment import aligned, steps

_SIMILAR: Final = 0.6
"""So much of a block must be left in another one to be taken for its later form."""
_COMPARED: Final = 2_000
"""Characters of a block that are compared."""
_NAMED: Final = 20
"""Clashes of one section that are named one by one."""
_MANY: Final = 20_000
"""Comparisons of two blocks in one section, at most."""

SectionKey = tuple[tuple[str, ...], int]
"""The titles down to a section, and how many sections of these titles stand before it."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A place that was changed since, and stays as it is."""

    path: str
    section: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class Undone:
    """A file without one earlier change."""

    content: str | None
    """None: the file goes away."""
    clashes: list[Clash] = field(default_factory=list)


def undo(
    path: str,
    *,
    before: str | None,
    after: str | None,
    now: str | None,
    kept: AbstractSet[str] = frozenset(),
) -> Undone:
    """The file as it is now, without what once made `after` of `before`; None stands for no file.

    Blocks of the digests in `kept` stay, since something later rests on them too.
    """
    if now == after and not kept:
        return Undone(before)
    if before in (now, after):
        return Undone(now)
    if now is None:
        # What the change made is gone by itself; what it took away belonged to a file that is gone.
        return Undone(None, [] if before is None else [Clash(path, (), "the file has gone away since")])
    if after is None:
        return Undone(now, [Clash(path, (), "the file has been made again since")])
    return _Merge(path, before or "", after, now, kept, is_new=before is None).merged()


class _Merge:
    """Takes one file apart three times."""

    def __init__(self, path: str, before: str, after: str, now: str, kept: AbstractSet[str], *, is_new: bool) -> None:
        self._path = path
        self._kept = kept
        self._is_new = is_new
        self._before, self._after, self._now = parse(before), parse(after), parse(now)
        self._text, self._made_text = now, after
        self._old, self._made = _by_key(self._before), _by_key(self._after)
        self._present = _by_key(self._now)
        self._clashes: list[Clash] = []

    def merged(self) -> Undone:
        kept: list[tuple[SectionKey, Section]] = []
        for key, section in self._present.items():
            body = self._body(key, section)
            goes = key in self._made and key not in self._old and key[0] != () and not body.strip()
            kept.append((key, Section(section.level, section.title, "" if goes else section.heading, body)))
        sections = _without_empty(kept)
        for key in self._old:
            if key not in self._present:
                self._bring_back(key, sections)
        content = "".join(section.heading + section.body for _key, section in sections)
        expected = tuple((section.level, section.title) for key, section in sections if key[0] != ())
        # Nothing is taken on trust: what was written since must be there, in the sections that were meant.
        if parse(content).outline() != expected or not _named(self._text) - _named(self._made_text) <= _named(content):
            return Undone(self._text, [Clash(self._path, (), "what was done since cannot be told from the change")])
        if self._is_new and not self._clashes and not content.strip():
            return Undone(None)
        return Undone(content, self._clashes)

    def _body(self, key: SectionKey, section: Section) -> str:
        """The body that a section of the present file gets."""
        made, old = self._made.get(key), self._old.get(key)
        made_body, old_body = made.body if made else "", old.body if old else ""
        if old_body in (made_body, section.body):
            return section.body
        fronts = (self._before.front, self._after.front, self._now.front) if key[0] == () else (0, 0, 0)
        now = split_body(section.body, fronts[2])
        if section.body == made_body and self._kept.isdisjoint(_digests(now)):
            return old_body
        blocks = _Blocks(split_body(old_body, fronts[0]), split_body(made_body, fronts[1]), now, self._kept)
        body, clashes = blocks.merged(self._now.newline, section.heading)
        self._clash(key, clashes)
        return body

    def _bring_back(self, key: SectionKey, sections: list[tuple[SectionKey, Section]]) -> None:
        """Put back a section that the present file lacks, where it stood."""
        old, made = self._old[key], self._made.get(key)
        if made is not None:
            if made.body != old.body:
                self._clash(key, ["the section has gone away since"])
            return
        at = self._place(key, sections)
        before = sections[at - 1][1] if at else None
        if before is not None:
            shown = before.heading + before.body
            if shown and not shown.endswith(("\n", "\r")):
                if before.body:
                    before.body += self._now.newline
                else:
                    before.heading += self._now.newline
        body = old.body
        if at < len(sections) and not (old.heading + body).endswith(("\n", "\r")):
            body += self._now.newline
        sections.insert(at, (key, Section(old.level, old.title, old.heading, body)))

    def _place(self, key: SectionKey, sections: Sequence[tuple[SectionKey, Section]]) -> int:
        level = self._old[key].level
        standing = {one: at for at, (one, _section) in enumerate(sections)}
        former = list(self._old)
        for one in reversed(former[: former.index(key)]):
            if one in standing:
                at = standing[one] + 1
                if one[0] != () and level <= self._old[one].level:
                    while at < len(sections) and sections[at][1].level > self._old[one].level:
                        at += 1
                return at
        return min(1, len(sections))

    def _clash(self, key: SectionKey, reasons: Sequence[str]) -> None:
        self._clashes += [Clash(self._path, key[0], reason) for reason in reasons[:_NAMED]]
        if (more := len(reasons) - _NAMED) > 0:
            self._clashes.append(Clash(self._path, key[0], f"changed since: {more} more"))


def _named(content: str) -> frozenset[str]:
    """Every block of a text."""
    return frozenset(placed.digest for placed in blocks_of(content))


def _by_key(document: Document) -> dict[SectionKey, Section]:
    seen: Counter[tuple[str, ...]] = Counter()
    found: dict[SectionKey, Section] = {}
    for number, section in enumerate(document.sections):
        titles = document.path(number) if number else ()
        found[titles, seen[titles]] = section
        seen[titles] += 1
    return found


def _without_empty(sections: Sequence[tuple[SectionKey, Section]]) -> list[tuple[SectionKey, Section]]:
    """Drop the sections that were to go, but for those that still hold others: these keep their heading."""
    kept: list[tuple[SectionKey, Section]] = []
    for at, (key, section) in enumerate(sections):
        if key[0] == () or section.heading:
            kept.append((key, section))
            continue
        held = any(
            later.heading and one[0][: len(key[0])] == key[0] and len(one[0]) > len(key[0])
            for one, later in sections[at + 1 :]
        )
        if held:
            kept.append((key, Section(section.level, section.title, f"{'#' * section.level} {section.title}\n", "\n")))
    return kept


class _Blocks:
    """The blocks of one section: as they were, as the change made them, and as they are."""

    def __init__(self, old: list[Block], made: list[Block], now: list[Block], kept: AbstractSet[str]) -> None:
        self._kept = kept
        self._old = [block for block in old if block.kind != BLANK]
        self._made = [block for block in made if block.kind != BLANK]
        self._now = now
        self._standing = [at for at, block in enumerate(now) if block.kind != BLANK]
        self._where = self._aligned()
        """Of the blocks that the change made: where they stand now."""
        taken = set(self._where.values())
        self._newer = [_plain(now[at]) for at in self._standing if at not in taken]

    def merged(self, newline: str, heading: str) -> tuple[str, list[str]]:
        """The body without the change, and what could not be undone."""
        clashes: list[str] = []
        gone: set[int] = set()
        added: dict[int, list[Block]] = {}
        present = Counter(digest(self._now[at].raw) for at in self._standing)
        for step in steps(_digests(self._made), _digests(self._old)):
            if step.is_same:
                continue
            lost = [number for number in step.first if number not in self._where]
            if changed := [number for number in lost if self._lives_on(self._made[number])]:
                clashes += [f"changed since: {_first_line(self._made[number].raw)}" for number in changed]
                if step.second:
                    # What it took the place of belongs where it is.
                    continue
            found = [self._where[number] for number in step.first if number in self._where]
            removed = [at for at in found if digest(self._now[at].raw) not in self._kept]
            gone.update(removed)
            for at in removed:
                present[digest(self._now[at].raw)] -= 1
            at = found[0] if found else self._after(step.first.start)
            for block in self._old[step.second.start : step.second.stop]:
                if present[digest(block.raw)] <= 0:
                    added.setdefault(0 if block.kind == FRONT else at, []).append(Block(block.kind, block.raw))
        return self._rendered(gone, added, newline, heading), clashes

    def _aligned(self) -> dict[int, int]:
        now = [self._now[at] for at in self._standing]
        found: dict[int, int] = {}
        for match in aligned(_digests(self._made), _digests(now)):
            found.update((match.first + step, self._standing[match.second + step]) for step in range(match.length))
        # What has been moved since is found wherever it stands.
        free: dict[str, list[int]] = {}
        taken = set(found.values())
        for at in self._standing:
            if at not in taken:
                free.setdefault(digest(self._now[at].raw), []).append(at)
        for number, block in enumerate(self._made):
            if number not in found and (places := free.get(digest(block.raw))):
                found[number] = places.pop(0)
        return found

    def _lives_on(self, block: Block) -> bool:
        """Is there a later form of the block, such as one that is struck?"""
        words = _plain(block)
        if not words:
            return False
        if any(words in other for other in self._newer):
            return True
        if len(self._newer) * len(self._made) > _MANY:
            # So much has been written anew that it is safer left as it is.
            return True
        matcher = SequenceMatcher(None, autojunk=False)
        matcher.set_seq2(words)
        for other in self._newer:
            matcher.set_seq1(other)
            if (
                matcher.real_quick_ratio() >= _SIMILAR
                and matcher.quick_ratio() >= _SIMILAR
                and matcher.ratio() >= _SIMILAR
            ):
                return True
        return False

    def _after(self, number: int) -> int:
        """Where in the present body something belongs that stood before that block of the change."""
        for earlier in range(number - 1, -1, -1):
            if earlier in self._where:
                return self._where[earlier] + 1
        for later in range(number, len(self._made)):
            if later in self._where:
                return self._where[later]
        return len(self._now)

    def _rendered(self, gone: set[int], added: dict[int, list[Block]], newline: str, heading: str) -> str:
        blocks = [Block(block.kind, block.raw) for block in self._now]
        for at in range(len(blocks), -1, -1):
            if at in gone:
                _remove(blocks, at)
            if at in added:
                insert(blocks, min(at, len(blocks)), added[at], newline, heading=heading)
        return "".join(block.raw for block in blocks)


def _remove(blocks: list[Block], at: int) -> None:
    """Remove a block, and the blank line that would be one too many."""
    del blocks[at]
    if at < len(blocks) and blocks[at].kind == BLANK and (at == 0 or blocks[at - 1].kind == BLANK):
        del blocks[at]


def _plain(block: Block) -> str:
    """The words of a block, as far as they are compared."""
    return MARKER.sub("", " ".join(block.raw.split()), count=1)[:_COMPARED]


def _digests(blocks: Sequence[Block]) -> list[str]:
    return [digest(block.raw) for block in blocks]


def _first_line(raw: str) -> str:
    line = raw.strip().splitlines()[0] if raw.strip() else ""
    return line if len(line) <= 160 else line[:159] + "…"  # noqa: PLR2004 - enough to be recognised
