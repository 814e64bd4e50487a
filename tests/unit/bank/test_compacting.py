"""What leaves a file that is too long: in which order, how much of it, and that nothing gets lost on the way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.markdown import parse
from app.bank.document.provenance import blocks_of, existing
from app.bank.document.rules import compile_rules
from app.bank.extract.compacting import compacted, is_stuck, offered
from app.bank.extract.moving import Key
from app.bank.extract.snapshot import Snapshot
from tests.unit.bank.strategies import markdown

TODAY = date(2026, 6, 15)
PATH = "now.md"
RULES = compile_rules("## now.md\nWhat is so now.\n\n## log.md\nAppend-only journal.\n")
TEXT = """# Now

## State

- 2026-03-02 The cache is Redis 7.
- ~~2026-04-01 The database is MySQL 8~~ (superseded 2026-05-01)
- 2026-05-01 The database is PostgreSQL 15.
- Nobody deploys on Fridays.

## Next

- [ ] 2026-03-01 Rotate the keys
- [x] 2026-03-01 Write the guide (done 2026-03-04)
- 2026-05-20 The team met, and all went home.
"""
HEADED = "# Now\n\n"
DONE = "- [x] 2026-03-01 Write the guide (done 2026-03-04)\n"
STRUCK = "- ~~2026-04-01 The database is MySQL 8~~ (superseded 2026-05-01)\n"


def a_bank(content: str = TEXT, path: str = PATH, **more: str) -> Snapshot:
    return Snapshot(files={path: content, **more}, provenance={}, refs={}, layout=RULES)


def keys(*starts: str, snapshot: Snapshot | None = None) -> list[Key]:
    """The entries that say this."""
    known = {item.bullet.said: item.key for item in offered(PATH, snapshot or a_bank(), TODAY)}
    return [next(key for said, key in known.items() if said.startswith(start)) for start in starts]


def left(goal: int, wanted: Sequence[Key] = (), snapshot: Snapshot | None = None, path: str = PATH) -> dict[str, str]:
    """The files after that."""
    bank = snapshot or a_bank()
    plan = compacted(path, bank, goal, TODAY, wanted)
    return {**bank.files, **(plan.files if plan is not None else {})}


def blocks(files: Mapping[str, str]) -> Counter[str]:
    return Counter(placed.digest for content in files.values() for placed in blocks_of(content))


def test_only_what_holds_is_offered_and_open_tasks_are_not() -> None:
    assert [item.bullet.said for item in offered(PATH, a_bank(), TODAY)] == [
        "The cache is Redis 7.",
        "The database is PostgreSQL 15.",
        "Nobody deploys on Fridays.",
        "The team met, and all went home.",
    ]


def test_what_is_over_goes_first_the_oldest_first_and_no_more_than_has_to() -> None:
    everything = keys("The team", "Nobody", "The cache", "The database")

    first = left(len(TEXT) - 1, everything)
    second = left(len(TEXT) - len(DONE) - 1, everything)

    assert first[PATH] == TEXT.replace(DONE, "")
    assert second[PATH] == TEXT.replace(DONE, "").replace(STRUCK, "")
    assert second["archive/now-2026-03.md"] == f"# Now 2026-03\n\n## Next\n\n{DONE}"


def test_then_the_wanted_entries_go_in_their_order() -> None:
    goal = len(TEXT) - len(DONE) - len(STRUCK) - 60
    after = left(goal, keys("Nobody", "The team", "The cache"))

    assert len(after[PATH]) <= goal
    assert "Nobody deploys" not in after[PATH]
    assert "The team met" not in after[PATH]
    assert "The cache is Redis 7." in after[PATH]
    assert "- Nobody deploys on Fridays.\n" in after["archive/now-2026-06.md"], "an entry without a day is of today"


def test_an_open_task_stays_whoever_wants_it_gone() -> None:
    titles = ("Now", "Next")
    (digest,) = {placed.digest for placed in blocks_of(TEXT) if "Rotate" in placed.block.raw}

    assert "Rotate the keys" in left(0, [(titles, digest)])[PATH]


def test_without_a_wish_only_what_is_over_goes_and_then_nothing() -> None:
    after = left(0)

    assert after[PATH] == TEXT.replace(DONE, "").replace(STRUCK, "")
    assert compacted(PATH, a_bank(after[PATH]), 0, TODAY) is None


def test_a_journal_gives_up_its_oldest_entries_whatever_is_wanted() -> None:
    lines = [f"- 2026-0{month}-0{day} Entry {month}.{day}\n" for month in (3, 4, 5) for day in range(1, 5)]
    journal = "# Log\n\n" + "".join(lines)
    bank = a_bank(journal, "log.md")
    newest = offered("log.md", bank, TODAY)[-1].key

    after = left(len(journal) - 30, [newest], bank, "log.md")

    assert after["log.md"] == "# Log\n\n" + "".join(lines[4:]), "a whole month"
    assert after["archive/log-2026-03.md"] == "# Log 2026-03\n\n" + "".join(lines[:4])


def test_entries_that_others_have_changed_meanwhile_are_not_found_and_stay() -> None:
    wanted = keys("The cache", "The team")
    edited = TEXT.replace("Redis 7", "Redis 8")

    after = left(200, wanted, a_bank(edited))

    assert "Redis 8" in after[PATH]
    assert "The team met" not in after[PATH]


def test_notes_go_with_the_entries_that_rest_on_them() -> None:
    bank = a_bank()
    ((_titles, digest),) = wanted = keys("The cache")
    bank = Snapshot(bank.files, {PATH: {digest: ["note-1"]}}, {}, RULES)

    plan = compacted(PATH, bank, 0, TODAY, wanted)

    assert plan is not None
    assert plan.provenance == {"archive/now-2026-03.md": {digest: ["note-1"]}}
    assert [edit.sources for edit in plan.edits if "Redis" in edit.text] == [("note-1",)]


@pytest.mark.parametrize(
    ("entry", "is_over"),
    [
        (STRUCK, True),
        (DONE, True),
        ("- [x] Release 2\n  - [x] the notes\n", True),
        ("- [x] 2026-03-01 Release 2 (done 2026-03-04)\n  - the notes of it\n", True),
        ("- [ ] ~~2026-03-01 Ask Ada~~ (superseded 2026-03-04)\n", True),
        ("- [x] Release 2\n  - [ ] still to do: tell the users\n", False),
        ("- [x] 2026-03-01 Release 2 (done 2026-03-04)\n  - [ ] tell the users\n", False),
        ("- ~~Redis 6~~ Redis 7 is the cache\n", False),
        ("- ~~Redis 6~~ or ~~Redis 7~~\n", False),
        ("- ~~Redis 6~~ (it is Redis 7 now)\n", False),
        ("- [x] Release 2\n  - [ ]\n", False),
        ("- ~~old host~~\n  - the new host is db2\n", False),
    ],
)
def test_what_is_over_is_all_of_an_entry(entry: str, is_over: bool) -> None:  # noqa: FBT001 - a case
    assert (entry in left(1, (), a_bank(HEADED + entry + "- Another one\n"))[PATH]) != is_over


@pytest.mark.parametrize(
    "entry", ["- 2026-01-02 Plan\n  - [ ] open child\n", "- 2026-01-02 [ ] a box after the day\n", "- [ ] open\n"]
)
def test_an_entry_with_something_to_do_in_it_is_nobodys_to_move(entry: str) -> None:
    bank = a_bank(HEADED + entry)
    assert offered(PATH, bank, TODAY) == []


AWKWARD = "**Open points:**\n- [x] 2026-01-01 Write the guide\n---\n"


def test_an_entry_that_holds_the_text_around_it_apart_keeps_no_other_from_going() -> None:
    content = TEXT + "\n" + AWKWARD
    after = left(0, keys("The team", "The cache", snapshot=a_bank(content)), a_bank(content))

    assert AWKWARD in after[PATH], "without the item the line below would make the paragraph a heading"
    assert "The team met" not in after[PATH]
    assert "The cache" not in after[PATH]
    alone = a_bank("# Now\n\n" + AWKWARD)
    assert compacted(PATH, alone, 0, TODAY) is None
    assert is_stuck(PATH, alone, TODAY)
    assert not is_stuck(PATH, a_bank("# Now\n\n- [ ] to do\n"), TODAY), "control"


def test_instead_of_one_that_cannot_go_the_next_one_goes() -> None:
    content = "# Now\n\n" + AWKWARD + "\n- Needed\n- Not needed\n"
    bank = a_bank(content)
    after = left(len(content) - 1, keys("Not needed", snapshot=bank), bank)

    assert after[PATH] == content.replace("- Not needed\n", "")


def test_nothing_is_put_in_an_archive_that_is_no_text() -> None:
    bank = replace(a_bank(**{"archive/now-2026-03.md": "# Caf\ufffd\n"}), raw=frozenset({"archive/now-2026-03.md"}))
    after = left(len(TEXT) - 1, (), bank)

    assert after["archive/now-2026-03.md"] == "# Caf\ufffd\n"
    assert DONE in after["archive/now-2026-03-2.md"]


@settings(max_examples=150, deadline=None)
@given(markdown, st.integers(0, 300), st.randoms(use_true_random=False))
def test_whatever_is_wanted_of_whatever_file_nothing_is_lost_or_changed(content: str, goal: int, dice: object) -> None:
    bank = a_bank(content)
    wanted = [item.key for item in offered(PATH, bank, TODAY)]
    dice.shuffle(wanted)  # type: ignore[attr-defined]

    plan = compacted(PATH, bank, goal, TODAY, wanted)

    after = left(goal, wanted, bank)
    assert blocks(after) == blocks(bank.files)
    assert parse(after[PATH]).outline() == parse(content).outline()
    if plan is not None:
        assert plan.provenance == existing(after, plan.provenance)
        assert len(content.encode()) > goal, "a file that is short enough is left alone"
