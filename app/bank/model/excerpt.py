"""What a prompt shows of the bank: all of it, or as much as there is room for, and what its handles stand for."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.bank.document.layout import FileRule, Layout, is_archive
from app.bank.document.markdown import fold_title, parse
from app.bank.document.quoting import quoted, quoted_line
from app.bank.document.routing import destination_of
from app.bank.document.text import STOP_WORDS
from app.bank.model.proposals import SectionTarget
from app.bank.model.wording import Estimate
from app.notes.models import Note

TOP: Final = "(top of the file)"
NOT_SHOWN: Final = "(not shown)"
_HANDLE: Final = 10
"""Tokens of a handle, with its brackets and the line's end."""
_HEADERS_SHARE: Final = 4
"""Headers of files take one in so many tokens of a bank that is not shown whole, at most."""
_LISTING_SHARE: Final = 2
"""Headings whose text is not shown take one in so many tokens, at most."""
_TERM: Final = re.compile(r"[^\W_]+")
_SHORTEST: Final = 4
_PREFIX: Final = 8
_LONGEST_LIST: Final = 2_000
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """A section of the bank and what it takes to show it."""

    path: str
    index: int
    section_path: tuple[str, ...]
    heading: str
    body: str
    whole: int
    """Tokens when it is shown whole."""
    brief: int
    """Tokens when only its heading is."""


@dataclass(frozen=True, slots=True)
class Stock:
    """A bank taken apart for showing, in the order of display."""

    files: tuple[str, ...]
    headers: Mapping[str, str]
    costs: Mapping[str, int]
    """Path, then the tokens of the header."""
    pieces: Mapping[str, tuple[Piece, ...]]
    missing: str
    """Says which files the rules name that do not exist; nothing when there are none."""
    fixed: int
    """Tokens that are of no file."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole bank."""
        return self.fixed + sum(self.tokens_of(path) for path in self.files)

    def tokens_of(self, path: str) -> int:
        """Tokens of a file that is shown whole; none for a file that is not there."""
        return self.costs.get(path, 0) + sum(piece.whole for piece in self.pieces.get(path, ()))

    def outline_of(self, path: str) -> int:
        """Tokens of a file of which only the headings are shown."""
        return self.costs.get(path, 0) + sum(piece.brief for piece in self.pieces.get(path, ()))

    def real_path(self, path: str) -> str:
        """The path as the bank writes it, whatever its case; as given when there is no such file."""
        return next((known for known in self.files if known.casefold() == path.casefold()), path)


@dataclass(slots=True)
class Excerpt:
    """The bank as a prompt shows it."""

    text: str
    files: dict[str, str] = field(default_factory=dict)
    sections: dict[str, SectionTarget] = field(default_factory=dict)


def take_apart(files: Mapping[str, str], layout: Layout, estimate: Estimate, *, nfkc: bool = False) -> Stock:
    """The bank with what each part of it takes. Files that change least come first, so that caches last longest.

    What was moved to the archive is over, and is not shown.
    """
    files = {path: content for path, content in files.items() if not is_archive(path)}
    ordered = sorted(files, key=lambda path: (_rank(layout.rule_of(path)), path))
    headers = {path: _header(path, layout.rule_of(path), nfkc=nfkc) for path in ordered}
    known = {path.casefold() for path in files}
    absent = [rule.path for rule in (*layout.files, *layout.patterns) if rule.path.casefold() not in known]
    names = quoted_line(", ".join(absent), nfkc=nfkc)[:_LONGEST_LIST]
    missing = f"Files to be created when needed: {names}\n" if absent else ""
    return Stock(
        files=tuple(ordered),
        headers=headers,
        costs={path: estimate(header) + 2 * _HANDLE for path, header in headers.items()},
        pieces={path: tuple(_pieces(path, files[path], estimate)) for path in ordered},
        missing=missing,
        fixed=estimate("[BANK]\n" + missing) + 2 * _HANDLE,
    )


def excerpt(
    stock: Stock, layout: Layout, notes: Sequence[Note], room: int, *, nfkc: bool = False, is_outline: bool = False
) -> Excerpt:
    """What of the bank the notes need most, in at most `room` tokens as far as they were estimated well.

    An outline has nothing but names and headings, whatever the room.
    """
    everything = {(piece.path, piece.index) for pieces in stock.pieces.values() for piece in pieces}
    if is_outline:
        return _render(stock, stock.files, set(), everything, nfkc=nfkc)
    if stock.tokens <= room:
        return _render(stock, stock.files, everything, everything, nfkc=nfkc)
    goals = [destination_of(note, layout, stock.files) for note in notes]
    wanted = _wanted(stock, goals)
    tokens = sum(stock.tokens_of(path) if path in wanted else stock.outline_of(path) for path in stock.files)
    if wanted and stock.fixed + tokens <= room:
        whole = {(piece.path, piece.index) for path in wanted for piece in stock.pieces[path]}
        return _render(stock, stock.files, whole, everything, nfkc=nfkc)
    choice = _best(stock, goals, wanted, notes, room - stock.fixed)
    return _render(stock, choice.files, choice.whole, choice.listed, nfkc=nfkc)


def _rank(rule: FileRule | None) -> int:
    if rule is None:
        return 1
    return 0 if rule.protected else 2 if rule.dynamic else 1


