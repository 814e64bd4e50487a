"""A file of the bank with the notes that each of its blocks rests on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.bank.document.blocks import BLANK, FENCE, FRONT, ITEM, ROW, Block, digest, split_body
from app.bank.document.markdown import parse
from app.bank.document.provenance import Sources
from app.spaces.models import NoteRef

_LINE: Final = 200
"""Characters of a block's first line that are shown."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What one block rests on."""

    block: str
    """Its first line."""
    section: tuple[str, ...]
    notes: tuple[str, ...]
    edited: bool
    """Somebody has changed its words by hand since."""


def grounds(content: str, sources: Sources, edited: Collection[str]) -> Iterator[Grounds]:
    """The blocks of a file that rest on notes, in their order."""
    document = parse(content)
    for number, section in enumerate(document.sections):
        titles = document.path(number) if number else ()
        for block in split_body(section.body, 0 if number else document.front):
            name = digest(block.raw)
            if block.kind not in {BLANK, FRONT} and (ids := sources.get(name)):
                line = block.raw.strip().splitlines()[0]
                yield Grounds(line[:_LINE], titles, tuple(sorted(ids)), name in edited)


def with_footnotes(content: str, sources: Sources, refs: Mapping[str, NoteRef]) -> str:
    """The file with a footnote for each note that a block rests on, numbered in the order in which they are met."""
    document = parse(content)
    label = "n"
    while f"[^{label}" in content:
        label += "n"
    numbers: dict[str, int] = {}
    newline = document.newline
    for number, section in enumerate(document.sections):
        blocks = split_body(section.body, 0 if number else document.front)
        for block in blocks:
            ids = sources.get(digest(block.raw), ()) if block.kind not in {BLANK, FRONT} else ()
            if ids:
                marks = "".join(f"[^{label}{numbers.setdefault(one, len(numbers) + 1)}]" for one in sorted(ids))
                block.raw = _marked(block, marks, newline)
        section.body = "".join(block.raw for block in blocks)
    text = document.render()
    if not numbers or document.is_open:
        # Nothing can follow what is open.
        return text if not document.is_open else content
    if not text.endswith(("\n", "\r")):
        text += newline
    lines = [f"[^{label}{number}]: {_described(one, refs.get(one))}" for one, number in numbers.items()]
    return text + newline + newline.join(lines) + newline


def _described(note_id: str, ref: NoteRef | None) -> str:
    if ref is None:
        return note_id
    return " ".join(part for part in (ref.ts[:19], ref.agent, ref.category, note_id) if part)


def _marked(block: Block, marks: str, newline: str) -> str:
    """The block with its marks where Markdown takes them for such: in the words, and after code."""
    bare = block.raw.rstrip("\r\n")
    ending = block.raw[len(bare) :]
    if block.kind == ITEM:
        line, rest_of_line, rest = _cut(block.raw)
        if "```" in line or "~~~" in line:
            return f"{bare}{newline}{newline}  {marks}{ending or newline}"
        return f"{line} {marks}{rest_of_line}{rest}"
    if block.kind == ROW and bare.rstrip().endswith("|"):
        if set(bare) <= set("|:- \t"):
            return block.raw
        return f"{bare.rstrip()[:-1].rstrip()} {marks} |{ending}"
    if block.kind == FENCE:
        return f"{bare}{ending or newline}{newline}{marks}{newline}"
    return f"{bare} {marks}{ending}"


def _cut(raw: str) -> tuple[str, str, str]:
    lines: Sequence[str] = raw.splitlines(keepends=True)
    line = lines[0].rstrip("\r\n")
    return line, lines[0][len(line) :], raw[len(lines[0]) :]
