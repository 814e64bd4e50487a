from hypothesis import given, settings

from app.bank.document.blocks import FENCE, ITEM, ROW, TEXT, digest, split_body
from app.bank.document.provenance import blocks_of, existing, inherit
from tests.unit.bank.strategies import anything


@settings(max_examples=120, deadline=None)
@given(anything)
def test_blocks_joined_are_the_body(body: str) -> None:
    assert "".join(block.raw for block in split_body(body)) == body


def test_items_hold_what_is_nested_in_them() -> None:
    body = "intro\n\n- a\n  more\n\n  still a\n- b\n\n| x | y |\n| 1 | 2 |\n\n```\n- code\n\n- code\n```\nlast\n"
    kinds = [(block.kind, block.raw) for block in split_body(body) if block.kind != "blank"]
    assert kinds == [
        (TEXT, "intro\n"),
        (ITEM, "- a\n  more\n\n  still a\n"),
        (ITEM, "- b\n"),
        (ROW, "| x | y |\n"),
        (ROW, "| 1 | 2 |\n"),
        (FENCE, "```\n- code\n\n- code\n```\n"),
        (TEXT, "last\n"),
    ]


def test_a_digest_ignores_marker_and_white_space_only() -> None:
    assert digest("- a  b\n") == digest("*   a\r\n  b")
    assert digest("- a b") != digest("- A b")


def test_only_blocks_of_the_bank_are_in_the_map() -> None:
    there, gone = digest("- there"), digest("- gone")
    provenance = {"a.md": {there: ["n2", "n1"], gone: ["n3"]}, "b.md": {there: ["n4"]}}
    assert existing({"a.md": "# A\n\n- there\n"}, provenance) == {"a.md": {there: ["n1", "n2"]}}


def test_an_edited_block_inherits_from_the_one_it_was() -> None:
    before = "# A\n\n- the database of billing is PostgreSQL 15\n- another thing\n"
    after = "# A\n\n- the database of billing is PostgreSQL 16\n- quite different words here\n"
    old = [placed.digest for placed in blocks_of(before)]
    new = [placed.digest for placed in blocks_of(after)]
    assert inherit(before, after, {old[0]: ["n1"], old[1]: ["n2"]}) == {new[0]: ["n1"]}


def test_a_block_of_another_section_inherits_nothing() -> None:
    before, after = "# A\n\n- the very same words 1\n", "# B\n\n- the very same words 2\n"
    assert inherit(before, after, {digest("- the very same words 1"): ["n1"]}) == {}


def test_an_unchanged_block_keeps_its_sources() -> None:
    before, after = "# A\n\n- same\n", "# A\n\nNew words.\n\n- same\n"
    assert inherit(before, after, {digest("- same"): ["n1"]}) == {digest("- same"): ["n1"]}
