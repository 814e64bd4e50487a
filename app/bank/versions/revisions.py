"""The versions of a bank on the wire: listed, compared, undone, and made by hand."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from app.bank.models import Filename
from app.core.schema import Body, Result, Text, parse_instant
from app.notes.models import NoteRead

MAX_FILE: Final = 500_000
"""Characters of one file that is written by hand."""
MAX_BANK: Final = 8_000_000
"""Bytes of all files together: every writer moves the whole bank."""
_DIGITS: Final = 9


def _moment(text: str) -> str:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        parse_instant(text)
    return text


Moment = Annotated[
    Text,
    AfterValidator(_moment),
    Field(
        max_length=40,
        description="A version of the bank, by its number or by an instant: an ISO-8601 date or date and time. "
        "Empty: the current one.",
        examples=["12", "2026-01-31T18:05:00Z"],
    ),
]
VersionNumber = Annotated[int, Field(ge=0, le=999_999_999, description="Number of a version of the bank.")]
NoteID = Annotated[
    Text,
    StringConstraints(max_length=255, pattern=r"^[^/\\\x00-\x1f\x7f]+$"),
    Field(description="Id of the note.", examples=["20260131T180500_agent-a_decision_0123abcd.md"]),
]


class HistoryEntry(Result):
    """One version of the bank."""

    version: int
    """Its number."""
    kind: str = Field(examples=["consolidation"])
    """`consolidation`, `manual`, `compaction`, `revert`, `restore`, `gc` (old notes removed) or `adopt`."""
    actor: str
    """Name of who asked for it."""
    at: str
    """When, in UTC."""
    job_id: str
    """The run that it was part of; empty for an edit by hand."""
    batch: int
    """Which commit of the run, from 1; 0 for an edit by hand."""
    files_changed: list[str]
    """The files created, updated or deleted."""
    notes_filed: int
    """Notes that left the queue."""
    notes_requeued: int
    """Notes that were put back in the queue."""
    edits: int
    """Edits made to the files."""
    undoes: int | None = None
    """Of a `revert`: the version it undid. Of a `restore`: the version it went back to."""


class BankHistory(Result):
    """The versions of a bank, the newest first."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    version: int
    """The current version."""
    versions: list[HistoryEntry]
    """Newest first."""
    has_more: bool
    """Are there earlier ones?"""
    next_cursor: str
    """Where to go on; empty at the end."""


class FileDiff(Result):
    """One file that is not the same in both versions."""

    filename: str
    """Its path in the bank."""
    change: str = Field(examples=["updated"])
    """`created`, `updated` or `deleted`."""
    lines_added: int
    """Lines that only the later version has."""
    lines_removed: int
    """Lines that only the earlier version has."""
    diff: str
    """In the unified format."""


class BankDiff(Result):
    """What lies between two versions of a bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    from_version: int
    """The earlier version."""
    to_version: int
    """The later version."""
    files: list[FileDiff]
    """The files that differ, by path."""
    lines_added: int
    """In all of them."""
    lines_removed: int
    """In all of them."""
    notes_filed: list[str]
    """Ids of the notes that left the queue in between, by id; `bank_note` has their text."""


class FiledNote(NoteRead):
    """A note that was filed in the bank, with its full text."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    version: int
    """The version of the bank that filed it."""
    kind: str = Field(examples=["consolidation"])
    """How it left the queue: `consolidation`, or `gc` when it was removed unfiled."""
    requeued_from: str = ""
    """The id that it had before it was put back in the queue; empty when it never was."""


class BankWrite(Body):
    """What a file of the bank is to say."""

    content: Annotated[
        Text,
        Field(
            max_length=MAX_FILE,
            description="The whole file, kept as it is.",
            examples=["# Glossary\n\n- API: how programs talk to each other\n"],
        ),
    ]
    if_version: Annotated[
        int | None,
        Field(
            ge=0,
            le=999_999_999,
            description="Write only if the file is still what it was at this version of the bank; "
            "0: only if there is no such file.",
            examples=[12],
        ),
    ] = None


