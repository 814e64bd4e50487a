from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.layout import Layout
from app.bank.document.markdown import parse
from app.bank.document.provenance import blocks_of, existing
from app.bank.document.rules import compile_rules
from app.bank.extract.archiving import archived, with_archive
from app.bank.extract.extractive import Filed, consolidate
from app.bank.extract.moving import archive_path
from app.bank.extract.snapshot import Snapshot
from app.notes.models import Note
from tests.unit.bank.projects import EMPTY, START, Bank, a_note, a_project, blocks_by_note, filed, lost_tokens
from tests.unit.bank.strategies import markdown, note_lists

TODAY = date(2026, 6, 15)
DAY = timedelta(days=1)
SMALL = compile_rules(
    "## now.md\nCurrent state. Limit: < 0.3 KB\n\n## log.md\nAppend-only. Limit: < 0.3 KB\n\n"
    "- observation, decision, todo, insight, question, issue -> now.md\n- progress -> log.md\n"
)
TINY = compile_rules(SMALL_TINY := "## activeContext.md\nState. < 10 bytes\n## progress.md\nAppend-only. < 10 bytes\n")
GENEROUS = compile_rules(SMALL_TINY.replace("10 bytes", "900 KB"))


def tidied(bank: Bank, layout: Layout = SMALL, today: date = TODAY) -> Bank:
    """The bank after archiving."""
    plan = archived(bank.files, bank.provenance, bank.refs, layout, today)
    return Bank({**bank.files, **plan.files}, plan.provenance, bank.refs)


def blocks(files: Mapping[str, str]) -> Counter[str]:
    return Counter(placed.digest for content in files.values() for placed in blocks_of(content))


def a_long_bank() -> Bank:
    notes = [
        a_note("API timeout is 30 s"),
        a_note("API timeout is 45 s", at=START + DAY),
        a_note("write the migration guide for the billing service", category="todo"),
        a_note("wrote the migration guide for the billing service", category="progress", at=START + 2 * DAY),
        *(a_note(f"Reviewed part {number} of the design", at=START + number * DAY) for number in range(3, 9)),
        a_note("keep the box open for later work", category="todo", at=START + 70 * DAY),
    ]
    return filed(EMPTY, SMALL, notes)


def test_what_is_over_moves_to_the_archive_of_its_month_and_the_rest_stays() -> None:
    before = a_long_bank()
    after = tidied(before)

    assert after.files["archive/now-2026-03.md"] == (
        "# Now 2026-03\n\n## Observations\n\n- ~~2026-03-02 API timeout is 30 s~~ (superseded 2026-03-03)\n\n"
        "## Next steps\n\n"
        "- [x] 2026-03-02 write the migration guide for the billing service (done 2026-03-04)\n"
    )
    assert "- [ ] 2026-05-11 keep the box open for later work" in after.files["now.md"]
    assert "- 2026-03-03 API timeout is 45 s\n" in after.files["now.md"]
    assert "~~" not in after.files["now.md"]
    assert blocks(before.files) == blocks(after.files)


def test_provenance_moves_with_its_blocks() -> None:
    before = a_long_bank()
    after = tidied(before)

    assert {note: len(texts) for note, texts in blocks_by_note(before).items()} == {
        note: len(texts) for note, texts in blocks_by_note(after).items()
    }
    assert after.provenance == existing(after.files, after.provenance)
    assert sum(map(len, after.provenance["archive/now-2026-03.md"].values())) == 2


def test_a_file_within_its_limit_keeps_what_is_over() -> None:
    bank = a_long_bank()
    plan = archived(bank.files, bank.provenance, bank.refs, GENEROUS, TODAY)
    assert (plan.files, plan.edits) == ({}, ())
    assert plan.provenance == bank.provenance


def test_a_line_struck_lately_stays() -> None:
    lately = tidied(a_long_bank(), today=date(2026, 3, 20)).files
    assert "~~2026-03-02 API timeout is 30 s~~" in lately["now.md"]
    assert "[x]" not in lately["now.md"], "a finished task may leave at once"


def test_a_journal_gives_up_its_oldest_months_whole() -> None:
    notes = [
        a_note(f"Day {number}: something was done", category="progress", at=START + 9 * number * DAY)
        for number in range(12)
    ]
    before = filed(EMPTY, SMALL, notes)
    after = tidied(before)

    assert sorted(after.files) == ["archive/log-2026-03.md", "archive/log-2026-04.md", "log.md"]
    assert "2026-04" not in after.files["log.md"]
    assert len(after.files["log.md"].encode()) <= 0.3 * 1024
    archive = after.files["archive/log-2026-03.md"]
    assert archive.startswith("# Log 2026-03\n\n## Progress\n\n- 2026-03-02 Day 0: something was done\n- 2026-03-11")
    assert not lost_tokens(after, notes)


def test_a_journal_of_one_month_keeps_its_newest_entries() -> None:
    notes = [
        a_note(f"Step {number}: something was done here", category="progress", at=START + number * DAY)
        for number in range(20)
    ]
    after = tidied(filed(EMPTY, SMALL, notes), today=date(2026, 3, 25))

    assert after.files["log.md"].rstrip().endswith("Step 19: something was done here")
    assert len(after.files["log.md"].encode()) <= 0.3 * 1024
    assert "Step 0:" in after.files["archive/log-2026-03.md"]


