"""Notes left behind, on the wire."""

from typing import Annotated

from pydantic import Field

from app.core.ids import OptionalSpaceID
from app.core.schema import Body, Result


class Collect(Body):
    """Which notes count as left behind, and what becomes of them."""

    space_id: OptionalSpaceID = ""
    max_age_days: Annotated[
        int, Field(ge=0, le=36_500, description="Notes older than this many days are old; 0: all written before now.")
    ] = 7
    confirm: Annotated[bool, Field(description="False: only report what would be done.")] = False
    delete_only: Annotated[
        bool, Field(description="With `confirm`: remove old notes instead of filing them in the bank.")
    ] = False


class SpaceGarbage(Result):
    """The old notes of one space."""

    total_notes: int
    """Notes that wait, old or not."""
    old_notes: int
    """Of these, the old ones."""
    old_notes_size: int
    """Bytes of the old ones' text."""
    by_agent: dict[str, int]
    """Author, and how many old notes."""
    oldest: str
    """When the oldest was written, compact: `20260131T180500`, in UTC."""
    keys_count: int
    """Objects concerned."""


class AgentCollected(Result):
    """What became of the old notes of one author in one space."""

    status: str
    """`ok`, `partial`, `skipped` (a consolidation was under way) or `error`."""
    notes_processed: int = 0
    """Notes filed."""
    bank_files_created: int = 0
    """Files that are new."""
    bank_files_updated: int = 0
    """Files that changed."""
    code: str = ""
    """Why it is not `ok`; else empty."""
    reason: str = ""
    """The same, for people."""


class Collected(Result):
    """Old notes, and what became of them."""

    status: str = Field(examples=["ok"])
    """`ok`; `deleted` when notes were removed; `partial` when a space failed."""
    mode: str = Field(examples=["dry-run"])
    """`dry-run`, `consolidate` or `delete`."""
    action: str = Field(examples=[""])
    """`consolidate` or `delete`; empty for a dry run."""
    max_age_days: int
    """As given."""
    cutoff_date: str
    """Notes written before this instant are old, in UTC."""
    spaces: dict[str, SpaceGarbage]
    """Every space that has old notes."""
    total_old_notes: int
    """In all spaces."""
    total_old_size: int
    """Bytes of their text."""
    consolidated: int = 0
    """Notes filed in their bank."""
    deleted: int = 0
    """Notes removed."""
    consolidation_details: dict[str, dict[str, AgentCollected]] = {}
    """Space, then author: how it went."""
    failures: dict[str, str] = {}
    """Spaces that could not be looked at or changed, and the code of the reason."""
    message: str
    """What was done, or could be."""
