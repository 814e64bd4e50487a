"""Names and contents that were written twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.blocks import digest
from app.bank.document.provenance import blocks_of
from app.bank.versions.repair import repaired
from tests.unit.bank.strategies import anything

NAMES = ["a.md", "A.md", "a\u200b.md", "bank/a.md", "b-c.md", "b\u2010c.md", "strange", "sub/a.md"]


def words(content: str) -> set[str]:
    return {digest(placed.block.raw) for placed in blocks_of(content)}


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), anything, min_size=1))
def test_no_block_is_lost_and_a_second_repair_finds_no_names(files: dict[str, str]) -> None:
    found = repaired(files)

    before = set().union(*map(words, files.values()))
    after = set().union(*map(words, found.files.values()))
    assert after >= before
    assert {origin for origins in found.origins.values() for origin in origins} == set(files)
    again = repaired(found.files)
    assert [one.filename for one in again.renamed] == []
    assert dict(again.files).keys() == dict(found.files).keys()


def test_files_of_the_same_name_in_other_folders_are_others() -> None:
    files = {"x.md": "one\n", "sub/x.md": "two\n"}
    assert dict(repaired(files).files) == files


def test_what_cannot_be_joined_without_a_loss_is_left() -> None:
    files = {"a.md": "# A\n\n```\nopen\n", "A.md": "# A\n\n- more\n"}
    found = repaired(files)
    assert (dict(found.files), found.left, found.renamed) == (files, ("a.md",), ())


def test_titles_that_differ_in_punctuation_are_two() -> None:
    files = {"a.md": "# Languages\n\n## C\n\n- one\n\n## C++\n\n- two\n"}
    assert dict(repaired(files).files) == files


def test_rows_and_rules_may_stand_twice() -> None:
    files = {"a.md": "| a | b |\n| a | b |\n\n---\n\ntext\n\n---\n"}
    found = repaired(files)
    assert (dict(found.files), found.doubled) == (files, ())


def test_the_name_in_the_rules_wins() -> None:
    files = {"Decisions.md": "one\n", "decisions.md": "two\n"}
    assert list(repaired(files, preferred=["decisions.md"]).files) == ["decisions.md"]
    assert list(repaired(files).files) == ["Decisions.md"]


def test_what_is_no_text_is_not_touched() -> None:
    files = {"a.md": "x\n", "A.md": "\ufffd"}
    assert dict(repaired(files, untouchable=["A.md"]).files) == files
