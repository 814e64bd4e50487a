import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.layout import Layout, Route
from app.bank.document.rules import compile_rules
from app.notes.models import Category
from tests.unit.bank.strategies import anything

ENGLISH = """# Memory bank

1. `projectbrief.md` - foundation, rarely modified
2. `productContext.md` - why the project exists
3. `systemPatterns.md` - architecture and technical decisions
4. `techContext.md` - technologies and constraints
5. `activeContext.md` - current state, the most dynamic file (< 8 KB, others < 15 KB)
6. `progress.md` - what works, what is left, known issues

## Mapping

- decision -> systemPatterns.md (Decisions)
- observation -> techContext.md, activeContext.md if it is about the current work
- progress, issue -> progress.md
- todo -> activeContext.md (section Next steps)
- question -> activeContext.md
- insight -> projectbrief.md if it changes the scope, systemPatterns.md otherwise
"""

FRENCH = """# Règles de la mémoire

## 1. briefProjet.md — Brief du projet
Le fondement du projet. Quasi-immuable. Limite : < 8 Ko

## 2. contexteActif.md
Point d'entrée : l'état actuel et les prochaines étapes. Le fichier le plus dynamique, pas l'historique complet.

## 3. journal.md (Journal de bord)
Journal des travaux : ne jamais supprimer une entrée.

## 4. persona-[nom].md
Un fichier par décideur, créé à la demande.

## Où va chaque note

| Catégorie | Fichier |
|-----------|---------|
| `décision` | `briefProjet.md` si elle change la portée, `journal.md` sinon |
| **Tâche** | `contexteActif.md` (Prochaines étapes) |
| problème | `contexteActif.md` (Problèmes) |
| avancement | `journal.md` |
| constat | `contexteActif.md` |
| question | `contexteActif.md` |
| enseignement | `journal.md` |
"""


def flags(layout: Layout, name: str) -> set[str]:
    return {rule.path for rule in layout.files if getattr(rule, name)}


def test_english_rules_with_lists_and_arrows() -> None:
    layout = compile_rules(ENGLISH)
    assert [rule.path for rule in layout.files] == [
        "projectbrief.md",
        "productContext.md",
        "systemPatterns.md",
        "techContext.md",
        "activeContext.md",
        "progress.md",
    ]
    assert layout.routes["decision"] == Route("systemPatterns.md", "Decisions")
    assert layout.routes["observation"] == Route("techContext.md", "")
    assert layout.routes["progress"] == layout.routes["issue"] == Route("progress.md", "")
    assert layout.routes["todo"] == Route("activeContext.md", "Next steps")
    assert layout.routes["insight"] == Route("systemPatterns.md", "")
    assert flags(layout, "protected") == {"projectbrief.md"}
    assert flags(layout, "dynamic") == {"activeContext.md"}
    assert not flags(layout, "append_only")
    assert {rule.path: rule.limit for rule in layout.files}["activeContext.md"] == 8 * 1024
    assert {rule.path: rule.limit for rule in layout.files}["progress.md"] == 15 * 1024
    assert layout.language == "en"
    assert layout.warnings == ()


def test_french_rules_with_headings_a_table_and_a_pattern() -> None:
    layout = compile_rules(FRENCH)
    assert [rule.path for rule in layout.files] == ["briefProjet.md", "contexteActif.md", "journal.md"]
    assert [rule.path for rule in layout.patterns] == ["persona-*.md"]
    assert layout.routes == {
        "decision": Route("journal.md", ""),
        "todo": Route("contexteActif.md", "Prochaines étapes"),
        "issue": Route("contexteActif.md", "Problèmes"),
        "progress": Route("journal.md", ""),
        "observation": Route("contexteActif.md", ""),
        "question": Route("contexteActif.md", ""),
        "insight": Route("journal.md", ""),
    }
    assert flags(layout, "append_only") == {"journal.md"}
    assert flags(layout, "protected") == {"briefProjet.md"}
    assert flags(layout, "dynamic") == {"contexteActif.md"}
    assert layout.rule_of("briefProjet.md") is not None
    assert [rule.title for rule in layout.files] == ["Brief du projet", "Contexte actif", "Journal de bord"]
    assert layout.files[0].limit == 8 * 1024
    assert layout.language == "fr"


