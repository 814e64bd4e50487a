"""Whether what a model wrote rests on the notes it cites."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from app.bank.document.bullets import day_of, utc
from app.bank.document.markdown import Enclosure, heading_of, lines_of
from app.bank.document.text import fold, hard_tokens, missing, stem_sequence, stems, words
from app.notes.models import Note

_PLACEHOLDER: Final = re.compile(
    r"[\W_]*(?:text|content|title|string|placeholder|todo|tbd|none|null|nil|n/?a|undefined|empty|vide|aucun|"
    r"lorem ipsum.*|your text(?: here)?|"
    r"(?:the )?(?:new )?(?:text|content)(?: goes)?(?: here)?|to be (?:done|defined|completed))?[\W_]*\Z"
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_SPOKEN: Final = {
    "en": words(
        "the of and is in for are with this that to on was be it by at from not have has we use when which will"
    ),
    "fr": words("le la les des du de est dans pour et sont avec ce qui que sur un une au aux par ne pas nous il elle"),
}
_TELLING_WORDS: Final = 2
OWN_WORDS: Final = stems(
    "superseded replaces replaced done resolved answered wrote secret masked none nothing noted recorded open issue "
    "issues task tasks question questions decision decisions observation observations progress insight insights "
    "rien noté ouvert ouverte ouverts ouvertes tâche tâches décision décisions fait"
)
"""What the service writes around what a note says, and what stands where there is nothing yet."""
_SENTENCE_END: Final = re.compile(
    r"(?<=[.!?;\u2026\u3002])[\"'\u00bb\u201d)*_]*\s+|\s+[\u2014\u2013]\s+|(?<=[\u3002\uff01\uff1f])"
)
_BEGINS: Final = re.compile(r"\s*(?:[-*+>|]|\d{1,9}[.)](?=\s))")
_TABLE_RULE: Final = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*\Z")
_SENTENCE: Final = 4
"""Stems from which on a sentence is judged by their share."""
_PHRASE: Final = 2
"""Stems from which on a shorter one must share one."""
_NEW: Final = 0.5
"""Share of the stems of a sentence that may be the model's own."""
_RUN: Final = 6
"""So many stems of its own in a row are a statement of its own."""


def is_placeholder(text: str) -> bool:
    """Does the text say nothing, or only that text should stand there?"""
    return len(text) <= 200 and bool(_PLACEHOLDER.match(fold(text)))  # noqa: PLR2004 - longer texts say something


def header_of(note: Note) -> str:
    """What is known of a note besides its content, as a text may quote it."""
    at = utc(note.timestamp)
    return (
        f"{day_of(at)} {at:%Y-%m-%dT%H:%MZ} {at:%H:%M} {at:%Y-%m-%dT%H:%M:%S} {at:%d/%m/%Y} {at:%Y-%m} {at:%Y} "
        f"{note.agent} {note.identity} {note.category} {' '.join(note.tags)} {note.id}"
    )


def source_of(note: Note) -> str:
    """All that may be quoted of a note, as it is searched."""
    return fold(f"{note.content}\n{header_of(note)}")


def claimed_by(text: str) -> frozenset[str]:
    """The hard tokens of a text; the capitals of its headings are only typography."""
    if not any(mark in text for mark in ("# ", "#\t")):
        return hard_tokens(text)
    lines: list[str] = []
    enclosure = Enclosure()
    for line in lines_of(text):
        heading = None if enclosure.feed(line) else heading_of(line)
        lines.append(line if heading is None else f"{heading[1].lower()}\n")
    return hard_tokens("".join(lines))


def ungrounded(tokens: frozenset[str], sources: Iterable[str]) -> frozenset[str]:
    """The tokens that none of the folded sources holds."""
    rest = tokens
    for source in sources:
        if not rest:
            break
        rest = missing(rest, source)
    return rest


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, its headings and the heads of its tables left out; a piece of code is one sentence."""
    found: list[str] = []
    paragraph: list[str] = []
    enclosure = Enclosure()
    lines = [line.rstrip("\r\n") for line in lines_of(text)]
    for number, line in enumerate(lines):
        was_open = enclosure.is_open
        is_enclosed = enclosure.feed(line)
        is_head = any(_TABLE_RULE.match(other) for other in lines[number : number + 2])
        bare = "" if not is_enclosed and (heading_of(line) or (line.lstrip().startswith("|") and is_head)) else line
        begins = not bare.strip() or _BEGINS.match(bare)
        if (begins and not was_open) or (is_enclosed and not was_open):
            found += _cut(paragraph)
            paragraph = []
        paragraph.append(bare)
        if is_enclosed and not enclosure.is_open:
            found.append("\n".join(paragraph))
            paragraph = []
    return [sentence for sentence in [*found, *_cut(paragraph)] if sentence.strip()]


def _cut(paragraph: Sequence[str]) -> list[str]:
    """The sentences of a paragraph; a line of it has to stand by itself too."""
    found = _SENTENCE_END.split(" ".join(paragraph))
    return found if len(paragraph) < 2 else [*found, *paragraph]  # noqa: PLR2004 - more than one line


def invented(text: str, known: frozenset[str], places: Sequence[frozenset[str]] = (), *, foreign: bool = False) -> str:
    """The first sentence of a text whose words are mostly not those of what it rests on, or nothing.

    `known` are stems that it may use, and `places` those of whole passages, of which a sentence may use one. A text
    in another language than its sources is `foreign`: what tells of them is their names and numbers alone.
    """
    for sentence in sentences_of(text):
        said = stem_sequence(sentence)
        if foreign:
            if len(set(said)) >= _SENTENCE and not hard_tokens(sentence):
                return sentence
        elif not any(_rests_on(said, known | place) for place in (frozenset[str](), *places)):
            return sentence
    return ""


def _rests_on(said: Sequence[str], known: frozenset[str]) -> bool:
    wanted = frozenset(said)
    new = wanted - known
    if len(wanted) < _SENTENCE:
        # So few words are a name for something, unless not one of them is known.
        return len(wanted) < _PHRASE or new != wanted
    if len(new) > _NEW * len(wanted):
        return False
    run = 0
    for stem in said:
        run = run + 1 if stem in new else 0
        if run >= _RUN:
            return False
    return True


def differ_in_language(one: str, other: str) -> bool:
    """Are the two texts in different languages, as far as their small words tell?"""
    mine, theirs = _language(one), _language(other)
    return bool(mine and theirs and mine != theirs)


def _language(text: str) -> str:
    spoken = _WORD.findall(fold(text))
    counts = {language: sum(word in small for word in spoken) for language, small in _SPOKEN.items()}
    best = max(counts, key=lambda language: counts[language])
    rest = max(count for language, count in counts.items() if language != best)
    return best if counts[best] >= max(_TELLING_WORDS, 2 * rest) else ""
