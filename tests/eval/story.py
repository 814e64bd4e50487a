"""Made-up projects whose truth is known: what is told in each round, and what is true after all of it."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.eval import phrases
from tests.unit.bank.projects import HOSTILE

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AGENTS = ("cline-dev", "claude", "ana")
SECRETS = ("AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ012345")
"""Made up; they only look like secrets."""


@dataclass(frozen=True)
class Told:
    """One note, and what is known of it."""

    number: int
    at: datetime
    agent: str
    category: str
    content: str
    kind: str
    """`fact`, `update`, `todo`, `done`, `noise`, `prose`, `copy`, `hostile` or `secret`."""
    about: str
    """What it is about: notes that may share an entry of the bank are about the same."""
    tells: tuple[str, ...]
    """What must be found again of it, each by itself."""


@dataclass
class Story:
    """A project."""

    rounds: list[list[Told]] = field(default_factory=list)
    facts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Subject, then the number of the note and the value, in the order of time."""
    open_tasks: dict[str, str] = field(default_factory=dict)
    """Reference, then text."""
    done_tasks: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[Told]:
        return [told for told_now in self.rounds for told in told_now]


def a_story(seed: int, *, rounds: int = 20, size: int = 12) -> Story:
    """A project of so many rounds of so many notes, the same for the same seed."""
    teller = _Teller(random.Random(seed))  # noqa: S311 - a project to test with, not a secret
    for _ in range(rounds):
        teller.story.rounds.append([])
        while len(teller.story.rounds[-1]) < size:
            teller.tell()
        teller.at += timedelta(hours=12)
    return teller.story


class _Teller:
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.story = Story()
        self.at = START
        self._number = 0
        self._values = 0
        self._tasks = 0
        self._languages: dict[str, str] = {}
        self._hostile: list[str] = []
        self._parts = dice.sample(phrases.ENTITIES, 4)
        """What there are facts about: so few that most values change some day."""

    def tell(self) -> None:
        kinds = {
            self._fact: 30,
            self._todo: 12,
            self._done: 7,
            self._noise: 22,
            self._prose: 6,
            self._copy: 12,
            self._attack: 9,
            self._secret: 2,
        }
        self.at += timedelta(seconds=self.dice.randint(60, 3_600))
        self.dice.choices(list(kinds), list(kinds.values()))[0]()

    def _add(
        self, content: str, *, category: str, kind: str, about: str, tells: tuple[str, ...], agent: str = ""
    ) -> None:
        self._number += 1
        agent = agent or self.dice.choice(AGENTS)
        told = Told(self._number, self.at, agent, category, content, kind, about, tells)
        self.story.rounds[-1].append(told)

    def _fact(self) -> None:
        language = self.dice.choice(phrases.LANGUAGES)
        entity, attribute = self.dice.choice(self._parts), self.dice.choice(phrases.ATTRIBUTES[language])
        subject = phrases.subject_of(language, entity, attribute)
        values = self.story.facts.setdefault(subject, [])
        self._languages[subject] = language
        old = values[-1][1] if values else ""
        self._values += 1
        value = f"{self.dice.choice(phrases.ENTITIES)}-{self._values}.{self.dice.randint(1, 99)}"
        text = phrases.stated(self.dice, language, subject, value, old, is_free=self.dice.random() < 0.5)
        category = self.dice.choice(("decision", "observation", "insight"))
        values.append((self._number + 1, value))
        kind = "update" if old else "fact"
        self._add(text, category=category, kind=kind, about=f"fact {subject}", tells=(subject, value))

    def _todo(self) -> None:
        language = self.dice.choice(phrases.LANGUAGES)
        self._tasks += 1
        reference = f"TASK-{self._tasks}"
        task = self.dice.choice(phrases.TASKS[language]).format(e=self.dice.choice(phrases.ENTITIES))
        text = f"{task} {reference}"
        self.story.open_tasks[reference] = text
        self._languages[reference] = language
        self._add(text, category="todo", kind="todo", about=f"task {reference}", tells=(text,))

    def _done(self) -> None:
        if not self.story.open_tasks:
            return
        reference = self.dice.choice(sorted(self.story.open_tasks))
        task = self.story.open_tasks.pop(reference)
        self.story.done_tasks[reference] = task
        language = self._languages[reference]
        if self.dice.random() < 0.5:
            text = self.dice.choice(phrases.FREE_DONE[language]).format(ref=reference)
        else:
            text = phrases.DONE[language].format(task=task[0].lower() + task[1:])
        self._add(text, category="progress", kind="done", about=f"task {reference}", tells=(reference,))

    def _noise(self) -> None:
        language = self.dice.choice(phrases.LANGUAGES)
        category, phrase = self.dice.choice(phrases.NOISE[language])
        number = str(4_000 + 7 * self._number)
        text = phrase.format(e=self.dice.choice(phrases.ENTITIES), n=number)
        self._add(text, category=category, kind="noise", about=f"noise {number}", tells=(number,))

    def _prose(self) -> None:
        language = self.dice.choice(phrases.LANGUAGES)
        category, phrase = self.dice.choice(phrases.PROSE[language])
        text = phrase.format(e=self.dice.choice(phrases.ENTITIES))
        if not any(told.content == text for told in self.story.notes):
            self._add(text, category=category, kind="prose", about=f"prose {text}", tells=(text,))

    def _copy(self) -> None:
        """Say again what was said: a question or an issue word for word, the value of a fact in whatever words."""
        told = [one for one in self.story.notes if one.category in {"question", "issue"} and one.kind == "noise"]
        if self.story.facts and (not told or self.dice.random() < 0.5):
            subject = self.dice.choice(sorted(self.story.facts))
            number, value = self.story.facts[subject][-1]
            first = next(one for one in self.story.notes if one.number == number)
            text = self.dice.choice(phrases.PLAIN[self._languages[subject]]).format(
                s=subject, S=subject[:1].upper() + subject[1:], v=value
            )
        elif told:
            first = self.dice.choice(told)
            text = self.dice.choice((first.content, first.content.upper(), f"{first.content}  "))
        else:
            return
        self._add(text, category=first.category, kind="copy", about=first.about, tells=first.tells)

    def _attack(self) -> None:
        if not self._hostile:
            self._hostile = [*phrases.ORDERS, *(text for text in HOSTILE if text.strip())]
            self.dice.shuffle(self._hostile)
        reference = f"H-{self._number}"
        text = f"{self._hostile.pop()} {reference}"
        category = self.dice.choice(("observation", "progress", "decision", "todo"))
        self._add(text, category=category, kind="hostile", about=f"attack {reference}", tells=(reference,), agent="eve")

    def _secret(self) -> None:
        reference = f"K-{self._number}"
        owner = self.dice.choice(phrases.ENTITIES)
        text = f"The deploy key of {owner} is {self.dice.choice(SECRETS)} {reference}"
        self._add(text, category="observation", kind="secret", about=f"secret {owner}", tells=(reference,))
