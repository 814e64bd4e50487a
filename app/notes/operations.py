"""What agents jot down: written, read, searched."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import BeforeValidator, WithJsonSchema

from app.core.errors import Forbidden, InvalidInput, ReadRequired, StoreUnavailable, WriteRequired
from app.core.identity import Permission
from app.core.ids import SpaceID
from app.core.operation import Effect
from app.core.paging import Cursor, InvalidCursor, PageSize
from app.core.routing import CurrentCaller, Operations, provide
from app.core.schema import Text, parse_instant
from app.notes.models import NoteCreate, NoteCreated, NotesFound, NotesQuery, NotesRead
from app.notes.service import NoteService
from app.spaces.errors import SpaceChanging, SpaceNotFound
from app.storage.document import DamagedDocument

operations = Operations("notes", "Live notes: what agents jot down while they work.")

_READS = (
    InvalidInput,
    InvalidCursor,
    Forbidden,
    ReadRequired,
    SpaceNotFound,
    SpaceChanging,
    StoreUnavailable,
    DamagedDocument,
)

Notes = Annotated[NoteService, Depends(provide(NoteService))]
_LONGEST_INSTANT: Final = 64


def _since(value: object) -> datetime | None:
    if not isinstance(value, str) or not value:
        return None
    if len(value) > _LONGEST_INSTANT or not value.isprintable():
        # Python's own parser stops at a NUL, whatever follows.
        raise ValueError(f"an instant has at most {_LONGEST_INSTANT} characters, none of them a control character")
    return parse_instant(value)


Since = Annotated[
    datetime | None,
    BeforeValidator(_since),
    WithJsonSchema(
        {
            "type": "string",
            "default": "",
            "maxLength": _LONGEST_INSTANT,
            "examples": ["2026-02-20T18:05:00Z"],
        }
    ),
    Query(description="Only notes from this instant on: ISO-8601 with `Z`, an offset or neither (UTC), or a date."),
]


@operations.declare(
    "live_note",
    method="POST",
    path="/spaces/{space_id}/notes",
    status_code=201,
    permission=Permission.WRITE,
    effect=Effect.ADDS,
    example={
        "space_id": "project-alpha",
        "category": "decision",
        "content": "We chose PostgreSQL 15 for its JSONB indexes.",
        "tags": "db,api",
    },
    errors=(InvalidInput, Forbidden, WriteRequired, SpaceNotFound, StoreUnavailable, DamagedDocument),
)
async def note(space_id: SpaceID, request: NoteCreate, notes: Notes, caller: CurrentCaller) -> NoteCreated:
    """Write a live note.

    One fact a note, as soon as it is known: what was observed, decided, learnt, done, asked, broken or is still to do.
    Other agents read it at once; a consolidation files it in the bank. Notes are for everybody who reads the space:
    put no secrets in them.
    """
    return await notes.write(space_id, request, caller=caller)


@operations.declare(
    "live_read",
    method="GET",
    path="/spaces/{space_id}/notes",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha", "limit": 20, "category": "decision"},
    errors=(
        InvalidInput,
        InvalidCursor,
        Forbidden,
        ReadRequired,
        SpaceNotFound,
        SpaceChanging,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def read(
    space_id: SpaceID,
    notes: Notes,
    limit: PageSize = 50,
    category: Annotated[Text, Query(max_length=64, description="Only this category.", examples=["decision"])] = "",
    agent: Annotated[Text, Query(max_length=64, description="Only notes shown under this author.")] = "",
    since: Since = None,
    cursor: Cursor = "",
) -> NotesRead:
    """Read the live notes that are not in the bank yet, newest first.

    Together with the bank they are all that the space knows.
    """
    return await notes.read(space_id, NotesQuery(limit, category, agent, since, "", cursor))


@operations.declare(
    "live_search",
    method="GET",
    path="/spaces/{space_id}/notes/search",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha", "query": "postgresql"},
    errors=(
        InvalidInput,
        InvalidCursor,
        Forbidden,
        ReadRequired,
        SpaceNotFound,
        SpaceChanging,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def search(
    space_id: SpaceID,
    notes: Notes,
    query: Annotated[Text, Query(max_length=1_000, description="Text to find, whatever its case; empty finds all.")],
    limit: PageSize = 20,
    cursor: Cursor = "",
) -> NotesFound:
    """Find live notes whose text holds the query, newest first."""
    return await notes.search(space_id, NotesQuery(limit, "", "", None, query, cursor))
