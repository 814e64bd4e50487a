"""The files of a bank while operations are carried out on them; only those that are touched are taken apart."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter

from app.bank.document.blocks import BLANK, FRONT, Block, digest, split_body
from app.bank.document.bullets import anatomy
from app.bank.document.layout import FileRule
from app.bank.document.markdown import Document, Section, fold_title, parse
from app.bank.document.safety import prose_lines
from app.bank.document.text import fold, fold_lines, holds, single_blanks, stems
from app.bank.extract.snapshot import Snapshot
from app.bank.model.matching import is_struck
from app.bank.model.policy import size_of


@dataclass(slots=True)
class Sheet:
    """One file that operations change."""

    path: str
    rule: FileRule | None
    before: str | None
    """Its content in the snapshot; None for a file that is new."""
    document: Document
    sources: dict[str, frozenset[str]]
    """Block digest, then ids of the notes it rests on."""
    said: dict[str, frozenset[str]] = field(default_factory=dict)
    """Block digest, then ids of the notes of this batch whose content it gives."""
    raws: dict[str, str] = field(default_factory=dict)
    """Block digest, then a block of that name, for those in `said`."""
    initial: dict[int, str] = field(default_factory=dict)
    """Identity of a section, then its own body in the snapshot."""
    replaced: set[int] = field(default_factory=set)
    """Identities of the sections that were replaced."""
    sections: list[Section] = field(default_factory=list)
    """Every section ever seen here, so that identities stay unique."""
    bytes: int = 0
    """Of the file as the last operation that was carried out has left it."""

    def __post_init__(self) -> None:
        self.sections = list(self.document.sections)
        self.initial = {id(section): section.body for section in self.sections}
        self.bytes = 0 if self.before is None else size_of(self.before)

    @property
    def append_only(self) -> bool:
        return self.rule is not None and self.rule.append_only

    @property
    def protected(self) -> bool:
        return self.rule is not None and self.rule.protected

    def rest(self, name: str, raw: str, sources: Collection[str], said: Collection[str]) -> None:
        """Let a block rest on notes too, and give the content of some."""
        self.sources[name] = self.sources.get(name, frozenset()).union(sources)
        if said:
            self.said[name] = self.said.get(name, frozenset()).union(said)
            self.raws[name] = raw

    def find(self, section_path: tuple[str, ...], seen: str = "") -> list[int]:
        """The sections an operation can mean: by titles, then by their exact spelling, then by what was in them."""
        document = self.document
        if not section_path:
            return [document.title_section()]
        folded = tuple(fold_title(title) for title in section_path)
        found = [
            at
            for at in range(1, len(document.sections))
            if fold_title(document.sections[at].title) == folded[-1]
            and tuple(fold_title(title) for title in document.path(at)) == folded
        ]
        if len(found) > 1:
            found = [at for at in found if document.path(at) == section_path] or found
        if len(found) > 1 and seen:
            found = [at for at in found if self.seen(at) == seen] or found
        return found

    def seen(self, at: int) -> str:
        """Digest of the section's own body as it was in the snapshot; empty for a section that is new."""
        body = self.initial.get(id(self.document.sections[at]))
        return "" if body is None else digest(body)

    def blocks(self, at: int) -> list[Block]:
        """The blocks of a section's own body."""
        return split_body(self.document.sections[at].body, 0 if at else self.document.front)

    def settle(self, at: int) -> None:
        """Take a section that was written with headings in its body apart."""
        section = self.document.sections[at]
        parsed = parse(section.heading + section.body)
        if len(parsed.sections) > 2:  # noqa: PLR2004 - what precedes the heading, and the section itself
            section.body = parsed.sections[1].body
            self.document.sections[at + 1 : at + 1] = parsed.sections[2:]
        self.sections += self.document.sections[at : at + max(len(parsed.sections) - 1, 1)]

    def is_sound(self, at: int) -> bool:
        """Is the section still one section when it is read again?"""
        section = self.document.sections[at]
        parsed = parse(section.heading + section.body)
        is_last = at == len(self.document.sections) - 1
        if parsed.is_open and not (is_last and self.document.is_open):
            return False
        if at == 0:
            return len(parsed.sections) == 1 and parsed.front == self.document.front
        return len(parsed.sections) == 2 and parsed.outline() == ((section.level, section.title),)  # noqa: PLR2004 - as above

    def digests(self, sections: Iterable[Section]) -> set[str]:
        """The names of all blocks of sections."""
        first = self.document.sections[0] if self.document.sections else None
        return {
            digest(block.raw)
            for section in sections
            for block in split_body(section.body, self.document.front if section is first else 0)
            if block.kind not in {BLANK, FRONT}
        }


