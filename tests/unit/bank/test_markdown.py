import pytest
from hypothesis import given, settings

from app.bank.document.markdown import Enclosure, heading_of, lines_of, parse
from tests.unit.bank.strategies import anything

SAMPLES = (
    "",
    "\n",
    "no heading, no final newline",
    "---\ntitle: x\n# not a heading\n---\n# Title\ntext\n",
    "---\nnever closed\n# Title\n",
    "# A\r\n\r\ntext\r\n## B\r\n",
    "# A\rtext\r## B\r",
    "# A\n```\n# comment\n```\n## B",
    "# A\n~~~ info\n# comment\n```\n# still\n~~~~\n## B\n",
    "# A\n<!--\n# hidden\n-->\n## B\n",
    "Title\n=====\n\nOther\n-----\n",
    "# A\u2028# not a line\n",
    "\ufeff# With a mark\n",
)


@pytest.mark.parametrize("text", SAMPLES)
def test_a_text_renders_to_its_own_bytes(text: str) -> None:
    assert parse(text).render() == text


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_text_renders_to_its_own_bytes(text: str) -> None:
    assert parse(text).render() == text


@pytest.mark.parametrize(
    ("text", "outline"),
    [
        ("# A\n## B\n### C\n## D\n", ((1, "A"), (2, "B"), (3, "C"), (2, "D"))),
        ("# A #\n## B ## \n", ((1, "A"), (2, "B"))),
        ("#A\n#\n####### x\n    # code\n", ()),
        ("# A\n```\n# comment\n```\n# B\n", ((1, "A"), (1, "B"))),
        ("````\n```\n# inside\n````\n# out\n", ((1, "out"),)),
        ("~~~\n```\n# inside\n~~~\n# out\n", ((1, "out"),)),
        ("```a`b\n# out\n", ((1, "out"),)),
        ("- ```\n  # comment\n  ```\n# out\n", ((1, "out"),)),
        ("- ```\n  # comment\n# out\n", ((1, "out"),)),
        ("<!-- one line -->\n# out\n<!--\n# in\n-->\n# last\n", ((1, "out"), (1, "last"))),
        ("---\n# in\n---\n# out\n", ((1, "out"),)),
        ("text\n---\n# out\n---\n", ((1, "out"),)),
        ("Title\n===\n", ()),
        ("# A\u2028# B\n", ((1, "A\u2028# B"),)),
    ],
)
def test_only_real_headings_are_headings(text: str, outline: tuple[tuple[int, str], ...]) -> None:
    assert parse(text).outline() == outline


@settings(max_examples=400, deadline=None)
@given(anything)
def test_the_headings_are_those_that_reading_every_line_finds(text: str) -> None:
    document, enclosure = parse(text), Enclosure()
    rest = lines_of(text[document.front :])
    found = [heading for line in rest if not enclosure.feed(line) and (heading := heading_of(line))]
    assert document.outline() == tuple(found)
    assert document.is_open == enclosure.is_open


def test_identity_is_the_path_of_titles() -> None:
    document = parse("# A\n## Added\n## B\n### Added\n# C\n## Added\n")
    assert document.find(("A", "Added")) == 2
    assert document.find(("A", "B", "added")) == 4
    assert document.find(("C", "Added")) == 6
    assert document.find(("A", "Removed")) is None


def test_a_path_that_two_sections_have_names_neither() -> None:
    assert parse("# A\n## B\n## B\n").find(("A", "B")) is None


def test_a_subtree_reaches_to_the_next_heading_of_its_level() -> None:
    document = parse("# A\n## B\n### C\n## D\n# E\n")
    assert document.subtree_end(2) == 4
    assert document.subtree_end(1) == 5
    assert list(document.children(1)) == [2, 4]
    assert list(document.children(0)) == [1, 5]


@pytest.mark.parametrize("text", ["# A\n```\nnever closed", "# A\n<!-- never closed\n# B\n", "~~~\n"])
def test_a_text_that_ends_inside_a_fence_or_comment_says_so(text: str) -> None:
    assert parse(text).is_open


def test_a_closed_text_is_not_open() -> None:
    assert not parse("```\n```\n<!--\n-->\n").is_open


def test_the_line_ending_most_lines_have_is_dominant() -> None:
    assert parse("a\r\nb\r\nc\n").newline == "\r\n"
    assert parse("a").newline == "\n"


def test_a_very_long_heading_is_read_at_once() -> None:
    assert heading_of("# a" + " " * 200_000 + "#b") is not None
