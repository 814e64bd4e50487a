"""A space seen whole, on the wire."""

from pydantic import Field

from app.bank.models import BankContent
from app.core.schema import Result
from app.spaces.models import Automatic


class SpaceListed(Result):
    """A space in a list."""

    space_id: str
    """The space."""
    description: str
    """What it is for."""
    owner: str
    """Who answers for it."""
    created_at: str
    """When, in UTC."""
    live_notes_count: int
    """Notes that wait to be filed."""
    bank_files_count: int
    """Files of the bank."""


class SpaceList(Result):
    """The spaces that the caller's token names, or all."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    spaces: list[SpaceListed]
    """By name."""
    total: int
    """How many there are in all."""
    has_more: bool
    """Are there more than are returned here?"""
    next_cursor: str
    """Where to go on reading; empty at the end."""
    damaged: list[str] = []
    """Spaces that are there and cannot be read: an operator has to look at their `_bank.json`. Not in `spaces`."""


class LiveStats(Result):
    """The notes that wait to be filed."""

    notes_count: int
    """How many."""
    total_size: int
    """Their bytes."""
    oldest_note: str
    """When the oldest was written, in UTC; empty when there is none."""
    newest_note: str
    """When the newest was written, in UTC; empty when there is none."""


class BankStats(Result):
    """The bank in numbers."""

    files_count: int
    """How many files."""
    total_size: int
    """Their bytes."""
    files: list[str]
    """Their paths."""


class SpaceInfo(Result):
    """A space in numbers."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    description: str
    """What it is for."""
    owner: str
    """Who answers for it."""
    created_at: str
    """When, in UTC."""
    live: LiveStats
    """The notes that wait to be filed."""
    bank: BankStats
    """The bank."""
    rules_size: int
    """Bytes of the rules."""
    last_consolidation: str | None
    """When notes were last filed, in UTC."""
    consolidation_count: int
    """Consolidations so far."""
    total_notes_processed: int
    """Notes filed so far."""
    synthesis_exists: bool
    """Is there a synthesis?"""
    version: int
    """Version of the bank."""
    automatic: Automatic | None = None
    """When the space is consolidated by itself; null: never."""


class SpaceSummary(Result):
    """All that a new agent needs of a space."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    description: str
    """What it is for."""
    owner: str
    """Who answers for it."""
    rules: str
    """Markdown, verbatim."""
    bank_files: list[BankContent]
    """The whole bank."""
    bank_file_count: int
    """How many files."""
    synthesis: str | None
    """A few sentences on the whole."""
    live: LiveStats
    """The notes that are not in the bank yet: read them with `live_read`."""
    version: int
    """Version of the bank."""


class SpaceExport(Result):
    """A space as an archive."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    archive_base64: str
    """A tar.gz, in base64."""
    archive_size: int
    """Bytes of the tar.gz."""
    files_count: int
    """Files in it."""
