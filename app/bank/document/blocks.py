"""The blocks of a section's body: what provenance speaks of and what insertions go between."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.bank.document.markdown import Enclosure, indent_of, lines_of
from app.bank.document.remembering import remembered

ITEM, ROW, TEXT, BLANK, FENCE, COMMENT, FRONT = "item", "row", "text", "blank", "fence", "comment", "front"

MARKER: Final = re.compile(r"\A( {0,3})([-*+]|\d{1,9}[.)])(?=[ \t]|\Z)([ \t]*)")
_BREAK: Final = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}\Z")
_NESTED: Final = 2
"""Columns from which a line after a blank one still belongs to the item above."""


@dataclass(slots=True)
class Block:
    """One block, or one blank line, exactly as it stands in the text."""

    kind: str
    raw: str


def split_body(body: str, front: int = 0) -> list[Block]:
    """The blocks of a body in order; joined they are the body.

    `front` is the length of the front matter at its start, which is one block.
    """
    blocks: list[Block] = [Block(FRONT, body[:front])] if front else []
    return blocks + [Block(kind, raw) for kind, raw in _split(body[front:])]


@remembered(256, longest=8_000, lines=200)
def _split(body: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    lines = lines_of(body)
    at = 0
    while at < len(lines):
        end, kind = _block_at(lines, at)
        found.append((kind, "".join(lines[at:end])))
        at = end
    return tuple(found)


def _block_at(lines: list[str], at: int) -> tuple[int, str]:
    bare = lines[at].rstrip("\r\n")
    if not bare.strip():
        return at + 1, BLANK
    if is_item(bare):
        return _item_end(lines, at), ITEM
    enclosure = Enclosure()
    if enclosure.feed(lines[at]):
        kind = FENCE if enclosure.kind == "fence" else COMMENT
        end = at + 1
        while end < len(lines) and enclosure.is_open:
            enclosure.feed(lines[end])
            end += 1
        return end, kind
    if bare.lstrip().startswith("|"):
        return at + 1, ROW
    end = at + 1
    while end < len(lines) and not _begins_block(lines[end]):
        end += 1
    return end, TEXT


def is_item(bare: str) -> bool:
    """Does a line, without its ending, begin a list item?"""
    return bool(MARKER.match(bare)) and not _BREAK.match(bare)


def _begins_block(line: str) -> bool:
    bare = line.rstrip("\r\n")
    return not bare.strip() or is_item(bare) or bare.lstrip().startswith("|") or Enclosure().feed(line)


def _item_end(lines: list[str], at: int) -> int:
    """Index after the item that begins at a line: nested and lazily continued lines belong to it."""
    enclosure = Enclosure()
    enclosure.feed(lines[at])
    end = at + 1
    blanks = 0
    while end < len(lines):
        line = lines[end]
        bare = line.rstrip("\r\n")
        if enclosure.is_open:
            if not enclosure.feed(line) and indent_of(bare) < _NESTED:
                break
        elif not bare.strip():
            blanks += 1
            end += 1
            continue
        elif indent_of(bare) >= _NESTED:
            enclosure.feed(line)
        elif blanks or _begins_block(line) or _BREAK.match(bare):
            break
        blanks = 0
        end += 1
    return end - blanks


def digest(raw: str) -> str:
    """The name of a block in the provenance map: stable under re-indentation and a change of marker."""
    bare = MARKER.sub("", raw, count=1)
    text = " ".join(bare.split())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def insert(blocks: list[Block], at: int, new: Iterable[Block], newline: str, *, heading: str = "") -> None:
    """Put blocks before the block `at`, with blank lines where two neighbours would run into each other.

    `heading` is the heading line that stands before the first block, if one does.
    """
    added = list(new)
    if not added:
        return
    before = blocks[at - 1] if at else None
    if before is not None and not before.raw.endswith(("\n", "\r")):
        before.raw += newline
    if not added[-1].raw.endswith(("\n", "\r")):
        added[-1].raw += newline
    follower = blocks[at] if at < len(blocks) else None
    if follower is not None and follower.kind != BLANK and not _close(added[-1], follower):
        added.append(blank_after(added[-1].raw, newline))
    if follower is not None and follower.raw.startswith("\n") and added[-1].raw.endswith("\r"):
        added[-1].raw = added[-1].raw[:-1] + "\n"
    if before is None:
        if heading:
            added.insert(0, blank_after(heading, newline))
    elif before.kind != BLANK and not _close(before, added[0]):
        added.insert(0, blank_after(before.raw, newline))
    blocks[at:at] = added


def blank_after(text: str, newline: str) -> Block:
    """A blank line to follow a text; a line feed after a carriage return would only end the same line."""
    return Block(BLANK, "\r" if text.endswith("\r") and newline.startswith("\n") else newline)


def _close(above: Block, below: Block) -> bool:
    return above.kind == below.kind and above.kind in {ITEM, ROW}


def content_end(blocks: list[Block]) -> int:
    """Index after the last block that is not a blank line."""
    end = len(blocks)
    while end and blocks[end - 1].kind == BLANK:
        end -= 1
    return end


def content_start(blocks: list[Block]) -> int:
    """Index of the first block that is neither front matter nor a blank line after it."""
    start = 0
    while start < len(blocks) and blocks[start].kind in {FRONT, BLANK}:
        start += 1
    return start


def would_absorb(block: Block) -> bool:
    """Is the block indented so far that a list item put above it would take it in?"""
    return indent_of(block.raw) >= _NESTED


def without(blocks: Sequence[Block], gone: Collection[int]) -> list[Block]:
    """The blocks but for those at these places, and without the blank lines that only set them off."""
    kept: list[Block] = []
    removed = False
    for at, block in enumerate(blocks):
        if at in gone:
            removed = True
            continue
        if removed and block.kind == BLANK and (not kept or kept[-1].kind == BLANK):
            continue
        removed = removed and block.kind == BLANK
        kept.append(block)
    return kept
