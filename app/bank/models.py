"""The bank on the wire, and a commit as it is stored."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from app.core.schema import Body, Record, Result, Text
from app.notes.models import AgentName


class CommitKind(StrEnum):
    """Why the bank changed."""

    CONSOLIDATION = "consolidation"
    GC = "gc"
    """Old notes were removed; their text is kept in the record."""
    ADOPT = "adopt"
    """The bank of an older tool was taken over as it was."""


class Change(Record):
    """One file of a commit."""

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


class Edit(Record):
    """What was done to the bank for one or more notes."""

    op: str
    path: str
    section_path: list[str]
    text: str
    sources: list[str]
    filed_by: str = "extractive"


class ConsumedNote(Record):
    """A note that the commit filed or removed, whole."""

    id: str
    key: str
    sha256: str
    object: str
    """The stored note, header and text; base64 when it is not UTF-8."""
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
    synthesis: str | None
    consumed: list[ConsumedNote]


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


class BankRead(BankContent):
    """One file of the bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    version: int
    """Version of the bank."""


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
    """Which notes to file."""

    agent: Annotated[
        AgentName,
        Field(
            description="Whose notes to file. Empty: the caller's own, or everybody's for an admin. "
            "Another agent's: admins only."
        ),
    ] = ""


class Consolidated(Result):
    """What a consolidation did."""

    status: str = Field(examples=["ok"])
    """`ok`: every selected note is filed. `partial`: some remain. `error`: none was filed."""
    space_id: str
    """The space."""
    notes_processed: int
    """Notes filed by this call."""
    notes_remaining: int
    """Notes of the same selection that still wait."""
    notes_extracted: int
    """Of those processed, filed without a model."""
    bank_files_created: int
    """Files that are new."""
    bank_files_updated: int
    """Files that changed."""
    bank_files_unchanged: int
    """Files that did not."""
    operations_applied: int
    """Edits made to the bank."""
    synthesis_size: int
    """Characters of the synthesis."""
    llm_tokens_used: int = 0
    """Tokens paid for, in all."""
    llm_prompt_tokens: int = 0
    """Of these, read by the model."""
    llm_completion_tokens: int = 0
    """Of these, written by it."""
    duration_seconds: float
    """How long it took."""
    version: int
    """Version of the bank afterwards."""
    job_id: str
    """Names this run in the history."""
    mode: str = Field(examples=["extractive"])
    """`extractive`: without a model."""
    batches_total: int
    """Commits planned."""
    batches_completed: int
    """Commits made."""
    batch_size: int
    """Notes of a commit, at most."""
    code: str = ""
    """Why it is not plain `ok`; else empty."""
    message: str = ""
    """The same, for people."""
