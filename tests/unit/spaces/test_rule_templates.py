from pathlib import Path

import pytest
from pydantic import ValidationError

from app.bank.document.rules import compile_rules
from app.bank.extract.extractive import consolidate
from app.bootstrap import Services
from app.notes.models import Category
from app.spaces.models import MAX_RULES, RULE_TEMPLATES, SpaceCreate
from app.spaces.rule_templates import TEMPLATES, expanded, text_of
from tests.builders import ADMIN
from tests.unit.bank.projects import a_note

FOLDER = Path(__file__).parents[3] / "app" / "spaces" / "templates"

ROUTES = {
    "standard": {
        "observation": ("techContext.md", "Observations"),
        "decision": ("systemPatterns.md", "Decisions"),
        "todo": ("activeContext.md", "Next steps"),
        "insight": ("systemPatterns.md", "Lessons learnt"),
        "question": ("activeContext.md", "Open questions"),
        "progress": ("progress.md", "Log"),
        "issue": ("activeContext.md", "Open issues"),
    },
    "standard-fr": {
        "observation": ("techContext.md", "Observations"),
        "decision": ("systemPatterns.md", "Décisions"),
        "todo": ("activeContext.md", "Prochaines étapes"),
        "insight": ("systemPatterns.md", "Enseignements"),
        "question": ("activeContext.md", "Questions ouvertes"),
        "progress": ("progress.md", "Suivi"),
        "issue": ("activeContext.md", "Problèmes ouverts"),
    },
    "book": {
        "observation": ("bookContext.md", "Facts"),
        "decision": ("narrativeDesign.md", "Decisions"),
        "todo": ("activeContext.md", "Next steps"),
        "insight": ("writingContext.md", "Craft"),
        "question": ("activeContext.md", "Questions"),
        "progress": ("progress.md", "Log"),
        "issue": ("activeContext.md", "Problems"),
    },
    "book-fr": {
        "observation": ("bookContext.md", "Faits"),
        "decision": ("narrativeDesign.md", "Décisions"),
        "todo": ("activeContext.md", "Prochaines étapes"),
        "insight": ("writingContext.md", "Métier"),
        "question": ("activeContext.md", "Questions"),
        "progress": ("progress.md", "Suivi"),
        "issue": ("activeContext.md", "Problèmes"),
    },
    "journal": {
        "observation": ("facts.md", "Facts"),
        "decision": ("decisions.md", "Decisions"),
        "todo": ("now.md", "To do"),
        "insight": ("lessons.md", "Lessons"),
        "question": ("now.md", "Questions"),
        "progress": ("journal.md", "Entries"),
        "issue": ("now.md", "Stuck"),
    },
    "journal-fr": {
        "observation": ("faits.md", "Faits"),
        "decision": ("decisions.md", "Décisions"),
        "todo": ("maintenant.md", "À faire"),
        "insight": ("enseignements.md", "Enseignements"),
        "question": ("maintenant.md", "Questions"),
        "progress": ("journal.md", "Entrées"),
        "issue": ("maintenant.md", "Bloqué"),
    },
    "support": {
        "observation": ("service.md", "Observations"),
        "decision": ("decisions.md", "Decisions"),
        "todo": ("openCases.md", "Actions"),
        "insight": ("knownProblems.md", "Lessons"),
        "question": ("openCases.md", "Questions"),
        "progress": ("caseLog.md", "Log"),
        "issue": ("openCases.md", "Incidents"),
    },
    "support-fr": {
        "observation": ("service.md", "Observations"),
        "decision": ("decisions.md", "Décisions"),
        "todo": ("dossiersOuverts.md", "Actions"),
        "insight": ("problemesConnus.md", "Leçons"),
        "question": ("dossiersOuverts.md", "Questions"),
        "progress": ("suivi.md", "Suivi"),
        "issue": ("dossiersOuverts.md", "Incidents"),
    },
}
FLAGGED = {
    "standard": ({"progress.md"}, {"projectbrief.md"}, {"activeContext.md"}),
    "book": ({"progress.md"}, {"bookbrief.md"}, {"activeContext.md"}),
    "journal": ({"journal.md"}, set(), {"now.md"}),
    "journal-fr": ({"journal.md"}, set(), {"maintenant.md"}),
    "support": ({"caseLog.md"}, {"procedures.md"}, {"openCases.md"}),
    "support-fr": ({"suivi.md"}, {"procedures.md"}, {"dossiersOuverts.md"}),
}
"""Append-only, protected, dynamic."""
PATTERNS = {
    "book": "character-*.md",
    "book-fr": "personnage-*.md",
    "support": "account-*.md",
    "support-fr": "compte-*.md",
}
EACH = pytest.mark.parametrize("name", TEMPLATES)


