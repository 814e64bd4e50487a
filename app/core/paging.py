"""Lists that are read page by page."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from app.core.errors import FieldFault, Invalid

MOST: Final = 500
"""Items of one page, at most."""

PageSize = Annotated[int, Field(ge=0, le=MOST, description="How many items at most.")]
Cursor = Annotated[str, Field(max_length=512, description="`next_cursor` of the answer before; empty to start.")]


class InvalidCursor(Invalid):
    """The cursor was not given by this service."""

    def __init__(self) -> None:
        detail = "The cursor must be a `next_cursor` of an earlier answer, unchanged."
        super().__init__(detail, faults=[FieldFault("cursor", detail)])


def encode_cursor(*position: str) -> str:
    """A place in a list, as text that means nothing to the caller."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, parts: int) -> list[str]:
    """The place that a cursor names; raises InvalidCursor."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        position: Any = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidCursor from error
    if not isinstance(position, list) or len(position) != parts or not all(isinstance(part, str) for part in position):
        raise InvalidCursor
    return position


def decode_instant(part: str) -> datetime:
    """An instant inside a cursor; raises InvalidCursor."""
    try:
        instant = datetime.fromisoformat(part)
    except ValueError as error:
        raise InvalidCursor from error
    if instant.tzinfo is None:
        raise InvalidCursor
    return instant


def name_after(cursor: str) -> str:
    """For a list in the order of one name: the last name shown, or nothing at the start; raises InvalidCursor."""
    return decode_cursor(cursor, parts=1)[0] if cursor else ""
