"""Every operation as the command line needs it: made from the OpenAPI document, kept beside the code as JSON.

The command line is a client: it must start at once, so it reads this table instead of the declarations themselves.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

FILE: Final = "operations.json"
METHODS: Final = ("get", "put", "post", "patch", "delete")
ARCHIVE: Final = "application/gzip"
EVENTS: Final = "text/event-stream"
_FILES: Final[Mapping[tuple[str, str], str]] = {
    ("space_create", "rules"): "--rules-file",
    ("space_update_rules", "rules"): "--rules-file",
    ("bank_write", "content"): "--file",
}
_CONFIRMATION: Final = "`confirmation_required`"
_CODE: Final = re.compile(r"`([a-z_]+)`: ")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an operation."""

    name: str
    place: str
    """`path`, `query` or `body`."""
    type: str
    """`string`, `integer`, `number`, `boolean`, `strings` (a list of them) or `json`."""
    required: bool
    default: Any
    """What the service takes when the argument is not given; None when it says nothing."""
    choices: tuple[str, ...]
    """The values there are, as far as they are few and known."""
    description: str


@dataclass(frozen=True, slots=True)
class Described:
    """One operation."""

    name: str
    method: str
    path: str
    title: str
    description: str
    permission: str
    timeout: float
    """Seconds that the service gives itself."""
    greedy: tuple[str, ...]
    """Path arguments that may hold a slash."""
    is_archive: bool
    """Can it send an archive as a stream?"""
    needs_confirmation: bool
    """Is it refused without `confirm`?"""
    arguments: tuple[Argument, ...]
    is_stream: bool = False
    """Does it send events as they happen?"""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Of an operation that a job may carry out: the situations it may end in, by code, and their HTTP status."""


def file_option(operation: str, argument: str) -> str:
    """The option that names the file of a long text; empty for an argument that is given as it is."""
    return _FILES.get((operation, argument), "")


def load() -> tuple[Described, ...]:
    """The operations that this release knows."""
    return parsed(json.loads((files("app.cli") / FILE).read_text(encoding="utf-8")))


def parsed(table: Mapping[str, Any]) -> tuple[Described, ...]:
    """The operations of a table that `compact` made."""
    return tuple(
        Described(
            **{name: value for name, value in one.items() if name not in {"greedy", "arguments"}},
            greedy=tuple(one["greedy"]),
            arguments=tuple(
                Argument(**{**argument, "choices": tuple(argument["choices"])}) for argument in one["arguments"]
            ),
        )
        for one in table["operations"]
    )


def as_text(document: Mapping[str, Any]) -> str:
    """The table of an OpenAPI document, as the file beside this module holds it."""
    return json.dumps(compact(document), ensure_ascii=False, indent=1) + "\n"


def compact(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line needs of an OpenAPI document."""
    schemas = document.get("components", {}).get("schemas", {})
    operations = [
        _operation(path, method, described, schemas)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if method in METHODS and "operationId" in described
    ]
    return {"operations": operations}


def _operation(path: str, method: str, described: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    responses = described.get("responses", {})
    extra = described.get("x-mcp", {})
    title = described.get("summary", "")
    text = described.get("description", "")
    return {
        "name": described["operationId"],
        "method": method.upper(),
        "path": path,
        "title": title,
        "description": "" if text == title else text,
        "permission": described.get("x-permission", ""),
        "timeout": extra.get("timeout", 60.0),
        "greedy": list(extra.get("greedy", [])),
        "is_archive": _sends(ARCHIVE, responses),
        "is_stream": _sends(EVENTS, responses),
        "needs_confirmation": any(_CONFIRMATION in answer.get("description", "") for answer in responses.values()),
        "failures": dict(_failures(responses)) if "202" in responses else {},
        "arguments": list(_arguments(described, schemas)),
    }


def _sends(media_type: str, responses: Mapping[str, Any]) -> bool:
    return any(
        media_type in answer.get("content", {}) for status, answer in responses.items() if status.startswith("2")
    )


def _failures(responses: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for status, answer in responses.items():
        if status.startswith(("4", "5")):
            yield from ((code, int(status)) for code in _CODE.findall(answer.get("description", "")))


def _arguments(described: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for parameter in described.get("parameters", []):
        if parameter["in"] in {"path", "query"}:
            text = parameter.get("description", "")
            required = parameter.get("required", False)
            yield _argument(parameter["name"], parameter["in"], parameter.get("schema", {}), schemas, required, text)
    content = described.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = _resolved(content.get("schema", {}), schemas)
    for name, schema in body.get("properties", {}).items():
        yield _argument(name, "body", schema, schemas, name in body.get("required", []), "")


def _argument(
    name: str,
    place: str,
    schema: Mapping[str, Any],
    schemas: Mapping[str, Any],
    required: bool,  # noqa: FBT001 - it stands in the document as a plain value
    text: str,
) -> dict[str, Any]:
    plain = _resolved(schema, schemas)
    return {
        "name": name,
        "place": place,
        "type": _type(plain, schemas),
        "required": required,
        "default": schema.get("default"),
        "choices": [str(value) for value in plain.get("enum", [])],
        "description": _one_line(text or schema.get("description", "") or plain.get("description", "")),
    }


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, behind references and the alternative `null`."""
    match schema:
        case {"$ref": str(target)}:
            return _resolved(schemas[target.rsplit("/", 1)[-1]], schemas)
        case {"allOf": [only]}:
            return _resolved(only, schemas)
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            others = [choice for choice in choices if choice.get("type") != "null"]
            return _resolved(others[0], schemas) if len(others) == 1 else schema
        case _:
            return schema


def _type(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    match schema:
        case {"type": "string" | "integer" | "number" | "boolean" as name}:
            return str(name)
        case {"type": "array", "items": dict(items)} if _type(_resolved(items, schemas), schemas) == "string":
            return "strings"
        case {"anyOf": list(choices)} if any(choice.get("type") == "string" for choice in choices):
            return "string"  # text can be typed as it is, whatever else is taken
        case _:
            return "json"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def in_order(operations: Sequence[Described], names: Sequence[str]) -> list[Described]:
    """The operations whose names are listed first, in that order, then the others as they come."""
    rank = {name: number for number, name in enumerate(names)}
    return sorted(operations, key=lambda one: rank.get(one.name, len(rank)))
