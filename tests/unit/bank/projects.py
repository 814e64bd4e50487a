"""Made-up projects whose truth is known: facts that change, duplicates, todos opened and closed, noise."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.bank.document.layout import Layout
from app.bank.document.provenance import blocks_of
from app.bank.document.text import fold, hard_tokens, missing
from app.bank.extract.extractive import Filed, consolidate
from app.notes.models import Note

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

HOSTILE = (
    "# A title\n## Another\ntext after 4711",
    "```python\n# not a heading\nprint(15.4)",
    "~~~\n# x 99\n~~~~\n# y 98",
    "<!-- hidden 42 -->\nshown 43",
    "<!-- never closed 44",
    "---\ntitle: front 45\n---\nbody 46",
    "- a 1\n- b 2\n\n\n  1. c 3\n",
    "| a | b |\n|---|---|\n| 51 | 52 |",
    "zero\u200bwidth \u202e61 bidi\u202c 62",
    "Title 71\n===\nOther 72\n---",
    "    # indented 81\n\t# tab 82",
    "a\u2028# b 83\x85# c 84\r# d 85\r\n# e 86",
    "- ```\n  # fence in an item 87\n  ```\nafter 88",
    "   ```\n# deep 89\n   ```\n# out 90",
    "> # quoted 91\n> ```\n# out 92",
    "* * *\n***\n___",
    "",
    "   \n\t\n",
    "</details><script>alert(93)</script>",
    "[ ] open 94\n[x] shut 95",
    "~~struck 96~~ (superseded 2020-01-01)",
    "-->\n<!--\n```\n-->\n# 97",
    "1. `a ``b` c`` 98\n#99 is the reference",
    "+ \\\n# \\# 100",
    "x" * 3_000 + " 101",
)


@dataclass(frozen=True)
class Value:
    """What a fact is from some note on."""

    text: str
    at: datetime


@dataclass
class Project:
    """Notes, and what is true after the last of them."""

    notes: list[Note] = field(default_factory=list)
    facts: dict[str, list[str]] = field(default_factory=dict)
    """Subject, then its values in the order of time."""
    open_todos: list[str] = field(default_factory=list)
    closed_todos: list[str] = field(default_factory=list)
    duplicates: int = 0


def a_note(
    content: str,
    *,
    at: datetime = START,
    agent: str = "cline-dev",
    category: str = "observation",
    salt: str = "",
) -> Note:
    suffix = hashlib.sha256(f"{content}{at}{agent}{salt}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    note_id = f"{at:%Y%m%dT%H%M%S}_{agent}_{category}_{suffix}.md"
    return Note(note_id, at, agent, agent, category, (), content, None)


_ENTITIES = ("billing", "search", "login", "upload", "report", "gateway", "mailer", "index", "cache", "archive")
_ATTRIBUTES = {
    "en": ("database version", "request timeout", "owner team", "deploy region", "queue limit"),
    "fr": ("version de base", "délai maximal", "équipe responsable", "région cible", "taille limite"),
}
_PHRASES = {"en": ("The {s} is {v}.", "{s}: {v}", "{s} = {v}"), "fr": ("La {s} est {v}.", "{s} : {v}", "{s} = {v}")}
_THINGS = ("retry policy", "schema migration", "rate limiter", "audit export", "session store", "health probe")
_VERBS = ("Document", "Rewrite", "Benchmark", "Harden", "Simplify", "Package")
_NOISE = (
    "Looked at traces of {e} for {n} minutes, nothing unusual",
    "Les journaux de {e} montrent {n} avertissements au redémarrage",
    "Ran {n} load tests against {e} on staging-{n}",
    "Revue de `{e}.handlers.v{n}` avec l'équipe, voir https://example.org/{e}/{n}",
    "Crash in {e}_worker at src/{e}/main.py:{n}, see #{n}",
)


def a_project(seed: int, size: int = 500, *, hostile: bool = True) -> Project:
    """A project of that many notes or a few more, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - a project to test with, not a secret
    project = Project()
    at = START
    while len(project.notes) < size:
        at += timedelta(seconds=dice.randint(1, 7_200))
        kind = dice.choices(("fact", "todo", "close", "noise", "copy", "hostile"), (30, 12, 6, 36, 12, 4))[0]
        _KINDS[kind](project, dice, at, hostile=hostile)
    return project


