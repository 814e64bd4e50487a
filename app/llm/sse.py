"""Server-sent events, out of bytes that were cut anywhere."""

from typing import Final

_BOM: Final = b"\xef\xbb\xbf"


class EventSplitter:
    """Turns the bytes of an event stream into the data of its events.

    Lines end at LF, CRLF or CR and nowhere else. A text decoder that also ends them at U+2028 or U+0085, which are
    plain characters of JSON, would tear an event apart.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """Pieces of a line that has no end so far, joined only once, since a line may be long."""
        self._data: list[bytes] = []
        self._after_return = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that are complete now."""
        if self._at_start:
            piece = b"".join((*self._line, piece))
            self._line = []
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._line = [piece]
                return []
            piece = piece.removeprefix(_BOM)
            self._at_start = False
        if self._after_return and piece:
            # The other half of a CRLF that was cut in the middle.
            piece = piece.removeprefix(b"\n")
            self._after_return = False
        events: list[str] = []
        for line in piece.splitlines(keepends=True):
            self._line.append(line)
            if line.endswith((b"\n", b"\r")):
                self._take(b"".join(self._line).rstrip(b"\r\n"), events)
                self._line = []
                self._after_return = line.endswith(b"\r")
            else:
                self._after_return = False
        return events

    def close(self) -> list[str]:
        """The data of an event that the end of the stream left without its empty line."""
        events: list[str] = []
        self._take(b"".join(self._line), events)
        self._line = []
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[str]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data.clear()
            return
        # A comment has an empty name; `event`, `id` and `retry` do not matter to a reader that never reconnects.
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
