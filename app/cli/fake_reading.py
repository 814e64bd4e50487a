"""A prompt of the service as a scripted author understands it: from its text alone, like any model."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PARTS: Final = ("[RULES]", "[BANK]", "[SYNTHESIS]", "[NOTES]", "[TASK]")
_FILE: Final = re.compile(r"=== (f\d+) (.*) \(((?:limit [^,]+, )?append-only: (?:yes|no).*)\)\Z")
_SECTION: Final = re.compile(r"\[(s\d+)\] (.*?)( \(not shown\))?\Z")
_NOTE: Final = re.compile(r"(n\d+) (\d{4}-\d\d-\d\d)T\S+ agent=(\"[^\"]*\"|\S+) category=(\"[^\"]*\"|\S+)")
_LINE: Final = re.compile(r"(n\d+)\| ?(.*)\Z")
_PLACE: Final = re.compile(r"- ([^:]+): (.+?) > (.+)\Z")
_ESCAPED: Final = re.compile(r"\\(?=[\s\\]*(?:\[|=|n))", re.IGNORECASE)
_STILL: Final = re.compile(r"^Still to be filed: (.*)$", re.MULTILINE)
_CREATE: Final = "Files to be created when needed: "
_BULLET: Final = re.compile(
    r" {0,3}[-*+] (?:\[(?P<box>[ xX])\] )?(?P<strike>~~)?(?:(?P<day>\d{4}-\d\d-\d\d) )?(?P<text>.*)\Z"
)
_SAYS: Final = re.compile(
    r"(?P<subject>[^.;!?,()=]{3,120}?)(?:\s+(?:is\s+now|are\s+now|now\s+uses|is|are|uses|becomes|became|"
    r"est\s+maintenant|est|sont|devient|passe\s+[aà]|utilise|=)\s+|\s*[:=]\s+)(?P<value>[^;!?*|\n]+)\Z",
    re.IGNORECASE,
)
_SMALL: Final = frozenset(re.findall(r"\w+", "the a an our this le la les l un une des du de d of notre nos ce cette"))
_MOST_WORDS: Final = 5
_FEWEST_WORDS: Final = 2


@dataclass(frozen=True, slots=True)
class Fact:
    """A subject and its value."""

    subject: frozenset[str]
    value: str


@dataclass(frozen=True, slots=True)
class Bullet:
    """An entry of the bank."""

    section: str
    """Handle of the section it stands in."""
    start: str
    """What names it: its own words with its date, without its mark."""
    day: str
    text: str
    is_live: bool
    is_task: bool


@dataclass(slots=True)
class Section:
    """A section of the bank that has a handle."""

    handle: str
    file: str
    title: str
    is_shown: bool
    lines: list[str] = field(default_factory=list)

    def bullets(self) -> list[Bullet]:
        """Its entries."""
        found: list[Bullet] = []
        for line in self.lines:
            match = _BULLET.match(line)
            if match and match["text"].strip():
                start = f"{match['strike'] or ''}{match['day'] + ' ' if match['day'] else ''}{match['text']}"
                if match["box"]:
                    start = f"[{match['box']}] {start}"
                found.append(
                    Bullet(
                        section=self.handle,
                        start=start.strip(),
                        day=match["day"] or "",
                        text=match["text"].strip(),
                        is_live=not match["strike"] and match["box"] not in {"x", "X"},
                        is_task=match["box"] == " ",
                    )
                )
        return found


@dataclass(slots=True)
class Note:
    """A note that is to be filed."""

    handle: str
    day: str
    agent: str
    category: str
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it on one line."""
        return " ".join(" ".join(self.lines).split())


