"""The estimate, with its figures: what it says of texts whose make-up is known."""

import pytest

from app.llm.client import Message, Role
from app.llm.tokens import Calibration, count, count_messages

FRENCH = "L'équipe a décidé de garder PostgreSQL ; la migration est prévue après l'été, dès que possible."
ENGLISH = "The team decided to keep PostgreSQL; the migration is planned for the summer, as soon as possible."
CODE = "def total(prices: list[int]) -> int:\n    return sum(price for price in prices if price > 0)\n"
CHINESE = "团队决定继续使用数据库。迁移计划在夏天之后进行。"
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


@pytest.mark.parametrize(
    ("text", "tokens", "of_quarter"),
    [
        (FRENCH, 34.3, 1.45),
        (ENGLISH, 32.7, 1.33),
        (CODE, 31.3, 1.36),
        (CHINESE, 24.0, 4.0),
        ("0123456789" * 10, 100.0, 4.0),
        (UUID, 28.0, 3.11),
        ("", 0.0, None),
    ],
)
def test_three_bytes_are_a_token_and_so_is_each_digit(text: str, tokens: float, of_quarter: float | None) -> None:
    assert count(text) == pytest.approx(tokens, abs=0.05)
    if of_quarter is not None:
        # Beside the usual rule of a quarter of the characters, which is far too low for digits and for Chinese.
        assert count(text) / (len(text) / 4) == pytest.approx(of_quarter, abs=0.02)


def test_an_estimate_has_a_margin_and_a_conversation_a_template() -> None:
    assert Calibration().estimate("x" * 300) == 115
    assert count_messages([Message(Role.USER, "x" * 300), Message(Role.ASSISTANT, "")]) == 108


def test_half_of_a_surrogate_pair_is_counted_too() -> None:
    assert count("\ud83d") > 0


def test_it_learns_from_what_an_endpoint_counts_within_limits() -> None:
    calibration = Calibration()
    calibration.observe(800, 1000)
    assert calibration.factor == 0.8
    calibration.observe(1000, 1000)
    assert calibration.factor == pytest.approx(0.84)
    assert calibration.estimate("x" * 300) == 97
    for _ in range(100):
        calibration.observe(10, 1000)
    assert calibration.factor == pytest.approx(0.6, abs=0.01)
    for _ in range(100):
        calibration.observe(100_000, 1000)
    assert calibration.factor == pytest.approx(1.6, abs=0.01)


def test_too_short_a_prompt_teaches_nothing() -> None:
    calibration = Calibration()
    calibration.observe(80, 20)
    calibration.observe(0, 1000)
    assert calibration.factor == 1.0
    assert not calibration.is_short(5, 20)


def test_a_prompt_that_was_cut_is_told_from_an_honest_count() -> None:
    calibration = Calibration()
    # Honest English and Chinese, as one real vocabulary counts them.
    assert not calibration.is_short(600, 1000)
    assert not calibration.is_short(550, 1000)
    assert not calibration.is_short(450, 1000)
    assert calibration.is_short(449, 1000)
    calibration.observe(800, 1000)
    assert not calibration.is_short(480, 1000)
    assert calibration.is_short(479, 1000)
