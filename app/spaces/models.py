"""A space as it is stored: one document, the head, that is the whole bank."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from app.core.ids import SpaceID
from app.core.schema import Body, Record, Result, Schema, Text
from app.spaces.rule_templates import PREFIX, TEMPLATES, expanded

MAX_RULES = 50_000
MAX_DESCRIPTION = 500
RULE_TEMPLATES: Final = {f"{PREFIX}{name}": what for name, what in TEMPLATES.items()}
"""What may be given instead of rules, and what it is for."""
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
    requeued_from: str | None = None
    """Id under which the same note had been filed before."""


class Requeued(Record):
    """A note that was taken out of the bank again and waits anew."""

    history: str
    """Key of the commit record that holds the object of the note."""
    requeued_from: str
    """Id that the note had when it was filed."""


class RulesChange(Record):
    """One change of the rules; the text itself lies under `{space}/_rules/{sha256}.md`."""

    at: str
    """When, in UTC."""
    by: str
    """Name of the token."""
    sha256: str
    """Digest of the rules from then on."""
    previous: str
    """Digest of the rules until then; empty: they had been removed by hand."""


class Counters(Record):
    """Totals since the space was created."""

    consolidation_count: int = 0
    total_notes_processed: int = 0
    last_consolidation: str | None = None


class Automatic(Schema):
    """When a space is consolidated without being asked. Notes are filed once nobody has written for a while."""

    enabled: bool = False
    """Whether it happens at all."""
    notes: int = Field(default=20, ge=1, le=10_000)
    """It begins when so many notes wait."""
    max_age_minutes: int = Field(default=360, ge=1, le=525_600)
    """It begins, too, when the oldest note has waited so long."""
    quiet_minutes: int = Field(default=5, ge=0, le=1_440)
    """And not before nobody has written for so long, or the oldest note has waited twice its time."""
    cooldown_minutes: int = Field(default=10, ge=1, le=10_080)
    """Between two of them, at least."""
    daily_runs: int = Field(default=24, ge=1, le=1_440)
    """A day, at most."""


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
    recent: list[str] = []
    """Nonces of the heads before this one, the newest first: whoever wrote one of them can tell that it was kept."""
    opening: str | None = None
    """The rules given at creation or by the last change, until they are seen in `_rules.md`."""
    rules_changes: list[RulesChange] = []
    """The latest changes of the rules, oldest first."""
    files: dict[str, BankFile] = {}
    synthesis: Synthesis | None = None
    provenance: dict[str, dict[str, list[str]]] = {}
    """Path, then block hash: ids of the notes that the block rests on."""
    edited: dict[str, list[str]] = {}
    """Path, then hashes of the blocks whose words somebody has changed by hand since their notes were filed."""
    note_refs: dict[str, NoteRef] = {}
    """Every note ever filed."""
    consumed: dict[str, str] = {}
    """Notes filed whose object may not be removed yet, with the instant of their commit."""
    requeue: dict[str, Requeued] = {}
    """Notes put back in the queue and not filed since, by their new id: whoever finds one without object makes it."""
    counters: Counters = Counters()
    last_job: str | None = None
    automatic: Automatic | None = None
    """When the space is consolidated by itself; None: never."""
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
        description="Markdown that says which files the bank has and what belongs in each; "
        f"or the name of rules that are ready to use: {', '.join(f'`{name}`' for name in RULE_TEMPLATES)}.",
        examples=["# Rules\n\n## activeContext.md\nCurrent focus and next steps.\n\n## decisions.md\nDecisions.\n"],
    ),
    AfterValidator(expanded),
]
Owner = Annotated[Text, Field(max_length=64, description="Who answers for the space.", examples=["team-api"])]


def _not_blank(rules: str) -> str:
    if not rules.strip():
        raise ValueError("the rules are empty")
    return rules


class SpaceCreate(Body):
    """A space to be created."""

    space_id: SpaceID
    description: Description
    rules: Rules
    owner: Owner = ""


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


class AutomaticGiven(Automatic):
    """When the space is to be consolidated without being asked; what is left out is as usual."""

    model_config = ConfigDict(extra="forbid")


class SpaceUpdate(Body):
    """What is to be different about a space; what is empty stays as it is."""

    description: Annotated[
        Text,
        Field(
            max_length=MAX_DESCRIPTION,
            description="What the space is for from now on; empty: as it is.",
            examples=["API rewrite, part 2"],
        ),
    ] = ""
    owner: Annotated[
        Text,
        Field(max_length=64, description="Who answers for it from now on; empty: as it is.", examples=["team-api"]),
    ] = ""
    clear: Annotated[
        Literal["", "description", "owner", "description,owner"],
        Field(description="Which of them is to be empty from now on.", examples=[""]),
    ] = ""
    automatic: Annotated[
        AutomaticGiven | None,
        Field(
            description="When to consolidate without being asked; null: as it is.",
            examples=[{"enabled": True, "notes": 20}],
        ),
    ] = None

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if any(getattr(self, name) for name in self.cleared):
            raise ValueError("what is to be cleared cannot be given a text as well")
        return self

    @property
    def cleared(self) -> list[str]:
        """Names of the fields that are to be empty."""
        return self.clear.split(",") if self.clear else []


class SpaceRulesUpdate(Body):
    """The rules of a space, all of them."""

    rules: Annotated[Rules, AfterValidator(_not_blank)]


class RulesChanged(Result):
    """One change of the rules."""

    at: str
    """When, in UTC."""
    by: str
    """Name of the token."""
    sha256: str
    """Digest of the rules from then on."""
    previous: str
    """Digest of the rules until then."""


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
    rules_sha256: str
    """Digest of the rules: names them after they have changed."""
    changes: list[RulesChanged]
    """When the rules were changed, the latest first."""


class SpaceUpdated(Result):
    """What is said of a space from now on."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    updated_fields: list[str]
    """What is different now; empty: nothing."""
    description: str
    """As it is now."""
    owner: str
    """As it is now."""
    automatic: Automatic | None
    """When it is consolidated without being asked; null: never."""
    message: str
    """What was done."""


class SpaceRulesUpdated(Result):
    """The rules of a space from now on."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    rules_size: int
    """Bytes of UTF-8."""
    rules_sha256: str
    """Digest of the rules."""
    previous_sha256: str
    """Digest of the rules before: `space_rules` still tells them; empty: they had been removed by hand."""
    warnings: list[str]
    """What could not be understood of the rules."""
    message: str
    """What was done."""


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
