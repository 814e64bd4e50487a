import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.core.logging import configure_logging

TOKEN = "lm_live_abcdefghijklmnopqrstuvwxyz0123456789"  # noqa: S105 - the shape of a token, not one


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.configure(**before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_fact_is_one_line_of_json(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("x").info("note_written", space_id="alpha", size=3)
    (line,) = lines(stream)
    assert line["event"] == "note_written"
    assert (line["space_id"], line["size"], line["level"], line["request_id"]) == ("alpha", 3, "info", "r1")
    assert line["timestamp"].endswith("Z")


def test_less_important_lines_are_left_out(stream: io.StringIO) -> None:
    configure_logging(level="WARNING", stream=stream)
    structlog.get_logger("x").info("small")
    structlog.get_logger("x").warning("large")
    assert [line["event"] for line in lines(stream)] == ["large"]


class Holder:
    def __repr__(self) -> str:
        return f"Holder({TOKEN})"


@pytest.mark.parametrize("human", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": "anything-secret"},
        {"headers": {"Authorization": "anything-secret"}},
        {"deep": [{"password": "anything-secret"}, ("token", {"api_key": "anything-secret"})]},
        {"text": f"GET /?token={TOKEN}"},
        {"text": "header was 'Bearer anything-secret'"},
        {"thing": Holder()},
        {"things": {Holder()}},
    ],
)
def test_a_credential_is_hidden_wherever_it_is(stream: io.StringIO, fields: dict[str, Any], human: bool) -> None:  # noqa: FBT001 - a parameter of the table
    configure_logging(human=human, stream=stream)
    structlog.get_logger("x").info("seen", **fields)
    written = stream.getvalue()
    assert "seen" in written
    assert "[hidden]" in written
    assert "anything-secret" not in written
    assert TOKEN not in written


@pytest.mark.parametrize("human", [False, True])
def test_a_traceback_shows_neither_local_variables_nor_a_token_in_its_message(stream: io.StringIO, human: bool) -> None:  # noqa: FBT001 - a parameter of the table
    configure_logging(human=human, stream=stream)

    def failing(held: str) -> None:
        raise ValueError("refused " + held)

    try:
        failing(TOKEN)
    except ValueError as error:
        structlog.get_logger("x").error("failed", exc_info=error)
    assert "ValueError" in stream.getvalue()
    assert "refused" in stream.getvalue()
    assert TOKEN not in stream.getvalue()


def test_the_libraries_write_through_the_same_renderer(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    logging.getLogger("some.package").warning("sent %s", f"Bearer {TOKEN}")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info("left out")
    first, second = lines(stream)
    assert first["event"] == "sent [hidden]"
    assert first["logger"] == "some.package"
    assert second["event"] == "started"


def test_a_warning_is_a_line_too(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Capturing replaces the function that shows a warning, which the filter context would put back.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old habit", stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "old habit" in lines(stream)[0]["event"]
