"""A note, inside the service and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from app.core.schema import Body, Result, Text

MAX_CONTENT = 100_000
MAX_TAGS = 50
MAX_TAG = 64
MAX_TAGS_TEXT = 4_000


class Category(StrEnum):
    """What kind of thing a note says."""

    OBSERVATION = "observation"
    DECISION = "decision"
    TODO = "todo"
    INSIGHT = "insight"
    QUESTION = "question"
    PROGRESS = "progress"
    ISSUE = "issue"


@dataclass(frozen=True, slots=True)
class Note:
    """A live note. Its id is its file name: `{YYYYMMDDTHHMMSS}_{agent}_{category}_{8 hex}.md`."""

    id: str
    timestamp: datetime
    agent: str
    """The label its readers see."""
    identity: str
    """The authenticated name of its author; equals the label unless the author chose another one."""
    category: str
    """One of the seven, or whatever an older tool wrote."""
    tags: tuple[str, ...]
    content: str
    """Without leading and trailing white space."""
    incarnation: str | None
    """Incarnation of the space it was written to; None for a note of another make."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A note with what is known of its object, which need not be read again: it never changes."""

    key: str
    note: Note
    size: int
    sha256: str


def _tags(text: str) -> str:
    tags = split_tags(text)
    if len(tags) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags")
    if any(len(tag) > MAX_TAG for tag in tags):
        raise ValueError(f"a tag has at most {MAX_TAG} characters")
    return text


def _joined(tags: object) -> object:
    """A list of tags as the text that it would be."""
    if not isinstance(tags, list):
        return tags
    if not all(isinstance(tag, str) for tag in tags):
        raise ValueError("a tag is a text")
    if any("," in tag for tag in tags):
        raise ValueError("a tag of a list holds no comma")
    if len(tags) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags")
    return ",".join(tags)


def split_tags(text: str) -> tuple[str, ...]:
    """The tags of a comma-separated list, trimmed; order and repetitions are kept, empty ones dropped."""
    return tuple(tag for part in text.split(",") if (tag := part.strip()))


AgentName = Annotated[
    Text,
    StringConstraints(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$"),
    Field(examples=["cline-dev"]),
]


class NoteCreate(Body):
    """Something worth remembering."""

    category: Annotated[Category, Field(description="What kind of thing the note says.", examples=["decision"])]
    content: Annotated[
        Text,
        Field(
            max_length=MAX_CONTENT,
            description="Free text, one fact a note; Markdown is welcome.",
            examples=["We chose PostgreSQL 15 for its JSONB indexes."],
        ),
    ]
    agent: Annotated[
        AgentName,
        Field(
            description="Name shown as the author. Empty: the token's name. Unless an admin writes it, it is a label "
            "only: the token's name stays the author's identity."
        ),
    ] = ""
    tags: Annotated[
        Text,
        BeforeValidator(_joined),
        AfterValidator(_tags),
        Field(
            max_length=MAX_TAGS_TEXT,
            description="Tags, at most 50 of 64 characters: separated by commas, or a list.",
            examples=["db,api"],
        ),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_TAGS_TEXT},
                    {"type": "array", "items": {"type": "string", "maxLength": MAX_TAG}, "maxItems": MAX_TAGS},
                ],
                "default": "",
                "examples": ["db,api"],
            }
        ),
    ] = ""


class NoteCreated(Result):
    """A note that is kept from now on."""

    status: str = Field(default="created", examples=["created"])
    """`created`."""
    space_id: str
    """The space."""
    filename: str
    """The note's id."""
    category: str
    """As given."""
    agent: str
    """The author shown."""
    identity: str
    """The authenticated author."""
    size: int
    """Bytes of the stored object."""
    timestamp: str
    """When, in UTC."""


class NoteRead(Result):
    """A live note."""

    filename: str
    """The note's id."""
    timestamp: str
    """When it was written, in UTC."""
    agent: str
    """The author shown."""
    identity: str
    """The authenticated author."""
    category: str
    """What kind of thing it says."""
    tags: list[str]
    """Its tags."""
    content: str
    """The text, without white space around it."""


class NotesRead(Result):
    """Live notes, newest first."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    space_id: str
    """The space."""
    notes: list[NoteRead]
    """Newest first."""
    total: int
    """How many are returned here."""
    matched: int
    """How many match the filters in all."""
    has_more: bool
    """Are there older ones that match?"""
    next_cursor: str
    """Where to go on reading; empty at the end."""


class NotesFound(NotesRead):
    """Live notes whose text holds the query, newest first."""

    query: str
    """As given."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The notes of a space that are still to be filed, in numbers."""

    count: int
    size: int
    """Bytes of their objects."""
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class NotesQuery:
    """Which live notes."""

    limit: int = 50
    category: str = ""
    agent: str = ""
    since: datetime | None = None
    text: str = ""
    """Held by the content, whatever the case."""
    cursor: str = ""
