"""What tools forgive in the arguments of existing clients."""

import re
from collections.abc import Mapping
from typing import Any, Final

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_UNIONS: Final = ("anyOf", "oneOf", "allOf")
_TYPES: Final = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    str: frozenset({"string"}),
    list: frozenset({"array"}),
}


def lenient(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments as the operation wants them, and the names it does not know.

    Unknown names are dropped, null is absence where the schema has no null, and text that spells an integer, a
    number or a boolean is one where text itself would not do.
    """
    ignored: list[str] = []
    return _object(arguments, schema, "", ignored), tuple(ignored)


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], prefix: str, ignored: list[str]) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    kept = {}
    for name, item in value.items():
        if name not in properties:
            if schema.get("additionalProperties"):
                kept[name] = item
            else:
                ignored.append(prefix + name)
        elif item is not None or "null" in (admitted(properties[name]) or {"null"}):
            kept[name] = _value(item, properties[name], f"{prefix}{name}.", ignored)
    return kept


def _value(value: object, schema: Mapping[str, Any], prefix: str, ignored: list[str]) -> object:
    types = admitted(schema)
    match value:
        case str() if types is not None and "string" not in types:
            return _read(value, types)
        case dict():
            models = [branch for branch in _branches(schema) if "properties" in branch]
            return _object(value, models[0], prefix, ignored) if len(models) == 1 else value
        case list():
            inner = element(schema)
            return value if inner is None else [_value(item, inner, prefix, ignored) for item in value]
        case _:
            return value


def _read(text: str, types: frozenset[str]) -> object:
    bare = text.strip()
    if types & {"integer", "number"} and _INTEGER.fullmatch(bare):
        return int(bare)
    if "number" in types and _NUMBER.fullmatch(bare):
        return float(bare)
    if "boolean" in types and bare.lower() in {"true", "false"}:
        return bare.lower() == "true"
    return text


def element(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of a list's elements, when there is one of them."""
    items = [branch["items"] for branch in _branches(schema) if isinstance(branch.get("items"), dict)]
    return items[0] if len(items) == 1 else None


def admitted(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """The JSON types that the schema lets through at all; None means every one of them."""
    found: set[str] = set()
    for branch in _branches(schema):
        if "type" in branch:
            found |= {branch["type"]} if isinstance(branch["type"], str) else set(branch["type"])
        elif "enum" in branch or "const" in branch:
            found |= {kind for option in branch.get("enum", [branch.get("const")]) for kind in json_types(option)}
        else:
            return None
    return frozenset(found)


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a union, however deep; a plain schema is its own only one."""
    for union in _UNIONS:
        if union in schema and "type" not in schema:
            return [leaf for branch in schema[union] for leaf in _branches(branch)]
    return [schema]


def json_types(value: object) -> frozenset[str]:
    """The JSON types that a value has: an integer is a number too, and 5.0 is an integer."""
    if isinstance(value, float):
        return frozenset({"integer", "number"} if value.is_integer() else {"number"})
    return _TYPES.get(type(value), frozenset({"object"}))