@dataclass(slots=True)
class Reading:
    """What was made out of a conversation."""

    rules: str = ""
    places: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Category, then file and section."""
    files: dict[str, str] = field(default_factory=dict)
    """Path without case, then handle."""
    protected: set[str] = field(default_factory=set)
    """Handles of files that are rarely changed."""
    sections: list[Section] = field(default_factory=list)
    creatable: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    repairs: int = 0
    asked: list[str] | None = None
    """Handles that the last repair asks for; None when nothing was asked again."""

    def wanted(self) -> list[Note]:
        """The notes that this turn is about."""
        return self.notes if self.asked is None else [note for note in self.notes if note.handle in self.asked]

    def section(self, path: str, title: str) -> Section | None:
        """The section of that title in a file."""
        handle = self.files.get(path.casefold())
        return next((one for one in self.sections if one.file == handle and same(one.title) == same(title)), None)


def read(messages: Sequence[Mapping[str, str]]) -> Reading:
    """What the last prompt of a conversation shows and asks; a conversation about something else shows nothing."""
    reading = Reading()
    said = [message["content"] for message in messages if message.get("role") == "user"]
    prompts = [number for number, content in enumerate(said) if content.startswith(PARTS[0])]
    if not prompts:
        return reading
    parts = _parts(said[prompts[-1]])
    _read_rules(reading, parts["[RULES]"])
    _read_bank(reading, parts["[BANK]"])
    _read_notes(reading, parts["[NOTES]"])
    repairs = [content for content in said[prompts[-1] + 1 :] if content.startswith("[REPAIR]")]
    reading.repairs = len(repairs)
    if repairs:
        still = _STILL.search(repairs[-1])
        reading.asked = still[1].split(", ") if still else []
    return reading


def _parts(prompt: str) -> dict[str, list[str]]:
    """The lines of each part; a mark counts only after the one that must precede it."""
    parts: dict[str, list[str]] = {name: [] for name in PARTS}
    current = 0
    for line in prompt.split("\n")[1:]:
        if line in PARTS[current + 1 :]:
            current = PARTS.index(line)
        else:
            parts[PARTS[current]].append(line)
    return parts


def _plain(line: str) -> str:
    return _ESCAPED.sub("", line, count=1) if line.startswith("\\") else line


def _read_rules(reading: Reading, lines: Sequence[str]) -> None:
    reading.rules = "\n".join(_plain(line) for line in lines)
    start = max((at for at, line in enumerate(lines) if line.startswith("Where notes go")), default=len(lines))
    for line in lines[start:]:
        if match := _PLACE.match(line):
            reading.places[match[1]] = (match[2], match[3])


def _read_bank(reading: Reading, lines: Sequence[str]) -> None:
    file = ""
    section: Section | None = None
    for line in lines:
        if match := _FILE.match(line):
            file, section = match[1], None
            reading.files[match[2].casefold()] = file
            if "rarely changed" in match[3]:
                reading.protected.add(file)
        elif match := _SECTION.match(line):
            section = Section(match[1], file, match[2].strip().strip("#").strip(), is_shown=not match[3])
            reading.sections.append(section)
        elif line.startswith(_CREATE):
            reading.creatable = line.removeprefix(_CREATE).split(", ")
        elif section is not None:
            section.lines.append(_plain(line))


def _read_notes(reading: Reading, lines: Sequence[str]) -> None:
    for line in lines:
        if match := _NOTE.match(line):
            reading.notes.append(Note(match[1], match[2], match[3].strip('"'), match[4].strip('"')))
        elif (match := _LINE.match(line)) and reading.notes and match[1] == reading.notes[-1].handle:
            reading.notes[-1].lines.append(_plain(match[2]))


def same(text: str) -> str:
    """The text as two texts are compared."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def bare(text: str) -> str:
    """The letters and digits of a name: no case, no accents, no blanks."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in decomposed if character.isalnum())


def fact_of(text: str) -> Fact | None:
    """The fact that a short text states as `subject is value`; None when in doubt."""
    match = _SAYS.match(text.strip())
    if match is None:
        return None
    subject = frozenset(re.findall(r"\w[\w./-]*", match["subject"].casefold())) - _SMALL
    value = match["value"].casefold().rstrip(" .")
    if len(subject) < _FEWEST_WORDS or not 1 <= len(value.split()) <= _MOST_WORDS or ". " in value:
        return None
    return Fact(subject, value)


def stems(text: str) -> frozenset[str]:
    """What a text is about, roughly."""
    return frozenset(word[:6] for word in same(text).split() if len(word) > 3 or word.isdigit())  # noqa: PLR2004 - short words tell nothing