@dataclass(frozen=True, slots=True)
class _Folded:
    """A text as it is searched."""

    lines: str
    text: str
    """On one line."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one block says."""

    folded: str
    stems: frozenset[str]
    negates: bool
    is_struck: bool


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A sheet as it was before an operation."""

    sections: tuple[tuple[Section, str, str], ...]
    is_open: bool
    sources: dict[str, frozenset[str]]
    said: dict[str, frozenset[str]]
    replaced: frozenset[int]


class Sheets:
    """The bank while operations are carried out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.opened: dict[str, Sheet] = {}
        self._names = {path.casefold(): path for path in sorted(snapshot.files, reverse=True)}
        self._folded: dict[tuple[str, str], _Folded] = {}
        """Heading and body of a section, or a whole file, then the same as it is searched: folding takes time."""
        self._told: dict[tuple[str, int], tuple[Told, ...]] = {}
        self._untouched_bytes: dict[str, int] = {}

    def name(self, path: str) -> str | None:
        """The file of that name in whatever case."""
        return self._names.get(path.casefold())

    def open(self, path: str) -> Sheet:
        """A file of the bank, taken apart."""
        sheet = self.opened.get(path)
        if sheet is None:
            content = self.snapshot.files[path]
            sources = {block: frozenset(ids) for block, ids in self.snapshot.provenance.get(path, {}).items()}
            rule = self.snapshot.layout.rule_of(path)
            sheet = self.opened[path] = Sheet(path, rule, content, parse(content), sources)
        return sheet

    def create(self, path: str, document: Document) -> Sheet:
        """A file that is new."""
        sheet = Sheet(path, self.snapshot.layout.rule_of(path), None, document, {})
        sheet.initial = {}
        self.opened[path] = sheet
        self._names[path.casefold()] = path
        return sheet

    def forget(self, path: str) -> None:
        """Leave a file as it was in the snapshot."""
        sheet = self.opened.pop(path, None)
        if sheet is not None and sheet.before is None:
            del self._names[path.casefold()]

    def count(self) -> int:
        """Files of the bank as it stands."""
        return len(self._names)

    def content(self, path: str) -> str:
        """A file as it stands."""
        sheet = self.opened.get(path)
        return self.snapshot.files[path] if sheet is None else sheet.document.render()

    def size(self) -> int:
        """Bytes of the bank as it stands."""
        if not self._untouched_bytes:
            self._untouched_bytes = {path: size_of(content) for path, content in self.snapshot.files.items()}
        kept = sum(size for path, size in self._untouched_bytes.items() if path not in self.opened)
        return kept + sum(sheet.bytes for sheet in self.opened.values())

    def folded(self, path: str) -> str:
        """A file as it is searched."""
        return " ".join(self.parts(path))

    def parts(self, path: str) -> list[str]:
        """The same by the section, or whole when the file was not taken apart."""
        sheet = self.opened.get(path)
        if sheet is None:
            return [self._fold("", self.snapshot.files[path]).text]
        return [self._fold(one.heading, one.body).text for one in sheet.document.sections]

    def folded_lines(self, path: str) -> str:
        """A file as it is searched, with its lines."""
        sheet = self.opened.get(path)
        if sheet is None:
            return self._fold("", self.snapshot.files[path]).lines
        return "".join(self._fold(one.heading, one.body).lines for one in sheet.document.sections)

    def folded_section(self, section: Section) -> str:
        """A section with its heading, as it is searched."""
        return self._fold(section.heading, section.body).text

    def _fold(self, heading: str, body: str) -> "_Folded":
        known = self._folded.get((heading, body))
        if known is None:
            lines = fold_lines(heading + body)
            known = self._folded[heading, body] = _Folded(lines, single_blanks(lines))
        return known

    def prose(self, path: str, section_path: tuple[str, ...], seen: str) -> frozenset[str]:
        """The lines that are not code of the sections that an operation can mean."""
        sheet = self.open(path)
        sections = (sheet.document.sections[at] for at in sheet.find(section_path, seen))
        return frozenset[str]().union(*(prose_lines(one.heading + one.body) for one in sections))

    def told(self, sheet: Sheet, at: int) -> tuple[Told, ...]:
        """What each block of a section says."""
        key = sheet.document.sections[at].body, 0 if at else sheet.document.front
        known = self._told.get(key)
        if known is None:
            known = self._told[key] = tuple(
                Told(fold(block.raw), stems(block.raw), bool(anatomy(block.raw).negations), is_struck(block))
                for block in sheet.blocks(at)
                if block.kind not in {BLANK, FRONT}
            )
        return known

    def missing(self, tokens: frozenset[str], *, near: str = "") -> frozenset[str]:
        """The hard tokens that the bank as it stands does not hold; `near` is where to look first."""
        rest = tokens
        for path in sorted(self.opened, key=lambda path: (path != near, path)):
            if not rest:
                return rest
            rest = self._missing(rest, path)
        untouched = [path for path in sorted(self.snapshot.files) if path not in self.opened]
        # Folding is what takes time, so the files that seem to hold a token come first.
        likely = [path for path in untouched if rest and self._seems_to_hold(path, rest)]
        for path in dict.fromkeys([*likely, *untouched]):
            if not rest:
                return rest
            rest = self._missing(rest, path)
        return rest

    def _missing(self, tokens: frozenset[str], path: str) -> frozenset[str]:
        parts = self.parts(path)
        return frozenset(token for token in tokens if not any(token in part and holds(part, token) for part in parts))

    def _seems_to_hold(self, path: str, tokens: frozenset[str]) -> bool:
        content = self.snapshot.files[path].casefold()
        return any(token in content for token in tokens)


