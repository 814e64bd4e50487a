import random
from datetime import timedelta

import pytest

from app.bank.document.bullets import anatomy
from app.bank.document.changes import change_of, choice_of, closed_references
from app.bank.document.rules import compile_rules
from app.bank.extract.extractive import consolidate
from app.notes.models import Note
from tests.unit.bank.projects import EMPTY, START, Bank, Project, a_note, by_time, filed, in_batches, measure

DEFAULT = compile_rules("")
DAY = timedelta(days=1)


def bullets(bank: Bank, *, live: bool) -> list[str]:
    """The texts of the live, or of the struck and ticked, items without marks and dates."""
    lines = [line for content in bank.files.values() for line in content.splitlines() if line.startswith("- ")]
    return [line for line in lines if anatomy(line).is_live == live]


def after(*told: tuple[str, str]) -> Bank:
    """The bank after notes of one day each: category and text."""
    return filed(
        EMPTY, DEFAULT, [a_note(text, category=kind, at=START + n * DAY) for n, (kind, text) in enumerate(told)]
    )


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("Raised the request timeout from 30 s to 60 s", "30 s", "60 s"),
        ("The request timeout was lowered from 60 s to 30 s because of load", "60 s", "30 s"),
        ("Switched from MySQL to PostgreSQL.", "mysql", "postgresql"),
        ("Switch from `watchgod` to `watchfiles` (#1437)", "watchgod", "watchfiles"),
        ("Replaced Redis with Valkey for the session cache", "redis", "valkey"),
        ("Redis was replaced by Valkey", "redis", "valkey"),
        ("Le délai de réponse passe de 30 s à 60 s", "30 s", "60 s"),
        ("Nous avons remplacé MySQL par PostgreSQL", "mysql", "postgresql"),
        ("Redis a été remplacé par Valkey", "redis", "valkey"),
        ("Le seuil d'alerte est relevé de 80 % à 90 %", "80 %", "90 %"),
        ("Migré la base de MySQL vers PostgreSQL", "mysql", "postgresql"),
    ],
)
def test_a_change_is_read(text: str, old: str, new: str) -> None:
    change = change_of(text)
    assert change is not None
    assert (change.old, change.new) == (old, new)


@pytest.mark.parametrize(
    "text",
    [
        "We should switch from MySQL to PostgreSQL",
        "Did we switch from MySQL to PostgreSQL?",
        "We did not switch from MySQL to PostgreSQL",
        "Don't replace Redis with Valkey",
        "Tried to replace Redis with Valkey",
        "Il faudrait remplacer Redis par Valkey",
        "If the timeout is raised from 30 s to 60 s, the tests pass",
        "It takes from 3 to 4 days",
        "moved to Paris",
        "Switched from MySQL to MySQL",
        "x" * 300 + " switched from MySQL to PostgreSQL",
    ],
)
def test_what_is_only_considered_is_no_change(text: str) -> None:
    assert change_of(text) is None


def test_a_choice_is_read_where_a_thing_is_named() -> None:
    choice = choice_of("We use MySQL 8 for the orders")
    assert choice is not None
    assert (choice.value, choice.scope) == ("mysql 8", frozenset({"orders"}))
    assert choice_of("We use 30 s") is None
    assert choice_of("We use MySQL 8?") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Fixed #312", {"312"}),
        ("fixes #3, #4 and #5", {"3", "4", "5"}),
        ("PR #400 closes #312, see also #2", {"312"}),
        ("Résout le bug #7", {"7"}),
        ("corrigé l'anomalie #44", {"44"}),
        ("#12 is fixed", {"12"}),
        ("Crash gone\n\nCloses #9", {"9"}),
        ("to fix #8", set()),
        ("will not fix #9", set()),
        ("isn't fixed #4", set()),
        ("Once #12 is fixed we release", set()),
        ("fixed other/project#12", set()),
        ("see #312", set()),
    ],
)
def test_closed_numbers_are_read(text: str, numbers: set[str]) -> None:
    assert closed_references(text) == numbers


@pytest.mark.parametrize("said", ["Fixed #312", "PR #400 fixes #312", "Résout #312", "#312 is closed"])
def test_a_fix_closes_the_issue_with_its_number(said: str) -> None:
    bank = after(("issue", "Upload crashes on large files (#312)"), ("progress", said))
    assert bullets(bank, live=False) == ["- ~~2026-03-02 Upload crashes on large files (#312)~~ (resolved 2026-03-03)"]


