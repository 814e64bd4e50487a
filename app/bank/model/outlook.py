"""Whether a synthesis says what the bank says."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app.bank.document.blocks import MARKER
from app.bank.document.text import fold, lines_with, stems
from app.bank.model.grounding import OWN_WORDS, differ_in_language, invented, sentences_of
from app.bank.model.sheets import Sheets
from app.notes.models import Note

_READ: Final = 2_000_000
"""Characters of a bank that are compared; what only the rest of it says is taken for invented."""
_SAMPLE: Final = 20_000
"""Characters that tell the language of a bank."""
_JOINED: Final = 3
"""Lines of the bank that one sentence may draw together."""


def is_invented(synthesis: str, sheets: Sheets, notes: Sequence[Note]) -> bool:
    """Does a sentence say what no few lines of the bank, and none of the notes, say?"""
    foreign = differ_in_language(synthesis, _sample(sheets, notes))
    told = dict.fromkeys(stems(note.content) for note in notes)
    # What is new comes from the notes, and much of what is not from the bank as it stands; only for the rest the whole
    # bank is gone through word by word.
    left = [one for one in sentences_of(synthesis) if invented(one, _sources_of(one, told), foreign=foreign)]
    left = [one for one in left if not _stands_there(one, sheets)]
    if not left:
        return False
    wanted = frozenset[str]().union(*map(stems, left)) - OWN_WORDS
    room = _READ
    for path in _in_order(sheets):
        folded = sheets.folded_lines(path)[:room]
        # Many lines say the same of what is wanted, and one of them is enough.
        told.update(dict.fromkeys(_lines_telling(wanted, folded)))
        room -= len(folded)
        if room <= 0:
            break
    return any(invented(sentence, _sources_of(sentence, told), foreign=foreign) for sentence in left)


def _stands_there(sentence: str, sheets: Sheets) -> bool:
    """Does the bank say it to the letter?"""
    bare = fold(MARKER.sub("", sentence, count=1))
    return any(bare in part for path in _in_order(sheets) for part in sheets.parts(path))


def _in_order(sheets: Sheets) -> list[str]:
    """The files of the bank. Those that were just changed are what a synthesis is most about, so they come first."""
    return sorted({*sheets.snapshot.files, *sheets.opened}, key=lambda path: (path not in sheets.opened, path))


def _sample(sheets: Sheets, notes: Sequence[Note]) -> str:
    """So much of notes and bank as tells their language."""
    sample = "\n".join(note.content for note in notes)[:_SAMPLE]
    for path in _in_order(sheets):
        if len(sample) >= _SAMPLE:
            break
        sample += "\n" + sheets.content(path)[: _SAMPLE - len(sample)]
    return sample


def _lines_telling(wanted: frozenset[str], folded: str) -> Iterator[frozenset[str]]:
    """The sets of wanted words that the lines of a folded text have, each once."""
    held: dict[int, int] = {}
    ordered = sorted(wanted)
    for number, stem in enumerate(ordered):
        for line in lines_with(stem, folded):
            held[line] = held.get(line, 0) | 1 << number
    for having in dict.fromkeys(held[line] for line in sorted(held)):
        yield frozenset(stem for number, stem in enumerate(ordered) if having >> number & 1)


def _sources_of(sentence: str, told: Iterable[frozenset[str]]) -> frozenset[str]:
    """The words of the few passages that hold most of those of a sentence."""
    wanted = stems(sentence)
    known = set(OWN_WORDS)
    for _ in range(_JOINED):
        left = wanted - known
        best = max(told, key=lambda passage: len(left & passage), default=frozenset[str]())
        if not left & best:
            break
        known |= best
    return frozenset(known)
