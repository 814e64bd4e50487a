"""What an endpoint means when it says no."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from app.llm.client import FailureKind

SHOWN: Final = 200
"""Characters of an endpoint's own words that are passed on."""
_AUTH: Final = frozenset({401, 403})
_RETRIED: Final = frozenset({408, 409, 425, 429})
_OVERFLOW_STATUSES: Final = frozenset({400, 413, 422, 500})
_FILTER_STATUSES: Final = frozenset({400, 403, 422, 451})
_OVERFLOW: Final = re.compile(
    r"exceed_context_size|context_length_exceeded|ContextWindowExceeded|maximum context|context[ _-](?:length|window)"
    r"|context[ _-]size|(?:prompt|input|request)[a-z ]{0,20} (?:is )?too (?:long|large)|too many (?:input )?tokens"
    r"|exceeds? the (?:maximum|max|available)[a-z ]{0,30} (?:tokens|context)",
    re.IGNORECASE,
)
_FILTER: Final = re.compile(
    r"content[ _-]?(?:filter|policy|management)|moderation|jailbreak|guardrail|prompt[ _-]?injection|safety[ _-]system",
    re.IGNORECASE,
)
_WINDOW: Final = re.compile(
    r"(?:\"n_ctx\"\s*:|context (?:length|window|size) (?:is|of)|\bmodel with)\s*(\d{3,8})",
    re.IGNORECASE,
)


def kind_of(status: int, text: str) -> FailureKind | None:
    """What the caller can do; None when the same request may succeed later."""
    if overflows(status, text):
        return FailureKind.CONTEXT
    if status in _AUTH:
        return FailureKind.AUTH
    if status in _RETRIED or status >= 500:  # noqa: PLR2004 - the server's own fault
        return None
    return FailureKind.REQUEST


def overflows(status: int, text: str) -> bool:
    """Is the prompt longer than the model can take?"""
    return status in _OVERFLOW_STATUSES and _OVERFLOW.search(text) is not None


def is_filtered(status: int, text: str) -> bool:
    """Does a filter in front of the model dislike what was said?"""
    return status in _FILTER_STATUSES and _FILTER.search(text) is not None


def window_in(text: str) -> int | None:
    """The size of the context, where the endpoint tells it."""
    found = _WINDOW.search(text)
    return int(found[1]) if found else None


def words_of(body: str) -> str:
    """The endpoint's own sentence, without what surrounds it and not more than a line."""
    try:
        said = sentence_in(json.loads(body))
    except (ValueError, RecursionError):
        said = "" if body.lstrip().startswith("<") else body
    line = " ".join(said.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def sentence_in(error: Any) -> str:  # noqa: ANN401 - whatever an endpoint sent
    """What an error says, in any of the shapes that are around."""
    match error:
        case str():
            return error
        case Mapping():
            for name in ("error", "message", "msg", "detail"):
                if said := sentence_in(error.get(name)):
                    return said
        case [first, *_]:
            return sentence_in(first)
    return ""
