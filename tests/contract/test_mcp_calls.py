"""What a call of a tool answers, in both eras, to a client in the same process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema
import pytest
from mcp import Client, MCPError
from mcp import types as t
from structlog.testing import capture_logs

from app.mcp.errors import IGNORED_META, PROBLEM_META
from tests.contract.mcp_app import Shelf, failure, make_shelf, success, text_of

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def talking(mode: str = "auto") -> AsyncIterator[tuple[Client, Shelf]]:
    """A client of a shelf that is open to all, since a client in the same process sends no token."""
    shelf = make_shelf(open_to_all=True)
    async with Client(shelf.bridge.mcp, mode=mode) as client:
        yield client, shelf


async def call(client: Client, name: str, **arguments: Any) -> t.CallToolResult:
    return await client.call_tool(name, arguments)


@ERAS
async def test_text_and_structured_content_are_the_body_of_the_rest_answer(mode: str) -> None:
    async with talking(mode) as (client, shelf):
        result = await call(client, "shelf_read", space_id="a", item_id="1", limit=5)
        transport = httpx.ASGITransport(shelf.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as rest:
            answer = await rest.get("/api/v1/shelves/a/items/1", params={"limit": 5})
    assert text_of(result) == answer.text
    assert success(result) == answer.json()
    assert result.meta is None or IGNORED_META not in result.meta


@ERAS
async def test_every_success_matches_its_output_schema(mode: str) -> None:
    async with talking(mode) as (client, shelf):
        shelf.world.release.set()
        checked = []
        for tool in (await client.list_tools()).tools:
            (example,) = tool.input_schema.get("examples", [{}])
            result = await client.call_tool(tool.name, example)
            if tool.name not in {"shelf_fail", "shelf_endless"}:
                assert tool.output_schema is not None
                jsonschema.validate(success(result), tool.output_schema, jsonschema.Draft202012Validator)
                checked.append(tool.name)
            else:
                failure(result)
    assert len(checked) == 7


@ERAS
@pytest.mark.parametrize(
    ("code", "word", "status"),
    [
        ("item_not_found", "not_found", 404),
        ("item_exists", "already_exists", 409),
        ("shelf_busy", "conflict", 409),
        ("restore_target_exists", "error", 409),
        ("store_unavailable", "error", 503),
    ],
)
async def test_a_situation_has_its_word_and_its_code(mode: str, code: str, word: str, status: int) -> None:
    async with talking(mode) as (client, _):
        result = await call(client, "shelf_fail", space_id="a", code=code)
    assert (failure(result)["status"], failure(result)["code"]) == (word, code)
    assert result.meta is not None
    assert result.meta[PROBLEM_META]["status"] == status


async def test_an_outage_says_when_to_come_back() -> None:
    async with talking() as (client, _):
        error = failure(await call(client, "shelf_fail", space_id="a", code="outage"))
    assert error["details"]["retry_after"] == 7
    assert error["details"]["request_id"]


@ERAS
async def test_a_bug_is_told_without_its_inside(mode: str) -> None:
    with capture_logs() as logged:
        async with talking(mode) as (client, _):
            result = await call(client, "shelf_fail", space_id="a", code="crash")
    assert failure(result)["code"] == "internal_error"
    assert "secret" not in result.model_dump_json()
    assert [entry["kind"] for entry in logged if entry["event"] == "unforeseen_error"] == ["RuntimeError"]


@ERAS
async def test_an_operation_that_takes_too_long_is_a_timeout(mode: str) -> None:
    async with talking(mode) as (client, _):
        error = failure(await call(client, "shelf_endless", space_id="a"))
    assert (error["status"], error["code"]) == ("error", "timeout")
    assert "shelf_endless" in error["message"]


@ERAS
@pytest.mark.parametrize("name", ["shelf_nothing", "shelf_delete_secrets", "x" * 5000])
async def test_an_unknown_or_unexported_tool_is_a_protocol_error(mode: str, name: str) -> None:
    async with talking(mode) as (client, shelf):
        with pytest.raises(MCPError) as refused:
            await call(client, name, space_id="a", item_id="1")
    assert refused.value.code == t.INVALID_PARAMS
    assert len(refused.value.message) < 200
    assert shelf.world.reached == []


@ERAS
async def test_progress_grows(mode: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with talking(mode) as (client, shelf):
        shelf.world.release.set()
        result = await client.call_tool("shelf_slow", {"space_id": "a"}, progress_callback=hear)
        success(result)
    assert heard == [(1, 3, "dusted"), (2, 3, "sorted"), (3, 3, "labelled")]


async def test_a_call_that_asks_for_no_progress_gets_none() -> None:
    async with talking() as (client, shelf):
        shelf.world.release.set()
        success(await call(client, "shelf_slow", space_id="a"))


class TestLenientArguments:
    """What existing clients send, and are understood with."""

    @ERAS
    async def test_unknown_names_are_dropped_and_named(self, mode: str) -> None:
        async with talking(mode) as (client, _):
            result = await call(client, "shelf_read", space_id="a", item_id="1", agent="me", mood="good")
        success(result)
        assert result.meta is not None
        assert result.meta[IGNORED_META] == ["agent", "mood"]

    async def test_unknown_names_are_named_in_a_failure_too(self) -> None:
        async with talking() as (client, _):
            result = await call(client, "shelf_read", space_id="a", item_id="absent", agent="me")
        failure(result)
        assert result.meta is not None
        assert result.meta[IGNORED_META] == ["agent"]

    async def test_text_is_read_as_a_number_or_a_boolean(self) -> None:
        async with talking() as (client, _):
            asked = success(await call(client, "shelf_read", space_id="a", item_id="1", limit="5", deep="true"))[
                "asked"
            ]
            added = success(await call(client, "shelf_add", space_id="a", title="5", count="5", fragile="false"))
        assert (asked["limit"], asked["deep"]) == (5, True)
        assert (added["asked"]["title"], added["asked"]["count"], added["asked"]["fragile"]) == ("5", 5, False)

    async def test_null_is_absence(self) -> None:
        async with talking() as (client, _):
            asked = success(await call(client, "shelf_read", space_id="a", item_id="1", limit=None, deep=None))["asked"]
            added = success(await call(client, "shelf_add", space_id="a", title="x", count=None, tags=None, note=None))
        assert (asked["limit"], asked["deep"]) == (3, None)
        assert (added["asked"]["count"], added["asked"]["tags"], added["asked"]["note"]) == (1, [], None)

    async def test_what_is_nested_is_forgiven_too(self) -> None:
        async with talking() as (client, _):
            note = {"text": "heavy", "weight": "9", "colour": "red"}
            result = await call(client, "shelf_add", space_id="a", title="x", note=note)
        assert success(result)["asked"]["note"] == {"text": "heavy", "weight": 9}
        assert result.meta is not None
        assert result.meta[IGNORED_META] == ["note.colour"]

    @pytest.mark.parametrize(
        ("name", "arguments", "field"),
        [
            ("shelf_read", {"item_id": "1", "word": 5}, "word"),
            ("shelf_read", {"item_id": "1", "word": True}, "word"),
            ("shelf_read", {"item_id": "1", "tags": [1]}, "tags"),
            ("shelf_read", {"item_id": "1", "tags": {"a": 1}}, "tags"),
            ("shelf_read", {"item_id": "1", "limit": [1]}, "limit"),
            ("shelf_read", {"item_id": 1}, "item_id"),
            ("shelf_add", {"title": 5}, "title"),
            ("shelf_add", {"title": "x", "agent": 5}, "agent"),
        ],
    )
    async def test_another_type_than_text_is_refused_for_text(
        self, name: str, arguments: dict[str, Any], field: str
    ) -> None:
        async with talking() as (client, shelf):
            error = failure(await call(client, name, space_id="a", **arguments))
        assert error["status"] == "error"
        assert error["code"] in {"invalid_input", "invalid_path_argument"}
        assert [fault["field"].split(".")[0] for fault in error["details"]["errors"]] == [field]
        assert shelf.world.reached == []

    async def test_lists_and_characters_pass_through_an_address(self) -> None:
        async with talking() as (client, _):
            result = await call(client, "shelf_read", space_id="a", item_id="é %2F?#&", tags=["a b", "ü&c"], word="+=")
        shown = success(result)
        assert shown["item_id"] == "é %2F?#&"
        assert (shown["asked"]["tags"], shown["asked"]["word"]) == (["a b", "ü&c"], "+=")

    async def test_a_header_is_an_argument(self) -> None:
        async with talking() as (client, _):
            result = await call(client, "shelf_delete", space_id="a", item_id="1", confirm=True, if_match='"v1"')
            refused = await call(client, "shelf_delete", space_id="a", item_id="1", if_match="v\r\n1")
        assert success(result)["asked"] == {"confirm": True, "if_match": '"v1"'}
        assert failure(refused)["details"]["errors"][0]["field"] == "if_match"


@ERAS
@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("shelf_read", {}, "space_id"),
        ("shelf_read", {"space_id": "a", "item_id": None}, "item_id"),
        ("shelf_read", {"space_id": "a", "item_id": "1", "limit": 10}, "limit"),
        ("shelf_read", {"space_id": "a", "item_id": "1", "limit": "many"}, "limit"),
        ("shelf_add", {"space_id": "a"}, "title"),
        ("shelf_add", {"space_id": "a", "title": "x", "kind": "cat"}, "kind"),
    ],
)
async def test_a_bad_argument_is_named(mode: str, name: str, arguments: dict[str, Any], field: str) -> None:
    async with talking(mode) as (client, shelf):
        error = failure(await call(client, name, **arguments))
    assert (error["status"], error["code"]) == ("error", "invalid_input")
    assert field in {fault["field"] for fault in error["details"]["errors"]}
    assert field in error["message"]
    assert shelf.world.reached == []


class TestEscapes:
    """No argument makes a tool reach another operation than its own."""

    @ERAS
    @pytest.mark.parametrize(
        "value", ["1/secrets", "", ".", "..", "/", "../x", "a/../x", "1\n", "\x00", "1\x7f", "a\u0085b"]
    )
    async def test_a_plain_path_argument_that_could_lead_elsewhere_is_refused(self, mode: str, value: str) -> None:
        async with talking(mode) as (client, shelf):
            error = failure(await call(client, "shelf_delete", space_id="a", item_id=value))
            elsewhere = failure(await call(client, "shelf_delete", space_id=value, item_id="1"))
        assert error["code"] == "invalid_path_argument"
        assert elsewhere["code"] == "invalid_space_id"
        assert shelf.world.reached == []

    async def test_an_encoded_slash_is_plain_text(self) -> None:
        async with talking() as (client, shelf):
            shown = success(await call(client, "shelf_delete", space_id="a", item_id="1%2Fsecrets"))
        assert shown["item_id"] == "1%2Fsecrets"
        assert shelf.world.reached == ["shelf_delete"]

    async def test_a_literal_sibling_is_not_reached(self) -> None:
        async with talking() as (client, shelf):
            error = failure(await call(client, "shelf_read", space_id="a", item_id="special"))
            success(await call(client, "shelf_special", space_id="a"))
        assert error["status"] == "not_found"
        assert shelf.world.reached == ["shelf_special"]

    async def test_a_greedy_argument_does_not_reach_a_longer_route(self) -> None:
        async with talking() as (client, shelf):
            error = failure(await call(client, "shelf_file", space_id="a", filename="b.md/history"))
            assert success(await call(client, "shelf_file", space_id="a", filename="b/é c.md"))["item_id"] == "b/é c.md"
        assert error["status"] == "not_found"
        assert shelf.world.reached == ["shelf_file"]

    @pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "a\x00"])
    async def test_a_greedy_argument_is_a_name_all_the_same(self, value: str) -> None:
        async with talking() as (client, shelf):
            error = failure(await call(client, "shelf_file", space_id="a", filename=value))
        assert error["code"] == "invalid_path_argument"
        assert shelf.world.reached == []

    async def test_dots_inside_a_greedy_argument_are_for_the_operation_to_judge(self) -> None:
        async with talking() as (client, shelf):
            shown = success(await call(client, "shelf_file", space_id="a", filename="a/../x"))
        assert shown["item_id"] == "a/../x"
        assert shelf.world.reached == ["shelf_file"]


async def test_a_cancelled_call_cancels_the_operation() -> None:
    async with talking() as (client, shelf):
        pending = asyncio.create_task(call(client, "shelf_slow", space_id="a"))
        async with asyncio.timeout(5):
            await shelf.world.waiting.wait()
            pending.cancel()
            await shelf.world.cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await pending