@pytest.mark.parametrize(
    ("kind", "task", "said"),
    [
        ("issue", "Upload crashes on large files (#312)", "Fixed #313"),
        ("issue", "Upload crashes (#312), perhaps like #300", "Fixed #312"),
        ("issue", "Upload crashes on large files (#312)", "Still working to get fixed #312"),
        ("issue", "Upload crashes on large files (#312)", "Looked into #312"),
        ("issue", "Upload crashes, version 312", "Fixed #312"),
        ("todo", "Announce the end of #312", "Fixed #312"),
        ("todo", "Write a test for #312", "Fixed #312"),
    ],
)
def test_what_is_not_plainly_fixed_stays_open(kind: str, task: str, said: str) -> None:
    assert bullets(after((kind, task), ("progress", said)), live=False) == []


def test_a_fix_ticks_the_todo_that_is_the_fix_and_no_other() -> None:
    bank = after(
        ("issue", "Upload crashes (#312)"),
        ("todo", "Fix #312 before the release"),
        ("todo", "Tell support about #312"),
        ("progress", "Fixes #312"),
    )
    assert sorted(bullets(bank, live=False)) == [
        "- [x] 2026-03-03 Fix #312 before the release (done 2026-03-05)",
        "- ~~2026-03-02 Upload crashes (#312)~~ (resolved 2026-03-05)",
    ]


def test_only_progress_closes() -> None:
    assert bullets(after(("issue", "Upload crashes (#312)"), ("observation", "Fixed #312")), live=False) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Request timeout is 30 s", "Raised the request timeout from 30 s to 60 s"),
        ("The database is MySQL", "We switched from MySQL to PostgreSQL"),
        ("The billing database is MySQL 8", "Switched the billing database from MySQL 8 to PostgreSQL 16"),
        ("The billing database is MySQL 8", "Switched the database from MySQL 8 to PostgreSQL 16"),
        ("We use MySQL for the orders", "Replaced MySQL with PostgreSQL for the orders"),
        ("On utilise Redis", "Redis a été remplacé par Valkey"),
        ("Délai de réponse : 30 s", "Le délai de réponse passe de 30 s à 60 s"),
        ("Bump mypy from 0.910 to 0.950", "Bump mypy from 0.950 to 0.960"),
    ],
)
@pytest.mark.parametrize("kind", ["decision", "progress"])
def test_a_change_strikes_what_was_so(old: str, new: str, kind: str) -> None:
    bank = after(("observation", old), (kind, new))
    assert bullets(bank, live=False) == [f"- ~~2026-03-02 {old}~~ (superseded 2026-03-03)"]
    assert bullets(bank, live=True) == [f"- 2026-03-03 {new}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("The upload limit is 30 s", "Raised the request timeout from 30 s to 60 s"),
        ("Request timeout of billing is 30 s", "Raised the limit from 30 s to 60 s"),
        ("Request timeout is 45 s for uploads, which is long", "Raised the request timeout from 30 s to 60 s"),
        ("The billing database is MySQL", "Switched the search database from MySQL to PostgreSQL"),
        ("We use MySQL for the orders", "Replaced MySQL with PostgreSQL for the sessions"),
        ("The database is MySQL", "We should switch from MySQL to PostgreSQL"),
        ("The database is MySQL 8", "We switched from MySQL to PostgreSQL"),
        ("MySQL was slow on large joins", "We switched from MySQL to PostgreSQL"),
    ],
)
def test_when_unsure_both_are_kept(old: str, new: str) -> None:
    assert bullets(after(("observation", old), ("decision", new)), live=False) == []


def test_a_name_that_two_things_have_is_not_enough() -> None:
    bank = after(
        ("observation", "The billing database is MySQL"),
        ("observation", "The search database is MySQL"),
        ("decision", "We switched from MySQL to PostgreSQL"),
    )
    assert bullets(bank, live=False) == []


def test_a_later_value_strikes_the_outcome_of_a_change_but_never_what_was_done() -> None:
    for kind, struck in (("decision", 1), ("progress", 0)):
        bank = after((kind, "Raised the request timeout from 30 s to 60 s"), ("decision", "Request timeout is 90 s"))
        assert len(bullets(bank, live=False)) == struck


@pytest.mark.parametrize(
    ("question", "kind", "answer"),
    [
        ("Should the session cache use Redis?", "decision", "The session cache will use Redis with 2 replicas"),
        (
            "Why is the nightly export slow on Mondays?",
            "insight",
            "The nightly export is slow on Mondays due to backups",
        ),
        (
            "Pourquoi l'export nocturne est-il lent le lundi ?",
            "observation",
            "L'export nocturne est lent le lundi car la sauvegarde tourne",
        ),
        ("Which region hosts the backups? #44", "observation", "Answer to #44: Paris"),
        ("Is the upload limit shared by all tenants?", "observation", "Yes, the upload limit is shared by all tenants"),
    ],
)
def test_a_clear_answer_strikes_the_question(question: str, kind: str, answer: str) -> None:
    bank = after(("question", question), (kind, answer))
    assert bullets(bank, live=False) == [f"- ~~2026-03-02 {question}~~ (answered 2026-03-03)"]


