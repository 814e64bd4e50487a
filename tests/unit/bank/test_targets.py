import pytest

from app.bank.document.blocks import digest
from app.bank.document.markdown import parse
from app.bank.model import validation
from app.bank.model.proposals import Answer, ProposedOp, ProposedSkip, Refusal
from tests.unit.bank.answering import ACTIVE, EARLIER, a_snapshot, an_op, at, handles_of, resolved
from tests.unit.bank.projects import a_note

SNAPSHOT = a_snapshot()
NOTES = [a_note("The API timeout is 45 s"), a_note("Ann likes tea", category="insight")]
TEXT = "- API timeout is 45 s"
OBSERVATIONS = ("Active context", "Observations")


@pytest.mark.parametrize(
    "where",
    [
        at(SNAPSHOT, "Observations"),
        at(SNAPSHOT, "Observations").upper(),
        f"[{at(SNAPSHOT, 'Observations')}]",
        "Observations",
        "## OBSERVATIONS",
        "\U0001f50d Observations!",
        "Active context > Observations",
        "activeContext.md > Observations",
        "bank/activeContext.md#Observations",
        "activecontext.md/Active context/Observations",
    ],
)
def test_a_section_is_named_by_its_handle_or_by_headings_that_only_it_has(where: str) -> None:
    (op,) = resolved(SNAPSHOT, NOTES, an_op("append", where, TEXT)).ops
    assert (op.path, op.section_path) == ("activeContext.md", OBSERVATIONS)
    assert op.seen == digest(parse(ACTIVE).sections[2].body)
    assert op.sources == (NOTES[0].id,)


@pytest.mark.parametrize("where", ["f1", "F1", "activeContext.md", "bank/ActiveContext.md"])
def test_a_file_is_named_by_its_handle_or_its_path(where: str) -> None:
    (op,) = resolved(SNAPSHOT, NOTES, an_op("append", where, TEXT)).ops
    assert (op.path, op.section_path) == ("activeContext.md", ())


def test_a_heading_that_several_sections_have_lists_them() -> None:
    twice = a_snapshot({"activeContext.md": ACTIVE, "progress.md": "# Progress\n\n## Observations\n"})
    found = resolved(
        twice, NOTES, an_op("append", "observations", TEXT), an_op("append", "progress.md > observations", TEXT)
    )
    (refusal,) = found.refused
    assert refusal.code == "ambiguous_target"
    assert "activeContext.md" in refusal.reason
    assert "progress.md" in refusal.reason
    assert [op.path for op in found.ops] == ["progress.md"]


@pytest.mark.parametrize("where", ["s99", "f9", "n1", "Nowhere", "", "../x", "nothing.md"])
def test_an_unknown_place_is_refused_with_those_there_are(where: str) -> None:
    found = resolved(SNAPSHOT, NOTES, an_op("append", where, TEXT))
    assert found.ops == ()
    (refusal,) = found.refused
    assert refusal.code == "unknown_target"
    assert '"Observations"' in refusal.reason


def test_a_file_that_the_answer_creates_and_a_section_that_it_adds_can_be_named() -> None:
    found = resolved(
        SNAPSHOT,
        NOTES,
        an_op("create_file", "", TEXT, title="persona-ann.md"),
        an_op("append", "persona-ann.md", TEXT),
        an_op("add_section", "f1", TEXT, title="Limits"),
        an_op("append", "Limits", TEXT),
    )
    assert [(op.path, op.section_path) for op in found.ops] == [
        ("persona-ann.md", ()),
        ("persona-ann.md", ()),
        ("activeContext.md", ()),
        ("activeContext.md", ("Limits",)),
    ]


def test_a_file_that_the_rules_name_need_not_be_there() -> None:
    (op,) = resolved(SNAPSHOT, NOTES, an_op("append", "progress.md", TEXT)).ops
    assert (op.path, op.seen) == ("progress.md", "")