def _header(path: str, rule: FileRule | None, *, nfkc: bool) -> str:
    facts = [f"limit {rule.limit / _KIB:.3g} KB"] if rule is not None and rule.limit else []
    facts.append(f"append-only: {'yes' if rule is not None and rule.append_only else 'no'}")
    if rule is not None and rule.protected:
        facts.append("rarely changed: only for a decision, with a reason")
    return f"{quoted_line(path, nfkc=nfkc)} ({', '.join(facts)})"


def _pieces(path: str, content: str, estimate: Estimate) -> Iterable[Piece]:
    document = parse(content)
    titles: list[tuple[int, str]] = []
    for index, section in enumerate(document.sections):
        if index == 0:
            if not section.body[document.front :].strip():
                continue
        else:
            while titles and titles[-1][0] >= section.level:
                titles.pop()
            titles.append((section.level, section.title))
        heading = section.heading or TOP
        brief = estimate(heading) + estimate(NOT_SHOWN) + _HANDLE
        whole = estimate(heading) + estimate(section.body) + _HANDLE
        yield Piece(path, index, tuple(title for _, title in titles), heading, section.body, whole, brief)


def _wanted(stock: Stock, goals: Iterable[tuple[str, str]]) -> list[str]:
    """The files that the notes go to, as they are called in the bank, the most frequent first."""
    real = {path.casefold(): path for path in stock.files}
    counted = Counter(real[path.casefold()] for path, _ in goals if path.casefold() in real)
    return sorted(counted, key=lambda path: (-counted[path], path))


Place = tuple[str, int]


@dataclass(slots=True)
class _Choice:
    """What is shown of a bank that is too large."""

    files: list[str]
    listed: set[Place]
    whole: set[Place]


def _best(
    stock: Stock, goals: Sequence[tuple[str, str]], wanted: Sequence[str], notes: Sequence[Note], spare: int
) -> _Choice:
    """First where the notes go, then what sounds like them."""
    titles = {(path.casefold(), fold_title(title)) for path, title in goals}
    scores = _scores(stock, notes)
    spent = 0
    files: set[str] = set()
    likeness = {
        path: max((scores[path, piece.index] for piece in stock.pieces[path]), default=0) for path in stock.files
    }
    for path in sorted(stock.files, key=lambda path: (path not in wanted, -likeness[path])):
        if spent + stock.costs[path] <= spare // _HEADERS_SHARE:
            spent += stock.costs[path]
            files.add(path)
    ranked = sorted(
        (piece for path in stock.files if path in files for piece in stock.pieces[path]),
        key=lambda piece: (
            (piece.path.casefold(), fold_title(piece.section_path[-1]) if piece.section_path else "") not in titles,
            -scores[piece.path, piece.index],
            piece.path not in wanted,
        ),
    )
    choice = _Choice([path for path in stock.files if path in files], set(), set())
    for piece in sorted(ranked, key=lambda piece: piece.path not in wanted):
        if spent + piece.brief <= spare // _LISTING_SHARE:
            choice.listed.add((piece.path, piece.index))
            spent += piece.brief
    for piece in ranked:
        place = (piece.path, piece.index)
        if not scores[place] and piece.path not in wanted:
            continue
        cost = piece.whole - (piece.brief if place in choice.listed else 0)
        if spent + cost <= spare:
            spent += cost
            choice.whole.add(place)
    choice.listed |= choice.whole
    return choice


def _scores(stock: Stock, notes: Sequence[Note]) -> dict[Place, float]:
    """How much each section has in common with the notes; a term that many sections have tells little."""
    asked = frozenset().union(*(_terms(note.content) for note in notes))
    common = {
        (piece.path, piece.index): _terms(piece.heading + piece.body) & asked
        for pieces in stock.pieces.values()
        for piece in pieces
    }
    spread = Counter(term for terms in common.values() for term in terms)
    return {place: sum(1 / spread[term] for term in sorted(terms)) for place, terms in common.items()}


def _terms(text: str) -> frozenset[str]:
    return frozenset(
        word[:_PREFIX]
        for word in set(_TERM.findall(text.casefold()))
        if (len(word) >= _SHORTEST and word not in STOP_WORDS) or word.isdigit()
    )


def _render(stock: Stock, files: Sequence[str], whole: set[Place], listed: set[Place], *, nfkc: bool) -> Excerpt:
    made = Excerpt("")
    parts = ["[BANK]\n"]
    for number, path in enumerate(files, start=1):
        made.files[f"f{number}"] = path
        parts.append(f"=== f{number} {stock.headers[path]}\n")
        for piece in stock.pieces[path]:
            place = (path, piece.index)
            if place not in listed:
                continue
            handle = f"s{len(made.sections) + 1}"
            is_whole = place in whole
            made.sections[handle] = SectionTarget(path, piece.section_path, piece.index, is_whole)
            note = "" if is_whole else f" {NOT_SHOWN}"
            parts.append(f"[{handle}] {quoted(piece.heading.rstrip(), nfkc=nfkc)}{note}\n")
            if is_whole and piece.body:
                body = quoted(piece.body, nfkc=nfkc)
                parts.append(body if body.endswith("\n") else body + "\n")
        if left_out := sum((path, piece.index) not in listed for piece in stock.pieces[path]):
            parts.append(f"({left_out} more sections are not listed)\n")
    if len(files) < len(stock.files):
        parts.append(f"({len(stock.files) - len(files)} more files are not listed)\n")
    parts.append(stock.missing)
    made.text = "".join(parts)
    return made
