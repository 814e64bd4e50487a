"""Compares what an operation says with what a section says already."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from app.bank.document.blocks import BLANK, FRONT, ITEM, MARKER, Block, content_end, digest, split_body
from app.bank.document.bullets import anatomy
from app.bank.document.edits import SAME_ITEM
from app.bank.document.text import fold, same


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is new in a text."""

    text: str
    """Nothing when the section says all of it."""
    joined: dict[str, str]
    """The blocks that say the rest already: digest, then the block."""


def fresh_of(
    text: str,
    there: Sequence[Block],
    sources: Mapping[str, Collection[str]],
    cited: Collection[str],
    *,
    struck_too: bool = False,
) -> Fresh:
    """What of a text the blocks of a section do not say yet.

    A struck entry says nothing, unless it rests on a cited note: then the text was filed before and struck since.
    """
    here: dict[tuple[str, str], Block] = {}
    for block in there:
        if block.kind in {BLANK, FRONT}:
            continue
        if not is_struck(block) or struck_too or not set(cited).isdisjoint(sources.get(digest(block.raw), ())):
            here.setdefault(_key(block), block)
    new = split_body(text.replace("\r\n", "\n").replace("\r", "\n").strip("\n") + "\n")
    others = [block for block in new if block.kind not in {BLANK, ITEM}]
    is_known = all(_key(block) in here for block in others)
    kept: list[Block] = []
    joined: dict[str, str] = {}
    said: set[tuple[str, str]] = set()
    for block in new:
        if block.kind == BLANK:
            if kept and kept[-1].kind != BLANK:
                kept.append(block)
            continue
        key = _key(block)
        known = here.get(key)
        if known is not None and (block.kind == ITEM or is_known):
            joined[digest(known.raw)] = known.raw
            continue
        if block.kind == ITEM and key in said:
            continue
        said.add(key)
        kept.append(block)
    return Fresh("".join(block.raw for block in kept[: content_end(kept)]).strip("\n"), joined)


def _key(block: Block) -> tuple[str, str]:
    """What a block is compared by."""
    if block.kind == ITEM and (core := anatomy(block.raw).core):
        return ITEM, core
    return block.kind, same(block.raw)


def is_struck(block: Block) -> bool:
    """Is the block an entry that is no longer live?"""
    return block.kind == ITEM and not anatomy(block.raw).is_live


def called(blocks: Sequence[Block], title: str, own: set[str]) -> list[int]:
    """The live items that begin like a title: those that begin just so, else the similar ones."""
    wanted = fold(unmarked(title))
    if not wanted:
        return []
    starts: dict[int, list[str]] = {}
    for at, block in enumerate(blocks):
        if block.kind == ITEM and anatomy(block.raw).is_live and anatomy(block.raw).core not in own:
            bare = MARKER.sub("", block.raw, count=1)
            starts[at] = [fold(bare), fold(unmarked(bare))]
    exact = [at for at, found in starts.items() if any(start.startswith(wanted) for start in found)]
    return exact or [at for at, found in starts.items() if any(_like(start[: len(wanted)], wanted) for start in found)]


def _like(one: str, other: str) -> bool:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return (
        matcher.real_quick_ratio() >= SAME_ITEM and matcher.quick_ratio() >= SAME_ITEM and matcher.ratio() >= SAME_ITEM
    )


def unmarked(text: str) -> str:
    """An entry without its list marker, box and date."""
    bare = MARKER.sub("", text.strip(), count=1).strip()
    for box in ("[ ] ", "[x] ", "[X] "):
        bare = bare.removeprefix(box)
    day, _, rest = bare.partition(" ")
    return rest if len(day) == 10 and day[4:5] == "-" and day[7:8] == "-" and rest else bare  # noqa: PLR2004 - a date


def start_of(raw: str) -> str:
    """The first words of an entry, as it can be named."""
    return " ".join(unmarked(raw).split()[:6])
