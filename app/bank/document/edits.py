"""What may be done to a file of the bank, section by section, and the plan that says what was done."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from app.bank.document.blocks import (
    BLANK,
    ITEM,
    MARKER,
    Block,
    blank_after,
    content_end,
    content_start,
    insert,
    split_body,
)
from app.bank.document.markdown import MAX_LEVEL, Document, Section, fold_title, heading_line, parse
from app.bank.document.text import fold

SAME_ITEM: Final = 0.8

_ITEM_LINE: Final = re.compile(
    r"(?P<head>[ ]{0,3}(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?)(?P<text>.*?)(?P<end>[ \t]*(?:\r\n|\n|\r)?)\Z"
)


class EditRefused(Exception):
    """The edit cannot be made as it stands; `code` is the refusal code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """One edit that was made to the bank."""

    op: str
    """`append`, `prepend`, `join` (a duplicate), `supersede`, `close`, `create_file`, `add_section`, …"""
    path: str
    section_path: tuple[str, ...]
    text: str
    sources: tuple[str, ...]
    """Ids of the notes it rests on."""
    filed_by: str = "extractive"
    """`extractive`, `llm` or `manual`."""
    repaired: bool = False
    """A model was asked again before it was right."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a consolidation makes of a bank."""

    files: dict[str, str]
    """The complete new content of every file that changed or was created, and of no other."""
    provenance: dict[str, dict[str, list[str]]]
    """The whole new map: path, then block digest, then note ids."""
    edits: tuple[AppliedEdit, ...]
    filed: tuple[str, ...]
    """Ids of the given notes that are in the bank now."""
    synthesis: str
    """A few lines on the new bank, made without a model."""


def append(document: Document, index: int, text: str) -> None:
    """Put the text at the end of a section's own body, before its first child."""
    _insert(document, index, text, at_end=True)


def prepend(document: Document, index: int, text: str) -> None:
    """Put the text at the start of a section's own body."""
    _insert(document, index, text, at_end=False)


def replace(document: Document, index: int, text: str) -> None:
    """Replace a section's own body; its children stay."""
    section = document.sections[index]
    _check_text(text)
    trailing = "" if index == len(document.sections) - 1 else document.newline
    if index == len(document.sections) - 1:
        document.is_open = False
    end_heading(document, section)
    front = section.body[: document.front] if index == 0 else ""
    lead = blank_after(front or section.heading, document.newline).raw if index or front else ""
    section.body = front + lead + _with_newline(text, document.newline) + trailing


def supersede(document: Document, index: int, title: str, text: str, *, day: str, append_only: bool) -> None:
    """Strike the one item of a section that begins like `title`, and put the text above it.

    In an append-only file nothing is struck: the text is appended and says that it replaces something.
    """
    section = document.sections[index]
    _check_text(text)
    blocks = _blocks(document, index)
    found = [at for at, block in enumerate(blocks) if block.kind == ITEM and _begins_like(block.raw, title)]
    if len(found) != 1:
        raise EditRefused("unknown_target" if not found else "ambiguous_target", f"{len(found)} items match '{title}'.")
    old = blocks[found[0]]
    if append_only:
        head, newline, rest = text.partition("\n")
        append(document, index, f"{head.rstrip()} (replaces an entry of before {day}){newline}{rest}")
        return
    old.raw = struck(old.raw, "superseded", day)
    insert(
        blocks, found[0], split_body(_with_newline(text, document.newline)), document.newline, heading=section.heading
    )
    section.body = "".join(block.raw for block in blocks)


def add_section(document: Document, parent: int, title: str, text: str) -> int:
    """Add a section below `parent`, after its whole subtree, and give its index; a child of that title takes the text.

    0 as the parent means the file: the new section is a child of its single H1, or of level 2 at the end.
    """
    _check_text(text, deeper_than=document.sections[parent].level)
    anchor = parent or document.title_section()
    for child in _where_a_child_may_be(document, anchor):
        if fold_title(document.sections[child].title) == fold_title(title):
            append(document, child, text)
            return child
    at = new_section(document, anchor, title)
    if at == 0:
        append(document, 0, text)
        return 0
    if text.strip():
        document.sections[at].body = document.newline + _with_newline(text, document.newline)
        if at < len(document.sections) - 1:
            document.sections[at].body += document.newline
    return at


def _where_a_child_may_be(document: Document, anchor: int) -> Iterator[int]:
    """The children of a section, and wherever a section added below it can have been put."""
    yield from document.children(anchor)
    if anchor == 0:
        # A section of level 2 at the end of a file of several H1 stands below the last of them.
        yield from (at for at in range(1, len(document.sections)) if document.sections[at].level == 2)  # noqa: PLR2004 - see above
    if document.is_open and len(document.sections) > 2:  # noqa: PLR2004 - the preamble, the open section, one before
        yield len(document.sections) - 2


