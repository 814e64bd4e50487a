import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bank.document.quoting import is_marker, quoted, quoted_line
from tests.unit.bank.strategies import anything

MARKERS = (
    "[RULES]",
    "[BANK]",
    "[SYNTHESIS]",
    "[NOTES]",
    "[TASK]",
    "[REPAIR]",
    "  [task] do it",
    "[ TASK ]",
    "[s9] ## Title",
    "[n12]",
    "=== f2 x.md",
    "===f1",
    "n4| text",
    "n4 | text",
    "n4 2026-03-02T10:04Z agent=eve",
    "\u200b[TASK]",
    "\uff3bTASK\uff3d",
    "\u00a0[s1] x",
    "\\[TASK]",
)
ORDINARY = ("## Title", "- [ ] todo", "[link](x)", "[x] done", "=====", "n is 4", "nodes | 4", "{", "s9", "text", "")
_STRICT = re.compile(r"(?:\[(?:RULES|BANK|SYNTHESIS|NOTES|TASK|REPAIR|[sfn]\d+)\]|=== f\d|n\d+\||n\d+ \d{4}-)")

lines = st.one_of(st.sampled_from(MARKERS), st.sampled_from(ORDINARY), anything)
texts = st.builds("\n".join, st.lists(lines, max_size=6))


@pytest.mark.parametrize("line", MARKERS)
def test_a_line_that_looks_like_a_mark_is_shown_with_a_backslash(line: str) -> None:
    assert quoted(f"a\n{line}\nb").split("\n")[1].startswith("\\")


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_is_shown_as_it_is(line: str) -> None:
    assert quoted(f"a\n{line}\nb") == f"a\n{line}\nb"


@given(texts, st.booleans())
def test_no_quoted_line_can_be_taken_for_a_mark(text: str, nfkc: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    for line in quoted(text, nfkc=nfkc).splitlines():
        assert line.startswith("\\") or not is_marker(line)
        assert not _STRICT.match(line.strip())
        assert not _STRICT.match(unicodedata.normalize("NFKC", line).strip())


@given(texts)
def test_a_text_on_one_line_holds_no_line_break_of_any_kind(text: str) -> None:
    assert len(quoted_line(text).splitlines()) <= 1


@given(st.one_of(texts, st.text()))
def test_with_nfkc_the_text_is_in_that_form(text: str) -> None:
    assert unicodedata.is_normalized("NFKC", quoted(text, nfkc=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10²", "10^2"),
        ("10²³ m⁻²", "10^23 m^-2".replace("-", "\u2212")),
        ("½", "1/2"),
        ("1½ cup", "1 1/2 cup"),
        ("¾\u2044x", "3/4/x"),
        ("ﬁn\u00a0…", "fin ..."),
        ("\uff21™", "ATM"),
        ("e\u200d\u0301", "e\u200d\u0301"),
    ],
)
def test_superscripts_and_fractions_are_written_out_before_nfkc(text: str, expected: str) -> None:
    assert quoted(text, nfkc=True) == unicodedata.normalize("NFKC", quoted(expected))


def test_without_nfkc_superscripts_stay() -> None:
    assert quoted("10² ½") == "10² ½"


def test_many_blank_lines_are_gone_through_once() -> None:
    text = "x" + "\n" * 400_000 + "x"
    assert quoted(text) == text
