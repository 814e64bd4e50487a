import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.llm.client import Finish
from app.llm.limits import Limits
from app.llm.watchdogs import Watchdog

PROSE = " ".join(f"Fact {number} was noted by agent {number * 7 % 13} for a reason." for number in range(100))


def sees(*pieces: str, limits: Limits | None = None) -> Finish | None:
    watchdog = Watchdog(limits or Limits())
    return next((why for why in map(watchdog.sees, pieces) if why), None)


def test_an_honest_answer_passes() -> None:
    assert sees(PROSE) is None
    assert sees(*PROSE) is None
    assert sees("- a list\n" * 20, "| a | b |\n" * 20) is None


@pytest.mark.parametrize("blank", [" ", "\n", "\t", " \n", "\u00a0"])
def test_white_space_is_borne_up_to_a_limit(blank: str) -> None:
    at_limit = (blank * 400)[:400]
    assert sees("{", at_limit, "}", at_limit, "}") is None
    assert sees("{", *at_limit, blank) is Finish.WHITESPACE_FLOOD
    assert sees("{" + (blank * 401)[:401] + "}") is Finish.WHITESPACE_FLOOD


@pytest.mark.parametrize(
    "unit",
    [
        "ha",
        '{"op":"append","at":"s1","text":"- again"},',
        "word " * 20,
        "x" * 59 + "y" * 3,
        "- the same entry of fifty-five characters, word by word",
    ],
)
def test_repetition_is_seen_once_the_answer_is_long(unit: str) -> None:
    assert sees((unit * 2000)[:2000]) is None
    assert sees((unit * 2000)[:2100]) is Finish.REPETITION
    assert sees(*(unit * 2000)[:2100]) is Finish.REPETITION
    assert sees(PROSE[:3000], (unit * 2000)[:1300]) is Finish.REPETITION


def test_an_answer_has_a_length_beyond_which_nobody_reads_it() -> None:
    short = Limits(longest=100)
    assert sees(PROSE[:100], limits=short) is None
    assert sees(PROSE[:101], limits=short) is Finish.TOO_LONG
    watchdog = Watchdog(short)
    assert watchdog.hears("thought " * 12) is None
    assert watchdog.sees("12345") is Finish.TOO_LONG
    assert Watchdog(short).hears("x" * 101) is Finish.TOO_LONG


@settings(deadline=None)
@given(st.lists(st.text(alphabet=" \nab", max_size=900), max_size=6))
def test_white_space_is_counted_across_pieces(pieces: list[str]) -> None:
    limits = Limits(repetition_after=10**9)
    text = "".join(pieces)
    longest = max((len(run) for run in text.replace("a", "|").replace("b", "|").split("|")), default=0)
    assert (sees(*pieces, limits=limits) is Finish.WHITESPACE_FLOOD) is (longest > 400)