@pytest.mark.parametrize("verb", ["replace", "delete_section", "supersede"])
def test_a_section_that_was_not_shown_whole_is_only_added_to(verb: str) -> None:
    where = at(SNAPSHOT, "Observations")
    op = an_op(verb, where, TEXT, title="API timeout")
    assert resolved(SNAPSHOT, NOTES, op).refused == ()
    (refusal,) = resolved(SNAPSHOT, NOTES, op, hidden=["Observations"]).refused
    assert refusal.code == "unknown_target"
    (added,) = resolved(SNAPSHOT, NOTES, an_op("append", where, TEXT), hidden=["Observations"]).ops
    assert not added.shown


def test_a_section_with_a_hidden_child_is_not_deleted() -> None:
    op = an_op("delete_section", at(SNAPSHOT, "Next steps"), "")
    assert resolved(SNAPSHOT, NOTES, op).refused == ()
    (refusal,) = resolved(SNAPSHOT, NOTES, op, hidden=["Later"]).refused
    assert refusal.code == "unknown_target"


@pytest.mark.parametrize("verb", ["replace", "delete_section"])
def test_a_file_is_neither_replaced_nor_deleted(verb: str) -> None:
    (refusal,) = resolved(SNAPSHOT, NOTES, an_op(verb, "f1", TEXT)).refused
    assert refusal.code == "structure"


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (ProposedOp("rewrite", "f1", "", TEXT, ("n1",)), "unknown_op"),
        (ProposedOp("append", "f1", "", "", ("n1",)), "bad_shape"),
        (ProposedOp("append", "f1", "", "<text>", ("n1",)), "bad_shape"),
        (ProposedOp("append", "f1", "", "- ...", ("n1",)), "bad_shape"),
        (ProposedOp("add_section", "f1", " ", TEXT, ("n1",)), "bad_shape"),
        (ProposedOp("supersede", "f1", "", TEXT, ("n1",)), "bad_shape"),
        (ProposedOp("append", "f1", "", TEXT, ()), "no_sources"),
        (ProposedOp("append", "f1", "", TEXT, ("",)), "no_sources"),
        (ProposedOp("append", "f1", "", TEXT, ("n9", "m1")), "unknown_note"),
        (ProposedOp("create_file", "", "", TEXT, ("n1",)), "bad_path"),
        (ProposedOp("create_file", "", "../x.md", TEXT, ("n1",)), "bad_path"),
    ],
)
def test_an_operation_without_a_usable_shape_is_refused(op: ProposedOp, code: str) -> None:
    (refusal,) = resolved(SNAPSHOT, NOTES, op).refused
    assert refusal.code == code


def test_of_several_sources_the_known_ones_count() -> None:
    (op,) = resolved(SNAPSHOT, NOTES, an_op("append", "f1", TEXT, "N2", "n9", NOTES[0].id, "n2")).ops
    assert op.sources == (NOTES[1].id, NOTES[0].id)


def test_more_operations_than_notes_can_need_are_refused_together() -> None:
    many = [an_op("append", "f1", TEXT)] * 29
    (refusal,) = resolved(SNAPSHOT, NOTES, *many).refused
    assert refusal.code == "too_many_ops"
    assert len(resolved(SNAPSHOT, NOTES, *many[:28]).ops) == 28


def test_skips_name_notes_and_unknown_ones_are_left_out() -> None:
    skips = [
        ProposedSkip("n1", "Duplicate", "n2"),
        ProposedSkip("n2", "duplicate", "API timeout"),
        ProposedSkip("n9", "empty"),
    ]
    found = resolved(SNAPSHOT, NOTES, skips=skips).skips
    assert [(skip.note, skip.why, skip.same_as) for skip in found] == [
        (NOTES[0].id, "duplicate", NOTES[1].id),
        (NOTES[1].id, "duplicate", "API timeout"),
    ]


def test_operations_keep_their_place_in_an_answer_some_of_which_had_no_shape() -> None:
    shapeless = Refusal(1, "append", "", "bad_shape", "It is a number.")
    answer = Answer((an_op("append", "f1", TEXT),), (), "", (shapeless,))
    found = validation.resolve(handles_of(SNAPSHOT, NOTES), answer, SNAPSHOT, repaired=True)
    assert [(op.number, op.repaired) for op in found.ops] == [(2, True)]
    assert found.refused == (shapeless,)
    assert EARLIER.id not in found.handles
