"""What has gone wrong in a bank through tools that wrote names and sections twice, put right without losing a word."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.bank.document.blocks import BLANK, COMMENT, FRONT, ROW, Block, digest, split_body
from app.bank.document.markdown import Document, Section, parse
from app.bank.document.paths import bank_path
from app.bank.document.text import clean

_REPEATABLE: Final = frozenset({BLANK, COMMENT, FRONT, ROW})
"""Blocks that may well stand twice."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file whose name has drifted, under the name that it should have."""

    filename: str
    becomes: str
    merged: bool
    """There is a file of that name: what it lacks is added to it."""


@dataclass(frozen=True, slots=True)
class Doubled:
    """Something that a file says twice."""

    filename: str
    section: tuple[str, ...]
    kind: str
    """`block` or `section`."""
    text: str
    """Its first line, or its title."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A bank put right."""

    files: Mapping[str, str]
    """Every file, by its right name."""
    origins: Mapping[str, Sequence[str]]
    """Right name, then the files that went into it."""
    renamed: tuple[Renamed, ...]
    doubled: tuple[Doubled, ...]
    left: tuple[str, ...]
    """Files that cannot be put right without a loss, and stay as they are."""


def repaired(files: Mapping[str, str], *, untouchable: Iterable[str] = (), preferred: Iterable[str] = ()) -> Repaired:
    """The bank with one file for each name, and with everything said once.

    `untouchable` files keep name and content; of names that differ in their case only, a `preferred` one wins.
    """
    fixed = set(untouchable)
    wanted = {path.casefold(): path for path in preferred}
    groups: dict[str, list[str]] = {}
    for path in sorted(files):
        right = bank_path(path)
        groups.setdefault(path if path in fixed or right is None else right.casefold(), []).append(path)
    found: dict[str, str] = {}
    origins: dict[str, list[str]] = {}
    renamed: list[Renamed] = []
    doubled: list[Doubled] = []
    left: list[str] = []
    for folded, paths in groups.items():
        if paths[0] in fixed or bank_path(paths[0]) is None:
            for path in paths:
                found[path], origins[path] = files[path], [path]
            continue
        target = _name(paths, wanted.get(folded))
        main = target if target in paths else paths[0]
        content, doubles = _once(target, files[main])
        inside = [main]
        for path in paths:
            if path == main:
                continue
            joined = _joined(content, files[path])
            if joined is None:
                left.append(path)
                found[path], origins[path] = files[path], [path]
                continue
            content = joined
            inside.append(path)
        renamed += [Renamed(path, target, merged=path != main) for path in inside if path != target]
        doubled += doubles
        found[target], origins[target] = content, inside
    return Repaired(dict(sorted(found.items())), origins, tuple(renamed), tuple(doubled), tuple(left))


def _name(paths: Sequence[str], preferred: str | None) -> str:
    legal = [path for path in paths if bank_path(path) == path]
    if preferred is not None and (preferred in paths or not legal):
        return preferred
    return legal[0] if legal else bank_path(paths[0]) or paths[0]


def _joined(content: str, other: str) -> str | None:
    """Both texts in one, or None when that would lose something."""
    if other in (content, ""):
        return content
    document, added = parse(content), parse(other)
    if document.is_open or added.is_open or added.front:
        return None
    whole = content if content.endswith(("\n", "\r")) or not content else content + document.newline
    whole += ("" if not whole else document.newline) + other
    merged, _doubles = _once("", whole)
    return merged if _words(merged) >= _words(content) | _words(other) else None


def _once(path: str, content: str) -> tuple[str, list[Doubled]]:
    """The text with each section of a title under one parent once, and each block of a section once."""
    document = parse(content)
    if document.is_open:
        return content, []
    doubled: list[Doubled] = []
    root = _tree(document)
    _merge(path, (), root, document, doubled)
    if not doubled:
        return content, []
    merged = _rendered(root, document.newline)
    if not content.endswith(document.newline * 2):
        merged = merged.rstrip("\r\n") + document.newline
    # Nothing is taken on trust: every block and every title must still be there.
    return (merged, doubled) if _words(merged) == _words(content) else (content, [])


@dataclass(slots=True)
class _Branch:
    section: Section
    front: int
    children: list["_Branch"]


def _tree(document: Document) -> _Branch:
    root = _Branch(document.sections[0], document.front, [])
    above = [root]
    for section in document.sections[1:]:
        branch = _Branch(section, 0, [])
        while above[-1] is not root and above[-1].section.level >= section.level:
            above.pop()
        above[-1].children.append(branch)
        above.append(branch)
    return root


def _merge(path: str, titles: tuple[str, ...], branch: _Branch, document: Document, doubled: list[Doubled]) -> None:
    known = len(doubled)
    kept: dict[tuple[int, str], _Branch] = {}
    for child in branch.children:
        key = (child.section.level, _plain(child.section.title))
        if (first := kept.get(key)) is None:
            kept[key] = child
            continue
        doubled.append(Doubled(path, (*titles, first.section.title), "section", child.section.title))
        _line_ended(first.section, document.newline)
        if first.section.body.strip() and not child.section.body.startswith(("\n", "\r")):
            first.section.body += document.newline
        first.section.body += child.section.body
        first.children += child.children
    branch.children = list(kept.values())
    seen: set[str] = set()
    blocks: list[Block] = []
    for block in split_body(branch.section.body, branch.front):
        name = digest(block.raw)
        if block.kind in _REPEATABLE or not any(map(str.isalnum, block.raw)):
            blocks.append(block)
        elif name in seen:
            line = block.raw.strip().splitlines()[0]
            doubled.append(Doubled(path, titles, "block", line))
            if blocks and blocks[-1].kind == BLANK and len(blocks) > 1:
                blocks.pop()
        else:
            seen.add(name)
            blocks.append(block)
    if len(doubled) > known:
        blocks = [
            block for at, block in enumerate(blocks) if block.kind != BLANK or at == 0 or blocks[at - 1].kind != BLANK
        ]
    branch.section.body = "".join(block.raw for block in blocks)
    for child in branch.children:
        _merge(path, (*titles, child.section.title), child, document, doubled)


def _plain(title: str) -> str:
    """A title as two of them are held to be the same: punctuation counts, for C is not C++."""
    return " ".join(clean(unicodedata.normalize("NFKC", title)).casefold().split())


def _line_ended(section: Section, newline: str) -> None:
    if section.body and not section.body.endswith(("\n", "\r")):
        section.body += newline
    elif not section.body and not section.heading.endswith(("\n", "\r")):
        section.heading += newline


def _rendered(root: _Branch, newline: str) -> str:
    """The text, with a blank line before each heading that stands after other text than it did."""
    text = root.section.body
    for section in _sections(root.children):
        if section.body.strip() and text and not text.endswith((newline * 2, "\n\n")) and text != newline:
            text += newline
        text += section.heading + section.body
    return text


def _sections(branches: Iterable[_Branch]) -> Iterable[Section]:
    for branch in branches:
        yield branch.section
        yield from _sections(branch.children)


def _words(content: str) -> frozenset[tuple[str, str]]:
    """Every title and every block of a text, each in its section."""
    document = parse(content)
    found: set[tuple[str, str]] = set()
    for number, section in enumerate(document.sections):
        place = "/".join(map(_plain, document.path(number))) if number else ""
        found.add((place, ""))
        for block in split_body(section.body, 0 if number else document.front):
            if block.kind != BLANK:
                found.add((place, digest(block.raw)))
    return frozenset(found)
