"""Which notes of a batch the bank keeps, and which may be skipped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.bank.document.blocks import BLANK, FRONT, MARKER, digest
from app.bank.document.bullets import anatomy
from app.bank.document.text import TELLING_TOKENS, Fingerprint, fingerprint, fold, hard_tokens, missing, stems
from app.bank.model.grounding import differ_in_language
from app.bank.model.policy import Policy
from app.bank.model.proposals import ResolvedSkip
from app.bank.model.sheets import Sheet, Sheets
from app.notes.models import Note

DUPLICATE: Final = "duplicate"
EMPTY: Final = "empty"
_FEWEST_STEMS: Final = 3
_SEARCHED: Final = 5
"""Files that are taken apart for one skip."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A note that is not in the bank yet."""

    note: str
    """Its id."""
    missing: tuple[str, ...]
    """The hard tokens that the texts citing it do not give."""
    cited: bool = False
    """Does any operation that was carried out cite it?"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a text gives of a note."""

    is_kept: bool
    missing: frozenset[str]
    touches: bool
    """Does it give anything of it?"""


class Coverage:
    """Compares notes with the texts that are to keep them."""

    def __init__(self, notes: Iterable[Note], policy: Policy) -> None:
        self.notes = {note.id: note for note in notes}
        self._policy = policy
        self._prints: dict[str, Fingerprint] = {}

    def print_of(self, note_id: str) -> Fingerprint:
        found = self._prints.get(note_id)
        if found is None:
            found = self._prints[note_id] = fingerprint(self.notes[note_id].content)
        return found

    def of(self, note_id: str, text: str) -> Kept:
        """What the text gives of the note."""
        wanted = self.print_of(note_id)
        absent = missing(wanted.hard, fold(text)) if wanted.hard else frozenset[str]()
        if not wanted.hard and not wanted.stems:
            # So short a note is kept by nothing but its own words.
            whole = fold(self.notes[note_id].content)
            is_said = bool(text.strip()) and whole in fold(text)
            return Kept(is_kept=is_said, missing=absent, touches=is_said)
        said = stems(text)
        share = len(wanted.stems & said) / len(wanted.stems) if wanted.stems else 1.0
        hard = 1 - len(absent) / len(wanted.hard) if wanted.hard else 1.0
        enough = share >= self._policy.kept_stems
        touches = len(absent) < len(wanted.hard) or enough
        if not text.strip():
            return Kept(is_kept=False, missing=absent, touches=False)
        if hard < self._policy.kept_hard:
            return Kept(is_kept=False, missing=absent, touches=touches)
        if not enough and wanted.hard:
            differ = differ_in_language(self.notes[note_id].content, text)
            enough = len(wanted.hard) >= (1 if differ else TELLING_TOKENS)
        return Kept(is_kept=enough, missing=absent, touches=touches)

    def repeats(self, note_id: str, text: str) -> bool:
        """Does the text say what a note says that is to be skipped? Where there is no name or number, to the word."""
        wanted = self.print_of(note_id)
        return self.of(note_id, text).is_kept and (bool(wanted.hard) or wanted.stems <= stems(text))

    def is_empty(self, note_id: str) -> bool:
        """Does the note say nothing?"""
        wanted = self.print_of(note_id)
        return not wanted.hard and len(wanted.stems) < _FEWEST_STEMS


@dataclass(frozen=True, slots=True)
class Joined:
    """A skipped note, and where the bank says it already; nowhere when it says nothing."""

    note: str
    path: str = ""
    text: str = ""


def said_of(sheets: Sheets) -> dict[str, str]:
    """For each note of the batch, the blocks of the bank that give its content."""
    found: dict[str, list[str]] = {}
    for _, sheet in sorted(sheets.opened.items()):
        for name, ids in sorted(sheet.said.items()):
            for note_id in sorted(ids):
                found.setdefault(note_id, []).append(sheet.raws.get(name, ""))
    return {note_id: "\n".join(raws) for note_id, raws in found.items()}


def verified(
    sheets: Sheets, skips: Sequence[ResolvedSkip], kept: Mapping[str, str], coverage: Coverage
) -> dict[str, Joined]:
    """The skipped notes that the server agrees to skip; each joins the sources of what says it already."""
    found: dict[str, Joined] = {}
    for skip in skips:
        if skip.note not in coverage.notes or skip.note in kept or skip.note in found:
            continue
        if skip.why == EMPTY and coverage.is_empty(skip.note):
            found[skip.note] = Joined(skip.note)
        elif skip.why == DUPLICATE and (joined := _joined(sheets, skip, kept, coverage)):
            found[skip.note] = joined
    return found


def _joined(sheets: Sheets, skip: ResolvedSkip, kept: Mapping[str, str], coverage: Coverage) -> Joined | None:
    if skip.same_as == skip.note:
        return None
    if skip.same_as in coverage.notes:
        if not coverage.repeats(skip.note, kept.get(skip.same_as, "")):
            return None
        return _join_note(sheets, skip)
    for sheet, raw in _entries(sheets, skip.same_as):
        if coverage.repeats(skip.note, raw):
            sheet.rest(digest(raw), raw, {skip.note}, {skip.note})
            return Joined(skip.note, sheet.path, raw.rstrip("\r\n"))
    return None


def _join_note(sheets: Sheets, skip: ResolvedSkip) -> Joined | None:
    """Rest whatever gives the other note on this one too."""
    joined = None
    for path, sheet in sorted(sheets.opened.items()):
        for name in sorted(name for name, ids in sheet.said.items() if skip.same_as in ids):
            sheet.rest(name, sheet.raws.get(name, ""), {skip.note}, {skip.note})
            joined = joined or Joined(skip.note, path)
    return joined


def _entries(sheets: Sheets, quoted: str) -> Iterable[tuple[Sheet, str]]:
    """The live blocks of the bank that a quotation can mean, the ones that begin with it first."""
    wanted = _bare(quoted)
    if len(wanted) < 3:  # noqa: PLR2004 - two letters quote nothing
        return
    longest = max(wanted.split(), key=len)
    tokens = hard_tokens(quoted)
    searched = 0
    # A file that is taken apart already costs nothing.
    for path in sorted({*sheets.snapshot.files, *sheets.opened}, key=lambda path: (path not in sheets.opened, path)):
        if searched >= _SEARCHED:
            return
        content = sheets.content(path)
        if content.isascii() and longest.isascii() and longest not in content.casefold():
            continue
        folded = sheets.folded(path)
        if longest not in folded or missing(tokens, folded):
            continue
        searched += 1
        sheet = sheets.open(path)
        raws = [
            block.raw
            for at in range(len(sheet.document.sections))
            for block in sheet.blocks(at)
            if block.kind not in {BLANK, FRONT} and wanted in _bare(block.raw) and anatomy(block.raw).is_live
        ]
        yield from ((sheet, raw) for raw in sorted(raws, key=lambda raw: not _bare(raw).startswith(wanted)))


def _bare(text: str) -> str:
    return fold(MARKER.sub("", text, count=1)).strip(" \"'`.…*_")
