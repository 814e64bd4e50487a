"""The splitter of events: where the bytes were cut makes no difference."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.llm.sse import EventSplitter

LINES = st.sampled_from([
    b"data: one", b"data:two", b'data: {"a":"\xc3\xa9 \xe2\x80\xa8 \xc2\x85"}', b"data", b"data: ", b": ping",
    b"event: x", b"id: 1", b"", b"", b"nonsense", b"data: \xf0\x9f\xa7\xad",
    b"data: \xff\xfe", b"\xef\xbb\xbfdata: late",
])  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.builds(
    lambda start, lines, rest: start + b"".join(line + end for line, end in lines) + rest,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, ENDS), max_size=12),
    LINES,
)


def split(pieces: list[bytes]) -> list[str]:
    splitter = EventSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()


@settings(deadline=None)
@given(st.data(), st.one_of(STREAMS, st.binary(max_size=60)))
def test_any_cut_of_the_bytes_gives_the_same_events(data: st.DataObject, stream: bytes) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert b"".join(pieces) == stream
    assert split(pieces) == split([stream]) == split([bytes([byte]) for byte in stream])


@settings(deadline=None)
@given(STREAMS)
@example(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n")
def test_the_events_are_those_of_a_reader_that_sees_the_whole_stream(stream: bytes) -> None:
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    wanted: list[str] = []
    data: list[bytes] = []
    for line in [*text.split(b"\n"), b""]:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif not line and data:
            wanted.append(b"\n".join(data).decode("utf-8", "replace"))
            data = []
    assert split([stream]) == wanted


def test_every_line_end_ends_a_line_and_nothing_else_does() -> None:
    assert split([b"data: a\n\ndata: b\r\n\r\ndata: c\r\r"]) == ["a", "b", "c"]
    assert split(["data: \u2028\u2029\x85\x0b\x0c\x1c\n\n".encode()]) == ["\u2028\u2029\x85\x0b\x0c\x1c"]


def test_comments_and_other_fields_are_no_data_and_several_lines_are_one() -> None:
    assert split([b": ping\n\nevent: x\nid: 7\nretry: 1\n\ndata: a\ndata: b\n\n"]) == ["a\nb"]


def test_an_event_without_its_empty_line_is_found_at_the_end() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a") == []
    assert splitter.close() == ["a"]
    assert splitter.close() == []
