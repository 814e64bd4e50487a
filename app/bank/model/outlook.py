"""Whether a synthesis says what the bank says."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app.bank.document.text import lines_with, stems
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
    sentences = sentences_of(synthesis)
    wanted = frozenset[str]().union(*map(stems, sentences)) - OWN_WORDS
    sample = "\n".join(note.content for note in notes)[:_SAMPLE]
    # Many lines say the same of what is wanted, and one of them is enough.
    told = dict.fromkeys(stems(note.content) & wanted for note in notes)
    room = _READ
    # The files that were just changed are what a synthesis is most about.
    for path in sorted({*sheets.snapshot.files, *sheets.opened}, key=lambda path: (path not in sheets.opened, path)):
        content = sheets.content(path)
        if len(sample) < _SAMPLE:
            sample += "\n" + content[: _SAMPLE - len(sample)]
        told.update(dict.fromkeys(_lines_telling(wanted, sheets.folded_lines(path)[:room])))
        room -= len(content)
        if room <= 0:
            break
    foreign = differ_in_language(synthesis, sample)
    return any(invented(sentence, _sources_of(sentence, told), foreign=foreign) for sentence in sentences)


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
