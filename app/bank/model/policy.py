"""What may be done to a bank in one consolidation."""

from dataclasses import dataclass

from app.bank.document.text import KEPT_HARD, KEPT_STEMS


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of a consolidation with a model."""

    extra_files: bool = False
    """May files be created that the rules do not name?"""
    kept_hard: float = KEPT_HARD
    """Share of a note's hard tokens that must be found for the note to be kept."""
    kept_stems: float = KEPT_STEMS
    """Share of a note's stems that must be found for the note to be kept."""
    loss: float = 0.2
    """Share of a section's hard tokens that replacing it may cost; their lines stay, struck."""
    max_files: int = 500
    """Files of a bank."""
    op_bytes: int = 64_000
    """Bytes of the text of one operation."""
    section_bytes: int = 256_000
    """Bytes of the own body of one section."""
    file_bytes: int = 1_000_000
    """Bytes of one file. What the rules ask for is kept by moving entries to the archive: an edit that is refused would
    be followed by the note word for word, which is longer."""
    bank_bytes: int = 16_000_000
    """Bytes of all files."""


def size_of(text: str) -> int:
    """Bytes of a text as it is stored."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
