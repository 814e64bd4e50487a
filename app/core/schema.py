"""The base of everything that crosses a boundary."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict


class Schema(BaseModel):
    """A value on the wire or on disk. Its fields are described by the sentence under each."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, ser_json_inf_nan="strings")


class Body(Schema):
    """What a caller sends: an unknown field is refused, so that a typo is not silently lost."""

    model_config = ConfigDict(extra="forbid")


class Result(Schema):
    """What a caller gets."""


class Record(Schema):
    """What is stored: fields written by a later version are tolerated, and kept."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def parse_instant(text: str) -> datetime:
    """An ISO-8601 instant with `Z`, an offset or neither (UTC), with or without fraction; or a plain date.

    Raises:
        ValueError: the text is none of these.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError("expected an ISO-8601 date or date and time, such as 2026-01-31 or 2026-01-31T18:05:00Z")
    if len(text) == len("2026-01-31"):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    instant = datetime.fromisoformat(text)
    try:
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("that instant is before the first year or after the last") from error


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text holds a lone surrogate, which is not a character") from error
    if "\x00" in text:
        raise ValueError("the text holds a NUL character")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Text that can be written as UTF-8."""
