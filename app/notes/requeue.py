"""A note that was filed and waits again, under a name of this moment."""

import json
from datetime import datetime

from app.core.clock import iso
from app.notes.models import Category
from app.notes.store import new_note_id, parse_name, parse_note

_MARK = b"requeued_from:"
_FENCE = b"---"


def requeued_note(note_id: str, body: bytes, now: datetime) -> tuple[str, bytes]:
    """The new id and the new object of a note: the very same words, and a line that says which note it was.

    The name is of this moment, since readers look for new names near the present; the note's own time stays as it is.
    """
    note = parse_note(note_id, body)
    name = parse_name(note_id)
    category = note.category if note.category in set(Category) else Category.OBSERVATION.value
    new_id = new_note_id(now, name.safe_agent if name else note.identity, category)
    mark = _MARK + b" " + json.dumps(note_id).replace("---", "\\u002d\\u002d\\u002d").encode()
    lines = body.split(b"\n")
    if lines[0].rstrip(b"\r") == _FENCE:
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip(b"\r") == _FENCE:
                header = [one for one in lines[1:number] if not one.startswith(_MARK)]
                return new_id, b"\n".join([lines[0], *header, mark, *lines[number:]])
    header = [
        _FENCE,
        f'timestamp: "{iso(note.timestamp)}"'.encode(),
        f'category: "{category}"'.encode(),
        mark,
        _FENCE,
        b"",
    ]
    return new_id, b"\n".join([*header, body])


def origin_of(body: bytes) -> str:
    """The id that a note had before it was put back in the queue; empty when it never was."""
    for line in body.split(b"\n")[1:]:
        if line.rstrip(b"\r") == _FENCE:
            break
        if line.startswith(_MARK):
            try:
                return str(json.loads(line[len(_MARK) :]))
            except ValueError:
                break
    return ""
