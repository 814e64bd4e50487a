"""A backup as it is stored and on the wire."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from app.core.schema import Body, Record, Result, Text

BackupID = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}/\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}$", max_length=84),
    Field(
        description="The backup: the space and the time of the copy.", examples=["project-alpha/2026-02-20T18-05-00"]
    ),
]


class BackupState(StrEnum):
    """How far a backup is."""

    WRITING = "writing"
    """Being copied, or cut short: not listed."""
    COMPLETE = "complete"
    DELETING = "deleting"
    """Being removed: not listed."""


class FileEntry(Record):
    """One file of a backup."""

    size: int
    sha256: str
    """Empty in a backup of an older tool, which kept no checksums."""


class Manifest(Record):
    """`_manifest.json` of a backup: written first as a claim, and last as the proof that everything is there."""

    backup_id: str
    space_id: str
    state: BackupState
    nonce: str
    created_at: str
    description: str = ""
    created_by: str = ""
    incarnation: str = ""
    version: int = 0
    files: dict[str, FileEntry] = {}
    """By path below the space."""
    packs: dict[str, list[str]] = {}
    """Which of the files lie together in a tar.gz of that name beside the others, and have no object of their own."""
    legacy: bool = False
    """Made by an older tool: nothing is stored of this manifest, it is what the listing tells."""


class BackupCreate(Body):
    """A backup to be made."""

    description: Annotated[
        Text, Field(max_length=500, description="Why it was made.", examples=["Before the migration"])
    ] = ""


class BackupCreated(Result):
    """A backup that is complete."""

    status: str = Field(default="created", examples=["created"])
    """`created`."""
    backup_id: str
    """The backup."""
    space_id: str
    """The space it was made of."""
    timestamp: str
    """When, in UTC."""
    description: str
    """As given."""
    files_backed_up: int
    """Files copied."""
    total_size: int
    """Their bytes."""


class BackupListed(Result):
    """A backup in a list."""

    backup_id: str
    """The backup."""
    space_id: str
    """The space it was made of."""
    timestamp: str
    """When, as in the id: `2026-02-20T18-05-00`, in UTC."""
    created_at: str
    """When, in UTC."""
    description: str
    """Why it was made."""
    files_count: int
    """Files in it."""
    total_size: int
    """Their bytes."""
    version: int
    """Version of the bank in it."""
    current: bool
    """Is it of the space that now has the name? False: of a deleted one; only admins see those."""
    legacy: bool = False
    """Was it made by 0.2 or 1.3? Those have no description and no checksums."""


class BackupList(Result):
    """Backups, oldest first within a space."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    backups: list[BackupListed]
    """By space, then time."""
    total: int
    """How many there are in all."""
    filtered_by_token: bool
    """Does the token leave out other spaces?"""
    has_more: bool
    """Are there more than are returned here?"""
    next_cursor: str
    """Where to go on reading; empty at the end."""


class BackupRestored(Result):
    """A space that is back."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    backup_id: str
    """The backup."""
    space_id: str
    """The space."""
    files_restored: int
    """Files copied back."""


class BackupDownload(Result):
    """A backup as an archive."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    backup_id: str
    """The backup."""
    archive_base64: str
    """A tar.gz, in base64."""
    archive_size: int
    """Bytes of the tar.gz."""
    files_count: int
    """Files in it."""


class BackupDeleted(Result):
    """A backup that is gone."""

    status: str = Field(default="deleted", examples=["deleted"])
    """`deleted`."""
    backup_id: str
    """The backup."""
    files_deleted: int
    """Files removed."""
    files_remaining: int = 0
    """Files the store did not remove; delete the backup again."""
