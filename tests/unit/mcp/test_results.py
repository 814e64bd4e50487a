import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from mcp import types as t

from app.api.inprocess import Answer
from app.core.errors import Conflict, Situation
from app.core.identity import Permission
from app.core.operation import Effect, Operation
from app.core.problem import problem_of
from app.mcp.errors import IGNORED_META, PROBLEM_META, Failures
from app.mcp.results import result_of

FAILURES = Failures([])


class Undeclared(Conflict):
    """Nobody declared that this can happen."""


class Taken(Conflict):
    """The name is taken."""

    word = "already_exists"


def declaring(*errors: type[Situation]) -> Operation:
    async def endpoint() -> None:
        """Never called."""

    return Operation(
        name="show",
        tag="t",
        method="GET",
        path="/x",
        title="Show.",
        description="",
        permission=Permission.READ,
        effect=Effect.READS,
        errors=errors,
        status_code=200,
        core=True,
        example={},
        timeout=timedelta(seconds=1),
        endpoint=endpoint,
    )


def tool(*, structured: bool = False) -> t.Tool:
    return t.Tool(
        name="show", input_schema={"type": "object"}, output_schema={"type": "object"} if structured else None
    )


def shown(body: bytes, media_type: str, *, status: int = 200) -> t.ContentBlock:
    answer = Answer(status, {"content-type": media_type}, body)
    (block,) = result_of(answer, tool=tool(), failures=FAILURES, ignored=()).content
    return block


def error_of(status: int, body: bytes = b"", **headers: str) -> dict[str, Any]:
    result = result_of(Answer(status, headers, body), tool=tool(structured=True), failures=FAILURES, ignored=("x",))
    (block,) = result.content
    assert isinstance(block, t.TextContent)
    assert result.is_error
    assert result.structured_content is None
    assert result.meta is not None
    assert result.meta[IGNORED_META] == ["x"]
    assert result.meta[PROBLEM_META]["status"] >= 400
    error: dict[str, Any] = json.loads(block.text)
    return error


def test_json_is_text_and_structure() -> None:
    body = '{"a": "é"}'.encode()
    answer = Answer(201, {"content-type": "application/json; charset=utf-8"}, body)
    result = result_of(answer, tool=tool(structured=True), failures=FAILURES, ignored=())
    assert result.structured_content == {"a": "é"}
    assert result.content == [t.TextContent(type="text", text='{"a": "é"}')]
    assert not result.is_error


def test_other_kinds_of_content_have_their_blocks() -> None:
    picture, sound = shown(b"\x89PNG", "image/png"), shown(b"RIFF", "audio/wav")
    assert isinstance(picture, t.ImageContent)
    assert isinstance(sound, t.AudioContent)
    assert (picture.mime_type, base64.b64decode(picture.data)) == ("image/png", b"\x89PNG")
    assert (sound.mime_type, base64.b64decode(sound.data)) == ("audio/wav", b"RIFF")
    assert shown("é".encode(), "text/markdown") == t.TextContent(type="text", text="é")
    archive = shown(b"PK", "application/zip")
    assert isinstance(archive, t.EmbeddedResource)
    assert isinstance(archive.resource, t.BlobResourceContents)
    assert base64.b64decode(archive.resource.blob) == b"PK"
    assert shown(b"", "", status=204) == t.TextContent(type="text", text="HTTP 204")


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (307, "error", "internal_error"),
        (401, "error", "unauthenticated"),
        (403, "error", "forbidden"),
        (404, "not_found", "not_found"),
        (405, "not_found", "not_found"),
        (409, "conflict", "conflict"),
        (413, "error", "too_large"),
        (418, "error", "internal_error"),
        (422, "error", "invalid_input"),
        (500, "error", "internal_error"),
        (503, "error", "unavailable"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"Bad Gateway", b'{"detail": "Not Found"}', b"[1]", b"\xff"])
def test_an_error_in_foreign_words_is_told_in_ours(status: int, word: str, code: str, body: bytes) -> None:
    error = error_of(status, body)
    assert (error["status"], error["code"]) == (word, code)


def test_an_undeclared_situation_has_the_word_of_its_status() -> None:
    problem = problem_of(Undeclared("It moved."), "r1")
    error = error_of(409, json.dumps(problem).encode(), **{"retry-after": "7"})
    assert error == {
        "status": "conflict",
        "code": "undeclared",
        "message": "It moved.",
        "details": {"request_id": "r1", "retry_after": 7},
    }


def test_a_situation_met_before_the_operation_reads_the_same() -> None:
    (block,) = FAILURES.of_situation(Undeclared()).content
    assert isinstance(block, t.TextContent)
    assert json.loads(block.text)["message"] == "Nobody declared that this can happen."


def test_a_declared_situation_brings_its_own_word() -> None:
    (undeclared,) = FAILURES.of_situation(Taken()).content
    (declared,) = Failures([declaring(Taken)]).of_situation(Taken()).content
    assert isinstance(undeclared, t.TextContent)
    assert isinstance(declared, t.TextContent)
    assert json.loads(undeclared.text)["status"] == "conflict"
    assert json.loads(declared.text)["status"] == "already_exists"