def _fact(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    del hostile
    language = dice.choice(("en", "fr"))
    subject = f"{dice.choice(_ENTITIES)} {dice.choice(_ATTRIBUTES[language])}"
    values = project.facts.setdefault(subject, [])
    values.append(f"{dice.choice(_ENTITIES)}-{len(values)}.{dice.randint(1, 99)}")
    phrase = dice.choice(_PHRASES[language]).format(s=subject, v=values[-1])
    category = dice.choice(("decision", "observation", "insight"))
    project.notes.append(a_note(phrase, at=at, agent=dice.choice(("cline-dev", "claude")), category=category))


def _todo(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    del hostile
    number = len(project.open_todos) + len(project.closed_todos)
    text = f"{dice.choice(_VERBS)} the {dice.choice(_THINGS)} of {dice.choice(_ENTITIES)} TASK-{number}"
    project.open_todos.append(text)
    project.notes.append(a_note(text, at=at, category="todo"))


def _close(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    del hostile
    if project.open_todos:
        text = project.open_todos.pop(dice.randrange(len(project.open_todos)))
        project.closed_todos.append(text)
        verb, _, rest = text.partition(" ")
        project.notes.append(a_note(f"Done: {verb.lower()} {rest}", at=at, category="progress"))


def _noise(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    del hostile
    text = dice.choice(_NOISE).format(e=dice.choice(_ENTITIES), n=dice.randint(3, 9_999))
    category = dice.choice(("observation", "progress", "issue", "question", "unheard-of"))
    project.notes.append(a_note(text, at=at, category=category))


def _copy(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    del hostile
    told = [note for note in project.notes if note.category == "question"]
    if told:
        first = dice.choice(told)
        project.duplicates += 1
        project.notes.append(a_note(f"{first.content.upper()} ", at=at, category=first.category, salt="copy"))


def _hostile(project: Project, dice: random.Random, at: datetime, *, hostile: bool) -> None:
    if hostile:
        category = dice.choice(("observation", "progress", "decision", "todo"))
        project.notes.append(a_note(dice.choice(HOSTILE), at=at, category=category, agent="eve"))


_KINDS = {"fact": _fact, "todo": _todo, "close": _close, "noise": _noise, "copy": _copy, "hostile": _hostile}


@dataclass(frozen=True)
class Bank:
    """A bank as it is kept between consolidations."""

    files: Mapping[str, str]
    provenance: Mapping[str, Mapping[str, Sequence[str]]]
    refs: Mapping[str, Filed]


EMPTY = Bank({}, {}, {})


def filed(bank: Bank, layout: Layout, notes: Sequence[Note]) -> Bank:
    """The bank after a consolidation of these notes."""
    plan = consolidate(bank.files, bank.provenance, bank.refs, layout, notes)
    refs = {note.id: Filed(note.timestamp, note.agent, note.category) for note in notes}
    return Bank({**bank.files, **plan.files}, plan.provenance, {**bank.refs, **refs})


def in_batches(layout: Layout, batches: Iterable[Sequence[Note]], bank: Bank = EMPTY) -> Bank:
    for batch in batches:
        bank = filed(bank, layout, batch)
    return bank


def by_time(notes: Iterable[Note]) -> list[Note]:
    return sorted(notes, key=lambda note: (note.timestamp, note.id))


def blocks_by_note(bank: Bank) -> dict[str, list[str]]:
    """The text of the blocks each note is a source of."""
    texts: dict[str, list[str]] = {}
    for path, content in bank.files.items():
        sources = bank.provenance.get(path, {})
        for placed in blocks_of(content):
            for note_id in sources.get(placed.digest, ()):
                texts.setdefault(note_id, []).append(placed.block.raw)
    return texts


def lost_tokens(bank: Bank, notes: Iterable[Note]) -> dict[str, frozenset[str]]:
    """For each note whose provenance does not hold all its hard tokens: those that are missing."""
    texts = blocks_by_note(bank)
    lost = {note.id: missing(hard_tokens(note.content), fold("\n".join(texts.get(note.id, ())))) for note in notes}
    return {note_id: tokens for note_id, tokens in lost.items() if tokens or note_id not in texts}


@dataclass(frozen=True)
class Metrics:
    """How well a bank tells the truth of its project; shares of one."""

    kept: float
    current_live: float
    stale_live: float
    open_todos_live: float
    closed_todos_live: float
    provenance: float
    growth: float


def measure(project: Project, bank: Bank) -> Metrics:
    live = [
        fold(placed.block.raw)
        for content in bank.files.values()
        for placed in blocks_of(content)
        if "~~" not in placed.block.raw.splitlines()[0] and not placed.block.raw.startswith("- [x]")
    ]
    everything = fold("\n".join(bank.files.values()))
    texts = blocks_by_note(bank)

    def is_live(subject: str, value: str) -> bool:
        return any(fold(subject) in line and line.rstrip(".").endswith(f" {value}") for line in live)

    stale = [(subject, old) for subject, values in project.facts.items() for old in values[:-1]]
    lost = lost_tokens(bank, project.notes)
    tasks = [line for line in live if line.startswith("- [ ]")]
    return Metrics(
        kept=1
        - sum(bool(missing(hard_tokens(note.content), everything)) for note in project.notes) / len(project.notes),
        current_live=_share([is_live(subject, values[-1]) for subject, values in project.facts.items()]),
        stale_live=_share([is_live(subject, value) for subject, value in stale]),
        open_todos_live=_share([any(task.endswith(fold(text)) for task in tasks) for text in project.open_todos]),
        closed_todos_live=_share([any(task.endswith(fold(text)) for task in tasks) for text in project.closed_todos]),
        provenance=sum(note.id in texts and note.id not in lost for note in project.notes) / len(project.notes),
        growth=sum(map(len, bank.files.values())) / sum(len(note.content) for note in project.notes),
    )


def _share(answers: Sequence[bool]) -> float:
    return sum(answers) / len(answers) if answers else 0.0
