"""From the arguments of a tool call to the request of its operation."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from app.api.inprocess import Question
from app.core.errors import FieldFault, InvalidInput, InvalidSpaceID, Situation
from app.core.operation import Operation
from app.mcp.errors import InvalidPathArgument
from app.mcp.leniency import admitted, element, json_types

_PLACE: Final = re.compile(r"\{(\w+)\}")
_SCALARS: Final = {"string", "integer", "number", "boolean"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where each argument of a tool goes in the request of its operation."""

    operation: Operation
    query: Mapping[str, dict[str, Any]]
    """Schema by name."""
    headers: Mapping[str, tuple[str, dict[str, Any]]]
    """Header and schema by name."""
    has_body: bool

    def question(self, arguments: Mapping[str, Any], *, forwarded: Mapping[str, str]) -> Question:
        """The request that these arguments ask for.

        Raises:
            InvalidSpaceID, InvalidPathArgument: a value could name another route than this operation's.
            InvalidInput: an argument is missing or cannot be written into an address or a header.
        """
        in_path = self.operation.path_arguments
        missing = [FieldFault(name, "Field required") for name in in_path if name not in arguments]
        if missing:
            listed = ", ".join(f"'{fault.field}'" for fault in missing)
            raise InvalidInput(f"Required, but not given: {listed}.", faults=missing)
        values = {name: self._path_value(name, arguments[name]) for name in in_path}
        headers = {**forwarded, "accept": "application/json"}
        for name, (header, schema) in self.headers.items():
            if arguments.get(name) is not None:
                headers[header] = _header_value(name, arguments[name], schema)
        body = None
        if self.has_body:
            elsewhere = {*in_path, *self.query, *self.headers}
            fields = {name: value for name, value in arguments.items() if name not in elsewhere}
            body = json.dumps(fields).encode()
            headers |= {"content-type": "application/json", "content-length": str(len(body))}
        template = self.operation.plain_path
        greedy = self.operation.greedy_arguments
        return Question(
            method=self.operation.method,
            path=_PLACE.sub(lambda place: values[place[1]], template),
            raw_path=_PLACE.sub(
                lambda place: quote(values[place[1]], safe="/" if place[1] in greedy else ""), template
            ).encode("ascii"),
            query="&".join(self._query_parts(arguments)).encode("ascii"),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()],
            body=body,
        )

    def _path_value(self, name: str, value: object) -> str:
        def refused(reason: str) -> Situation:
            kind = InvalidSpaceID if name == "space_id" else InvalidPathArgument
            return kind(f"'{name}' {reason}.", faults=[FieldFault(name, f"The value {reason}")])

        if not isinstance(value, str):
            raise refused("must be a string")
        if value in {"", ".", ".."}:
            raise refused("must not be empty, '.' or '..'")
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
            raise refused("must not hold a control character")
        if "/" in value and name not in self.operation.greedy_arguments:
            raise refused("must not hold a '/'")
        return value

    def _query_parts(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        for name, schema in self.query.items():
            value = arguments.get(name)
            if value is None:
                continue
            if isinstance(value, list) and "array" in (admitted(schema) or {"array"}):
                texts = [_text(name, item, element(schema)) for item in value]
            else:
                texts = [_text(name, value, schema)]
            yield from (f"{quote(name, safe='')}={quote(text, safe='')}" for text in texts)


def _text(name: str, value: object, schema: Mapping[str, Any] | None) -> str:
    """A scalar as an address writes it. Text is left to the operation to judge, everything else must fit here."""
    types = (admitted(schema) if schema is not None else None) or _SCALARS
    if not isinstance(value, str) and not json_types(value) & types & _SCALARS:
        expected = " or ".join(sorted(types - {"null"}))
        raise InvalidInput(f"'{name}' should be {expected}.", faults=[FieldFault(name, f"Input should be {expected}")])
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case str() if any(unicodedata.category(character) == "Cs" for character in value):
            message = "the text holds a lone surrogate, which is not a character"
            raise InvalidInput(f"'{name}': {message}.", faults=[FieldFault(name, message)])
        case _:
            return str(value)


def _header_value(name: str, value: object, schema: dict[str, Any]) -> str:
    text = _text(name, value, schema)
    if not (text.isascii() and text.isprintable()):
        message = "Input should be printable ASCII"
        raise InvalidInput(f"'{name}' should be printable ASCII.", faults=[FieldFault(name, message)])
    return text
