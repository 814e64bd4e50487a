"""Operations that were resolved on one version of the bank and are carried out on a later one."""

from collections.abc import Sequence

import pytest

from app.bank.extract.extractive import consolidate
from app.bank.extract.snapshot import Snapshot
from app.bank.model import validation
from app.bank.model.policy import Policy
from app.bank.model.proposals import ProposedOp
from app.bank.model.validation import Verdict
from app.notes.models import Note
from tests.unit.bank.answering import ACTIVE, DECISIONS, FILES, RULES, a_snapshot, an_op, at, resolved
from tests.unit.bank.projects import a_note

SNAPSHOT = a_snapshot()
OBSERVATIONS = at(SNAPSHOT, "Observations")
NEXT = at(SNAPSHOT, "Next steps")
NOTE = a_note("The API timeout is now 45 s")
OTHER = a_note("Ann likes tea from Assam", category="insight")
LINE = "- 2026-03-02 API timeout is 45 s"
CHANGED = ACTIVE.replace("`redis-7`\n", "`redis-7`\n- somebody added this by hand\n")


def on(later: Snapshot, notes: Sequence[Note], *ops: ProposedOp, known: Sequence[Note] | None = None) -> Verdict:
    """The operations resolved on the first version, carried out on a later one."""
    resolution = resolved(SNAPSHOT, notes if known is None else known, *ops)
    assert not resolution.refused
    return validation.carry_out(later, notes, resolution.ops, (), "", policy=Policy())


def with_active(content: str) -> Snapshot:
    return a_snapshot({**FILES, "activeContext.md": content})


def test_an_untouched_target_is_changed_as_proposed_whatever_happened_elsewhere() -> None:
    later = a_snapshot({**FILES, "decisions.md": f"{DECISIONS}- something new\n"})
    text = "- [ ] 2026-02-22 write the guide for v2; the API timeout is 45 s"
    verdict = on(later, [NOTE], an_op("replace", NEXT, text))
    assert [edit.op for edit in verdict.plan.edits] == ["replace"]
    assert verdict.plan.filed == (NOTE.id,)


@pytest.mark.parametrize("verb", ["append", "prepend", "add_section"])
def test_additions_still_apply_to_a_changed_target(verb: str) -> None:
    verdict = on(with_active(CHANGED), [NOTE], an_op(verb, OBSERVATIONS, LINE, title="Limits"))
    content = verdict.plan.files["activeContext.md"]
    assert LINE in content
    assert "somebody added this by hand" in content


@pytest.mark.parametrize("verb", ["replace", "delete_section"])
def test_a_changed_target_is_neither_replaced_nor_deleted(verb: str) -> None:
    text = f"- 2026-02-20 2026-02-21 API timeout 30 s, `redis-7` cache lives\n{LINE}"
    op = an_op(verb, OBSERVATIONS, text if verb == "replace" else "")
    verdict = on(with_active(CHANGED), [NOTE], op)
    assert verdict.plan.files == {}
    assert [refusal.code for refusal in verdict.refused] == ["lossy"]


def test_a_bullet_is_superseded_as_long_as_it_is_there_once() -> None:
    op = an_op("supersede", OBSERVATIONS, LINE, title="API timeout is 30")
    content = on(with_active(CHANGED), [NOTE], op).plan.files["activeContext.md"]
    assert "- ~~2026-02-20 API timeout is 30 s~~ (superseded 2026-03-02)" in content
    twice = CHANGED.replace("- somebody", "- API timeout is 30 s for uploads\n- somebody")
    assert [no.code for no in on(with_active(twice), [NOTE], op).refused] == ["ambiguous_target"]
    gone = CHANGED.replace("- 2026-02-20 API timeout is 30 s\n", "")
    assert [no.code for no in on(with_active(gone), [NOTE], op).refused] == ["unknown_target"]


def test_a_target_that_is_gone_is_refused() -> None:
    gone = with_active(ACTIVE.replace("## Observations", "## Remarks"))
    (refusal,) = on(gone, [NOTE], an_op("append", OBSERVATIONS, LINE)).refused
    assert refusal.code == "unknown_target"
    assert '"Remarks"' in refusal.reason


def test_a_section_is_found_by_what_was_in_it_when_its_title_is_there_twice() -> None:
    twice = with_active(f"{ACTIVE}\n## Observations\n\n- the second of that name\n")
    content = on(twice, [NOTE], an_op("append", OBSERVATIONS, LINE)).plan.files["activeContext.md"]
    assert f"`redis-7`\n{LINE}\n" in content


def test_a_file_that_is_gone_is_made_again_for_what_is_added_to_it() -> None:
    files = {path: content for path, content in FILES.items() if path != "activeContext.md"}
    verdict = on(a_snapshot(files), [NOTE], an_op("append", "f1", LINE))
    assert verdict.plan.files == {"activeContext.md": f"# Active context\n\n{LINE}\n"}
    assert [edit.op for edit in verdict.plan.edits] == ["create_file", "append"]
    refused = on(a_snapshot(files), [NOTE], an_op("append", OBSERVATIONS, LINE)).refused
    assert [refusal.code for refusal in refused] == ["unknown_target"]


def test_a_file_that_somebody_else_created_takes_what_is_new() -> None:
    later = a_snapshot({**FILES, "persona-ann.md": f"# Persona ann\n\n{LINE}\n"})
    op = an_op("create_file", "", f"{LINE}\n- API too", title="persona-ann.md")
    verdict = on(later, [NOTE], op)
    assert verdict.plan.files == {"persona-ann.md": f"# Persona ann\n\n{LINE}\n- API too\n"}


def test_operations_that_cite_only_notes_filed_by_others_are_dropped_silently() -> None:
    ops = (an_op("append", OBSERVATIONS, LINE, "n1"), an_op("append", NEXT, "- Ann likes tea from Assam", "n2"))
    verdict = on(SNAPSHOT, [OTHER], *ops, known=[NOTE, OTHER])
    assert verdict.refused == ()
    assert verdict.plan.filed == (OTHER.id,)
    assert [op.number for op in verdict.ops] == [2]


def test_an_operation_some_of_whose_notes_were_filed_by_others_is_refused() -> None:
    text = f"{LINE}\n- Ann likes tea from Assam"
    verdict = on(SNAPSHOT, [OTHER], an_op("append", OBSERVATIONS, text, "n1", "n2"), known=[NOTE, OTHER])
    assert [refusal.code for refusal in verdict.refused] == ["unknown_note"]
    assert [left.note for left in verdict.uncovered] == [OTHER.id]
    assert on(SNAPSHOT, [NOTE, OTHER], an_op("append", OBSERVATIONS, text, "n1", "n2")).refused == ()


def test_changed_rules_are_the_rules_that_hold() -> None:
    op = an_op("replace", NEXT, "- [ ] 2026-02-22 write the guide for v2; the API timeout is 45 s")
    stricter = RULES.replace("the current state.", "the current state. Append-only.")
    verdict = on(a_snapshot(rules=stricter), [NOTE], op)
    assert [refusal.code for refusal in verdict.refused] == ["append_only"]


def test_what_others_filed_meanwhile_is_not_doubled() -> None:
    mine = on(SNAPSHOT, [NOTE, OTHER], an_op("append", OBSERVATIONS, LINE))
    plan = validation.finish(SNAPSHOT, mine, [NOTE, OTHER], consolidate)
    later = a_snapshot({**FILES, **plan.files})
    again = on(later, [NOTE], an_op("append", OBSERVATIONS, LINE))
    assert again.plan.files == {}
    assert again.plan.filed == (NOTE.id,)
