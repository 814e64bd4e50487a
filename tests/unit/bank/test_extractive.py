from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.bullets import anatomy
from app.bank.document.markdown import parse
from app.bank.document.provenance import blocks_of
from app.bank.document.rules import compile_rules
from app.bank.document.text import hard_tokens, missing
from app.bank.extract.extractive import consolidate
from app.notes.models import Note
from tests.unit.bank.projects import (
    EMPTY,
    HOSTILE,
    START,
    Bank,
    a_note,
    a_project,
    blocks_by_note,
    by_time,
    filed,
    in_batches,
    lost_tokens,
    measure,
)
from tests.unit.bank.strategies import markdown, note_lists

DEFAULT = compile_rules("")
JOURNAL = compile_rules(
    "- observation -> journal.md\n- decision -> journal.md\n- progress -> journal.md\n## journal.md\nAppend-only.\n"
)
PERSONAS = compile_rules("## context.md\nAll.\n## persona-*.md\nOne per person.\n")
DAY = timedelta(days=1)


def live_bullets(bank: Bank) -> list[tuple[str, int, str]]:
    return [
        (path, placed.section, placed.block.raw)
        for path, content in bank.files.items()
        for placed in blocks_of(content)
        if placed.block.kind == "item" and anatomy(placed.block.raw).is_live
    ]


def test_a_note_becomes_a_dated_bullet_of_its_category() -> None:
    bank = filed(EMPTY, DEFAULT, [a_note("We use Rust", category="decision"), a_note("write docs", category="todo")])
    assert bank.files == {
        "decisions.md": "# Decisions\n\n- 2026-03-02 We use Rust\n",
        "activeContext.md": "# Active context\n\n## Next steps\n\n- [ ] 2026-03-02 write docs\n",
    }


def test_newest_first_and_at_the_end_of_an_append_only_file() -> None:
    notes = [a_note("first thing"), a_note("second thing", at=START + DAY)]
    assert "second thing\n- 2026-03-02 first" in filed(EMPTY, DEFAULT, notes).files["activeContext.md"]
    assert "first thing\n- 2026-03-03 second" in filed(EMPTY, JOURNAL, notes).files["journal.md"]


def test_a_late_note_takes_the_place_of_its_time() -> None:
    late = a_note("middle thing", at=START + DAY)
    bank = in_batches(DEFAULT, [[a_note("old thing"), a_note("new thing", at=START + 2 * DAY)], [late]])
    lines = [line for line in bank.files["activeContext.md"].splitlines() if line.startswith("- ")]
    assert lines == ["- 2026-03-04 new thing", "- 2026-03-03 middle thing", "- 2026-03-02 old thing"]


@pytest.mark.parametrize("repeated", ["The login page is slow on mobile", "the LOGIN page  is slow on mobile"])
def test_a_duplicate_joins_the_sources(repeated: str) -> None:
    first = a_note("The login page is slow on mobile")
    again = a_note(repeated, at=START + DAY, agent="claude")
    bank = in_batches(DEFAULT, [[first], [again]])
    assert len(live_bullets(bank)) == 1
    assert list(bank.provenance["activeContext.md"].values()) == [sorted([first.id, again.id])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the cache is working on the staging cluster", "the cache is not working on the staging cluster"),
        ("the billing server calls the search client", "the search client calls the billing server"),
        ("10\u00b2 users were seen on the landing page", "102 users were seen on the landing page"),
        ("port 80 answers on the landing page", "port 81 answers on the landing page"),
    ],
)
def test_what_is_not_the_same_is_not_a_duplicate(one: str, other: str) -> None:
    bank = filed(EMPTY, DEFAULT, [a_note(one), a_note(other, at=START + DAY)])
    assert len(live_bullets(bank)) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("API timeout is 30 s", "The API timeout is 45 s"),
        ("API timeout: 30 s", "API timeout = 45 s"),
        ("Le délai API est 30 s", "Délai API : 45 s"),
        ("billing service uses MySQL 8", "billing service uses PostgreSQL 16"),
    ],
)
def test_a_newer_value_strikes_the_older_one(old: str, new: str) -> None:
    notes = [a_note(old), a_note(new, at=START + DAY, category="decision")]
    bank = filed(EMPTY, DEFAULT, notes)
    assert f"- ~~2026-03-02 {old}~~ (superseded 2026-03-03)\n" in bank.files["activeContext.md"]
    assert f"- 2026-03-03 {new}\n" in bank.files["decisions.md"]
    assert not lost_tokens(bank, notes)


def test_an_older_value_that_comes_late_is_filed_struck() -> None:
    late = a_note("API timeout is 30 s")
    bank = in_batches(DEFAULT, [[a_note("API timeout is 45 s", at=START + DAY)], [late]])
    assert (
        "- 2026-03-03 API timeout is 45 s\n- ~~2026-03-02 API timeout is 30 s~~ (superseded 2026-03-03)\n"
        in (bank.files["activeContext.md"])
    )
    assert late.id in blocks_by_note(bank)


