from typing import Any

from app.cli.table import Argument, as_text, compact, in_order, load, parsed
from tests.unit.api.edge_app import make_app


def document(schema: dict[str, Any]) -> dict[str, Any]:
    """A document with one operation that takes one argument."""
    described = {
        "operationId": "thing_list",
        "summary": "List things.",
        "description": "List things.",
        "parameters": [{"name": "one", "in": "query", "schema": schema, "description": "On\n  two lines."}],
        "responses": {"200": {"description": "", "content": {"application/json": {}}}},
    }
    colours = {"type": "string", "enum": ["red", "blue"], "description": "A colour."}
    return {"paths": {"/things": {"get": described}}, "components": {"schemas": {"Colour": colours}}}


def argument(schema: dict[str, Any]) -> Argument:
    [operation] = parsed(compact(document(schema)))
    [found] = operation.arguments
    return found


def test_an_operation_keeps_what_a_command_needs() -> None:
    operations = {one.name: one for one in parsed(compact(make_app().openapi()))}
    made = operations["thing_create"]
    assert (made.method, made.path) == ("POST", "/api/v1/spaces/{space_id}/things")
    assert made.title == "Make a thing."
    first = made.arguments[0]
    assert (first.name, first.place, first.required) == ("space_id", "path", True)
    assert {one.name: one.type for one in made.arguments if one.place == "body"} == {
        "name": "string", "size": "integer", "handles": "json", "extra": "json",
    }  # fmt: skip
    assert operations["thing_read"].greedy == ("filename",)


def test_a_type_is_seen_behind_references_and_null() -> None:
    colour = argument({"anyOf": [{"$ref": "#/components/schemas/Colour"}, {"type": "null"}]})
    assert (colour.type, colour.choices, colour.description) == ("string", ("red", "blue"), "On two lines.")
    assert argument({"allOf": [{"$ref": "#/components/schemas/Colour"}], "default": "red"}).default == "red"
    assert argument({"type": "array", "items": {"$ref": "#/components/schemas/Colour"}}).type == "strings"
    assert argument({"type": "array", "items": {"type": "object"}}).type == "json"
    assert argument({"anyOf": [{"type": "string"}, {"type": "integer"}]}).type == "string", "as it is typed"
    assert argument({"anyOf": [{"type": "object"}, {"type": "integer"}]}).type == "json"
    assert argument({"type": "boolean", "default": True}).default is True


def test_a_description_that_only_repeats_the_title_is_left_out() -> None:
    [operation] = parsed(compact(document({"type": "string"})))
    assert (operation.title, operation.description) == ("List things.", "")


def test_archives_streams_and_confirmations_are_seen() -> None:
    operations = {one.name: one for one in load()}
    assert {name for name, one in operations.items() if one.is_stream} == {"job_events"}
    assert {name for name, one in operations.items() if one.is_archive} == {"space_export", "backup_download"}
    assert operations["space_delete"].needs_confirmation
    assert not operations["space_info"].needs_confirmation


def test_how_a_job_may_fail_is_kept_where_a_job_does_the_work() -> None:
    described: dict[str, Any] = {
        "operationId": "thing_make",
        "responses": {
            "202": {"description": "Later."},
            "404": {"description": "`thing_gone`: It is gone. `shelf_gone`: That, too."},
            "503": {"description": "`store_unavailable`: Not now."},
        },
    }
    [operation] = parsed(compact({"paths": {"/things": {"post": described}}}))
    assert operation.failures == {"thing_gone": 404, "shelf_gone": 404, "store_unavailable": 503}
    del described["responses"]["202"]
    [operation] = parsed(compact({"paths": {"/things": {"post": described}}}))
    assert operation.failures == {}


def test_a_table_of_an_earlier_release_can_be_read() -> None:
    [described] = compact(document({"type": "string"}))["operations"]
    del described["is_stream"], described["failures"]
    [operation] = parsed({"operations": [described]})
    assert (operation.is_stream, operation.failures) == (False, {})


def test_the_text_of_the_table_is_the_same_each_time() -> None:
    assert as_text(make_app().openapi()) == as_text(make_app().openapi())


def test_the_listed_operations_come_first() -> None:
    names = [one.name for one in in_order(load(), ["gc", "bank_list", "system_about"])]
    assert names[:3] == ["bank_list", "system_about", "system_health"]
    assert len(names) == len(load())