def checkpoint(sheet: Sheet) -> Checkpoint:
    """The sheet as it stands, to come back to."""
    return Checkpoint(
        tuple((section, section.heading, section.body) for section in sheet.document.sections),
        sheet.document.is_open,
        dict(sheet.sources),
        dict(sheet.said),
        frozenset(sheet.replaced),
    )


def roll_back(sheet: Sheet, point: Checkpoint) -> None:
    """Make the sheet what it was."""
    for section, heading, body in point.sections:
        section.heading, section.body = heading, body
    sheet.document.sections[:] = [section for section, _, _ in point.sections]
    sheet.document.is_open = point.is_open
    sheet.sources, sheet.said, sheet.replaced = point.sources, point.said, set(point.replaced)


@dataclass(frozen=True, slots=True)
class Changed:
    """What an operation made of a sheet."""

    now: list[int]
    """Where it differs from what it was."""
    gone: list[Section]
    """The sections that are no longer there."""
    before: dict[int, tuple[str, str]]
    """Identity of a section, then its heading and body before."""
    bytes: int
    """Of the sheet now."""

    def size_before(self, section: Section) -> int:
        """Bytes of a section's own body before; none of one that is new."""
        return size_of(self.before.get(id(section), ("", ""))[1])


def changes_since(sheet: Sheet, point: Checkpoint | None) -> Changed:
    """How the sheet differs from a checkpoint; all of one that is new."""
    before = {id(section): (heading, body) for section, heading, body in point.sections} if point else {}
    sections = sheet.document.sections
    changed = [at for at, one in enumerate(sections) if before.get(id(one)) != (one.heading, one.body)]
    present = set(map(id, sections))
    gone = [section for section, _, _ in point.sections if id(section) not in present] if point else []
    grown = sum(size_of(sections[at].heading) + size_of(sections[at].body) for at in changed)
    touched = [before[id(one)] for one in (*(sections[at] for at in changed), *gone) if id(one) in before]
    return Changed(changed, gone, before, sheet.bytes + grown - sum(map(size_of, chain.from_iterable(touched))))


def as_lists(sources: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Sources as a plan has them."""
    ordered = sorted(sources.items(), key=itemgetter(0))
    return {block: sorted(ids) if len(ids) > 1 else list(ids) for block, ids in ordered if ids}