def test_a_value_that_comes_back_is_live_again() -> None:
    values = ("30 s", "45 s", "30 s")
    notes = [a_note(f"API timeout is {value}", at=START + number * DAY) for number, value in enumerate(values)]
    for batches in ([notes], [[note] for note in notes]):
        bank = in_batches(DEFAULT, batches)
        assert [raw for _, _, raw in live_bullets(bank)] == ["- 2026-03-04 API timeout is 30 s\n"]


def test_nothing_is_struck_in_an_append_only_file() -> None:
    notes = [a_note("API timeout is 30 s"), a_note("API timeout is 45 s", at=START + DAY)]
    notes.append(a_note("API timeout is 30 s", at=START + 2 * DAY))
    content = filed(EMPTY, JOURNAL, notes).files["journal.md"]
    assert "~~" not in content
    assert "- 2026-03-03 API timeout is 45 s (replaces 2026-03-02)\n" in content
    assert content.endswith("- 2026-03-04 API timeout is 30 s (replaces 2026-03-03)\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The plan is what we discussed", "The plan is how we start"),
        ("it is 5", "it is 6"),
        ("Fix bug: typo", "Fix bug: crash"),
        ("deploy target is a cluster of three machines in Paris", "deploy target is a single machine in the office"),
    ],
)
def test_in_doubt_both_are_kept(one: str, other: str) -> None:
    assert len(live_bullets(filed(EMPTY, DEFAULT, [a_note(one), a_note(other, at=START + DAY)]))) == 2


def test_progress_closes_the_task_it_names() -> None:
    notes = [
        a_note("Write the migration guide of the billing service for v2", category="todo"),
        a_note("Upload crashes on large files #42", category="issue"),
        a_note("Wrote the migration guide of the billing service for v2", at=START + DAY, category="progress"),
        a_note("Fixed: upload no longer, large files #42", at=START + DAY, category="progress", agent="a"),
        a_note("Upload of large files fixed, crashes are gone, #42", at=START + DAY, category="progress"),
    ]
    content = filed(EMPTY, DEFAULT, notes).files["activeContext.md"]
    assert "- [x] 2026-03-02 Write the migration guide of the billing service for v2 (done 2026-03-03)\n" in content
    assert "- ~~2026-03-02 Upload crashes on large files #42~~ (resolved 2026-03-03)\n" in content


@pytest.mark.parametrize(
    "said",
    [
        "Started to write the migration guide of the billing service for v2",
        "Wrote the migration guide of the billing service for v3",
    ],
)
def test_other_progress_leaves_the_task_open(said: str) -> None:
    notes = [
        a_note("Write the migration guide of the billing service for v2", category="todo"),
        a_note(said, at=START + DAY, category="progress"),
    ]
    assert "- [ ] 2026-03-02" in filed(EMPTY, DEFAULT, notes).files["activeContext.md"]


def test_a_pattern_file_is_made_when_a_note_names_it() -> None:
    notes = [a_note("persona-alice.md: she decides on price 300"), a_note("see ../persona-x.md and persona-bob.txt")]
    bank = filed(EMPTY, PERSONAS, notes)
    assert sorted(bank.files) == ["context.md", "persona-alice.md"]
    assert bank.files["persona-alice.md"].startswith("# Persona alice\n")


def test_an_existing_file_is_found_whatever_its_case() -> None:
    bank = filed(Bank({"Decisions.md": "# Decisions\n"}, {}, {}), DEFAULT, [a_note("We use Rust", category="decision")])
    assert list(bank.files) == ["Decisions.md"]


def test_the_line_ending_of_a_file_is_used() -> None:
    bank = filed(
        Bank({"decisions.md": "# Decisions\r\n\r\n- old\r\n"}, {}, {}), DEFAULT, [a_note("a\nb", category="decision")]
    )
    assert bank.files["decisions.md"] == "# Decisions\r\n\r\n- 2026-03-02 a\r\n  b\r\n- old\r\n"


def test_nothing_to_file_changes_nothing() -> None:
    plan = consolidate({"a.md": "# A"}, {}, {}, DEFAULT, [])
    assert (plan.files, plan.edits, plan.filed) == ({}, (), ())


def test_an_empty_note_has_provenance_too() -> None:
    note = a_note("")
    bank = filed(EMPTY, DEFAULT, [note])
    assert blocks_by_note(bank)[note.id] == ["- 2026-03-02 (empty observation from cline-dev)\n"]


def test_the_synthesis_counts_and_quotes() -> None:
    notes = [a_note("We use Rust", category="decision"), a_note("Upload crashes", category="issue")]
    notes += [a_note(f"write chapter {number}", category="todo") for number in range(7)]
    synthesis = consolidate({}, {}, {}, DEFAULT, notes).synthesis
    assert synthesis.startswith("9 notes in 2 files (decision 1, issue 1, todo 7).")
    assert "- 2026-03-02 We use Rust" in synthesis
    assert "- 2026-03-02 Upload crashes" in synthesis
    assert "and 2 more" in synthesis


