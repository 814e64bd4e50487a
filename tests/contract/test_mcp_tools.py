"""What the tools are: names, schemas and hints, as every client sees them."""

import json

import jsonschema
import pytest
from mcp import Client

from app.mcp.bridge import tool_documents
from app.mcp.instructions import INSTRUCTIONS
from tests.contract.mcp_app import build_shelf, make_shelf

CORE = [
    "shelf_health",
    "shelf_special",
    "shelf_read",
    "shelf_delete",
    "shelf_add",
    "shelf_file",
    "shelf_slow",
    "shelf_endless",
    "shelf_fail",
]


def test_the_tools_stand_in_the_order_of_the_document() -> None:
    assert [tool["name"] for tool in tool_documents(make_shelf().bridge)] == CORE


def test_the_other_operations_are_tools_only_when_asked_for() -> None:
    everything = {tool["name"] for tool in tool_documents(make_shelf(tools="full").bridge)}
    assert everything == {*CORE, "shelf_delete_secrets", "shelf_file_history"}


def test_a_tool_says_what_its_operation_declares() -> None:
    tool = next(tool for tool in tool_documents(make_shelf().bridge) if tool["name"] == "shelf_delete")
    assert tool == {
        "name": "shelf_delete",
        "title": "Take an item away",
        "description": "Take an item away.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "space_id": {"type": "string"},
                "item_id": {"type": "string"},
                "confirm": {"type": "boolean", "default": False},
                "if_match": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Version to delete."},
            },
            "required": ["space_id", "item_id"],
            "examples": [{"space_id": "a", "item_id": "1", "confirm": True}],
        },
        "outputSchema": tool["outputSchema"],
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    }


def test_the_fields_of_a_body_are_arguments_beside_those_of_the_address() -> None:
    tool = next(tool for tool in tool_documents(make_shelf().bridge) if tool["name"] == "shelf_add")
    schema = tool["inputSchema"]
    assert list(schema["properties"]) == [
        "space_id",
        "title",
        "kind",
        "count",
        "fragile",
        "note",
        "tags",
        "agent",
    ]
    assert schema["properties"]["title"] == {"type": "string", "description": "Name of the item."}, "a field, not noise"
    assert schema["properties"]["kind"]["enum"] == ["book", "box"]
    note, absent = schema["properties"]["note"]["anyOf"]
    assert note["properties"]["text"] == {"type": "string", "description": "What it says."}
    assert absent == {"type": "null"}
    assert "type" not in schema["properties"]["note"], "a union has no type of its own"


def test_every_schema_is_one_and_its_examples_are_valid() -> None:
    for tool in tool_documents(make_shelf(tools="full").bridge):
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        for example in tool["inputSchema"].get("examples", []):
            jsonschema.validate(example, tool["inputSchema"], jsonschema.Draft202012Validator)
        if "outputSchema" in tool:
            jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
            assert tool["outputSchema"]["type"] == "object"
            assert "components" not in json.dumps(tool["outputSchema"])


def test_a_result_that_holds_its_own_kind_has_a_schema() -> None:
    tool = next(tool for tool in tool_documents(make_shelf().bridge) if tool["name"] == "shelf_read")
    assert tool["outputSchema"]["properties"]["part_of"]["anyOf"][0] == {"$ref": "#/$defs/Item"}
    assert tool["outputSchema"]["$defs"]["Item"]["required"] == ["status", "space_id", "item_id"]


def test_building_the_tools_leaves_the_documentation_open_to_later_routes() -> None:
    shelf = build_shelf()
    shelf.app.add_api_route("/api/v1/later", lambda: None, methods=["GET"])
    assert "/api/v1/later" in super(type(shelf.app), shelf.app).openapi()["paths"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_list_the_same_tools(mode: str) -> None:
    shelf = make_shelf()
    async with Client(shelf.bridge.mcp, mode=mode) as client:
        listed = await client.list_tools()
        names = [tool.name for tool in listed.tools]
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("Shelf", "1.2.3")
        assert client.instructions == INSTRUCTIONS
    assert names == CORE
    assert [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools] == tool_documents(
        shelf.bridge
    )


def test_the_instructions_are_short() -> None:
    assert len(INSTRUCTIONS.encode()) < 2048
