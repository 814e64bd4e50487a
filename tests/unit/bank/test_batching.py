from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.routing import destination_of
from app.bank.extract.snapshot import Snapshot
from app.bank.model.batching import Batch, Budget, halves, plan_batches
from app.bank.model.prompt import build
from app.notes.models import Note
from tests.unit.bank.projects import START, a_note, by_time
from tests.unit.bank.snapshots import a_large_bank, a_snapshot, estimate, some_notes
from tests.unit.bank.strategies import note_lists

BUDGET = Budget(window=100_000)
LARGE = a_snapshot(a_large_bank(100_000))
SMALL = a_snapshot()


def plan(notes: Sequence[Note], *, snapshot: Snapshot = SMALL, size: int = 24, budget: Budget = BUDGET) -> list[Batch]:
    return plan_batches(snapshot, notes, size=size, budget=budget, estimate=estimate)


def all_notes(batches: Sequence[Batch]) -> list[Note]:
    return [note for batch in batches for note in batch.notes]


def goals(snapshot: Snapshot, batch: Batch) -> set[str]:
    return {destination_of(note, snapshot.layout, snapshot.files)[0] for note in batch.notes}


def test_notes_are_taken_oldest_first_and_never_twice() -> None:
    notes = some_notes(60)
    batches = plan(notes[::-1])
    assert all_notes(batches) == notes
    assert [len(batch.notes) for batch in batches] == [24, 24, 12]
    assert not any(batch.is_extractive for batch in batches)


def test_no_notes_make_no_batch() -> None:
    assert plan([]) == []


def test_a_batch_ends_where_the_tokens_end() -> None:
    batches = plan(some_notes(24, length=250))
    assert len(batches) > 1
    assert all_notes(batches) == some_notes(24, length=250)
    for batch in batches:
        assert not build(SMALL, batch.notes, budget=BUDGET, estimate=estimate).is_too_long


def test_a_small_window_makes_small_batches() -> None:
    assert Budget(window=4_096).most_notes == 9
    batches = plan(some_notes(24), budget=Budget(window=6_000))
    assert max(len(batch.notes) for batch in batches) <= Budget(window=6_000).most_notes
    assert not any(batch.is_extractive for batch in batches)


def test_a_note_that_takes_a_quarter_of_a_prompt_is_filed_without_the_model() -> None:
    notes = some_notes(3)
    big = a_note("word " * 20_000, at=START + timedelta(minutes=90))
    batches = plan([*notes, big])
    assert [(batch.notes, batch.is_extractive) for batch in batches] == [(tuple(notes), False), ((big,), True)]
    assert batches[1].tokens_in == batches[1].tokens_out == 0


