from typing import Any

import pytest

from app.mcp.leniency import admitted, lenient

INTEGER = {"type": "integer"}
TEXT = {"type": "string"}
MAYBE = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def one(value: object, schema: dict[str, Any]) -> object:
    kept, _ = lenient({"x": value}, {"properties": {"x": schema}})
    return kept.get("x", "absent")


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("5", INTEGER, 5),
        (" -5 ", INTEGER, -5),
        ("5", MAYBE, 5),
        ("5", {"type": ["integer", "null"]}, 5),
        ("5.5", {"type": "number"}, 5.5),
        ("5", {"type": "number"}, 5),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("5", {"enum": [1, 5]}, 5),
        ("true", {"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        (["1", 2], {"type": "array", "items": INTEGER}, [1, 2]),
        (None, TEXT, "absent"),
        (None, INTEGER, "absent"),
        (None, MAYBE, None),
        (None, {}, None),
    ],
)
def test_what_clients_mean_is_understood(value: object, schema: dict[str, Any], expected: object) -> None:
    read = one(value, schema)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("5", TEXT),
        ("true", TEXT),
        ("5", {"anyOf": [TEXT, INTEGER]}),
        ("5", {}),
        ("5", {"enum": ["5"]}),
        ("five", INTEGER),
        ("5.5", INTEGER),
        ("9" * 19, INTEGER),
        ("²", INTEGER),
        ("yes", {"type": "boolean"}),
        ("null", MAYBE),
        ("1e400", {"type": "number"}),
        (5, TEXT),
        (True, INTEGER),
        ([1], TEXT),
        ('["a"]', {"type": "array", "items": TEXT}),
    ],
)
def test_everything_else_is_left_for_the_operation_to_judge(value: object, schema: dict[str, Any]) -> None:
    assert one(value, schema) is value


def test_unknown_names_are_dropped_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"a": INTEGER}}
    schema = {"properties": {"one": {"anyOf": [inner, {"type": "null"}]}, "many": {"type": "array", "items": inner}}}
    kept, ignored = lenient({"one": {"a": "1", "b": 2}, "many": [{"c": 3}], "d": 4}, schema)
    assert kept == {"one": {"a": 1}, "many": [{}]}
    assert ignored == ("one.b", "many.c", "d")


def test_an_object_that_takes_any_name_keeps_them() -> None:
    schema = {"properties": {"free": {"type": "object"}, "open": {"properties": {}, "additionalProperties": True}}}
    arguments = {"free": {"a": 1}, "open": {"b": None}}
    assert lenient(arguments, schema) == (arguments, ())


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (TEXT, {"string"}),
        (MAYBE, {"integer", "null"}),
        ({"oneOf": [TEXT, {"anyOf": [INTEGER, {"const": None}]}]}, {"string", "integer", "null"}),
        ({"enum": ["a", 1]}, {"string", "integer", "number"}),
    ],
)
def test_the_types_of_a_schema(schema: dict[str, Any], types: set[str]) -> None:
    assert admitted(schema) == frozenset(types)


def test_a_schema_without_a_type_admits_every_one() -> None:
    assert admitted({}) is None
    assert admitted({"anyOf": [TEXT, {}]}) is None