def new_section(document: Document, anchor: int, title: str) -> int:
    """Put an empty section after the subtree of `anchor` and give its index; 0 when only the preamble can hold it."""
    at, level = place_of_section(document, anchor)
    if at == 0:
        return 0
    before = document.sections[at - 1]
    end_heading(document, before)
    if before.body and not before.body.endswith(("\n", "\r")):
        before.body += document.newline
    shown = before.heading + before.body
    if shown and not _ends_blank(shown):
        before.body += blank_after(shown, document.newline).raw
    document.sections.insert(at, Section(level, title, heading_line(level, title, document.newline), ""))
    return at


def place_of_section(document: Document, anchor: int) -> tuple[int, int]:
    """Index and level of a new section below `anchor` (0: the file); index 0 when only the preamble can hold it."""
    level = min(document.sections[anchor].level + 1, MAX_LEVEL) if anchor else 2
    at = document.subtree_end(anchor) if anchor else len(document.sections)
    if document.is_open and at == len(document.sections):
        # What follows an open fence would be part of it, so the new section goes before the section that is open.
        at -= 1
        level = document.sections[at].level
    return at, level


def delete_section(document: Document, index: int) -> str:
    """Remove a section with all below it and give the removed text."""
    if index == 0:
        raise EditRefused("unknown_target", "The text before the first heading is not a section.")
    end = document.subtree_end(index)
    removed = "".join(section.heading + section.body for section in document.sections[index:end])
    if end == len(document.sections):
        document.is_open = False
    del document.sections[index:end]
    return removed


def new_file(title: str, newline: str = "\n") -> Document:
    """A file that has nothing but its title."""
    return parse(heading_line(1, title, newline))


def end_heading(document: Document, section: Section) -> None:
    """Give the heading line of a section the ending it lacks at the end of a file."""
    if section.heading and not section.heading.endswith(("\n", "\r")):
        section.heading += document.newline


def struck(raw: str, why: str, day: str) -> str:
    """A list item whose first line is struck and dated; other text as it is."""
    line, rest = first_line(raw)
    match = _ITEM_LINE.match(line)
    if match is None:
        return raw
    return f"{match['head']}~~{match['text']}~~ ({why} {day}){match['end']}{rest}"


def ticked(raw: str, day: str) -> str:
    """A task whose box is ticked and dated; a list item without a box is struck."""
    line, rest = first_line(raw)
    match = _ITEM_LINE.match(line)
    if match is None or "[ ]" not in match["head"]:
        return struck(raw, "resolved", day)
    return f"{match['head'].replace('[ ]', '[x]')}{match['text']} (done {day}){match['end']}{rest}"


def first_line(raw: str) -> tuple[str, str]:
    """The first line of a block with its ending, and the rest."""
    match = re.match(r"[^\r\n]*(?:\r\n|\n|\r)?", raw)
    end = match.end() if match else 0
    return raw[:end], raw[end:]


def _insert(document: Document, index: int, text: str, *, at_end: bool) -> None:
    _check_text(text)
    section = document.sections[index]
    open_ended = document.is_open and index == len(document.sections) - 1
    end_heading(document, section)
    blocks = _blocks(document, index)
    at = content_end(blocks) if at_end and not open_ended else content_start(blocks)
    insert(blocks, at, split_body(_with_newline(text, document.newline)), document.newline, heading=section.heading)
    if index < len(document.sections) - 1 and blocks[-1].kind != BLANK:
        blocks.append(blank_after(blocks[-1].raw, document.newline))
    section.body = "".join(block.raw for block in blocks)


def _blocks(document: Document, index: int) -> list[Block]:
    return split_body(document.sections[index].body, 0 if index else document.front)


def _with_newline(text: str, newline: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    return newline.join(lines) + newline


def _check_text(text: str, deeper_than: int | None = None) -> None:
    """Refuse text that would change the structure around it."""
    parsed = parse("\n" + text)
    if parsed.is_open:
        raise EditRefused("structure", "The text leaves a fence or a comment open.")
    for level, title in parsed.outline():
        if deeper_than is None or level <= deeper_than:
            raise EditRefused("structure", f"The text holds the heading '{title}'.")


def _begins_like(raw: str, title: str) -> bool:
    wanted = fold(title)
    if not wanted:
        return False
    text = fold(MARKER.sub("", raw, count=1))[: len(wanted)]
    return SequenceMatcher(None, text, wanted, autojunk=False).ratio() >= SAME_ITEM


def _ends_blank(text: str) -> bool:
    for ending in ("\r\n", "\n", "\r"):
        if text.endswith(ending):
            head = text[: -len(ending)]
            return not head or head.endswith(("\n", "\r"))
    return False
