from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.bank.document import edits
from app.bank.document.edits import EditRefused
from app.bank.document.markdown import Document, parse
from app.bank.document.paths import bank_path
from tests.unit.bank.strategies import anything, markdown

FILE = "# Title\n\nIntro.\n\n## One\n\n- a\n- b\n\n### Child\n\ndeep\n\n## Two\n\ntext\n"
BULLET = "- 2026-03-02 added"


def edited(text: str, edit: Callable[[Document], object]) -> str:
    document = parse(text)
    edit(document)
    return document.render()


def test_append_goes_to_the_end_of_the_own_body_before_the_first_child() -> None:
    assert edited(FILE, lambda document: edits.append(document, 2, BULLET)) == FILE.replace("- b\n", f"- b\n{BULLET}\n")


def test_prepend_goes_to_the_start_of_the_own_body() -> None:
    assert edited(FILE, lambda document: edits.prepend(document, 2, BULLET)) == FILE.replace(
        "- a\n", f"{BULLET}\n- a\n"
    )


def test_text_of_another_kind_is_set_off_by_a_blank_line() -> None:
    expected = FILE.replace("- b\n", "- b\n\nA paragraph.\n")
    assert edited(FILE, lambda document: edits.append(document, 2, "A paragraph.")) == expected


def test_replace_leaves_the_children() -> None:
    result = edited(FILE, lambda document: edits.replace(document, 2, "- new"))
    assert result == FILE.replace("- a\n- b\n", "- new\n")


def test_a_deleted_section_takes_its_subtree() -> None:
    document = parse(FILE)
    removed = edits.delete_section(document, 2)
    assert removed == "## One\n\n- a\n- b\n\n### Child\n\ndeep\n\n"
    assert document.render() == FILE.replace(removed, "")


def test_an_added_section_follows_the_whole_subtree() -> None:
    document = parse(FILE)
    assert edits.add_section(document, 2, "New", "- x") == 4
    assert document.outline()[3] == (3, "New")
    assert document.render() == FILE.replace("deep\n\n", "deep\n\n### New\n\n- x\n\n")


def test_a_section_that_only_open_code_could_hold_is_text_above_it() -> None:
    document = parse("kept\n\n```\nopen")
    assert edits.add_section(document, 0, "New", "- x") == 0
    assert document.render() == "- x\n\nkept\n\n```\nopen"


def test_a_section_of_a_title_that_is_there_takes_the_text() -> None:
    document = parse(FILE)
    edits.add_section(document, 0, "two", "more")
    assert document.outline() == parse(FILE).outline()
    assert document.render() == FILE + "\nmore\n"


def test_supersede_strikes_the_one_item_that_begins_so() -> None:
    text = "# T\n\n- 2026-02-10 the port is 80\n- other\n"
    result = edited(
        text,
        lambda document: edits.supersede(
            document, 1, "2026-02-10 the port", "- p", day="2026-03-02", append_only=False
        ),
    )
    assert result == "# T\n\n- p\n- ~~2026-02-10 the port is 80~~ (superseded 2026-03-02)\n- other\n"


def test_nothing_is_struck_in_an_append_only_file() -> None:
    text = "# T\n\n- the port is 80\n"
    result = edited(
        text, lambda document: edits.supersede(document, 1, "the port", "- p", day="2026-03-02", append_only=True)
    )
    assert result.startswith(text)
    assert result != text


@pytest.mark.parametrize(("title", "code"), [("nothing like it", "unknown_target"), ("same", "ambiguous_target")])
def test_supersede_needs_exactly_one_item(title: str, code: str) -> None:
    document = parse("# T\n\n- same\n- same\n")
    with pytest.raises(EditRefused) as refused:
        edits.supersede(document, 1, title, "- p", day="2026-03-02", append_only=False)
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["# Heading", "ok\n## Deeper", "```\nopen", "<!-- open"])
def test_text_that_would_change_the_structure_is_refused(text: str) -> None:
    with pytest.raises(EditRefused) as refused:
        edits.append(parse(FILE), 2, text)
    assert refused.value.code == "structure"


@settings(max_examples=120, deadline=None)
@given(
    markdown,
    st.data(),
    st.sampled_from(["append", "prepend"]),
    st.sampled_from([BULLET, "A paragraph 7.", "| a | b |"]),
)
def test_an_insertion_changes_only_the_body_of_its_section(text: str, data: st.DataObject, op: str, added: str) -> None:
    before = parse(text)
    at = data.draw(st.integers(0, len(before.sections) - 1))
    after = parse(text)
    getattr(edits, op)(after, at, added)
    again = parse(after.render())
    assert again.outline() == before.outline()
    assert added in again.sections[at].body
    for number, (old, new) in enumerate(zip(before.sections, again.sections, strict=True)):
        if number != at:
            assert (old.heading, old.body) == (new.heading, new.body)
        else:
            kept = "".join(old.body.split())
            assert len("".join(new.body.split())) == len(kept) + len("".join(added.split()))


@settings(max_examples=120, deadline=None)
@given(markdown, st.data())
def test_an_added_section_leaves_every_other_as_it_was(text: str, data: st.DataObject) -> None:
    before = parse(text)
    parent = data.draw(st.integers(0, len(before.sections) - 1))
    after = parse(text)
    assume("New title" not in text)
    at = edits.add_section(after, parent, "New title", BULLET)
    assume(at > 0)
    again = parse(after.render())
    others = [section.title for number, section in enumerate(again.sections) if number != at]
    assert again.sections[at].title == "New title"
    assert others == [section.title for section in before.sections]
    assert edits.add_section(again, parent, "New title", "- 2") == at


@settings(max_examples=120, deadline=None)
@given(markdown, st.data())
def test_a_deletion_removes_exactly_the_subtree(text: str, data: st.DataObject) -> None:
    text = f"# First\n{text}"
    document = parse(text)
    at = data.draw(st.integers(1, len(document.sections) - 1))
    before = "".join(section.heading + section.body for section in document.sections[:at])
    removed = edits.delete_section(document, at)
    assert text == before + removed + document.render()[len(before) :]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("activeContext.md", "activeContext.md"),
        ("bank/a.md", "a.md"),
        ("a\u200bb.md", "ab.md"),
        ("persona\u2013cfo.md", "persona-cfo.md"),
        ("\u00e9tudes/r\u00e9sum\u00e9.md", "\u00e9tudes/r\u00e9sum\u00e9.md"),
        ("../x.md", None),
        ("a/../x.md", None),
        ("/etc/x.md", None),
        ("a\\b.md", None),
        ("x.txt", None),
        ("a/b/c/d/e.md", None),
        (".md", None),
    ],
)
def test_only_legal_paths_name_files(name: str, path: str | None) -> None:
    assert bank_path(name) == path


@given(anything)
def test_a_legal_path_stays_legal(name: str) -> None:
    path = bank_path(name + ".md")
    assert path is None or bank_path(path) == path
