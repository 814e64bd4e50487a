"""The bank on the wire, and a commit as it is stored."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from app.core.schema import Body, Record, Result, Text
from app.notes.models import AgentName
from app.spaces.models import Synthesis


class CommitKind(StrEnum):
    """Why the bank changed."""

    CONSOLIDATION = "consolidation"
    GC = "gc"
    """Old notes were removed; their text is kept in the record."""
    ADOPT = "adopt"
    """The bank of an older tool was taken over as it was."""
    MANUAL = "manual"
    """Somebody wrote, deleted or repaired files by hand."""
    COMPACTION = "compaction"
    """What a file could do without moved to the archive."""
    RESTORE = "restore"
    """The whole bank was set back to an earlier version."""
    REVERT = "revert"
    """One earlier commit was undone, and what came after it kept."""


class Change(Record):
    """One file of a commit. Where only the sources of its blocks changed, its digest is the same before and after."""

    before_sha256: str | None
    after_sha256: str | None
    after: str | None
    """The whole new content; null when the file went away."""
    raw: str | None = None
    """Base64 of the bytes when they are not UTF-8."""
    provenance: dict[str, list[str]] = {}


class ManifestEntry(Record):
    """Where one file of the bank can be read as it was at this version."""

    sha256: str
    history: str | None
    bytes: int | None = None
    modified_at: str | None = None
    """ISO-8601, UTC."""


class Edit(Record):
    """What was done to the bank for one or more notes."""

    op: str
    path: str
    section_path: list[str]
    text: str
    sources: list[str]
    filed_by: str = "extractive"
    """`llm`, `extractive` or `manual`."""
    repaired: bool = False
    """The model mended it after a complaint."""


class Refused(Record):
    """What a model wanted and did not get."""

    number: int
    """Its place in the answer."""
    verb: str
    target: str
    code: str
    reason: str


class ModelUse(Record):
    """The model's part in a commit."""

    model: str
    prompt_sha256: str
    """Names the prompt that the first answer came from."""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    """Some tokens were counted here, since the endpoint did not tell."""
    cost: float = 0.0


class ConsumedNote(Record):
    """A note that the commit filed or removed, whole."""

    id: str
    key: str
    sha256: str
    object: str
    """The stored note, header and text; base64 when it is not UTF-8."""
    encoding: str = "utf-8"


class RequeuedNote(Record):
    """A note that the commit put back in the queue: the object that it gets."""

    id: str
    key: str
    requeued_from: str
    """Id under which it had been filed."""
    object: str
    """The new object, header and text; base64 when it is not UTF-8."""
    encoding: str = "utf-8"


class Commit(Record):
    """One immutable record per version: `{space}/_history/{version:08d}-{commit_id}.json.gz`."""

    version: int
    commit_id: str
    parent_version: int
    parent: str | None
    kind: CommitKind
    actor: str
    job_id: str
    batch: int
    at: str
    rules_sha256: str
    changes: dict[str, Change]
    manifest: dict[str, ManifestEntry]
    edits: list[Edit]
    refused: list[Refused] = []
    """What a model wanted and did not get."""
    model: ModelUse | None = None
    """The model's part in it; null: it had none."""
    synthesis: str | None
    """The synthesis that this commit wrote; null when it left the former one."""
    consumed: list[ConsumedNote]
    requeued: list[RequeuedNote] = []
    """Notes put back in the queue."""
    undoes: int | None = None
    """Of a revert: the version that it undid. Of a restore: the version that it went back to."""
    synthesis_now: Synthesis | None = None
    """The synthesis of this version, whoever wrote it."""
    last_consolidation: str | None = None
    """When notes had last been filed at this version."""


def _filename(name: str) -> str:
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError("a file name has no empty, `.` or `..` part, and neither starts nor ends with a slash")
    if "\\" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):  # noqa: PLR2004 - ASCII
        raise ValueError("a file name holds no backslash and no control character")
    return name


Filename = Annotated[
    Text,
    AfterValidator(_filename),
    Field(
        min_length=1,
        max_length=512,
        description="Path of the file in the bank; folders are separated by `/`.",
        examples=["activeContext.md"],
    ),
]


class BankContent(Result):
    """One file of the bank, whole."""

    filename: str
    """Its path in the bank."""
    content: str
    """Markdown."""
    size: int
    """Bytes of UTF-8."""
    last_modified: str
    """When it last changed, in UTC."""


class SourceNote(Result):
    """A note that something in the bank rests on."""

    id: str
    """Its id; `bank_note` has its full text."""
    ts: str
    """When it was written, in UTC; empty when nobody knows."""
    agent: str
    """The author shown."""
    category: str
    """What kind of thing it says."""


class BlockProvenance(Result):
    """What one block of a file rests on: a list item, a paragraph, a table row or a piece of code."""

    block: str
    """Its first line."""
    section: list[str]
    """Titles down to its section."""
    notes: list[SourceNote]
    """The notes that it was made of, by id."""
    edited: bool
    """Somebody has changed its words by hand since."""


