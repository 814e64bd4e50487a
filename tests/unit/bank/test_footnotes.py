"""A file with the notes that it rests on."""

from app.bank.document.blocks import digest
from app.bank.versions.footnotes import grounds, with_footnotes
from app.spaces.models import NoteRef

REFS = {"n1.md": NoteRef(history="h", ts="2026-03-02T10:04:05+00:00", agent="cline", category="decision")}
TEXT = (
    "---\ntitle: x\n---\n# A\n\n- one\n  more\n- two\n\nwords\nand words\n\n| x | y |\n| - | - |\n| 1 | 2 |\n\n"
    "```\ncode\n```\n\nlast"
)


def sources(*raws: str) -> dict[str, list[str]]:
    return {digest(raw): ["n1.md", "n2.md"] if raw == "- two" else ["n1.md"] for raw in raws}


def test_the_marks_stand_in_the_words_and_the_notes_at_the_end() -> None:
    found = with_footnotes(
        TEXT, sources("- one\n  more", "- two", "words\nand words", "| 1 | 2 |", "```\ncode\n```", "last"), REFS
    )
    assert found == (
        "---\ntitle: x\n---\n# A\n\n- one [^n1]\n  more\n- two [^n1][^n2]\n\nwords\nand words [^n1]\n\n"
        "| x | y |\n| - | - |\n| 1 | 2 [^n1] |\n\n```\ncode\n```\n\n[^n1]\n\nlast [^n1]\n\n"
        "[^n1]: 2026-03-02T10:04:05 cline decision n1.md\n[^n2]: n2.md\n"
    )


def test_a_file_without_sources_is_as_it_is() -> None:
    assert with_footnotes(TEXT, {}, REFS) == TEXT
    assert list(grounds(TEXT, {}, ())) == []


def test_footnotes_of_the_file_itself_keep_their_names() -> None:
    text = "- one\n- see [^n1]\n\n[^n1]: mine\n"
    found = with_footnotes(text, sources("- one"), REFS)
    assert found.startswith("- one [^nn1]\n- see [^n1]\n")
    assert found.endswith("\n[^nn1]: 2026-03-02T10:04:05 cline decision n1.md\n")


def test_after_what_is_open_nothing_is_said() -> None:
    text = "- one\n\n```\nopen\n"
    assert with_footnotes(text, sources("- one"), REFS) == text


def test_an_item_that_is_code_has_its_mark_below() -> None:
    text = "- ```py\n  x\n  ```\n"
    found = with_footnotes(text, sources(text), REFS)
    assert found.startswith("- ```py\n  x\n  ```\n\n  [^n1]\n")


def test_grounds_name_block_section_notes_and_the_hand_that_changed_it() -> None:
    (one, two) = grounds(TEXT, sources("- one\n  more", "- two"), {digest("- two")})
    assert (one.block, one.section, one.notes, one.edited) == ("- one", ("A",), ("n1.md",), False)
    assert (two.notes, two.edited) == (("n1.md", "n2.md"), True)
