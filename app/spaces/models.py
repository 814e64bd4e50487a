"""A space as it is stored: one document, the head, that is the whole bank."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from app.core.ids import SpaceID
from app.core.schema import Body, Record, Result, Text

MAX_RULES = 50_000
MAX_DESCRIPTION = 500
ADOPTED: Final = "adopted"
"""In the lineage of a space that an older tool has made, and of no other."""


class SpaceState(StrEnum):
    """Whether the space is there for its users."""

    LIVE = "live"
    DELETED = "deleted"
    """A tombstone: everything else under the space is being, or has been, removed."""
    RESTORING = "restoring"
    """A backup is being copied in; seen as absent until its last write."""


class About(Record):
    """What people say a space is for."""

    description: str = ""
    owner: str = ""
    created_at: str
    """ISO-8601, UTC."""
    created_by: str = ""
    """Name of the token that created the space."""


class BankFile(Record):
    """One Markdown file of the bank."""

    content: str
    sha256: str
    bytes: int
    modified_at: str
    """ISO-8601, UTC."""
    history: str | None
    """Key of the commit record that holds this content."""
    raw: str | None = None
    """Base64 of the bytes when they are not UTF-8; the content then shows them with replacement characters."""


class Synthesis(Record):
    """A few sentences on the whole bank."""

    text: str
    consolidated_at: str
    notes_processed: int
    raw: str | None = None
    """Base64 of the whole object when an older tool has written it in a way of its own."""


class NoteRef(Record):
    """Where the full text of a note that was filed can be found."""

    history: str
    """Key of the commit record that consumed the note."""
    ts: str
    agent: str
    category: str


class Counters(Record):
    """Totals since the space was created."""

    consolidation_count: int = 0
    total_notes_processed: int = 0
    last_consolidation: str | None = None


class Head(Record):
    """The truth about a space: `{space}/_bank.json`, replaced only against the version that was read.

    It holds its version and a random commit id or nonce, so no two heads have equal bytes and no ETag comes back.
    """

    schema_version: int = Field(default=1, alias="schema")
    space_id: str
    incarnation: str
    """Random; tells a space from an earlier one of the same name."""
    lineage: list[str] = []
    """Incarnations whose notes belong here too: those of the spaces this one was restored from."""
    state: SpaceState = SpaceState.LIVE
    version: int = 0
    """0 for a space nothing was committed to."""
    history: str | None = None
    """Key of the record of this version."""
    parent: str | None = None
    """Key of the record of the version before."""
    committed_at: str
    nonce: str
    about: About
    opening: str | None = None
    """The rules given at creation, until they are seen in `_rules.md`."""
    files: dict[str, BankFile] = {}
    synthesis: Synthesis | None = None
    provenance: dict[str, dict[str, list[str]]] = {}
    """Path, then block hash: ids of the notes that the block rests on."""
    note_refs: dict[str, NoteRef] = {}
    """Every note ever filed."""
    consumed: dict[str, str] = {}
    """Notes filed whose object may not be removed yet, with the instant of their commit."""
    counters: Counters = Counters()
    last_job: str | None = None
    deleted_at: str | None = None
    swept: bool = False
    """Of a tombstone: everything else is gone."""
    claimed_at: str | None = None
    """Of a tombstone or a restore: when the process at work there last said so."""
    restoring_from: str | None = None
    """Of a space being restored: id of the backup."""

    def is_pending(self, note_id: str) -> bool:
        """Is a note that lies under `live/` still to be filed?"""
        return note_id not in self.consumed and note_id not in self.note_refs

    def owns(self, incarnation: str | None) -> bool:
        """Does a note written for that incarnation belong here? Notes of other makes name none."""
        return incarnation is None or incarnation == self.incarnation or incarnation in self.lineage


@dataclass(frozen=True, slots=True)
class Opened:
    """A head as it was read, with what is needed to replace just that version."""

    head: Head
    etag: str


Description = Annotated[
    Text,
    Field(max_length=MAX_DESCRIPTION, description="What the space is for, in a sentence.", examples=["API rewrite"]),
]
Rules = Annotated[
    Text,
    Field(
        max_length=MAX_RULES,
        description="Markdown that says which files the bank has and what belongs in each.",
        examples=["# Rules\n\n## activeContext.md\nCurrent focus and next steps.\n\n## decisions.md\nDecisions.\n"],
    ),
]


class SpaceCreate(Body):
    """A space to be created."""

    space_id: SpaceID
    description: Description
    rules: Rules
    owner: Annotated[Text, Field(max_length=64, description="Who answers for the space.", examples=["team-api"])] = ""


class SpaceCreated(Result):
    """A space that exists from now on."""

    status: str = Field(default="created", examples=["created"])
    """`created`."""
    space_id: str
    """The space."""
    description: str
    """As given."""
    rules_size: int
    """Bytes of UTF-8."""
    created_at: str
    """When, in UTC."""
    warnings: list[str] = []
    """What could not be understood of the rules."""
    token_auto_updated: bool = False
    """The creator's token was limited to other spaces and now reaches this one too."""


class SpaceRules(Result):
    """The rules of a space."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    rules: str
    """Markdown, verbatim."""
    rules_size: int
    """Bytes of UTF-8."""


class SpaceDeleted(Result):
    """A space that is gone."""

    status: str = Field(default="deleted", examples=["deleted"])
    """`deleted`."""
    space_id: str
    """The space."""
    files_deleted: int
    """Objects removed."""
    files_remaining: int = 0
    """Objects the store did not remove; the service tries again by itself."""
