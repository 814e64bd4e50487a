"""Operations and skips brought into the shape that is asked for, out of the shapes that models give them."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from app.bank.model.proposals import (
    ADD_SECTION,
    APPEND,
    CREATE_FILE,
    DELETE_SECTION,
    PREPEND,
    REPLACE,
    SUPERSEDE,
    VERBS,
    ProposedOp,
    ProposedSkip,
    Refusal,
)
from app.bank.model.salvage import without_surrogates

_SYNONYMS: Final = {
    **{verb: verb for verb in VERBS},
    **dict.fromkeys(
        (
            "append_to_section",
            "append_section",
            "append_text",
            "append_bullet",
            "add",
            "add_to_section",
            "add_bullet",
            "add_item",
            "insert",
        ),
        APPEND,
    ),
    **dict.fromkeys(("prepend_to_section", "prepend_section", "prepend_text", "insert_before"), PREPEND),
    **dict.fromkeys(
        ("replace_section", "replace_body", "update", "update_section", "modify", "edit", "edit_section", "overwrite"),
        REPLACE,
    ),
    **dict.fromkeys(("strike", "supersede_bullet", "supersede_item", "replace_bullet", "obsolete"), SUPERSEDE),
    **dict.fromkeys(("create_section", "new_section", "insert_section", "append_new_section"), ADD_SECTION),
    **dict.fromkeys(("create", "new_file", "add_file", "created"), CREATE_FILE),
    **dict.fromkeys(("delete", "remove", "remove_section"), DELETE_SECTION),
}
_LONGEST_LINE: Final = 500
_DEEPEST: Final = 4
_HANDLE: Final = re.compile(r"\[?\s*([sfSF]\d{1,6})\s*(?:\]|\Z)")
_NOTE: Final = re.compile(r"(?:n|note)?[ _#-]?(\d{1,6})", re.IGNORECASE)
_SHORT_NOTE: Final = re.compile(r"[nN](\d{1,6})")
_BETWEEN_NOTES: Final = re.compile(r"[\s,;+&|/]+")
_NOTE_WORD: Final = re.compile(r"\bnotes?[ _#-]*(?=\d)", re.IGNORECASE)


def op_of(raw: object, number: int) -> ProposedOp | Refusal:
    """The operation that a value is, or why it is none. Its verb and its handles may still mean nothing.

    The result is without its number, so that two equal operations are equal.
    """
    if not isinstance(raw, Mapping):
        return Refusal(number, "", "", "bad_shape", "It is not an object with the fields of an operation.")
    verb = verb_of(raw)
    at = _place(_first(raw, "at", "target", "section", "heading"))
    title = line_of(_first(raw, "title", "name"))
    if verb == CREATE_FILE and not title:
        title, at = line_of(_first(raw, "path", "file", "filename")) or (at if at.endswith(".md") else ""), ""
    target = at or title
    if not verb:
        return Refusal(number, "", target, "bad_shape", "It has no `op`.")
    text = text_of(_first(raw, "text", "content", "body", "markdown", "lines"))
    if text is None:
        return Refusal(number, verb, target, "bad_shape", "Its `text` is not text.")
    sources = tuple(notes_of(_first(raw, "sources", "source", "notes")))
    return ProposedOp(verb, at, title, text, sources, line_of(_first(raw, "reason", "why")))


def verb_of(raw: Mapping[str, object]) -> str:
    """The verb of an operation; a synonym of a known one is that one."""
    written = _first(raw, "op", "operation", "verb", "action", "type")
    words = re.findall(r"\w+", line_of(written).casefold()) if isinstance(written, str) else []
    verb = "_".join(words)
    return _SYNONYMS.get(verb, verb)


def op_of_edit(path: str, raw: Mapping[str, object]) -> dict[str, object]:
    """An operation on a section of a file that is named elsewhere."""
    verb = verb_of(raw)
    heading = line_of(raw.get("heading")).lstrip("#").strip()
    after = line_of(raw.get("after")).lstrip("#").strip()
    if verb == ADD_SECTION:
        where, title = after, heading
    else:
        where, title = heading, ""
    at = f"{path} > {where}" if where else path
    return {"op": verb, "at": at, "title": title, "text": raw.get("content"), "sources": raw.get("sources")}


def skips_of(raw: object) -> Iterator[ProposedSkip]:
    """The notes that a value says to skip."""
    if not isinstance(raw, Mapping):
        raw = {"note": raw}
    why = line_of(_first(raw, "why", "reason")).casefold()
    same_as = _first(raw, "same_as", "duplicate_of")
    same = f"n{same_as}" if isinstance(same_as, int) and not isinstance(same_as, bool) else line_of(same_as)
    if short := _SHORT_NOTE.fullmatch(same):
        same = f"n{int(short[1])}"
    for note in notes_of(_first(raw, "note", "notes", "id")):
        yield ProposedSkip(note, why, same)


def notes_of(value: object) -> Iterator[str]:
    """Handles of notes, each once, out of a list, a string or a number."""
    return iter(dict.fromkeys(_notes(value)))


def _notes(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, bool) or depth > _DEEPEST:
        return
    if isinstance(value, int):
        yield f"n{value}"
    elif isinstance(value, float) and value.is_integer():
        yield f"n{int(value)}"
    elif isinstance(value, str):
        for word in _BETWEEN_NOTES.split(_NOTE_WORD.sub("n", without_surrogates(value))):
            bare = word.strip("[](){}'\"`.:")
            match = _NOTE.fullmatch(bare)
            if bare:
                yield f"n{int(match[1])}" if match else bare[:_LONGEST_LINE]
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _notes(inner, depth + 1)


def text_of(value: object, depth: int = 0) -> str | None:
    """The text that a value is: a list gives its lines, an object its text or a line for each field; None is none."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list | dict):
        return _text_within(value, depth + 1) if depth < _DEEPEST else None
    # A number is its digits; nothing, yes and no are no text.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _text_within(value: list[object] | dict[str, object], depth: int) -> str | None:
    if isinstance(value, list):
        lines = [("", text_of(inner, depth)) for inner in value]
    else:
        only = _first(value, "text", "content", "markdown", "body", "lines", "value")
        if only is not None:
            return text_of(only, depth)
        lines = [(f"- {line_of(key)}: ", text_of(inner, depth)) for key, inner in value.items()]
    if any(text is None for _, text in lines):
        return None
    return "\n".join(f"{lead}{text}".rstrip("\n") for lead, text in lines)


def line_of(value: object) -> str:
    """A value that ought to be one short line."""
    text = text_of(value) or ""
    return " ".join(text[: 2 * _LONGEST_LINE].split())[:_LONGEST_LINE]


def _place(value: object) -> str:
    line = line_of(value)
    match = _HANDLE.match(line)
    return match[1].lower() if match else line


def _first(raw: Mapping[str, object], *keys: str) -> object:
    """The value under the first of the keys that has one."""
    return next((raw[key] for key in keys if raw.get(key) is not None), None)
