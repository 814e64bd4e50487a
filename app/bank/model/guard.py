"""Keeps what replacing or deleting a section would lose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.bank.document.blocks import BLANK, FRONT, ITEM, Block
from app.bank.document.bullets import Bullet, anatomy
from app.bank.document.edits import struck
from app.bank.document.text import fold, hard_tokens, missing, stems
from app.bank.model.matching import is_struck
from app.bank.model.sheets import Sheet, Sheets, Told


@dataclass(frozen=True, slots=True)
class Loss:
    """What of a removed text the bank no longer says."""

    tokens: frozenset[str]
    """The hard tokens found nowhere."""
    share: float
    """Of all its hard tokens."""
    stems: float
    """Share of its stems that are still there."""


def loss_of(removed: str, instead: str, sheets: Sheets, sheet: Sheet) -> Loss:
    """What is lost of a text that is no longer in the bank as it stands, now that another one is there instead."""
    tokens = hard_tokens(removed)
    rest = missing(tokens, fold(instead)) if tokens else tokens
    lost = sheets.missing(rest, near=sheet.path)
    said = stems(removed)
    remaining = len(said & stems(instead)) / len(said) if said else 1.0
    return Loss(lost, len(lost) / len(tokens) if tokens else 0.0, remaining)


def is_repeated(removed: Sequence[Block], sheets: Sheets) -> bool:
    """Does the bank, as far as it is taken apart, say each removed block again in one of its own?"""
    return not unsaid(removed, sheets)


def unsaid(
    removed: Sequence[Block], sheets: Sheets, *, live: bool = False, near: tuple[Sheet, int] | None = None
) -> list[Block]:
    """The removed blocks that no block of the bank, as far as it is taken apart, says again; no live one, if so asked.

    Every word counts that tells something: a single one may be what tells a fact from another one. A block without any
    says nothing that could be lost. `near` is the section where most of them will be found.
    """
    # What stands there to the letter need not be understood, and that is most of what a replacement repeats.
    repeated = set() if near is None else {block.raw for block in near[0].blocks(near[1]) if not is_struck(block)}
    wanted = [block for block in removed if block.kind not in {BLANK, FRONT} and block.raw not in repeated]
    left = [(block, said) for block in wanted if (said := anatomy(block.raw)) and _probe(said)]
    places: list[tuple[Sheet, Sequence[int]]] = [] if near is None else [(near[0], [near[1]])]
    places += [(sheet, range(len(sheet.document.sections))) for _, sheet in sorted(sheets.opened.items())]
    for sheet, sections in places:
        if not left:
            break
        parts = [(at, sheets.folded_section(sheet.document.sections[at])) for at in sections]
        left = [one for one in left if not _is_said_in(parts, sheet, one[1], sheets, live=live)]
    return [block for block, _ in left]


def _probe(said: Bullet) -> str:
    """The word of a block that is least likely found elsewhere; nothing when it says nothing."""
    return max((*said.print.hard, *said.print.stems), key=len, default="")


def _is_said_in(parts: Sequence[tuple[int, str]], sheet: Sheet, said: Bullet, sheets: Sheets, *, live: bool) -> bool:
    """Does one of these sections say it? Of most it is enough to know that they do not hold its words."""
    probe = _probe(said)
    return any(
        _may_hold(part, said) and _is_said(said, sheets.told(sheet, at), live=live)
        for at, part in [one for one in parts if probe in one[1]]
    )


def _may_hold(folded: str, said: Bullet) -> bool:
    return all(stem in folded for stem in said.print.stems) and all(token in folded for token in said.print.hard)


def _is_said(said: Bullet, told: Iterable[Told], *, live: bool) -> bool:
    return any(
        not (live and one.is_struck)
        and one.negates == bool(said.negations)
        and said.print.stems <= one.stems
        and not missing(said.print.hard, one.folded)
        for one in told
    )


def as_struck(block: Block, why: str, day: str) -> str:
    """A block as a struck list item; one that is struck already as it is."""
    if block.kind == ITEM:
        return block.raw if not anatomy(block.raw).is_live and "~~" in block.raw else struck(block.raw, why, day)
    return struck(f"- {' '.join(block.raw.split())}\n", why, day)
