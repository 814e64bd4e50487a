"""One earlier change of a file undone."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.blocks import digest
from app.bank.document.provenance import blocks_of
from app.bank.versions.undo import undo
from tests.unit.bank.strategies import anything

BEFORE = "# A\n\n## One\n\n- first\n- second\n\n## Two\n\ntext\n"


def undone(before: str | None, after: str | None, now: str | None) -> tuple[str | None, list[str]]:
    found = undo("a.md", before=before, after=after, now=now)
    return found.content, [clash.reason for clash in found.clashes]


def blocks(content: str | None) -> set[str]:
    return {placed.digest for placed in blocks_of(content or "")}


@pytest.mark.parametrize(
    ("before", "after", "now", "result"),
    [
        pytest.param("b", "a", "a", "b", id="nothing happened since"),
        pytest.param("b", "a", "b", "b", id="it was undone already"),
        pytest.param(None, "a", "a", None, id="the file was made"),
        pytest.param(None, "a", None, None, id="the file was made and is gone"),
        pytest.param("b", None, None, "b", id="the file was deleted"),
        pytest.param(
            BEFORE,
            BEFORE.replace("- first", "- new\n- first"),
            BEFORE.replace("- first", "- newer\n- new\n- first"),
            BEFORE.replace("- first", "- newer\n- first"),
            id="a block was put above it since",
        ),
        pytest.param(
            BEFORE,
            BEFORE.replace("- second", "- second\n- new"),
            BEFORE.replace("- second", "- second\n- new\n- newer"),
            BEFORE.replace("- second", "- second\n- newer"),
            id="a block was put below it since",
        ),
        pytest.param(
            BEFORE,
            BEFORE.replace("- second\n", ""),
            BEFORE.replace("- second\n", "- third\n"),
            BEFORE.replace("- second\n", "- second\n- third\n"),
            id="a block comes back where it stood",
        ),
        pytest.param(
            BEFORE,
            BEFORE + "\n## Three\n\n- new\n",
            BEFORE.replace("text", "other text") + "\n## Three\n\n- new\n",
            BEFORE.replace("text", "other text") + "\n",
            id="a section was added and another one changed since",
        ),
        pytest.param(
            BEFORE,
            BEFORE.replace("## One\n\n- first\n- second\n\n", ""),
            BEFORE.replace("## One\n\n- first\n- second\n\n", "").replace("text", "more text"),
            BEFORE.replace("text", "more text"),
            id="a section comes back where it stood",
        ),
        pytest.param(
            BEFORE,
            BEFORE.replace("- first", "- ~~first~~ (superseded 2026-01-01)\n- other words entirely"),
            BEFORE.replace("- first", "- ~~first~~ (superseded 2026-01-01)\n- other words entirely") + "\nend\n",
            BEFORE + "\nend\n",
            id="what was struck is whole again",
        ),
    ],
)
def test_the_change_goes_and_what_came_later_stays(
    before: str | None, after: str | None, now: str | None, result: str | None
) -> None:
    assert undone(before, after, now) == (result, [])


def test_a_file_that_the_change_made_goes_when_nothing_else_was_put_in_it() -> None:
    made = "# A\n\n- one\n- two\n"
    assert undone(None, made, "# A\n\n- two\n") == (None, [])
    content, clashes = undone(None, made, "# A\n\n- three\n- one\n- two\n")
    assert (content, clashes) == ("# A\n\n- three\n", [])


def test_a_block_that_was_changed_since_stays_and_is_named() -> None:
    after = BEFORE.replace("- first", "- the cache keeps pages for 5 minutes\n- first")
    now = after.replace("5 minutes", "15 minutes")
    content, (reason,) = undone(BEFORE, after, now)
    assert (content, reason) == (now, "changed since: - the cache keeps pages for 5 minutes")


def test_a_section_that_was_written_anew_since_stays_and_is_named_in_short() -> None:
    old, made, now = (
        "# A\n\n" + "".join(f"- {word} entry {number}\n" for number in range(200))
        for word in ("first", "second", "wholly other")
    )
    content, clashes = undone(old, made, now)
    assert (content, len(clashes), clashes[-1]) == (now, 21, "changed since: 180 more")


def test_a_file_that_is_gone_since_stays_away() -> None:
    assert undone("b", "a", None) == (None, ["the file has gone away since"])
    assert undone("b", None, "c") == ("c", ["the file has been made again since"])


@settings(max_examples=100, deadline=None)
@given(anything, anything)
def test_what_nobody_has_touched_since_is_just_as_it_was(before: str, after: str) -> None:
    assert undone(before, after, after) == (before, [])


@settings(max_examples=150, deadline=None)
@given(anything, anything, anything)
def test_nothing_that_was_written_since_is_lost(before: str, after: str, now: str) -> None:
    content, _clashes = undone(before, after, now)
    assert blocks(content) >= blocks(now) - blocks(after)


WORDS = [f"{word} {number}" for number in range(4) for word in ("cache", "queue", "index", "schema", "token", "page")]


def page(items: Sequence[str], others: Sequence[str]) -> str:
    return (
        "# Page\n\n## Items\n\n"
        + "".join(f"- {one}\n" for one in items)
        + "\n## Others\n\n"
        + "".join(f"- {one}\n" for one in others)
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_blocks_of_the_change_go_and_those_it_took_come_back(data: st.DataObject) -> None:
    words = data.draw(st.permutations(WORDS))
    old, made, later = words[:8], words[8:14], words[14:20]
    kept = [one for one in old if data.draw(st.booleans())]
    place = data.draw(st.integers(0, len(kept)))
    after = [*kept[:place], *made, *kept[place:]]
    place = data.draw(st.integers(0, len(after)))
    now = [*after[:place], *later, *after[place:]]

    content, clashes = undone(page(old, ["x"]), page(after, ["x"]), page(now, ["x", "y"]))

    assert clashes == [] or all("changed since" in clash for clash in clashes)
    found = blocks(content)
    assert found >= {digest(f"- {one}") for one in [*old, *later, "x", "y"]}
    assert not found & {digest(f"- {one}") for one in made}
