"""Every error, ours and the framework's, as `application/problem+json`."""

import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.api.table import RouteTable
from app.core.errors import (
    FieldFault,
    Forbidden,
    InternalError,
    Invalid,
    InvalidInput,
    InvalidSpaceID,
    NotFound,
    RequestTimeout,
    Situation,
    TooLarge,
    Unauthenticated,
    UnknownField,
)
from app.core.ids import new_request_id
from app.core.problem import PROBLEM_TYPE, headers_of, problem_of

REQUEST_ID_KEY: Final = "live_memory.request_id"
"""Scope key of the request's id."""
CODE_KEY: Final = "live_memory.code"
"""Scope key of the code a problem was answered with, for the access log."""

_WORDS: Final[dict[int, tuple[type[Situation], str]]] = {
    400: (InvalidInput, "The request body cannot be read."),
    401: (Unauthenticated, ""),
    404: (NotFound, "There is no such address."),
    408: (RequestTimeout, ""),
    413: (TooLarge, ""),
}
_SHOWN_FAULTS: Final = 5
_TEXT_FAULTS: Final = frozenset({"string_pattern_mismatch", "string_too_long", "string_too_short"})

log = structlog.get_logger(__name__)


class MethodNotAllowed(Invalid):
    """This address exists, but not for this method."""

    status: ClassVar[int] = 405


class HostRefused(Invalid):
    """The service does not answer for this host name."""

    status: ClassVar[int] = 421


class OriginRefused(Forbidden):
    """Pages of this origin may not use the MCP transports."""


class RequestRefused(Invalid):
    """The request was refused before it reached an operation."""

    status: ClassVar[int] = 400


class ProblemResponse(JSONResponse):
    """An RFC 9457 answer."""

    media_type = PROBLEM_TYPE

    def render(self, content: object) -> bytes:
        # A detail may quote what the caller sent; it must never be the reason why no answer can be written.
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def request_id_of(scope: Scope) -> str:
    """The id of the request, which the outermost middleware chose."""
    return cast("str", scope.setdefault(REQUEST_ID_KEY, new_request_id()))


def answer(situation: Situation, scope: Scope) -> ProblemResponse:
    """The answer that tells the caller about a situation."""
    scope[CODE_KEY] = situation.code()
    if situation.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request_failed", code=situation.code(), detail=situation.detail)
    headers = headers_of(situation)
    if isinstance(situation, TooLarge | RequestTimeout):
        # The rest of the body is never read, so the connection cannot serve another request.
        headers["Connection"] = "close"
    return ProblemResponse(problem_of(situation, request_id_of(scope)), status_code=situation.status, headers=headers)


def situation_of(error: HTTPException, scope: Scope, table: RouteTable) -> Situation:
    """Our word for an error that the framework raised."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(table.methods(scope["path"])))
        return MethodNotAllowed(f"This address answers {allowed or 'no method'} only.", headers={"Allow": allowed})
    if word := _WORDS.get(error.status_code):
        kind, detail = word
        return kind(detail)
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return InternalError()
    return _Numbered(error.status_code, str(error.detail))


class _Numbered(RequestRefused):
    """The request was refused before it reached an operation."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status  # type: ignore[misc]  # this one kind carries the framework's number

    @classmethod
    def code(cls) -> str:
        return RequestRefused.code()


def invalid(faults: Sequence[Any]) -> Situation:
    """What is wrong with an input, from the framework's list of faults."""
    shown = [FieldFault(_field(fault["loc"]), _message(fault)) for fault in faults]
    if all(fault["loc"][-1] == "space_id" and fault["type"] in _TEXT_FAULTS for fault in faults):
        return InvalidSpaceID(faults=shown)
    kind = UnknownField if all(fault["type"] == "extra_forbidden" for fault in faults) else InvalidInput
    detail = "; ".join(f"{fault.field}: {fault.message}" for fault in shown[:_SHOWN_FAULTS])
    return kind(detail + ("; …" if len(shown) > _SHOWN_FAULTS else "."), faults=shown)


def _field(location: Sequence[str | int]) -> str:
    """The argument's name, without the part of the request it came in."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _message(fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "this operation knows no such field"
    if fault["loc"] == ("body",):
        return "a JSON object is expected, sent as application/json"
    return str(fault["msg"]).removeprefix("Value error, ")


Handler = Callable[[Request, Exception], Awaitable[Response]]


def install(app: FastAPI, table: RouteTable) -> None:
    """Let the application answer every error as a problem."""

    async def situation(request: Request, error: Exception) -> Response:
        return answer(cast("Situation", error), request.scope)

    async def foreign(request: Request, error: Exception) -> Response:
        return answer(situation_of(cast("HTTPException", error), request.scope, table), request.scope)

    async def validation(request: Request, error: Exception) -> Response:
        return answer(invalid(cast("RequestValidationError", error).errors()), request.scope)

    handlers: dict[type[Exception], Handler] = {
        Situation: situation,
        HTTPException: foreign,
        RequestValidationError: validation,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
