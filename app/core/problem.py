"""An error as every face shows it: RFC 9457 on HTTP, one JSON object on MCP."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from app.core.errors import Situation
from app.core.schema import Schema

PROBLEM_TYPE: Final = "application/problem+json"


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str = Field(examples=["category"])
    """Name of the argument, dotted for a nested one."""
    message: str = Field(examples=["Input should be 'observation', 'decision' or 'todo'"])
    """What is expected of it."""


class Problem(Schema):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(examples=["urn:live-memory:problem:space_not_found"])
    """A URI that names the situation."""
    title: str = Field(examples=["There is no memory space of that name."])
    """The situation in one sentence, the same for every occurrence."""
    status: int = Field(examples=[404])
    """The HTTP status."""
    detail: str = Field(examples=["No space 'project-alpha'."])
    """This occurrence: the field or id concerned, and what to do."""
    code: str = Field(examples=["space_not_found"])
    """The situation's stable name, for programs."""
    request_id: str = Field(examples=["5f0c7c3f3f1b4d0e9f5a1c2b3d4e5f60"])
    """Names this request in the server's log."""
    errors: list[FieldProblem] = Field(default=[])
    """For bad input: each field that is wrong."""


def problem_of(situation: Situation, request_id: str) -> dict[str, Any]:
    """The RFC 9457 object of a situation."""
    return {
        "type": f"urn:live-memory:problem:{situation.code()}",
        "title": situation.title(),
        "status": situation.status,
        "detail": situation.detail,
        "code": situation.code(),
        "request_id": request_id,
        "errors": [{"field": fault.field, "message": fault.message} for fault in situation.faults],
        **situation.extra,
    }


def headers_of(situation: Situation) -> dict[str, str]:
    """The HTTP headers that go with a situation."""
    headers = dict(situation.headers)
    if situation.status == 401:  # noqa: PLR2004 - the one status with a challenge
        headers.setdefault("WWW-Authenticate", 'Bearer realm="live-memory"')
    if situation.retry_after is not None:
        headers["Retry-After"] = str(situation.retry_after)
    elif situation.status in {429, 503}:
        headers["Retry-After"] = "2"
    return headers


def tool_error(problem: Mapping[str, Any], word: str) -> dict[str, Any]:
    """The same problem as the JSON object of a failed tool call.

    Clients of every generation read `status` and `message`, so both are always there.
    """
    details = {key: value for key, value in problem.items() if key in {"errors", "retry_after", "request_id"} and value}
    return {
        "status": word,
        "code": problem["code"],
        "message": problem["detail"],
        **({"details": details} if details else {}),
    }
