from app.cli.reference import command, reference
from tests.unit.api.edge_app import make_app


def test_the_page_has_a_section_per_operation_the_core_ones_first() -> None:
    app = make_app()
    page = reference(app.openapi(), app.operations)
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("##")]
    assert headings == [
        "The 3 operations", "thing_health", "thing_create", "thing_read", "Beside them", "thing_list",
    ]  # fmt: skip


def test_a_section_says_all_there_is_to_know() -> None:
    app = make_app()
    page = reference(app.openapi(), app.operations)
    section = page[page.index("### thing_create") : page.index("### thing_read")]
    assert "Make a thing." in section
    assert "It is kept nowhere." in section
    assert "`POST /api/v1/spaces/{space_id}/things` · needs `write` · adds" in section
    assert "| `space_id` | path | string | required | Identifier of the memory space. |" in section
    assert "| `size` | body | integer | `1` | How large it is. |" in section
    assert "| `handles` | body | list of Handle | `[]` | Where it is held. |" in section
    assert "| `handles[].length` | body | integer | required | In centimetres. |" in section
    assert "| `name` | string | What it is called. |" in section
    assert "409 `thing_busy`" in section
    assert "Answers 201" in section


def test_the_example_is_a_command_that_can_be_pasted() -> None:
    app = make_app()
    document = app.openapi()
    commands = {
        operation.name: command(document["paths"][operation.plain_path][operation.method.lower()], operation)
        for operation in app.operations
    }
    assert commands["thing_health"] == 'curl "$URL/api/v1/things/health"'
    assert commands["thing_create"] == (
        'curl -X POST "$URL/api/v1/spaces/alpha/things" -H "Authorization: Bearer $TOKEN" '
        "-H 'Content-Type: application/json' "
        """-d '{"name": "cup", "size": 2}'"""
    )
    assert commands["thing_list"].startswith('curl "$URL/api/v1/spaces/alpha/things?limit=3"')
    assert "/files/a/b.md" in commands["thing_read"]
