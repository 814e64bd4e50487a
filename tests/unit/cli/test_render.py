import io
from typing import Any

import pytest

from app.cli.render import Screen, clean, counted, excerpt, instant, panel, plain, size, table
from app.cli.views import failure, show

HEALTH: dict[str, Any] = {
    "status": "degraded", "service_name": "Live Memory", "version": "1", "uptime_seconds": 3700.0, "spaces_count": -1,
    "services": {
        "s3": {"status": "error", "kind": "s3", "bucket": "b", "latency_ms": 2.5, "message": "The store is away."},
        "llmaas": {"status": "warning", "model": None, "message": "No model."},
    },
}  # fmt: skip
NOTE = {
    "filename": "n.md", "timestamp": "2026-02-20T18:05:00.123Z", "agent": "a\x1b[31m", "identity": "a",
    "category": "todo", "tags": ["x"], "content": "one\ntwo \x1b]0;title\x07 [bold]three[/bold] :smile:",
}  # fmt: skip
NOTES = {
    "status": "ok",
    "space_id": "s",
    "notes": [NOTE],
    "total": 1,
    "matched": 3,
    "has_more": True,
    "next_cursor": "c",
}


class Terminal(io.StringIO):
    """A place where a person reads."""

    def isatty(self) -> bool:
        return True


def shown(operation: str, body: dict[str, Any], output: io.StringIO | None = None) -> tuple[str, str]:
    output, errors = output or io.StringIO(), io.StringIO()
    show(Screen(output, errors), operation, body)
    return output.getvalue(), errors.getvalue()


@pytest.mark.parametrize("mark", ["\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e", "\u2066", "\x7f"])
def test_what_steers_a_terminal_is_taken_out(mark: str) -> None:
    assert clean(f"a{mark}b") == "a\ufffdb"


def test_plain_text_stays_as_it_is() -> None:
    assert clean("Grüße\n\tπ 😀 [x]") == "Grüße\n\tπ 😀 [x]"


def test_a_note_steers_nothing_and_its_brackets_stay() -> None:
    output, errors = shown("live_read", NOTES)
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "[bold]three[/bold] :smile:" in output
    assert "2026-02-20 18:05:00" in output
    assert "1 of 3 notes" in output
    assert "--cursor c" in errors


def test_a_file_steers_no_terminal_and_is_whole_in_a_pipe() -> None:
    body = {"filename": "a.md", "content": "# A\n\n\x1b[2J text\n", "status": "ok"}
    output, _ = shown("bank_read", body)
    assert output == "# A\n\n\x1b[2J text\n", "a program gets what is stored"
    output, _ = shown("bank_read", body, Terminal())
    assert "\x1b[2J" not in output


def test_a_degraded_service_is_shown_and_is_a_failure() -> None:
    output, _ = shown("system_health", HEALTH)
    assert "degraded" in output
    assert "The store is away." in output
    assert "up 1 h 1 min" in output
    assert failure(HEALTH)
    assert not failure({"status": "ok"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "partial", "code": "limit", "message": "10 still wait."}, ""),
        ({"status": "partial", "code": "store_unavailable", "message": "The store is away."}, "The store is away."),
        ({"status": "partial"}, "Not everything could be done."),
        ({"status": "error", "message": "None was filed."}, "None was filed."),
        ({"status": "deleted"}, ""),
        ({"status": "created"}, ""),
    ],
)
def test_a_failure_inside_a_success_is_seen(body: dict[str, Any], expected: str) -> None:
    assert failure(body) == expected


def test_an_operation_without_a_view_is_shown_as_it_is() -> None:
    output, _ = shown(
        "thing_list", {"status": "ok", "things": [{"name": "cup", "size": None}, {"name": "jug", "size": 2}]}
    )
    assert all(word in output for word in ("status", "things", "name", "cup", "jug", "2"))


def test_an_answer_in_other_words_is_shown_as_it_is() -> None:
    output, _ = shown("system_health", {"status": "ok", "region": "north"})
    assert "north" in output


def test_json_is_the_very_bytes_in_a_pipe_and_indented_at_a_terminal() -> None:
    raw = b'{"a":"\xc3\xbc","b":[1]}'
    pipe, terminal = io.StringIO(), Terminal()
    Screen(pipe, io.StringIO()).document(raw)
    assert pipe.getvalue() == raw.decode() + "\n"
    Screen(terminal, io.StringIO()).document(b'{"a":"\xc2\x9b31m"}')
    assert "\x9b" not in terminal.getvalue(), "a control character of JSON steers nothing either"


def test_nothing_moves_where_nobody_looks() -> None:
    errors = io.StringIO()
    screen = Screen(io.StringIO(), errors)
    with screen.working("filing"), screen.receiving("alpha") as received:
        received.add(10)
    assert errors.getvalue() == ""


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_nothing_moves_on_a_terminal_that_cannot(environment: dict[str, str]) -> None:
    errors = Terminal()
    with Screen(io.StringIO(), errors, environment).working("filing"):
        pass
    assert errors.getvalue() == ""


def test_without_colour_there_is_none() -> None:
    for environment, coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        output = Terminal()
        Screen(output, io.StringIO(), environment).say("done", "green")
        assert ("\x1b[32m" in output.getvalue()) is coloured


def test_somebody_who_waits_sees_that_it_works() -> None:
    errors = Terminal()
    screen = Screen(io.StringIO(), errors, {"TERM": "xterm"})
    with screen.working("filing [it]"):
        pass
    assert "filing [it]" in errors.getvalue()
    with screen.receiving("alpha") as received:
        received.add(2048)
    assert "alpha" in errors.getvalue()


def test_errors_do_not_mix_with_results() -> None:
    output, errors = io.StringIO(), io.StringIO()
    screen = Screen(output, errors)
    screen.fail("No\x1b.")
    screen.warn("Hm.")
    screen.note("By the way.")
    assert output.getvalue() == ""
    assert errors.getvalue() == "live-memory: No\ufffd.\nlive-memory: Hm.\nlive-memory: By the way.\n"


def test_values_as_a_person_reads_them() -> None:
    assert [plain(value) for value in (None, True, False, 1.5, ["a", 1], {"a": 1}, "x")] == [
        "", "yes", "no", "1.5", "a, 1", "a: 1", "x",
    ]  # fmt: skip
    assert [size(count) for count in (0, 1023, 1024, 1536, 5 * 1024**2, 3 * 1024**4)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB",
    ]  # fmt: skip
    assert [counted(count, "note") for count in (0, 1, 2)] == ["0 notes", "1 note", "2 notes"]
    assert [excerpt(text, 5) for text in ("a\n b", "123456")] == ["a b", "1234…"]
    assert [instant(text) for text in (None, "", "2026-01-31T18:05:00Z")] == ["", "", "2026-01-31 18:05:00"]


def test_an_empty_fact_is_left_out_and_a_long_value_is_whole() -> None:
    output = io.StringIO()
    Screen(output, io.StringIO()).show(panel("t", {"empty": "", "full": "v" * 300}), table("h", rows=[["w" * 300]]))
    text = output.getvalue()
    assert "empty" not in text
    assert (text.count("v"), text.count("w")) == (300, 300)