class BankWritten(Result):
    """A file that says what was asked."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    filename: str
    """Its path in the bank, without what a path cannot hold."""
    action: str = Field(examples=["created"])
    """`created`, `replaced` or `unchanged`."""
    size: int
    """Bytes of UTF-8."""
    version: int
    """Version of the bank afterwards."""


class BankFileDeleted(Result):
    """A file that the bank has no more; earlier versions still have it."""

    status: str = Field(default="deleted", examples=["deleted"])
    """`deleted`."""
    space_id: str
    """The space."""
    filename: str
    """Its path in the bank."""
    files_deleted: int
    """Always 1."""
    version: int
    """Version of the bank afterwards."""


class BankRevert(Body):
    """What to undo: give either of the two."""

    version: Annotated[
        int | None,
        Field(
            ge=1,
            le=999_999_999,
            description="Undo this one version and keep what came after it.",
            examples=[2],
        ),
    ] = None
    to_version: Annotated[
        int | None,
        Field(
            ge=0,
            le=999_999_999,
            description="Set the whole bank back to what it was at this version.",
        ),
    ] = None
    dry_run: Annotated[bool, Field(description="Only say what would be done.")] = False


class BankConflict(Result):
    """A place that was changed since, and stays as it is."""

    filename: str
    """Its path in the bank."""
    section: list[str]
    """Titles down to the section; empty for the file itself, or what stands before its first heading."""
    reason: str
    """Why it could not be undone."""


class BankReverted(Result):
    """What was undone, as a new version."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`: all of it was undone. `partial`: see `conflicts`."""
    space_id: str
    """The space."""
    mode: str = Field(examples=["applied"])
    """`applied`, `dry-run`, or `unchanged` when there was nothing left to undo."""
    kind: str = Field(examples=["revert"])
    """`revert`, or `restore` with `to_version`."""
    undone: int
    """The version that was undone, or gone back to."""
    version: int
    """Version of the bank afterwards."""
    files_changed: list[str]
    """The files that are not as they were before the call."""
    conflicts: list[BankConflict]
    """What was changed since and stays."""
    notes_requeued: list[str]
    """New ids of the notes that wait again; in a dry run, the ids under which they were filed."""
    notes_withdrawn: list[str]
    """Notes that no longer wait, since the bank holds again what they say."""
    notes_kept: list[str]
    """Notes of the undone version that stay filed, since the bank still cites them."""


class BankCompact(Body):
    """A file that is to be shorter."""

    filename: Filename
    target_bytes: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="How long it may be; 0: as long as the rules allow, or two thirds of what it is.",
            examples=[8000],
        ),
    ] = 0
    wait: Annotated[
        bool,
        Field(description="False: answer at once with the id of the job, and let the work go on."),
    ] = True
    dry_run: Annotated[
        bool,
        Field(description="True: say what would be done and what it would cost, without asking the model."),
    ] = False


class BankCompacted(Result):
    """What became of a file that was to be shorter."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`: it is as short as it should be, or would be; `partial`: it is not, `code` says why; `accepted`: the work
    goes on."""
    space_id: str
    """The space."""
    filename: str
    """Its path in the bank."""
    action: str = Field(examples=["moved"])
    """`moved`; `unchanged` when it is short enough or nothing can go; `planned` by a dry run; `accepted`."""
    entries_moved: int = 0
    """Entries that rest in the archive now, word for word. Of a dry run: those that go without asking the model."""
    archives: list[str] = []
    """The files where they are."""
    size_before: int
    """Bytes of UTF-8."""
    size_after: int
    """The same afterwards. Of a dry run: before the model is asked."""
    target_bytes: int
    """How long it should be."""
    diff: str = ""
    """What has changed in the file, in the unified format."""
    version: int
    """Version of the bank afterwards."""
    job_id: str = ""
    """Names the work in the history; `job_get` tells how far it is."""
    llm_calls: int = 0
    """Requests made to the model, repetitions included."""
    llm_prompt_tokens: int = 0
    """Tokens that it read."""
    llm_completion_tokens: int = 0
    """Tokens that it wrote."""
    llm_usage_estimated: bool = False
    """Some of them were counted here, since the endpoint did not tell."""
    llm_cost: float = 0.0
    """What they cost, in the currency of the configured prices."""
    estimated_prompt_tokens: int = 0
    """Of a dry run: tokens the model would read."""
    estimated_completion_tokens: int = 0
    """Of a dry run: tokens it may write."""
    estimated_cost: float = 0.0
    """Of a dry run: what that would cost."""
    code: str = ""
    """Why it is not plain `ok`: `too_long` (nothing else in it can go), `llm_failed`, `budget_spent`, `stuck` (an entry
    cannot go without changing what stands around it) and others; else empty."""
    message: str = ""
    """The same, for people."""


class BankRepair(Body):
    """Whether to act."""

    dry_run: Annotated[bool, Field(description="Only say what would be done; false: do it.")] = True


class NameRepair(Result):
    """A file name that has drifted."""

    filename: str
    """As it is."""
    becomes: str
    """As it should be."""
    action: str = Field(examples=["renamed"])
    """`renamed`, or `merged` into a file that has that name already."""


class Duplicate(Result):
    """Something that a file says twice."""

    filename: str
    """Its path in the bank, as it should be."""
    section: list[str]
    """Titles down to its section."""
    kind: str = Field(examples=["block"])
    """`block`, or `section` for two of the same title under one parent."""
    text: str
    """Its first line, or its title."""


class BankRepaired(Result):
    """What is, or was, wrong with the names and the contents of a bank."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    mode: str = Field(examples=["dry-run"])
    """`dry-run` or `applied`."""
    files_scanned: int
    """Files of the bank."""
    files_ok: int
    """Files with nothing to repair."""
    files_to_repair: int
    """Files with something to repair, or repaired."""
    duplicates_found: int
    """Things said twice."""
    repairs: list[NameRepair]
    """File names that have drifted."""
    duplicates: list[Duplicate]
    """Blocks and sections that stand twice."""
    left: list[str]
    """Files that cannot be joined without a loss, and stay as they are."""
    version: int
    """Version of the bank afterwards."""
    message: str
    """The same, for people."""