@pytest.mark.parametrize(
    ("question", "kind", "note"),
    [
        ("Should the session cache use Redis?", "observation", "The session cache of Redis was flushed"),
        ("Should the session cache use Redis?", "decision", "The login page is blue"),
        ("Should the session cache use Redis?", "decision", "Undecided whether the session cache should use Redis"),
        ("Should the session cache use Redis 7?", "decision", "The session cache uses Redis 6"),
        ("Why is the nightly export slow on Mondays?", "insight", "The nightly export is slow on Mondays"),
        ("Which region hosts the backups? #44", "observation", "Looked at #44 again"),
        ("Why?", "decision", "Why not"),
        ("Should the session cache use Redis?", "question", "Should the session cache use Redis or Valkey?"),
    ],
)
def test_an_open_question_stays_open(question: str, kind: str, note: str) -> None:
    assert f"- 2026-03-02 {question}" in bullets(after(("question", question), (kind, note)), live=True)


def test_the_synthesis_tells_each_thing_once_and_nothing_that_is_over() -> None:
    notes = [
        a_note("Upload crashes on large files", category="issue"),
        a_note("Upload crashes on large files", category="decision", at=START + DAY),
        a_note("Search is slow (#7)", category="issue"),
        a_note("Fixed #7", category="progress", at=START + DAY),
    ]
    synthesis = consolidate({}, {}, {}, DEFAULT, notes).synthesis
    assert synthesis.count("Upload crashes on large files") == 1
    assert "Search is slow" not in synthesis


_THINGS = ("billing", "search", "login", "upload", "report", "gateway", "mailer", "index")
_ATTRIBUTES = ("database version", "request timeout", "queue limit", "cache size", "alert threshold")
_CHANGES = ("Raised the {s} from {o} to {v}", "Changed the {s} from {o} to {v}", "{s} was lowered from {o} to {v}")


def changing_project(seed: int, size: int) -> Project:
    """A project whose facts change in other words than they were stated in, with look-alikes between them."""
    dice = random.Random(seed)  # noqa: S311 - a project to test with, not a secret
    project = Project()
    for number in range(size):
        at = START + timedelta(hours=5 * number)
        subject = f"{dice.choice(_THINGS)} {dice.choice(_ATTRIBUTES)}"
        values = project.facts.setdefault(subject, [])
        value = str(len(values) * 100 + dice.randint(1, 9))
        phrase = dice.choice(_CHANGES) if values else "The {s} is {v}"
        text = phrase.format(s=subject, o=(values or [""])[-1], v=value)
        values.append(value)
        kind = dice.choice(("decision", "observation", "insight"))
        project.notes.append(a_note(text, at=at, category=kind))
        if dice.random() < 0.3:
            other = f"Saw {subject} go from {dice.randint(1, 999)} to {dice.randint(1, 999)} under load, then recover"
            project.notes.append(a_note(other, at=at, category="progress"))
    return project


@pytest.mark.parametrize("seed", range(4))
def test_values_that_change_in_free_words_are_current_and_no_other(seed: int) -> None:
    project = changing_project(seed, 250)
    metrics = measure(project, filed(EMPTY, DEFAULT, project.notes))
    assert (metrics.current_live, metrics.stale_live) == (1.0, 0.0)
    assert metrics.provenance == 1.0


def told(seed: int) -> list[Note]:
    dice = random.Random(seed)  # noqa: S311 - notes to test with, not a secret
    texts = (
        ("observation", "The database is MySQL"),
        ("decision", "We switched from MySQL to PostgreSQL"),
        ("decision", "We switched from PostgreSQL to MySQL"),
        ("observation", "Request timeout is 30 s"),
        ("progress", "Raised the request timeout from 30 s to 60 s"),
        ("decision", "Lowered the request timeout from 60 s to 30 s"),
        ("issue", "Upload crashes (#312)"),
        ("todo", "Fix #312"),
        ("progress", "Fixed #312"),
        ("question", "Should the session cache use Redis?"),
        ("decision", "The session cache will use Redis"),
        ("question", "Why does the upload crash? #312"),
        ("insight", "The upload crashes because of #312"),
    )
    return [
        a_note(text, category=kind, at=START + dice.randint(0, 9) * DAY, salt=str(number))
        for number, (kind, text) in enumerate(dice.choices(texts, k=9))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_any_split_of_changes_fixes_and_answers_gives_the_same_bank(seed: int) -> None:
    notes = told(seed)
    whole = filed(EMPTY, DEFAULT, notes)
    assert in_batches(DEFAULT, [[note] for note in by_time(notes)]) == whole
    again = consolidate(whole.files, whole.provenance, whole.refs, DEFAULT, notes)
    assert (again.files, again.edits) == ({}, ())
