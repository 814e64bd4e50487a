"""The bank as one consolidation sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.bank.document.layout import Layout
from app.bank.extract.pages import Filed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a bank with the rules of its space, taken apart as far as planning needs it."""

    files: Mapping[str, str]
    """Path, then Markdown."""
    provenance: Mapping[str, Mapping[str, Sequence[str]]]
    """Path, then block digest: ids of the notes that the block rests on."""
    refs: Mapping[str, Filed]
    """What is remembered of every note filed earlier."""
    layout: Layout
    """What the rules mean."""
    rules: str = ""
    """The rules, verbatim."""
    synthesis: str = ""
    """The text of the present synthesis."""
    raw: frozenset[str] = frozenset()
    """The files that are no text; what `files` has of them is only how they look."""
