"""Which keys are legal, whatever the store: checked before any store sees them."""

import re
from collections.abc import Iterator
from typing import Final

from app.core.errors import Invalid

MAX_KEY: Final = 1024
"""Bytes of UTF-8."""
MAX_SEGMENT: Final = 255
"""Bytes of UTF-8."""
RESERVED: Final = ".store"
"""The folder in which the directory store keeps what is its own."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")
"""A backslash, a control character, or a surrogate, which is not a character."""


class InvalidKey(Invalid):
    """The name cannot be stored."""


def check_key(key: str) -> str:
    """The key itself, when every store can hold it.

    A key is 1 to 1,024 bytes of UTF-8, of segments of 1 to 255 bytes separated by single slashes. No segment is `.`,
    `..` or the directory store's own `.store`, and none holds a backslash, a NUL or another control character.

    Raises:
        InvalidKey: it breaks one of these rules.
    """
    _check_text(key)
    if not key:
        raise InvalidKey("A name must have 1 to 1,024 bytes.")
    for segment in key.split("/"):
        _check_segment(segment)
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, when a legal key can start with it: the last segment may be incomplete.

    Raises:
        InvalidKey: it breaks one of the rules of `check_key`.
    """
    _check_text(prefix)
    for segment in prefix.split("/")[:-1]:
        _check_segment(segment)
    return prefix


def is_listable(name: str) -> bool:
    """Is this name, found in a folder, one segment of a legal key?"""
    return name != RESERVED and _UNPRINTABLE.search(name) is None


def folders_of(key: str) -> Iterator[str]:
    """The folders a key lies in, without final slash, the outermost first: `a` and `a/b` for `a/b/c`."""
    end = key.find("/")
    while end >= 0:
        yield key[:end]
        end = key.find("/", end + 1)


def _check_text(text: str) -> None:
    if _UNPRINTABLE.search(text):
        raise InvalidKey("A name holds a backslash, a control character or a lone surrogate.")
    if len(text.encode()) > MAX_KEY:
        raise InvalidKey("A name must have 1 to 1,024 bytes.")


def _check_segment(segment: str) -> None:
    if segment in {"", ".", "..", RESERVED} or len(segment.encode()) > MAX_SEGMENT:
        raise InvalidKey(f"'{segment[:64]}' cannot be part of a name.")
