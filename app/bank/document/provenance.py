"""Which notes each block of the bank rests on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from app.bank.document.blocks import BLANK, FRONT, Block, digest, split_body
from app.bank.document.markdown import parse

INHERITED: Final = 0.8
"""So similar must an edited block be to keep the sources of the block it was."""
_COMPARED: Final = 4_000
"""Characters of a block that are compared."""

Sources = Mapping[str, Sequence[str]]
"""Block digest, then note ids."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A block with the section it stands in."""

    section: int
    block: Block
    digest: str


def blocks_of(content: str) -> Iterator[Placed]:
    """Every block of a file, blank lines and front matter left out."""
    document = parse(content)
    for number, section in enumerate(document.sections):
        for block in split_body(section.body, 0 if number else document.front):
            if block.kind not in {BLANK, FRONT}:
                yield Placed(number, block, digest(block.raw))


def existing(files: Mapping[str, str], provenance: Mapping[str, Sources]) -> dict[str, dict[str, list[str]]]:
    """The part of a provenance map whose blocks are in the bank."""
    kept: dict[str, dict[str, list[str]]] = {}
    for path in sorted(files):
        sources = provenance.get(path)
        if not sources:
            continue
        found = {
            placed.digest: sorted(set(sources[placed.digest]))
            for placed in blocks_of(files[path])
            if sources.get(placed.digest)
        }
        if found:
            kept[path] = found
    return kept


def inherit(before: str, after: str, sources: Sources) -> dict[str, list[str]]:
    """The sources of a file's blocks after somebody edited it by hand.

    A block that is still there keeps its sources. A changed one takes those of the block of the same section that it
    resembles most, if it resembles it enough.
    """
    new = list(blocks_of(after))
    present = {placed.digest for placed in new}
    kept = {placed.digest: sorted(set(sources[placed.digest])) for placed in new if sources.get(placed.digest)}
    titles_before, titles_after = _paths(before), _paths(after)
    gone: dict[tuple[str, ...], list[Placed]] = {}
    for placed in blocks_of(before):
        if placed.digest not in present and sources.get(placed.digest):
            gone.setdefault(titles_before[placed.section], []).append(placed)
    known = {placed.digest for placed in blocks_of(before)}
    for placed in new:
        if placed.digest in known:
            continue
        best = _closest(placed.block.raw, gone.get(titles_after[placed.section], []))
        if best is not None:
            kept[placed.digest] = sorted({*kept.get(placed.digest, []), *sources[best.digest]})
    return kept


def _paths(content: str) -> list[tuple[str, ...]]:
    document = parse(content)
    return [document.path(number) for number in range(len(document.sections))]


def _closest(raw: str, candidates: Sequence[Placed]) -> Placed | None:
    best, best_ratio = None, INHERITED
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(raw[:_COMPARED])
    for candidate in candidates:
        matcher.set_seq1(candidate.block.raw[:_COMPARED])
        if matcher.real_quick_ratio() < best_ratio or matcher.quick_ratio() < best_ratio:
            continue
        ratio = matcher.ratio()
        if ratio >= best_ratio and (best is None or ratio > best_ratio):
            best, best_ratio = candidate, ratio
    return best