class BankRead(BankContent):
    """One file of the bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    version: int
    """Version of the bank."""
    provenance: list[BlockProvenance] = []
    """With `provenance=true`: the blocks that rest on notes, in the order of the file."""


class BankReadAll(Result):
    """The whole bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    files: list[BankContent]
    """Every file, by path."""
    file_count: int
    """How many files."""
    total_size: int
    """Bytes of all of them."""
    synthesis: str
    """A few sentences on the whole; empty before the first consolidation."""
    version: int
    """Version of the bank."""
    last_consolidation: str
    """When notes were last filed, in UTC; empty before."""


class BankEntry(Result):
    """One file of the bank, without its content."""

    filename: str
    """Its path in the bank."""
    size: int
    """Bytes of UTF-8."""
    last_modified: str
    """When it last changed, in UTC."""


class BankList(Result):
    """The files of the bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    files: list[BankEntry]
    """Every file, by path."""
    file_count: int
    """How many files."""
    version: int
    """Version of the bank."""


class Consolidate(Body):
    """Which notes to file, and how."""

    agent: Annotated[
        AgentName,
        Field(
            description="Whose notes to file. Empty: the caller's own, or everybody's for an admin. "
            "Another agent's: admins only."
        ),
    ] = ""
    wait: Annotated[
        bool,
        Field(description="False: answer at once with the id of the job, and let the work go on."),
    ] = True
    dry_run: Annotated[
        bool,
        Field(description="True: say what would be done and what it would cost, without asking the model."),
    ] = False


class RefusedOperation(Result):
    """What the model wanted and did not get."""

    batch: int
    """The commit it belongs to, by its number in the run."""
    op: int
    """Its place in the model's answer."""
    verb: str
    """What was to be done."""
    target: str
    """Where."""
    code: str = Field(examples=["ungrounded"])
    """Why not, in one word."""
    reason: str
    """The same, for people."""


class BatchFault(Result):
    """A batch that lost its call to the model."""

    batch: int
    """Its number in the run."""
    code: str = Field(examples=["llm_failed"])
    """`llm_failed`, `llm_unusable` or `budget`."""
    message: str
    """The same, for people."""


class PlannedBatch(Result):
    """One batch of a plan."""

    notes: int
    """How many."""
    mode: str = Field(examples=["llm"])
    """`llm`, or `extractive`: filed word for word."""
    prompt_tokens: int
    """About how many tokens the model would read."""
    completion_tokens: int
    """About how many it would write."""


class Consolidated(Result):
    """What a consolidation did; or, by its `status`, would do or has begun to do."""

    status: str = Field(examples=["ok"])
    """`ok`: every selected note is filed, and no batch lost its call to the model. `partial`: some notes still wait, or
    a batch went without the model because that failed. `error`: none was filed. `accepted`: the work goes on, ask
    for the job. `planned`: nothing was done."""
    space_id: str
    """The space."""
    notes_processed: int = 0
    """Notes filed by this call."""
    notes_remaining: int = 0
    """Notes of the same selection that still wait."""
    notes_extracted: int = 0
    """Of those processed, filed word for word, without a model."""
    bank_files_created: int = 0
    """Files that are new."""
    bank_files_updated: int = 0
    """Files that changed."""
    bank_files_unchanged: int = 0
    """Files that did not."""
    operations_applied: int = 0
    """Edits made to the bank."""
    operations_failed: int = 0
    """Operations of the model that were refused."""
    operations_refused: list[RefusedOperation] = []
    """The first 50 of them."""
    flagged: list[str] = []
    """What was made harmless before it went into the bank."""
    repairs: int = 0
    """Times the model was asked to mend an answer."""
    synthesis_size: int = 0
    """Characters of the synthesis."""
    llm_tokens_used: int = 0
    """Tokens paid for, in all."""
    llm_prompt_tokens: int = 0
    """Of these, read by the model."""
    llm_completion_tokens: int = 0
    """Of these, written by it."""
    llm_usage_estimated: bool = False
    """Some of them were counted here, since the endpoint did not tell."""
    llm_calls: int = 0
    """Requests made to the model, repetitions included."""
    llm_cost: float = 0.0
    """What they cost, in the currency of the configured prices."""
    duration_seconds: float = 0.0
    """How long it took."""
    version: int = 0
    """Version of the bank afterwards."""
    job_id: str = ""
    """Names this run in the history; `job_get` tells how far it is."""
    mode: str = Field(default="extractive", examples=["extractive"])
    """`llm`, or `extractive`: without a model."""
    batches_total: int = 0
    """Commits planned."""
    batches_completed: int = 0
    """Commits made."""
    batch_size: int = 0
    """Notes of a commit, at most."""
    code: str = ""
    """Why it is not plain `ok`: `llm_failed`, `llm_unusable`, `budget`, `uncovered` (the model did not file some
    notes well), `limit` (more notes wait than one run takes), `cancelled`, and others; else empty."""
    message: str = ""
    """The same, for people."""
    errors: list[BatchFault] = []
    """The first 50 batches that lost their call to the model."""
    plan: list[PlannedBatch] = []
    """Of a dry run: the batches."""
    estimated_prompt_tokens: int = 0
    """Of a dry run: tokens the model would read."""
    estimated_completion_tokens: int = 0
    """Of a dry run: tokens it would write."""
    estimated_cost: float = 0.0
    """Of a dry run: what that would cost."""
