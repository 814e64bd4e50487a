"""What two sequences and two versions of a file have in common, and what of it is told."""

import re
from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.markdown import lines_of
from app.bank.versions.alignment import EFFORT, Effort, aligned, steps
from app.bank.versions.difference import FileDifference, differences
from app.bank.versions.undo import undo

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@\n")
MISSING = "\\ No newline at end of file\n"
FEW = st.lists(st.integers(0, 3), max_size=12)
MANY = st.lists(st.integers(0, 40), max_size=30)
TEXT = st.lists(st.sampled_from(["a", "b", "c", "- d", "+ e", ""]), max_size=20).map("\n".join)


class Line(str):
    """A line that counts how often one was compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Line.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def difference(before: str | None, after: str | None) -> FileDifference:
    (found,) = differences({} if before is None else {"a.md": before}, {} if after is None else {"a.md": after})
    return found


def shared(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the longest row of items in both, the slow way."""
    row = [0] * (len(second) + 1)
    for one in first:
        former = row[:]
        for at, other in enumerate(second):
            row[at + 1] = former[at] + 1 if one == other else max(row[at], former[at + 1])
    return row[-1]


def patched(text: str, diff: str) -> str:
    """What a unified diff makes of a text; fails where it does not fit."""
    old, new, at = lines_of(text), list[str](), 0
    shown = re.split(r"(?<=\n)", diff)[2:-1]
    for number, line in enumerate(shown):
        bare = line[1:].removesuffix("\n") if shown[number + 1 : number + 2] == [MISSING] else line[1:]
        if header := HUNK.fullmatch(line):
            start = int(header[1]) - (header[2] != "0")
            new += old[at:start]
            at = start
            assert len(new) == int(header[3]) - (header[4] != "0")
        elif line[0] in " -":
            assert old[at] == bare
            at += 1
        if line[0] in " +":
            new.append(bare)
    return "".join([*new, *old[at:]])


@given(st.tuples(FEW, FEW) | st.tuples(MANY, MANY), st.sampled_from([EFFORT, 20, 0]))
def test_matches_are_the_same_in_both_and_in_order(pair: tuple[list[int], list[int]], effort: int) -> None:
    first, second = pair
    done = made = 0
    for match in aligned(first, second, Effort(effort)):
        assert match.length > 0
        assert (match.first, match.second) >= (done, made)
        assert first[match.first : match.first + match.length] == second[match.second : match.second + match.length]
        done, made = match.first + match.length, match.second + match.length


@given(FEW, FEW, st.sampled_from([EFFORT, 20, 0]))
def test_steps_lead_from_one_to_the_other(first: list[int], second: list[int], effort: int) -> None:
    taken = list(steps(first, second, Effort(effort)))
    assert [first[at] for step in taken for at in step.first] == first
    assert [second[at] for step in taken for at in step.second] == second
    assert all(len(list(group)) == 1 for _same, group in groupby(step.is_same for step in taken))


@given(FEW, FEW)
def test_without_items_that_stand_once_the_most_is_found(first: list[int], second: list[int]) -> None:
    first, second = first * 2, second * 2
    assert sum(match.length for match in aligned(first, second)) == shared(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            [f"{n * 7 % 150}" for n in range(3_000)], [f"{n * 11 % 149}" for n in range(3_000)], id="few lines"
        ),
        pytest.param(["x"] * 30_000, ["x", "y"] * 15_000, id="one line"),
        pytest.param(
            [f"{n}" for n in range(20_000)], [f"{n}" if n % 2 else "y" for n in range(20_000)], id="every other line"
        ),
        pytest.param([f"{n}" for n in range(20_000)], [f"{n}" for n in reversed(range(20_000))], id="reversed"),
    ],
)
def test_the_work_is_bounded_however_many_lines_are_equal(first: list[str], second: list[str]) -> None:
    one, other = [Line(line) for line in first], [Line(line) for line in second]
    Line.compared = 0
    aligned(one, other)
    assert Line.compared <= EFFORT + 12 * (len(one) + len(other))


def test_comparisons_of_several_files_share_one_effort() -> None:
    effort = Effort(1_000)
    one, other = [Line(n * 7 % 50) for n in range(500)], [Line(n * 11 % 49) for n in range(500)]
    Line.compared = 0
    for _ in range(20):
        aligned(one, other, effort)
    assert Line.compared <= 1_000 + 20 * 12 * 1_000
    assert effort.left <= 1


def test_few_changes_of_a_long_repetitive_file_are_told_exactly() -> None:
    before = [f"| row {n % 3} |\n" for n in range(30_000)]
    after = [*before[:100], "| new |\n", *before[100:20_000], *before[20_001:]]
    found = difference("".join(before), "".join(after))
    assert (found.added, found.removed) == (1, 1)
    assert len(found.diff) < 1_000
    assert patched("".join(before), found.diff) == "".join(after)


def test_what_is_too_much_to_compare_is_shown_as_replaced_and_can_be_applied() -> None:
    before = "top\n" + "".join(f"{n * 7 % 150}\n" for n in range(6_000)) + "end\n"
    after = "top\n" + "".join(f"{n * 11 % 149}\n" for n in range(6_000)) + "end\n"
    found = difference(before, after)
    assert (found.added, found.removed) == (5_999, 5_999)
    assert patched(before, found.diff) == after


@given(TEXT, TEXT)
@settings(max_examples=300)
def test_a_diff_makes_one_text_of_the_other(before: str, after: str) -> None:
    if before == after:
        return
    assert patched(before, difference(before, after).diff) == after


def test_a_diff_looks_as_everybody_knows_it() -> None:
    before = "".join(f"{n}\n" for n in range(20))
    after = before.replace("2\n", "two\n", 1).replace("\n18\n19\n", "\n18\nend")
    assert difference(before, after).diff == (
        "--- a/a.md\n+++ b/a.md\n"
        "@@ -1,6 +1,6 @@\n 0\n 1\n-2\n+two\n 3\n 4\n 5\n"
        "@@ -17,4 +17,4 @@\n 16\n 17\n 18\n-19\n+end\n\\ No newline at end of file\n"
    )
    assert difference(None, "a\n").diff == "--- /dev/null\n+++ b/a.md\n@@ -0,0 +1 @@\n+a\n"
    assert difference("a\nb\n", None).diff == "--- a/a.md\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"


def test_a_change_of_thousands_of_rows_is_undone() -> None:
    before = [f"- item {n}\n" for n in range(4_000)]
    made = [row if n % 2 else f"- other {n}\n" for n, row in enumerate(before)]
    found = undo("a.md", before="".join(before), after="".join(made), now="".join([*made, "- more\n"]))
    assert found.content == "".join([*before, "- more\n"])
    assert found.clashes == []
