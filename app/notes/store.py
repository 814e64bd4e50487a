"""Where a note is kept: its name, and its bytes as any Markdown tool can read them."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from app.core.clock import iso
from app.core.ids import new_note_suffix
from app.notes.models import Category, Note

_NAME: Final = re.compile(
    r"(?P<time>[0-9]{8}T[0-9]{6})_(?P<agent>[A-Za-z0-9_-]+)_(?P<category>" + "|".join(Category) + r")_[0-9a-f]{8}\.md"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def live_prefix(space_id: str) -> str:
    """Under which key prefix the notes of a space lie."""
    return f"{space_id}/live/"


def note_key(space_id: str, note_id: str) -> str:
    """Where a note lies."""
    return live_prefix(space_id) + note_id


def time_key(instant: datetime) -> str:
    """An instant as the beginning of a note's name, so that names sort by time."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


@dataclass(frozen=True, slots=True)
class Name:
    """What a note's name tells without reading it."""

    time: datetime
    safe_agent: str
    category: str


def parse_name(note_id: str) -> Name | None:
    """Read a name from the right, since an agent's name may hold underscores; None for a foreign one."""
    if not (match := _NAME.fullmatch(note_id)):
        return None
    try:
        # Ten times faster than strptime, which matters for a listing of thousands.
        instant = datetime.fromisoformat(match["time"]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Name(instant, match["agent"], match["category"])


def new_note_id(instant: datetime, agent: str, category: str) -> str:
    """A name for a note: time, agent without what a name cannot hold, category, 8 random digits."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "", agent)[:64] or "agent"
    return f"{time_key(instant)}_{safe}_{category}_{new_note_suffix()}.md"


def _quoted(text: str) -> str:
    """A JSON string on one line. Three dashes are escaped: older readers take them for the end of the header."""
    return json.dumps(text, ensure_ascii=False).replace("---", "\\u002d\\u002d\\u002d")


def render_note(note: Note, space_id: str) -> bytes:
    """The object of a note: a header between two lines of dashes, an empty line, the content verbatim."""
    tags = json.dumps(list(note.tags)).replace("---", "\\u002d\\u002d\\u002d")
    header = [
        "---",
        f'timestamp: "{iso(note.timestamp)}"',
        f"agent: {_quoted(note.agent)}",
        f'category: "{note.category}"',
        f"tags: {tags}",
        f'space_id: "{space_id}"',
        f"identity: {_quoted(note.identity)}",
        f'incarnation: "{note.incarnation or ""}"',
        "---",
        "",
        note.content,
    ]
    return "\n".join(header).encode()


def parse_note(note_id: str, body: bytes) -> Note:
    """The note in an object, however old or damaged: what cannot be read is replaced, never an error."""
    text = body.decode(errors="replace")
    header, content = _split(text)
    name = parse_name(note_id)
    ours = "incarnation" in header
    values = {key: _unquoted(value, ours=ours) for key, value in header.items() if key != "tags"}
    agent = values.get("agent") or (name.safe_agent if name else "")
    return Note(
        id=note_id,
        timestamp=_instant(values.get("timestamp", "")) or (name.time if name else _EPOCH),
        agent=agent,
        identity=values.get("identity") or agent,
        category=values.get("category") or (name.category if name else ""),
        tags=_parse_tags(header.get("tags", "")),
        content=content.strip(),
        incarnation=values.get("incarnation") or None,
    )


def _split(text: str) -> tuple[dict[str, str], str]:
    lines = text.split("\n")
    if lines[0].rstrip("\r") != "---":
        return {}, text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip("\r") == "---":
            pairs = (item.split(":", 1) for item in lines[1:number] if ":" in item)
            return {key.strip(): value.strip() for key, value in pairs}, "\n".join(lines[number + 1 :])
    return {}, text


def _unquoted(value: str, *, ours: bool) -> str:
    """Our values are JSON strings; those of older tools are quoted without any escape."""
    if ours and value.startswith('"'):
        try:
            return _whole(str(json.loads(value)))
        except (ValueError, RecursionError):
            return value.strip('"')
    return value.strip('"').strip("'")


def _parse_tags(value: str) -> tuple[str, ...]:
    try:
        tags = json.loads(value) if value.startswith("[") else []
    except (ValueError, RecursionError):
        return ()
    return tuple(_whole(str(tag)) for tag in tags)


def _whole(text: str) -> str:
    """The text without halves of characters, which JSON can spell and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
