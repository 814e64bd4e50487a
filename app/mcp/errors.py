"""An error of an operation, as a tool call shows it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from mcp import types as t

from app.core import errors
from app.core.errors import (
    Conflict,
    Forbidden,
    InternalError,
    Invalid,
    InvalidInput,
    NotFound,
    Situation,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from app.core.ids import new_request_id
from app.core.operation import Operation
from app.core.problem import problem_of, tool_error

PROBLEM_META: Final = "live-memory/problem"
IGNORED_META: Final = "live-memory/ignored"

_KINDS: Final[Mapping[int, type[Situation]]] = {
    kind.status: kind
    for kind in (InvalidInput, Unauthenticated, Forbidden, NotFound, Conflict, TooLarge, Unavailable, InternalError)
}
_METHOD_NOT_ALLOWED: Final = 405


class InvalidPathArgument(Invalid):
    """An argument that is part of an address is empty, not a string, or holds a character that is not allowed."""


def current_request_id() -> str:
    """The id of the request at hand, or a new one when nobody has named it yet."""
    known = structlog.contextvars.get_contextvars().get("request_id")
    return known if isinstance(known, str) else new_request_id()


class Failures:
    """Turns problems into the results of failed tool calls."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        """The words of the situations that these operations declare, and of those every operation can meet."""
        known: list[type[Situation]] = [InvalidPathArgument]
        known += [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Situation)]
        known += [kind for operation in operations for kind in operation.errors]
        self._words = {kind.code(): kind.word for kind in known}

    def of_situation(self, situation: Situation, *, ignored: tuple[str, ...] = ()) -> t.CallToolResult:
        """The result of a call that failed before or instead of the operation."""
        return self.of_problem(problem_of(situation, current_request_id()), ignored=ignored)

    def of_answer(
        self, status: int, headers: Mapping[str, str], body: bytes, *, ignored: tuple[str, ...] = ()
    ) -> t.CallToolResult:
        """The result of a call that the operation, or what stands before it, refused."""
        problem = _parsed(body) or problem_of(_kind(status)(), headers.get("x-request-id", current_request_id()))
        if headers.get("retry-after", "").isdigit():
            problem.setdefault("retry_after", int(headers["retry-after"]))
        return self.of_problem(problem, ignored=ignored)

    def of_problem(self, problem: Mapping[str, Any], *, ignored: tuple[str, ...] = ()) -> t.CallToolResult:
        """Text of one JSON object, and no structured content.

        Some clients check structured content against the schema of success, and so would hide the error; others
        take any text that is not JSON for a success.
        """
        word = self._words.get(problem["code"]) or _kind(problem["status"]).word
        meta = {PROBLEM_META: dict(problem), **({IGNORED_META: list(ignored)} if ignored else {})}
        text = json.dumps(tool_error(problem, word), ensure_ascii=False)
        return t.CallToolResult(content=[t.TextContent(type="text", text=text)], is_error=True, _meta=meta)


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The problem in a body, or None when some other software wrote it."""
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    complete = isinstance(problem, dict) and {"code", "detail", "status"} <= problem.keys()
    return problem if complete else None


def _kind(status: int) -> type[Situation]:
    return NotFound if status == _METHOD_NOT_ALLOWED else _KINDS.get(status, InternalError)