def test_a_second_time_adds_to_the_archive_that_is_there() -> None:
    first = tidied(a_long_bank())
    more = [
        a_note("Cache size is 10 MB", at=START + 10 * DAY),
        a_note("Cache size is 20 MB", at=START + 11 * DAY),
    ]
    second = tidied(filed(first, SMALL, more))

    former = first.files["archive/now-2026-03.md"]
    added = "- ~~2026-03-12 Cache size is 10 MB~~ (superseded 2026-03-13)\n"
    assert second.files["archive/now-2026-03.md"] == former.replace("\n\n## Next", f"\n{added}\n## Next")


def test_nothing_in_an_archive_is_struck_or_closed() -> None:
    notes = [a_note(f"Queue limit is {number}00", at=START + number * DAY, category="progress") for number in range(12)]
    bank = tidied(filed(EMPTY, SMALL, notes))
    archive = {path: content for path, content in bank.files.items() if path.startswith("archive/")}
    assert archive
    later = filed(bank, SMALL, [a_note("Queue limit is 5", at=START + 80 * DAY, category="decision")])
    assert archive.items() <= later.files.items()


def test_the_synthesis_does_not_quote_the_archive() -> None:
    bank = a_long_bank()
    plan = archived(bank.files, bank.provenance, bank.refs, SMALL, TODAY)
    assert "keep the box open" in plan.synthesis
    assert "migration guide" not in plan.synthesis


def test_a_protected_file_and_one_without_a_limit_are_left_alone() -> None:
    text = "# A\n\n- ~~2020-01-01 old~~ (superseded 2020-01-02)\n" + "x" * 2_000 + "\n"
    layout = compile_rules("## a.md\nRarely modified. < 1 KB\n## b.md\nOther things.\n")
    assert archived({"a.md": text, "b.md": text}, {}, {}, layout, TODAY).files == {}


def test_text_that_people_wrote_stays_where_it_is() -> None:
    text = (
        "# Now\n\nBy hand.\n\n- no date, no note\n- ~~2020-01-01 old~~ (superseded 2020-01-02)\n---\nmore\n\n"
        "- ~~2020-01-01 older~~ (superseded 2020-01-03)\n\nend\n" + "y" * 400 + "\n"
    )
    plan = archived({"now.md": text}, {}, {}, SMALL, TODAY)
    left = plan.files.get("now.md", text)
    for line in ("By hand.", "- no date, no note", "more", "end"):
        assert line in left.splitlines()
    assert blocks({"now.md": text}) == blocks({"now.md": text, **plan.files})


def test_line_endings_and_items_of_several_lines_survive() -> None:
    text = "# Now\r\n\r\n- ~~2020-01-01 old~~ (superseded 2020-01-02)\r\n  and more\r\n- keep\r\n" + "z" * 400 + "\r\n"
    plan = archived({"now.md": text}, {}, {}, SMALL, TODAY)
    assert plan.files["archive/now-2020-01.md"].endswith("- ~~2020-01-01 old~~ (superseded 2020-01-02)\n  and more\n")
    assert plan.files["now.md"].startswith("# Now\r\n\r\n- keep\r\n")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("progress.md", "archive/progress-2026-03.md"),
        ("sub/log.md", "archive/sub-log-2026-03.md"),
        (f"{'n' * 64}.md", f"archive/{'n' * 48}-2026-03.md"),
    ],
)
def test_an_archive_is_named_after_file_and_month(path: str, expected: str) -> None:
    assert archive_path(path, "2026-03-02") == expected


def test_one_plan_files_and_archives() -> None:
    bank = a_long_bank()
    notes = [a_note("Cache size is 20 MB", at=START + 90 * DAY)]
    plan = consolidate(bank.files, bank.provenance, bank.refs, SMALL, notes)
    refs = {**bank.refs, notes[0].id: Filed(notes[0].timestamp, "a", "observation")}
    snapshot = Snapshot(bank.files, bank.provenance, bank.refs, SMALL)
    whole = with_archive(plan, snapshot, refs, TODAY)

    assert whole.filed == plan.filed
    assert {"now.md", "archive/now-2026-03.md"} <= whole.files.keys()
    assert "Cache size is 20 MB" in whole.files["now.md"]
    assert [edit.op for edit in whole.edits if edit.op == "archive"]
    assert with_archive(plan, replace(snapshot, layout=GENEROUS), refs, TODAY) is plan


@pytest.mark.parametrize("seed", range(3))
def test_a_project_loses_nothing_to_the_archive(seed: int) -> None:
    project = a_project(seed, 250)
    before = filed(EMPTY, TINY, project.notes)
    after = tidied(before, TINY, date(2026, 12, 1))

    assert any(path.startswith("archive/") for path in after.files)
    assert blocks(before.files) == blocks(after.files)
    assert lost_tokens(after, project.notes) == lost_tokens(before, project.notes) == {}
    assert tidied(after, TINY, date(2026, 12, 1)) == after
    assert filed(after, TINY, project.notes).files == after.files, "what is archived is not filed again"


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["activeContext.md", "progress.md", "archive/progress-2026-03.md"]), markdown),
    note_lists(),
    st.dates(date(2026, 3, 1), date(2027, 1, 1)),
)
def test_archiving_is_lossless_and_happens_once(files: dict[str, str], notes: list[Note], today: date) -> None:
    before = filed(Bank(files, {}, {}), TINY, notes)
    after = tidied(before, TINY, today)
    assert blocks(before.files) == blocks(after.files)
    assert not lost_tokens(after, notes)
    assert after.provenance == existing(after.files, after.provenance)
    for path, content in before.files.items():
        if not path.startswith("archive/"):
            assert parse(after.files[path]).outline() == parse(content).outline()
    assert tidied(after, TINY, today) == after
