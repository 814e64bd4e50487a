"""The bytes of a note."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notes.models import Category, Note
from app.notes.store import new_note_id, parse_name, parse_note, render_note

AT = datetime(2026, 2, 20, 18, 5, 12, 345678, UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LABEL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64).filter(str.strip)


@given(content=TEXT, agent=LABEL, identity=LABEL, tags=st.lists(LABEL, max_size=5), category=st.sampled_from(Category))
def test_what_is_written_is_read_back(
    content: str, agent: str, identity: str, tags: list[str], category: Category
) -> None:
    note_id = new_note_id(AT, identity, category)
    note = Note(note_id, AT, agent, identity, category.value, tuple(tags), content, "0123456789abcdef")

    read = parse_note(note_id, render_note(note, "alpha"))

    assert read == Note(note_id, AT, agent, identity, category.value, tuple(tags), content.strip(), note.incarnation)


@given(agent=LABEL, category=st.sampled_from(Category))
def test_a_name_tells_its_time_and_category_whatever_the_agent(agent: str, category: Category) -> None:
    name = parse_name(new_note_id(AT, agent, category))

    assert name is not None
    assert (name.time, name.category) == (AT.replace(microsecond=0), category.value)


@pytest.mark.parametrize("agent", ['x"\ncategory: "issue', "a---b", "---", "agent: other"])
def test_an_agent_cannot_forge_the_header(agent: str) -> None:
    note = Note("n.md", AT, agent, agent, "todo", ("a---b",), "text", "00")

    read = parse_note("n.md", render_note(note, "alpha"))

    assert (read.agent, read.category, read.tags, read.content) == (agent, "todo", ("a---b",), "text")
    assert b"---" not in render_note(note, "alpha").removeprefix(b"---\n").split(b"\n---\n")[0]


def test_a_note_of_an_older_tool_is_read() -> None:
    body = (
        b'---\ntimestamp: "2026-02-20T18:05:12.345678+00:00"\nagent: "it\'s "me""\ncategory: "decision"\n'
        b'tags: ["a", "\\u00e9"]\nspace_id: "alpha"\n---\n\nfirst\n---\nsecond\n'
    )

    note = parse_note("20260220T180512_itsme_decision_0a1b2c3d.md", body)

    assert note.agent == note.identity == "it's \"me"
    assert (note.category, note.tags, note.content) == ("decision", ("a", "é"), "first\n---\nsecond")
    assert note.timestamp == AT
    assert note.incarnation is None


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"---", b"---\nno end", b"just text", b"---\ntimestamp: never\ntags: [\n---\n"]
)
def test_a_damaged_object_is_still_a_note(body: bytes) -> None:
    note = parse_note("20260220T180512_my_agent_x_issue_0a1b2c3d.md", body)

    assert (note.agent, note.category) == ("my_agent_x", "issue")
    assert note.timestamp == AT.replace(microsecond=0)


@pytest.mark.parametrize(
    "name", ["", "x.md", "20269999T999999_a_todo_01234567.md", "20260220T180512_a_todo_01234567.md\n", "a/b.md"]
)
def test_a_foreign_name_tells_nothing(name: str) -> None:
    assert parse_name(name) is None
