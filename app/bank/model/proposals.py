"""What a model proposes, before and after it is known what its handles mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.llm.client import FailureKind, Usage
from app.notes.models import Note

APPEND: Final = "append"
PREPEND: Final = "prepend"
REPLACE: Final = "replace"
SUPERSEDE: Final = "supersede"
ADD_SECTION: Final = "add_section"
CREATE_FILE: Final = "create_file"
DELETE_SECTION: Final = "delete_section"
VERBS: Final = (APPEND, PREPEND, REPLACE, SUPERSEDE, ADD_SECTION, CREATE_FILE, DELETE_SECTION)


@dataclass(frozen=True, slots=True)
class ProposedOp:
    """One operation as the model wrote it, brought into shape but not believed."""

    op: str
    """One of VERBS after synonyms; anything else is refused later."""
    at: str = ""
    """A handle (`s7`, `f2`), or a heading path or text where nothing enforced handles."""
    title: str = ""
    text: str = ""
    sources: tuple[str, ...] = ()
    """Handles of notes: `n4`."""
    reason: str = ""
    number: int = 0
    """Its place in the answer, from 1, refused operations counted; 0: its place among `ops`."""


@dataclass(frozen=True, slots=True)
class ProposedSkip:
    """A note that the model says need not be filed."""

    note: str
    """Its handle."""
    why: str
    """`duplicate` or `empty`; anything else is no reason."""
    same_as: str = ""
    """For a duplicate: handle of the other note, or the entry that says it already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer as far as it could be understood."""

    ops: tuple[ProposedOp, ...] = ()
    skips: tuple[ProposedSkip, ...] = ()
    synthesis: str = ""
    refused: tuple["Refusal", ...] = ()
    """Operations that have no usable shape."""
    is_whole: bool = True
    """False: the text was cut or damaged, and only its complete operations are here."""


@dataclass(frozen=True, slots=True)
class SectionTarget:
    """What a section's handle stands for."""

    path: str
    section_path: tuple[str, ...]
    """Titles from the top; empty for what stands before the first heading."""
    index: int
    """Number of the section in the parsed file of the snapshot; 0 is what stands before the first heading."""
    shown: bool
    """Was the section shown whole? Only then may it be replaced, deleted or superseded in."""


@dataclass(frozen=True, slots=True)
class Handles:
    """What the handles of one prompt stand for."""

    files: Mapping[str, str]
    """`f2`, then the path of the file."""
    sections: Mapping[str, SectionTarget]
    """`s7`, then the section."""
    notes: Mapping[str, Note]
    """`n3`, then the note."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operation that is not carried out, and why."""

    number: int
    """Its place in the answer, from 1."""
    verb: str
    target: str
    code: str
    """`bad_shape`, `unknown_op`, `too_many_ops`, `no_sources`, `unknown_note`, `bad_path`, `file_not_allowed`,
    `unknown_target`, `ambiguous_target`, `structure`, `protected`, `append_only`, `duplicate_replace`, `too_large`,
    `unsafe_content`, `ungrounded` or `lossy`."""
    reason: str
    """For the model, which may repair it, and for people."""


@dataclass(frozen=True, slots=True)
class ResolvedOp:
    """An operation whose handles are resolved: it can be carried out on a later version of the bank too."""

    number: int
    op: str
    path: str
    section_path: tuple[str, ...]
    """Titles from the top; empty: the file itself."""
    title: str
    text: str
    sources: tuple[str, ...]
    """Ids of notes."""
    reason: str
    shown: bool = True
    """Was the target shown whole to the model?"""
    seen: str = ""
    """Digest of the target's own body as the model saw it; empty where there was none."""
    repaired: bool = False
    """It comes from a repair round."""


@dataclass(frozen=True, slots=True)
class ResolvedSkip:
    """A skip whose handles are resolved."""

    note: str
    """Id of the note."""
    why: str
    same_as: str = ""
    """Id of the other note, or the entry's own words."""


class Trouble(StrEnum):
    """Why a batch has to be asked for again in smaller parts, or not at all."""

    NONE = ""
    CONTEXT = "context"
    """The prompt is too long."""
    CUT = "cut"
    """The answer was cut: what is complete of it counts."""
    REFUSED = "refused"
    """The model, or a filter before it, would not."""
    UNUSABLE = "unusable"
    """No answer could be made out, even when asked again."""
    FAILED = "failed"
    """There was no answer."""
    BUDGET = "budget"
    """The space may not ask any more today."""

    @property
    def is_of_the_batch(self) -> bool:
        """May smaller parts fare better?"""
        return self in {Trouble.CONTEXT, Trouble.CUT, Trouble.REFUSED, Trouble.UNUSABLE}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model made of a batch, in a form that can be carried out on any later version of the bank."""

    ops: tuple[ResolvedOp, ...] = ()
    skips: tuple[ResolvedSkip, ...] = ()
    synthesis: str = ""
    refused: tuple[Refusal, ...] = ()
    """Operations that were refused and not repaired."""
    repairs: int = 0
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    """Requests that were made."""
    trouble: Trouble = Trouble.NONE
    failure: FailureKind | None = None
    detail: str = ""
    prompt_sha256: str = ""


EXTRACTIVE: Final = Proposal()
"""Nothing proposed: every note is filed word for word."""
