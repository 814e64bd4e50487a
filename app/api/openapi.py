"""The OpenAPI document: what FastAPI derives, plus what it has no word for."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from app.core.errors import (
    InternalError,
    InvalidInput,
    InvalidSpaceID,
    RequestTimeout,
    Situation,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    UnknownField,
)
from app.core.identity import Permission
from app.core.operation import Operation
from app.core.problem import PROBLEM_TYPE

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_REPLACED: Final = ("HTTPValidationError", "ValidationError")
SECURITY_SCHEME: Final = "BearerToken"


def refined(document: dict[str, Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """The document with problems, security and examples as every face needs them."""
    components = document.setdefault("components", {})
    for name in _REPLACED:
        components.get("schemas", {}).pop(name, None)
    components["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "lm_…",
            "description": "A token made by `admin_create_token`, or the administrator's bootstrap key.",
        }
    }
    document["security"] = [{SECURITY_SCHEME: []}]
    for operation in operations:
        described = document["paths"][operation.plain_path][operation.method.lower()]
        _describe_problems(described, operation)
        _give_examples(described, operation.example)
    return document


def _describe_problems(described: dict[str, Any], operation: Operation) -> None:
    responses = described["responses"]
    for status in [code for code in responses if code.startswith(("4", "5"))]:
        # FastAPI adds its own 422 where none was declared, and files every model under the route's media type.
        declared = PROBLEM_TYPE in responses[status].get("content", {})
        responses[status] = _problem(responses[status]["description"] if declared else "")
    for situation in _edge_situations(described, operation):
        known = responses.get(str(situation.status), _problem(""))["description"]
        if f"`{situation.code()}`" not in known:
            known = f"{known} `{situation.code()}`: {situation.title()}".strip()
        responses[str(situation.status)] = _problem(known)
    described["responses"] = {status: responses[status] for status in sorted(responses)}


def _edge_situations(described: dict[str, Any], operation: Operation) -> Iterator[type[Situation]]:
    """What the edge answers by itself, before the operation is reached."""
    yield from (InvalidInput, UnknownField, TooLarge, InternalError, StoreUnavailable)
    if operation.permission is not Permission.PUBLIC:
        yield Unauthenticated
    if "space_id" in operation.path_arguments or "space_id" in operation.example:
        yield InvalidSpaceID
    if "requestBody" in described:
        yield RequestTimeout


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": _PROBLEM}}}


def _give_examples(described: dict[str, Any], example: Mapping[str, Any]) -> None:
    in_address = set()
    for parameter in described.get("parameters", []):
        in_address.add(parameter["name"])
        if parameter["name"] in example:
            parameter["example"] = example[parameter["name"]]
    if "requestBody" in described:
        body = {name: value for name, value in example.items() if name not in in_address}
        for content in described["requestBody"]["content"].values():
            content["example"] = body