def test_a_note_just_under_a_quarter_is_put_to_the_model() -> None:
    fits = a_note("word " * (BUDGET.largest_note * 3 // 7))
    assert [batch.is_extractive for batch in plan([fits])] == [False]
    assert not build(SMALL, [fits], budget=BUDGET, estimate=estimate).is_too_long


def test_big_notes_come_together_in_their_order_and_not_too_many_bytes_at_once() -> None:
    notes = [a_note("x" * 90_000, at=START + timedelta(hours=hour), salt=str(hour)) for hour in range(30)]
    batches = plan(notes)
    assert all(batch.is_extractive for batch in batches)
    assert all_notes(batches) == notes
    assert max(sum(len(note.content) for note in batch.notes) for batch in batches) <= 1_000_000


def test_a_window_that_holds_nothing_makes_every_note_extractive() -> None:
    assert all(batch.is_extractive for batch in plan(some_notes(3), budget=Budget(window=500)))


def test_with_a_small_bank_the_files_do_not_matter() -> None:
    assert len(goals(SMALL, plan(some_notes(48))[0])) > 1


def test_with_a_large_bank_the_notes_of_a_batch_go_to_files_that_can_be_shown() -> None:
    notes = some_notes(60)
    batches = plan(notes, snapshot=LARGE)
    assert sorted(note.id for note in all_notes(batches)) == sorted(note.id for note in notes)
    for batch in batches:
        prompt = build(LARGE, batch.notes, budget=BUDGET, estimate=estimate)
        shown = {target.path for target in prompt.handles.sections.values() if target.shown}
        hidden = {target.path for target in prompt.handles.sections.values() if not target.shown}
        assert goals(LARGE, batch) == shown
        assert hidden
        assert not hidden & shown


def test_notes_of_one_file_stay_in_their_order() -> None:
    for snapshot in (LARGE, a_snapshot(a_large_bank(400_000))):
        batches = plan(some_notes(200, length=5), snapshot=snapshot)
        by_goal: dict[str, list[Note]] = {}
        for note in all_notes(batches):
            by_goal.setdefault(destination_of(note, snapshot.layout, snapshot.files)[0], []).append(note)
        assert len(by_goal) > 2
        assert all(notes == by_time(notes) for notes in by_goal.values())
        assert all(batch.notes == tuple(by_time(batch.notes)) for batch in batches)


def test_a_lighter_note_does_not_overtake_a_heavy_one_of_its_file() -> None:
    lengths = [700, 600, 5, 600, 600, 5]
    notes = [
        a_note("The database needs care. " * length, at=START + timedelta(hours=hour), category="decision")
        for hour, length in enumerate(lengths)
    ]
    batches = plan(notes, snapshot=LARGE)
    assert len(batches) > 1
    assert all_notes(batches) == notes


def test_a_batch_takes_no_more_files_than_can_be_shown_together() -> None:
    batches = plan(some_notes(6), snapshot=LARGE)
    assert len(batches) == 2
    for batch in batches:
        prompt = build(LARGE, batch.notes, budget=BUDGET, estimate=estimate)
        assert goals(LARGE, batch) == {target.path for target in prompt.handles.sections.values() if target.shown}
    together = build(LARGE, some_notes(6), budget=BUDGET, estimate=estimate)
    hidden = {target.path for target in together.handles.sections.values() if not target.shown}
    assert hidden & {goal for batch in batches for goal in goals(LARGE, batch)}


def test_nobody_waits_for_ever_behind_notes_of_other_files() -> None:
    one = some_notes(1, category="decision")
    many = some_notes(300, category="progress", start=1)
    batches = plan([*one, *many], snapshot=LARGE)
    assert one[0] in batches[0].notes
    starts = [batch.notes[0].timestamp for batch in batches]
    assert all(earlier <= later for earlier, later in pairwise(starts))


def test_what_a_run_is_likely_to_take_is_near_what_its_prompts_take() -> None:
    for snapshot in (SMALL, LARGE):
        for batch in plan(some_notes(48), snapshot=snapshot):
            prompt = build(snapshot, batch.notes, budget=BUDGET, estimate=estimate)
            assert 0.8 * prompt.tokens <= batch.tokens_in <= 1.25 * prompt.tokens
            assert batch.tokens_out == 600 + 110 * len(batch.notes)


def test_a_batch_is_halved_down_to_single_notes() -> None:
    [batch] = plan(some_notes(5))
    older, newer = halves(batch)
    assert (len(older.notes), len(newer.notes)) == (2, 3)
    assert older.notes + newer.notes == batch.notes
    assert older.tokens_in + newer.tokens_in == batch.tokens_in + batch.overhead
    single = halves(older)[0]
    assert len(single.notes) == 1
    assert halves(single) == ()


@given(
    note_lists(most=12),
    st.integers(1, 6),
    st.sampled_from([2_500, 5_000, 20_000, 100_000]),
    st.sampled_from([SMALL, a_snapshot(a_large_bank(12_000)), LARGE]),
)
@settings(max_examples=60, deadline=None)
def test_every_note_is_in_one_batch_and_every_planned_prompt_fits(
    notes: list[Note], size: int, window: int, snapshot: Snapshot
) -> None:
    budget = Budget(window=window)
    batches = plan(notes, snapshot=snapshot, size=size, budget=budget)
    assert sorted(note.id for note in all_notes(batches)) == sorted(note.id for note in notes)
    assert batches == plan(notes[::-1], snapshot=snapshot, size=size, budget=budget)
    for batch in batches:
        assert 1 <= len(batch.notes) <= size
        if not batch.is_extractive:
            prompt = build(snapshot, batch.notes, budget=budget, estimate=estimate)
            assert prompt.tokens <= budget.limit
            assert prompt.reserve >= budget.expected(len(batch.notes)) or window == 2_500


@pytest.mark.parametrize(
    ("budget", "limit"),
    [(Budget(100_000), 32_000), (Budget(20_000), 12_000), (Budget(100_000, prompt=4_000), 4_000), (Budget(0), 1)],
)
def test_a_prompt_takes_part_of_the_window(budget: Budget, limit: int) -> None:
    assert budget.limit == limit
    assert budget.largest_note == limit // 4
