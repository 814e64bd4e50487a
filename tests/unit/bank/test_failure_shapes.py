import pytest

from app.bank.model import prompt
from app.bank.model.answers import read
from app.bank.model.batching import Budget
from app.bank.model.policy import Policy
from app.bank.model.validation import Resolution, Verdict, carry_out, resolve
from tests.unit.bank.failure_shapes.semantics import SEMANTICS
from tests.unit.bank.failure_shapes.shape import CLEAN, Shape
from tests.unit.bank.failure_shapes.stage import FILES, HANDLES, NOTES, SNAPSHOT
from tests.unit.bank.failure_shapes.syntax import SYNTAX
from tests.unit.bank.snapshots import estimate

SHAPES = (*SYNTAX, *SEMANTICS)


def judged(shape: Shape) -> tuple[Resolution, Verdict]:
    answer = read(shape.answer, notes=len(NOTES), is_cut=shape.is_cut)
    assert answer is not None
    resolution = resolve(HANDLES, answer, SNAPSHOT)
    verdict = carry_out(SNAPSHOT, NOTES, resolution.ops, resolution.skips, answer.synthesis, policy=Policy())
    return resolution, verdict


def test_the_corpus_has_all_sixty_two_shapes() -> None:
    assert {shape.number for shape in SYNTAX} == set(range(1, 36))
    assert {shape.number for shape in SEMANTICS} == set(range(36, 63))
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)


def test_the_stage_has_the_handles_of_a_prompt() -> None:
    built = prompt.build(SNAPSHOT, NOTES, budget=Budget(window=100_000), estimate=estimate)
    assert built.handles == HANDLES


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.number} {shape.name}")
def test_an_answer_is_understood_as_far_as_it_can_be(shape: Shape) -> None:
    answer = read(shape.answer, notes=len(NOTES), is_cut=shape.is_cut)
    if shape.outcome == "repair":
        assert answer is None
        return
    assert answer is not None
    assert tuple(op.text for op in answer.ops) == shape.texts
    assert answer.is_whole == (shape.outcome != "salvage")


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.outcome != "repair"], ids=lambda s: f"{s.number} {s.name}")
def test_what_is_understood_is_carried_out_or_refused(shape: Shape) -> None:
    resolution, verdict = judged(shape)
    refused = sorted((*resolution.refused, *verdict.refused), key=lambda refusal: refusal.number)
    if shape.codes or shape.kept or shape.outcome == "drop":
        assert tuple(refusal.code for refusal in refused) == shape.codes
        assert {HANDLES.notes[handle].id for handle in shape.kept} == set(verdict.plan.filed)
    assert all(refusal.reason for refusal in refused)
    assert {note.id for note in NOTES} == {*verdict.plan.filed, *(left.note for left in verdict.uncovered)}
    if not verdict.plan.filed:
        assert not verdict.plan.files
    files = {**FILES, **verdict.plan.files}
    assert any(shape.holds in content for content in files.values())


def test_a_good_answer_files_everything() -> None:
    resolution, verdict = judged(Shape(0, "negative control", CLEAN))
    assert not resolution.refused
    assert not verdict.refused
    assert not verdict.uncovered
    assert verdict.synthesis == "Billing moves."
