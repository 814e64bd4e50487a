"""Whether a synthesis says what the bank says."""

from collections.abc import Sequence
from typing import Final

from app.bank.document.text import stems
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
    passages = [note.content for note in notes]
    room = _READ
    # The files that were just changed are what a synthesis is most about.
    for path in sorted({*sheets.snapshot.files, *sheets.opened}, key=lambda path: (path not in sheets.opened, path)):
        content = sheets.content(path)
        passages += content[:room].splitlines()
        room -= len(content)
        if room <= 0:
            break
    foreign = differ_in_language(synthesis, "\n".join(passages)[:_SAMPLE])
    wanted = frozenset[str]().union(*map(stems, sentences))
    told = [said for passage in passages if _may_tell(passage, wanted) and (said := stems(passage))]
    return any(invented(sentence, _sources_of(sentence, told), foreign=foreign) for sentence in sentences)


def _may_tell(passage: str, wanted: frozenset[str]) -> bool:
    """Could the passage hold one of the words? Told without taking it apart, where that is easy."""
    if not passage.isascii():
        return True
    lowered = passage.lower()
    return any(stem in lowered for stem in wanted)


def _sources_of(sentence: str, told: Sequence[frozenset[str]]) -> frozenset[str]:
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
