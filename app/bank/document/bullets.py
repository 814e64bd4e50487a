"""How a note becomes a bullet of the bank, and what a bullet says."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Final

from app.bank.document.blocks import ITEM, MARKER, split_body
from app.bank.document.changes import ARTICLES, Change, Choice, change_of, choice_of, named, references, term
from app.bank.document.markdown import Enclosure, heading_of, parse
from app.bank.document.text import Fingerprint, clean, code_spans, fingerprint, fold, same, stem_sequence, words
from app.notes.models import Category, Note

STATES: Final = frozenset({Category.OBSERVATION.value, Category.DECISION.value, Category.INSIGHT.value})
"""Categories whose notes say how things are; the others tell events and tasks."""
NEGATIONS: Final = words("not no never none nor cannot without pas plus jamais sans ni aucun aucune non ne n")

_INDENT: Final = "  "
_RULE: Final = re.compile(r"[ \t]*[-=*_](?:[ \t]*[-=*_])*[ \t]*\Z")
_BULLET_MARK: Final = re.compile(r"\A[ \t]*[-*+][ \t]+")
_HEADING_MARK: Final = re.compile(r"\A[ \t]*(?:#{1,6}[ \t]+)+")
_LISTED_FENCE: Final = re.compile(r"([ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)+)(?=`{3}|~{3})")
_DAY: Final = r"\d{4}-\d\d-\d\d"
_ANATOMY: Final = re.compile(rf"(?:\[(?P<box>[ xX])\] )?(?P<strike>~~)?(?:(?P<day>{_DAY}) )?(?P<text>.*)\Z", re.DOTALL)
_SUFFIX: Final = re.compile(rf"(?: \((?:replaces|done|superseded|resolved|answered) {_DAY}\))+\Z")

_CONTRACTED: Final = re.compile(r"n['\u2019]t\b")

_VERB: Final = re.compile(
    r"(?P<subject>[^.;!?,()=]{3,120}?)(?:\s+(?:is\s+now|are\s+now|now\s+uses|is|are|uses|becomes|became|"
    r"est\s+maintenant|est|sont|devient|passe\s+[aà]|utilise|=)\s+|\s*:\s+|\s*=\s*)(?P<value>\S.*)\Z",
    re.IGNORECASE,
)
_NO_SUBJECT: Final = words("""
    it there what who which that we i you they he she il elle ils elles on nous vous je ce cela ca if when because si
    quand car parce but mais and et or ou not no pas never jamais why how where
    """)
_IMPERATIVES: Final = words("""
    add added fix fixed use remove removed update updated bump drop change changed make note todo warning idea see try
    improve improved allow support refactor revert merge release ajouter ajout corriger corrige supprimer utiliser
    attention remarque voir idee
    """)
_NO_VALUE: Final = words("""
    what that why how not no pas que when where who if because now still also very too more less never always ne plus
    jamais encore toujours tres trop quand comment pourquoi qui
    """)
_MAX_VALUE: Final = 5
_MIN_SUBJECT: Final = 2
_MAX_SUBJECT: Final = 8
_MAX_FACT: Final = 240


@dataclass(frozen=True, slots=True)
class Fact:
    """A subject and the value it has, when a text says just that."""

    subject: frozenset[str]
    value: str


@dataclass(frozen=True)
class Bullet:
    """What a block of the bank says, apart from its date and marks. What is asked of it is worked out once."""

    said: str
    """Its text."""
    is_live: bool
    """Neither struck nor ticked."""
    day: str
    """The date it begins with, or nothing."""

    @cached_property
    def core(self) -> str:
        """Its text in the form that is tested for equality."""
        return same(self.said)

    @cached_property
    def print(self) -> Fingerprint:
        """What must be found again of it."""
        return fingerprint(self.said)

    @cached_property
    def sequence(self) -> tuple[str, ...]:
        """Its stems in order."""
        return stem_sequence(self.said)

    @cached_property
    def negations(self) -> tuple[str, ...]:
        """Its words that negate; `don't` has one, like `do not`."""
        words_there = re.findall(r"[^\W\d_]+", _CONTRACTED.sub(" not", fold(self.said)))
        return tuple(word for word in words_there if word in NEGATIONS)

    @cached_property
    def change(self) -> Change | None:
        """What it says has another value now."""
        return change_of(self.said)

    @cached_property
    def choice(self) -> Choice | None:
        """What it says is used."""
        return choice_of(self.said) if self.change is None else None

    @cached_property
    def stated(self) -> Fact | None:
        """The fact, or one of a single word as its subject: not enough to be sure that another text says the same."""
        return fact_of(self.said, fewest=1) if self.change is None else _outcome(self.change)

    @property
    def fact(self) -> Fact | None:
        """What it states, when it says just that."""
        stated = self.stated
        return stated if stated is not None and len(stated.subject) >= _MIN_SUBJECT else None

    @cached_property
    def cites(self) -> frozenset[str]:
        """Numbers of issues, without their mark."""
        return references(self.said)


def day_of(instant: datetime) -> str:
    """The day of an instant, in UTC, as the bank writes it."""
    return utc(instant).date().isoformat()


def utc(instant: datetime) -> datetime:
    """An instant in UTC; one that names no zone is taken as UTC."""
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def anatomy(raw: str) -> Bullet:
    """What a block says. Blocks of equal digest say the same."""
    return _anatomy(" ".join(MARKER.sub("", raw, count=1).split()))


@lru_cache(maxsize=16_384)
def _anatomy(text: str) -> Bullet:
    match = _ANATOMY.match(text)
    if match is None:  # pragma: no cover - the pattern matches every text
        raise ValueError(text)
    is_struck = bool(match["strike"]) and "~~" in match["text"]
    said = match["text"].replace("~~", " ", 1) if is_struck else match["text"]
    return Bullet(
        _SUFFIX.sub("", said), is_live=not is_struck and match["box"] not in {"x", "X"}, day=match["day"] or ""
    )


def _outcome(change: Change) -> Fact | None:
    """What is so after a change, when its subject is named well enough."""
    if not _MIN_SUBJECT <= len(change.subject) <= _MAX_SUBJECT or change.scope:
        return None
    return Fact(change.subject, change.new)


def fact_of(text: str, *, fewest: int = _MIN_SUBJECT) -> Fact | None:
    """The fact that a short text states as `subject is value`, in English or French; None when in doubt.

    A subject of fewer words than `fewest` is none.
    """
    if len(text) > _MAX_FACT or "\n" in text:
        return None
    match = _VERB.match(text.strip())
    if match is None:
        return None
    spoken_of = named(match["subject"])
    subject = frozenset(spoken_of) - ARTICLES
    value = fold(match["value"]).rstrip(" .!")
    spoken = value.split()
    if (
        not spoken_of
        or not fewest <= len(subject) <= _MAX_SUBJECT
        or subject & _NO_SUBJECT
        or spoken_of[0] in _IMPERATIVES
    ):
        return None
    if (
        not 1 <= len(spoken) <= _MAX_VALUE
        or spoken[0].strip("\"'`(") in _NO_VALUE
        or re.search(r"[;!?*|]|\. |, | - ", value)
    ):
        return None
    said = term(value)
    return Fact(subject, said) if said else None


def bullet_of(note: Note, *, with_box: bool) -> str:
    """The note as one list item, lines ending in a line feed, whose text cannot change the structure around it."""
    day = day_of(note.timestamp)
    head = f"- [ ] {day} " if with_box else f"- {day} "
    lines = _item_lines(note)
    whole = head + "\n".join([lines[0], *(_INDENT + line if line else "" for line in lines[1:])]) + "\n"
    if len(lines) == 1 or _is_one_item(whole):
        return whole
    return head + " ".join(" ".join(lines).split()) + "\n"


def _is_one_item(text: str) -> bool:
    document = parse(text)
    if len(document.sections) > 1 or document.is_open:
        return False
    return [block.kind for block in split_body(text)] == [ITEM]


def _item_lines(note: Note) -> list[str]:
    lines = _inert_lines(_without_comments(clean(note.content)))
    category = " ".join(clean(note.category).split()) or "note"
    agent = " ".join(clean(note.agent).split()) or "unknown"
    if not lines:
        return [f"(empty {category} from {agent})"]
    first = lines[0]
    if Enclosure().feed(first) or first.lstrip().startswith("|"):
        return [f"{category} from {agent}:", *lines]
    # The note's own bullet would be a bullet in a bullet; a number is kept, it may mean something.
    bare = _BULLET_MARK.sub("", first, count=1).strip() or first.strip()
    return [bare, *lines[1:]]


def _without_comments(text: str) -> str:
    """The text with HTML comments made visible, except where code shows them."""
    if "<!--" not in text:
        return text
    shielded: list[str] = []
    for line in text.split("\n"):
        kept = 0
        parts: list[str] = []
        for start, end in code_spans(line):
            parts += [line[kept:start], line[start:end].replace("<!--", "\x00")]
            kept = end
        shielded.append("".join([*parts, line[kept:]]))
    first, *comments = "\n".join(shielded).split("<!--")
    bare = " ".join([first, *(comment.replace("-->", " ", 1) for comment in comments)])
    return bare.replace("\x00", "<!--")


def _inert_lines(text: str) -> list[str]:
    """The lines of a note without headings, rules and open fences, and with single blank lines between paragraphs."""
    found: list[str] = []
    enclosure = Enclosure()
    mark = ""
    for line in text.split("\n"):
        was_open = enclosure.is_open
        listed = None if was_open else _LISTED_FENCE.match(line)
        if listed:
            found.append(listed[1].strip())
        content = line[listed.end() :] if listed else line
        if was_open or _opens_fence(content):
            enclosure.feed(content.lstrip() if not was_open else content)
            if not was_open:
                fence = content.lstrip()
                mark = fence[: len(fence) - len(fence.lstrip(fence[0]))]
            edge = not was_open or not enclosure.is_open
            found.append(content.strip() if edge else content.rstrip())
            continue
        content = _ordinary(content)
        if content or (found and found[-1]):
            found.append(content)
    if enclosure.is_open:
        found.append(mark)
    while found and not found[-1]:
        found.pop()
    return _tight(found)


def _opens_fence(line: str) -> bool:
    enclosure = Enclosure()
    enclosure.feed(line.lstrip())
    return enclosure.kind == "fence"


def _ordinary(line: str) -> str:
    line = line.rstrip()
    if _RULE.match(line):
        return ""
    while heading_of(line.lstrip()):
        line = _HEADING_MARK.sub("", line, count=1)
    return line if line.strip() else ""


def _tight(lines: list[str]) -> list[str]:
    """The lines without the blank ones that only set off a list or a table."""
    kept: list[str] = []
    enclosure = Enclosure()
    for number, line in enumerate(lines):
        inside = enclosure.feed(line) if line or enclosure.is_open else False
        if not line and not inside:
            following = next((later for later in lines[number:] if later), "")
            if MARKER.match(following) or following.startswith("|"):
                continue
        kept.append(line)
    return kept
