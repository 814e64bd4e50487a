from datetime import timedelta
from typing import Any

import pytest

from app.core.errors import InvalidInput, InvalidSpaceID
from app.core.identity import Permission
from app.core.operation import Effect, Operation
from app.mcp.arguments import Address
from app.mcp.errors import InvalidPathArgument


async def endpoint() -> None:
    """Never called."""


def address(*, query: dict[str, Any] | None = None, has_body: bool = False) -> Address:
    operation = Operation(
        name="read",
        tag="t",
        method="GET",
        path="/s/{space_id}/i/{item}/f/{file:path}",
        title="Read.",
        description="",
        permission=Permission.READ,
        effect=Effect.READS,
        errors=(),
        status_code=200,
        core=True,
        example={},
        timeout=timedelta(seconds=1),
        endpoint=endpoint,
    )
    return Address(
        operation=operation,
        query=query or {},
        headers={"if_match": ("if-match", {"type": "string"})},
        has_body=has_body,
    )


def test_values_are_written_plain_for_the_router_and_quoted_for_the_log() -> None:
    question = address().question({"space_id": "a", "item": "é%2F?", "file": "b/ c"}, forwarded={})
    assert question.path == "/s/a/i/é%2F?/f/b/ c"
    assert question.raw_path == b"/s/a/i/%C3%A9%252F%3F/f/b/%20c"
    assert question.headers == [(b"accept", b"application/json")]
    assert question.body is None


def test_a_value_that_looks_like_a_template_stays_a_value() -> None:
    question = address().question({"space_id": "{item}", "item": "{file}", "file": "{space_id}"}, forwarded={})
    assert question.path == "/s/{item}/i/{file}/f/{space_id}"


def test_a_body_holds_what_is_not_elsewhere() -> None:
    arguments = {"space_id": "a", "item": "1", "file": "f", "q": 1, "if_match": "v1", "text": "é"}
    question = address(query={"q": {"type": "integer"}}, has_body=True).question(arguments, forwarded={"a": "b"})
    assert question.body == b'{"text": "\\u00e9"}'
    assert dict(question.headers) == {
        b"a": b"b",
        b"accept": b"application/json",
        b"if-match": b"v1",
        b"content-type": b"application/json",
        b"content-length": b"18",
    }


@pytest.mark.parametrize(
    ("value", "schema", "written"),
    [
        ("a b&c=d", {"type": "string"}, b"q=a%20b%26c%3Dd"),
        (True, {"type": "boolean"}, b"q=true"),
        (5.0, {"type": "integer"}, b"q=5"),
        (2.5, {"type": "number"}, b"q=2.5"),
        (["a", "b"], {"type": "array", "items": {"type": "string"}}, b"q=a&q=b"),
        ([], {"type": "array"}, b""),
        (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, b""),
        ("many", {"type": "integer"}, b"q=many"),
        (5, {}, b"q=5"),
    ],
)
def test_a_query_is_written(value: object, schema: dict[str, Any], written: bytes) -> None:
    arguments = {"space_id": "a", "item": "1", "file": "f", "q": value}
    assert address(query={"q": schema}).question(arguments, forwarded={}).query == written


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (5, {"type": "string"}),
        (True, {"type": "integer"}),
        (2.5, {"type": "integer"}),
        ({"a": 1}, {"type": "string"}),
        ({"a": 1}, {}),
        (["a"], {"type": "string"}),
        ([5], {"type": "array", "items": {"type": "string"}}),
        ("\ud800", {"type": "string"}),
    ],
)
def test_what_a_query_cannot_hold_is_refused(value: object, schema: dict[str, Any]) -> None:
    arguments = {"space_id": "a", "item": "1", "file": "f", "q": value}
    with pytest.raises(InvalidInput) as refused:
        address(query={"q": schema}).question(arguments, forwarded={})
    assert [fault.field for fault in refused.value.faults] == ["q"]


@pytest.mark.parametrize("value", [1, None, True, ["a"], "", ".", "..", "a/b", "a\x00", "a\n", "\x9f", "\ud800"])
def test_a_path_argument_names_one_thing(value: object) -> None:
    with pytest.raises(InvalidPathArgument):
        address().question({"space_id": "a", "item": value, "file": "f"}, forwarded={})
    with pytest.raises(InvalidSpaceID):
        address().question({"space_id": value, "item": "1", "file": "f"}, forwarded={})


@pytest.mark.parametrize("value", [1, "", ".", "..", "a\x00"])
def test_a_greedy_argument_may_only_add_slashes(value: object) -> None:
    with pytest.raises(InvalidPathArgument):
        address().question({"space_id": "a", "item": "1", "file": value}, forwarded={})


def test_every_missing_path_argument_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        address().question({"item": "1"}, forwarded={})
    assert [fault.field for fault in refused.value.faults] == ["space_id", "file"]


@pytest.mark.parametrize("value", ["a\r\nb", "é", "a\x00", 5])
def test_a_header_holds_printable_text(value: object) -> None:
    arguments = {"space_id": "a", "item": "1", "file": "f", "if_match": value}
    with pytest.raises(InvalidInput):
        address().question(arguments, forwarded={})