def test_headings_alone_are_enough() -> None:
    layout = compile_rules(
        "# Rules\n\n## activeContext.md\nCurrent focus and next steps.\n\n## decisions.md\nDecisions.\n"
    )
    assert [(rule.path, rule.description) for rule in layout.files] == [
        ("activeContext.md", "Current focus and next steps."),
        ("decisions.md", "Decisions."),
    ]
    assert layout.routes["decision"].path == "decisions.md"
    assert layout.routes["todo"].path == "activeContext.md"
    (warning,) = layout.warnings
    assert "issue → activeContext.md" in warning
    assert "decision" not in warning, "a file of that name needs no word"


@pytest.mark.parametrize(
    ("sentence", "append_only"),
    [
        ("Append-only.", True),
        ("Never delete an entry.", True),
        ("Journal d'exploitation.", True),
        ("Contient l'historique complet.", True),
        ("Not append-only.", False),
        ("Ce n'est pas l'historique complet.", False),
        ("This is not a chronological log.", False),
        ("Contains plans.", False),
    ],
)
def test_append_only_is_read_unless_negated(sentence: str, append_only: bool) -> None:  # noqa: FBT001 - a table
    layout = compile_rules(f"## log.md\n{sentence}\n\n## other.md\nOther things.\n")
    assert flags(layout, "append_only") == ({"log.md"} if append_only else set())


def test_a_tree_in_a_fence_names_files_and_readme_is_none_of_them() -> None:
    layout = compile_rules(
        "```\nbank/\n├── activeContext.md\n├── notes/decisions.md\n├── README.md\n└── {topic}-notes.md\n```\n"
    )
    assert [rule.path for rule in layout.files] == ["activeContext.md", "notes/decisions.md"]
    assert [rule.path for rule in layout.patterns] == ["*-notes.md"]


def test_a_table_of_files_with_their_categories_is_read_too() -> None:
    layout = compile_rules("| file | notes |\n|---|---|\n| `a.md` | decision, insight |\n| `b.md` | todo and issue |\n")
    assert {
        category: route.path for category, route in layout.routes.items() if category in {"decision", "insight"}
    } == {
        "decision": "a.md",
        "insight": "a.md",
    }
    assert layout.routes["issue"].path == "b.md"


def test_a_name_in_passing_is_not_a_file_when_others_are_named_properly() -> None:
    layout = compile_rules("## decisions.md\nDecisions.\n\nUnlike the old history.md of last year.\n")
    assert [rule.path for rule in layout.files] == ["decisions.md"]


def test_rules_without_files_give_the_built_in_layout_and_say_so() -> None:
    layout = compile_rules("Be brief.")
    assert [rule.path for rule in layout.files] == ["activeContext.md", "progress.md", "decisions.md"]
    assert set(layout.routes) == {category.value for category in Category}
    assert layout.routes["decision"].path == "decisions.md"
    assert len(layout.warnings) == 1


def test_an_illegal_name_is_a_warning() -> None:
    layout = compile_rules("## ../secrets.md\n## ok.md\n")
    assert [rule.path for rule in layout.files] == ["ok.md"]
    assert any("../secrets.md" in warning for warning in layout.warnings)


def test_nothing_is_routed_to_a_protected_file_by_guessing() -> None:
    layout = compile_rules("## decisions.md\nRarely modified.\n\n## context.md\nThe rest.\n")
    assert {route.path for route in layout.routes.values()} == {"context.md"}


def test_a_pattern_is_matched_by_its_instances_only() -> None:
    layout = compile_rules(FRENCH)
    assert layout.allows("persona-alice.md")
    assert not layout.allows("sub/persona-alice.md")
    assert not layout.allows("personas.md")


def test_nothing_changes_in_an_archive_and_nobody_may_make_one() -> None:
    layout = compile_rules(FRENCH)
    rule = layout.rule_of("archive/journal-2026-03.md")
    assert rule is not None
    assert (rule.append_only, rule.protected, rule.limit) == (True, True, None)
    assert not layout.allows("archive/journal-2026-03.md")
    assert compile_rules("## archive/old.md\nOld things.\n").allows("archive/old.md"), "unless the rules name it"


@settings(max_examples=150, deadline=None)
@given(st.one_of(anything, st.lists(st.sampled_from([*ENGLISH.splitlines(), *FRENCH.splitlines()])).map("\n".join)))
def test_any_rules_give_a_layout_that_routes_every_category(rules: str) -> None:
    layout = compile_rules(rules)
    named = {rule.path for rule in layout.files}
    assert set(layout.routes) == {category.value for category in Category}
    assert {route.path for route in layout.routes.values()} <= named
    assert compile_rules(rules) == layout
