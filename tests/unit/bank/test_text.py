import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.bank.document.text import (
    clean,
    code_spans,
    fingerprint,
    fold,
    fold_lines,
    hard_tokens,
    holds,
    lines_with,
    missing,
    plain,
    same,
    stems,
)
from tests.unit.bank.strategies import anything


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("We moved to PostgreSQL 15.4 today", {"postgresql", "15.4"}),
        ("see #123 and https://example.org/a?b=1.", {"#123", "https://example.org/a?b=1"}),
        ("run `make check` twice", {"make check"}),
        (
            "in src/app/main.py and snake_case, camelCase, kebab-case",
            {"src/app/main.py", "snake_case", "camelcase", "kebab-case"},
        ),
        ("The HTTP API of Paris", {"http", "api", "paris"}),
        ("Nothing special here", set()),
        ("\u00c0 la mairie de \u00c9pinay", {"epinay"}),
        ("v1.2\u200b.3 ships", {"v1.2.3"}),
    ],
)
def test_hard_tokens_are_what_may_not_be_lost(text: str, tokens: set[str]) -> None:
    assert tokens <= hard_tokens(text)
    if not tokens:
        assert not hard_tokens(text)


def test_an_exponent_is_not_a_digit() -> None:
    assert hard_tokens("10\u00b2 users") != hard_tokens("102 users")
    assert same("10\u00b2") != same("102")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("in 15 days", True),
        ("15.", True),
        ("(15)", True),
        ("in 2015", False),
        ("v15.4", False),
        ("15.4", False),
        ("0.15", False),
    ],
)
def test_a_number_is_found_only_where_it_stands_alone(text: str, found: bool) -> None:  # noqa: FBT001 - a table
    assert holds(fold(text), "15") is found


def test_a_word_after_a_number_and_a_comma_stands_alone() -> None:
    link = "![](data:text/html;base64,PHNjcmlwdD4=)"
    assert not missing(hard_tokens(link), fold(link))
    assert not holds("64,5", "5")


def test_striking_a_text_does_not_change_what_it_says() -> None:
    assert hard_tokens("- ~~2026-03-02 kept in ~/.ssh/config~~") == {"2026-03-02", "~/.ssh/config"}


def test_a_later_free_standing_occurrence_counts() -> None:
    assert holds("2015 and 15.4 and 15", "15")


@settings(max_examples=120, deadline=None)
@given(anything)
def test_a_text_holds_its_own_hard_tokens(text: str) -> None:
    assert not missing(hard_tokens(text), fold(text))


_CHARACTERS = st.one_of(
    *(
        st.characters(min_codepoint=first, max_codepoint=last)
        for first, last in (
            (0, 0x7F),
            (0x80, 0x52F),
            (0x300, 0x36F),
            (0x2000, 0x2BFF),
            (0x1F000, 0x1FAFF),
            (0xFE00, 0xFE0F),
        )
    )
)


@settings(max_examples=300, deadline=None)
@given(st.text(_CHARACTERS, max_size=30))
def test_characters_that_are_looked_up_alone_are_what_they_are_together(text: str) -> None:
    # A syllable of Korean makes marks of its neighbours, so a text with one is normalized whole.
    assert plain(f"{text} \uac00") == f"{plain(text)} \uac00"


@settings(max_examples=60, deadline=None)
@given(anything, st.integers(1, 200))
def test_a_long_text_is_folded_as_a_short_one(text: str, times: int) -> None:
    assert fold(text * times) == " ".join(fold_lines(text * times).split())


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="gatewy \n1_-\u00e9", max_size=80), st.sampled_from(("gatewa", "gate")))
@example("through the gateway, throughput", "throug")
@example("comment filtrer les commentaires", "commen")
@example("throughs\nthrough", "throug")
@example("contre", "contre")
def test_a_line_has_a_stem_when_one_of_its_words_does(text: str, stem: str) -> None:
    folded = fold_lines(text)
    starts = [0, *(at + 1 for at, character in enumerate(folded) if character == "\n")]
    lines = folded.split("\n")
    assert lines_with(stem, folded) == [at for at, line in zip(starts, lines, strict=True) if stem in stems(line)]


@settings(max_examples=120, deadline=None)
@given(anything)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_invisible_and_bidirectional_characters_go_and_joiners_of_scripts_stay() -> None:
    assert clean("a\u200bb\u202ec\ufeff\u00add\u200de") == "abcde"
    assert (
        clean("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645") == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )


def test_stems_leave_out_short_and_frequent_words() -> None:
    assert stems("We should have been migrating les serveurs dans une r\u00e9gion") == {"migrat", "serveu", "region"}


def test_code_spans_end_at_as_many_backticks() -> None:
    line = "a `b` ``c ` d`` ` e"
    assert [line[start:end] for start, end in code_spans(line)] == ["`b`", "``c ` d``"]


def test_a_note_is_kept_by_its_own_words_and_not_by_a_vague_line() -> None:
    note = fingerprint("We chose PostgreSQL 15.4 with JSONB for the billing service")
    assert note.is_kept_by("- 2026-03-02 billing: PostgreSQL 15.4, JSONB columns")
    assert not note.is_kept_by("- A database was chosen")
    assert not note.is_kept_by("- PostgreSQL 15 with JSONB")


def test_a_note_without_hard_tokens_is_kept_by_half_of_its_stems() -> None:
    note = fingerprint("the login page feels slow on mobile phones")
    assert note.is_kept_by("- login page slow on phones")
    assert not note.is_kept_by("- login is fine")
