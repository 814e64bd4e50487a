"""Follows a job of a service: its events as they happen, whatever becomes of the connection."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from app.cli.client import Client, Exit, Refused
from app.cli.table import Described, load

DONE: Final = "done"
"""Name of the last event of every job."""
ATTEMPTS: Final = 15
"""Broken connections in a row after which a job is not followed any more."""
PAUSE: Final = 2.0
"""Seconds before the next one, unless the service says otherwise."""
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    number: int
    name: str
    at: str
    """When, in UTC; empty when the service does not say."""
    data: dict[str, Any]


@dataclass(slots=True)
class Stream:
    """Reads server-sent events, which may be cut anywhere."""

    pause: float = PAUSE
    """Seconds after which to come back to a stream that broke."""
    lives: bool = False
    """Has it said anything but when to come back?"""
    _fields: dict[str, str] = field(default_factory=dict)

    def read(self, pieces: Iterable[bytes]) -> Iterator[Event]:
        """The events in the bytes."""
        rest = b""
        for piece in pieces:
            # Only these end a line; Python's own notion of a line knows many more letters that do.
            *lines, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n")
            for line in lines:
                event = self._take(line.decode("utf-8", "replace"))
                if event is not None:
                    yield event

    def _take(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            if name == "retry":
                self._pause(value.strip())
                return None
            self.lives = True
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        return _event(fields)

    def _pause(self, value: str) -> None:
        if value.isascii() and value.isdecimal():
            self.pause = min(int(value) / 1000, _LONGEST_PAUSE)


def _event(fields: dict[str, str]) -> Event | None:
    try:
        data = json.loads(fields["data"])
        number = int(fields["id"])
    except (KeyError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    return Event(number, fields.get("event", "message"), str(data.pop("at", "")), data)


def follow(
    client: Client,
    job_id: str,
    *,
    after: int = 0,
    operation: Described | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """The events of a job behind the one of that number, until the last.

    A stream that breaks is taken up again behind the event that came last. When it ends without `done`, the service
    has nothing more to tell.

    Raises:
        Refused: the job cannot be followed, or not any more.
    """
    operation = operation or next(one for one in load() if one.is_stream)
    pause, broken = PAUSE, 0
    while True:
        stream = Stream(pause)
        failure = Refused(f"The events of job '{job_id}' break off again and again.", Exit.UNAVAILABLE)
        try:
            with client.events(operation, {"job_id": job_id}, after=after) as pieces:
                if pieces is None:
                    return
                for event in stream.read(pieces):
                    after = event.number
                    yield event
                    if event.name == DONE:
                        return
        except Refused as refused:
            if refused.exit is not Exit.UNAVAILABLE:
                raise
            failure = refused
        broken = 1 if stream.lives else broken + 1
        if broken > ATTEMPTS:
            raise failure
        pause = stream.pause
        sleep(pause)