def test_the_files_are_those_that_are_named() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(TEMPLATES) == sorted(ROUTES)
    assert list(RULE_TEMPLATES) == [f"template:{name}" for name in TEMPLATES]


@EACH
def test_nothing_of_it_is_doubtful_and_every_category_has_its_place(name: str) -> None:
    layout = compile_rules(text_of(name))
    assert layout.warnings == ()
    assert {kind: (route.path, route.section) for kind, route in layout.routes.items()} == ROUTES[name]
    assert layout.routes.keys() == {category.value for category in Category}
    assert layout.language == ("fr" if name.endswith("-fr") else "en")


@EACH
def test_its_flags_and_limits_are_understood(name: str) -> None:
    layout = compile_rules(text_of(name))
    append_only, protected, dynamic = FLAGGED.get(name) or FLAGGED[name.removesuffix("-fr")]
    assert {rule.path for rule in layout.files if rule.append_only} == append_only
    assert {rule.path for rule in layout.files if rule.protected} == protected
    assert {rule.path for rule in layout.files if rule.dynamic} == dynamic
    assert all(rule.limit and 6 * 1024 <= rule.limit <= 24 * 1024 for rule in [*layout.files, *layout.patterns])
    assert [rule.path for rule in layout.patterns] == ([PATTERNS[name]] if name in PATTERNS else [])
    assert all(rule.description and not rule.description.startswith("|") for rule in layout.files)


@EACH
def test_two_languages_say_the_same(name: str) -> None:
    english, french = (compile_rules(text_of(name.removesuffix("-fr") + suffix)) for suffix in ("", "-fr"))
    assert [rule.limit for rule in english.files] == [rule.limit for rule in french.files]
    assert [rule.append_only for rule in english.files] == [rule.append_only for rule in french.files]


@EACH
def test_its_rules_fit_and_file_notes_of_every_category(name: str) -> None:
    assert 2_000 < len(text_of(name)) < MAX_RULES
    notes = [a_note(f"Something about number {number}", category=kind) for number, kind in enumerate(ROUTES[name])]
    plan = consolidate({}, {}, {}, compile_rules(text_of(name)), notes)
    assert plan.files.keys() == {path for path, _ in ROUTES[name].values()}


@pytest.mark.parametrize("given", ["template:standard", "  template:standard\n", "Template: Standard"])
def test_a_name_stands_for_the_text(given: str) -> None:
    assert expanded(given) == text_of("standard")


@pytest.mark.parametrize("rules", ["", "# Rules", "template:standard\n\nand more", "See template:standard", "template"])
def test_anything_else_is_taken_as_it_is(rules: str) -> None:
    assert expanded(rules) == rules


@pytest.mark.parametrize("given", ["template:", "template:novel", "template:../standard", "template:standard.md"])
def test_an_unknown_name_is_refused_with_those_there_are(given: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SpaceCreate(space_id="alpha", description="", rules=given)
    (error,) = caught.value.errors()
    assert error["loc"] == ("rules",)
    assert all(name in error["msg"] for name in TEMPLATES)


async def test_the_space_has_the_text(services: Services) -> None:
    request = SpaceCreate(space_id="alpha", description="", rules="template:book-fr")
    created = await services.spaces.create(request, caller=ADMIN)

    assert (await services.spaces.rules("alpha")).rules == text_of("book-fr")
    assert created.rules_size == len(text_of("book-fr").encode())
    assert created.warnings == []


async def test_the_service_tells_their_names(services: Services) -> None:
    told = (await services.system.about()).rule_templates
    assert [one.name for one in told] == list(RULE_TEMPLATES)
    assert all(one.description for one in told)
