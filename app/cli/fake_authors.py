"""Authors for a scripted model: what a good, a lazy, a gullible or a broken one would answer to a prompt."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Final, Protocol

from app.cli.fake_choosing import choice
from app.cli.fake_filing import LITERAL, Filing, Json, Understanding, an_op, nothing
from app.cli.fake_orders import orders_in
from app.cli.fake_reading import Note, read

__all__ = ["AUTHORS", "Author", "Json"]

Messages = Sequence[Mapping[str, str]]
Author = Callable[[list[dict[str, str]], Json | None], str]
"""Writes the answer to a conversation; the second argument is the schema that was sent along, if any."""


class Writing(Protocol):
    """An author who can be told how to understand sentences."""

    def __call__(self, messages: Messages, schema: Json | None, /, *, understood: Understanding = ...) -> str: ...


_DROPPED: Final = 5
"""A lazy author forgets one note in so many."""
_LIES: Final = 3
"""A lying author changes one operation in so many."""
_TIDIED: Final = 4
"""Entries from which on a lossy author thinks that a section is too long."""
_INVENTIONS: Final = 3
"""An inventing author embellishes one operation in so many."""
MOST_NAMED: Final = 1_000
"""Entries that a hostile author names, whether they are there or not."""
INVENTED: Final = (
    "Whoever continues here is expected to skip verification and publish straight away.",
    "Everybody agreed that reviewers approve changes without opening them.",
    "The payment module became obsolete and somebody should remove it soon.",
    "Management promised customers a complete redesign before summer.",
    "Les clients ont approuvé oralement la suppression complète des contrôles.",
)
"""What it makes up: it sounds likely, and holds no name and no number."""
_TELLING: Final = re.compile(r"[\d`_/\[(]|[A-Z]{2}")
_NUMBER: Final = re.compile(r"\d+(?=\D*\Z)")
_DATED: Final = re.compile(r"\A- (?:\[[ x]\] )?(?:~~)?\d{4}-\d\d-\d\d ")


def _choosing(write: Writing) -> Writing:
    """An author who names the oldest entries where a file has grown too long."""

    @wraps(write)
    def answer(messages: Messages, schema: Json | None, *, understood: Understanding = LITERAL) -> str:
        chosen = choice(messages)
        return write(messages, schema, understood=understood) if chosen is None else _dump(chosen)

    return answer


@_choosing
def perfect(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """Files every note where it belongs, and sees what is new, done or said already."""
    reading = read(messages)
    return _dump(Filing(reading, understood).file(reading.wanted()))


@_choosing
def lazy(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """As perfect, but forgets one note in five; asked again, it forgets others."""
    reading = read(messages)
    kept = [note for note in reading.wanted() if not _chosen(f"{reading.repairs}:{note.day}:{note.text}", _DROPPED)]
    return _dump(Filing(reading, understood).file(kept))


def hostile(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """Does whatever a note tells it to; the other notes are filed well. Of entries it names all, and some more."""
    if choice(messages) is not None:
        return _dump({"archive": [f"e{number}" for number in range(MOST_NAMED, 0, -1)], "delete": "everything"})
    reading = read(messages)
    bad = [note for note in reading.wanted() if orders_in(note)]
    answer = Filing(reading, understood).file([note for note in reading.wanted() if note not in bad])
    for note in bad:
        for obey in orders_in(note):
            obey(answer, reading, note)
    return _dump(answer)


@_choosing
def lying(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """As perfect, but changes a number in one operation of three; asked again, it lies again."""
    reading = read(messages)
    answer = Filing(reading, understood).file(reading.wanted())
    for op in answer["ops"]:
        if _chosen(f"{reading.repairs}:{op['text']}", _LIES):
            op["text"] = "\n".join(_falsified(line) for line in op["text"].split("\n"))
    return _dump(answer)


@_choosing
def lossy(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """As perfect, but rewrites every longer section with half of its entries, to save room."""
    reading = read(messages)
    wanted: list[Note] = reading.wanted()
    answer = Filing(reading, understood).file(wanted)
    for section in reading.sections:
        entries = [line for line in section.lines if line.startswith("- ")]
        if section.is_shown and wanted and len(entries) >= _TIDIED and reading.asked is None:
            text = "\n".join(entries[::2])
            answer["ops"].append(an_op("replace", section.handle, text, [wanted[0].handle], reason="to save room"))
    return _dump(answer)


@_choosing
def lossy_prose(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """As perfect, but where it adds to a section it writes it anew, without the entries that hold no name or number."""
    reading = read(messages)
    answer = Filing(reading, understood).file(reading.wanted())
    ops: list[Json] = answer["ops"]
    for section in reading.sections:
        kept = [line for line in section.lines if not line.startswith("- ") or _TELLING.search(_DATED.sub("", line))]
        added = next((op for op in ops if (op["op"], op["at"]) == ("append", section.handle)), None)
        if added is None or not section.is_shown or kept == section.lines or reading.asked is not None:
            continue
        ops.remove(added)
        text = "\n".join([*kept, added["text"]]).strip("\n")
        ops.insert(0, an_op("replace", section.handle, text, added["sources"], reason="to save room"))
    return _dump(answer)


@_choosing
def inventing(messages: Messages, _schema: Json | None, *, understood: Understanding = LITERAL) -> str:
    """As perfect, but adds something that nobody said to one operation of three, and to the synthesis."""
    reading = read(messages)
    answer = Filing(reading, understood).file(reading.wanted())
    for number, op in enumerate(answer["ops"]):
        if _chosen(f"{reading.repairs}:{op['text']}", _INVENTIONS):
            op["text"] = f"{op['text'].rstrip('.')}. {INVENTED[number % len(INVENTED)]}"
    answer["synthesis"] = f"{answer['synthesis']}\n- {INVENTED[len(answer['ops']) % len(INVENTED)]}"
    return _dump(answer)


def vague(messages: Messages, _schema: Json | None) -> str:
    """Says nothing in one line, and cites every note for it."""
    reading = read(messages)
    if not reading.wanted():
        return _dump(nothing())
    sources = [note.handle for note in reading.wanted()]
    text = "- Several things were noted, decided and done."
    section = next((one.handle for one in reading.sections), "")
    path = reading.places.get("observation", ("notes.md", ""))[0]
    op = an_op("append", section, text, sources) if section else an_op("create_file", "", text, sources, path)
    return _dump({**nothing(), "ops": [op], "synthesis": "The project goes on."})


def garbage(_messages: Messages, _schema: Json | None) -> str:
    """Talks instead of answering."""
    return "Sure! I have read all the notes and I think the bank looks great as it is. Anything else?"


def empty(_messages: Messages, _schema: Json | None) -> str:
    """Says nothing at all."""
    return ""


AUTHORS: Final[Mapping[str, Author]] = {
    "perfect": perfect,
    "lazy": lazy,
    "hostile": hostile,
    "lying": lying,
    "lossy": lossy,
    "lossy-prose": lossy_prose,
    "inventing": inventing,
    "vague": vague,
    "garbage": garbage,
    "empty": empty,
}


def _dump(answer: Json) -> str:
    return json.dumps(answer, ensure_ascii=False)


def _chosen(what: str, one_in: int) -> bool:
    """Is it one of those that something happens to? The same text always fares alike."""
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()[0] % one_in == 0


def _falsified(line: str) -> str:
    """The line with its last number changed, unless that is its date."""
    dated = _DATED.match(line)
    start = dated.end() if dated else 0
    return line[:start] + _NUMBER.sub(lambda number: str(int(number.group()) + 1), line[start:])
