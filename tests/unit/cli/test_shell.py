import pytest

from app.cli.connection import Connection
from app.cli.shell import Commands, is_secret

TOKEN = "k" * 64


@pytest.mark.parametrize(
    "line",
    [
        "space list --token abc", "space list --token=abc", "-t abc space list", "space list -tabc",
        "live note a todo 'lm_live_abc'", f"live note a todo {TOKEN}", "live note a todo 'Bearer abc'",
    ],
)  # fmt: skip
def test_a_line_that_may_hold_a_token_is_not_kept(line: str) -> None:
    assert is_secret(line, TOKEN)


@pytest.mark.parametrize(
    "line", ["token list", "space list --token-file key", "live note a todo 'rotate the token'", "live read a --tags t"]
)
def test_any_other_line_is_kept(line: str) -> None:
    assert not is_secret(line, TOKEN)
    assert not is_secret(line, None)


@pytest.mark.parametrize(
    ("before", "start", "expected"),
    [
        ("", "ba", ["backup ", "bank "]),
        ("", "ex", ["exit "]),
        ("bank ", "rea", ["read ", "read-all "]),
        ("bank consolidate alpha ", "--a", ["--agent "]),
        ("bank consolidate 'open", "x", []),
        ("nonsense ", "gc", ["gc "]),
    ],
)
def test_the_next_word_is_completed(before: str, start: str, expected: list[str]) -> None:
    assert Commands(Connection()).completions(before, start) == expected


@pytest.mark.parametrize(
    ("line", "status"),
    [("", 0), ("help", 0), ("help bank", 0), ('live note "open', 2), ("nonsense", 2), ("bank read", 2)],
)
def test_a_line_has_an_exit_status_and_ends_nothing(line: str, status: int) -> None:
    assert Commands(Connection()).run(line) == status


def test_a_line_that_reaches_nobody_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert Commands(Connection(url="http://127.0.0.1:1", token=TOKEN)).run("space list") == 9
    assert "cannot be reached" in capfd.readouterr().err