def test_the_edits_name_their_notes() -> None:
    notes = [a_note("API timeout is 30 s"), a_note("API timeout is 45 s", at=START + DAY)]
    plan = consolidate({}, {}, {}, DEFAULT, notes)
    assert [edit.op for edit in plan.edits] == ["create_file", "add_section", "prepend", "supersede", "prepend"]
    assert {note_id for edit in plan.edits for note_id in edit.sources} == {note.id for note in notes}
    assert plan.edits[2].section_path == ("Active context", "Observations")
    assert set(plan.filed) == {note.id for note in notes}


@pytest.mark.parametrize("content", HOSTILE)
@pytest.mark.parametrize("category", ["observation", "decision", "todo"])
def test_no_note_changes_the_structure_nor_loses_a_token(content: str, category: str) -> None:
    notes = [
        a_note("before 1", category=category),
        a_note(content, at=START + DAY, category=category),
        a_note("after 2", at=START + 2 * DAY, category=category),
    ]
    clean = filed(EMPTY, DEFAULT, [notes[0], notes[2]])
    bank = filed(EMPTY, DEFAULT, notes)
    assert {path: parse(text).outline() for path, text in bank.files.items()} == {
        path: parse(text).outline() for path, text in clean.files.items()
    }
    assert len(live_bullets(bank)) == 3
    assert not any(parse(text).is_open for text in bank.files.values())
    assert not lost_tokens(bank, notes)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["activeContext.md", "decisions.md", "x.md"]), markdown, max_size=2),
    note_lists(),
    st.data(),
)
def test_any_split_and_order_gives_the_same_bank_and_loses_nothing(
    files: dict[str, str], notes: list[Note], data: st.DataObject
) -> None:
    layout = data.draw(st.sampled_from([DEFAULT, JOURNAL, PERSONAS]))
    start = Bank(files, {}, {})
    whole = filed(start, layout, data.draw(st.permutations(notes)))
    cut = data.draw(st.integers(0, len(notes)))
    ordered = by_time(notes)
    assert in_batches(layout, [ordered[:cut], ordered[cut:]], start) == whole
    assert in_batches(layout, [[note] for note in ordered], start) == whole
    assert not lost_tokens(whole, notes)
    again = consolidate(whole.files, whole.provenance, whole.refs, layout, notes)
    assert (again.files, again.edits) == ({}, ())
    assert again.provenance == whole.provenance


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["activeContext.md", "decisions.md"]), markdown, min_size=1), note_lists())
def test_what_others_wrote_stays_as_it_is(files: dict[str, str], notes: list[Note]) -> None:
    bank = filed(Bank(files, {}, {}), DEFAULT, notes)
    for path, before in files.items():
        lines = iter(bank.files[path].replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        for line in before.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n"):
            assert any(line == kept for kept in lines), f"{line!r} is gone"
        old = parse(before).outline()
        new = iter(parse(bank.files[path]).outline())
        assert all(heading in new for heading in old)


@pytest.mark.parametrize("seed", range(8))
def test_a_project_is_remembered_truly(seed: int) -> None:
    project = a_project(seed, 400)
    metrics = measure(project, filed(EMPTY, DEFAULT, project.notes))
    assert metrics.kept >= 0.99
    assert metrics.provenance == 1.0
    assert metrics.current_live == 1.0
    assert metrics.stale_live == 0.0
    assert metrics.open_todos_live == 1.0
    assert metrics.closed_todos_live <= 0.2
    assert metrics.growth < 1.7


def test_facts_stay_alive_over_twenty_consolidations() -> None:
    project = a_project(99, 400)
    ordered = by_time(project.notes)
    size = len(ordered) // 20 + 1
    bank = in_batches(DEFAULT, [ordered[at : at + size] for at in range(0, len(ordered), size)])
    assert bank == filed(EMPTY, DEFAULT, project.notes)
    assert measure(project, bank).current_live == 1.0


def test_a_measured_loss_is_seen() -> None:
    project = a_project(3, 60)
    bank = filed(EMPTY, DEFAULT, project.notes[:-20])
    assert measure(project, bank).kept < 0.9
    assert lost_tokens(bank, project.notes)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_inside_a_batch_does_not_matter(seed: int) -> None:
    project = a_project(seed, 150)
    assert filed(EMPTY, DEFAULT, project.notes) == filed(EMPTY, DEFAULT, list(reversed(project.notes)))


def test_a_huge_line_is_filed_whole() -> None:
    content = "# `" + "`a` ``b " * 6_000 + " <!-- " * 4_000 + "- " * 5_000 + "4711"
    note = a_note(content)
    bank = filed(EMPTY, DEFAULT, [note])
    assert not missing(hard_tokens("4711"), bank.files["activeContext.md"])
    assert parse(bank.files["activeContext.md"]).outline() == ((1, "Active context"), (2, "Observations"))


def test_only_a_mark_at_the_start_of_a_note_is_taken_for_a_bullet() -> None:
    bank = filed(EMPTY, DEFAULT, [a_note("Version 0.2.9 - faster # twice")])
    assert "- 2026-03-02 Version 0.2.9 - faster # twice\n" in bank.files["activeContext.md"]
