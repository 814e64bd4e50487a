from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.blocks import ITEM, split_body
from app.bank.document.bullets import anatomy
from app.bank.document.markdown import parse
from app.bank.document.paths import bank_path
from app.bank.document.provenance import blocks_of
from app.bank.document.text import fold, hard_tokens, missing
from app.bank.extract.extractive import consolidate
from app.bank.extract.snapshot import Snapshot
from app.bank.model import validation
from app.bank.model.carrying import carry
from app.bank.model.policy import Policy, size_of
from app.bank.model.proposals import VERBS, Answer, ProposedOp, ProposedSkip, ResolvedOp, ResolvedSkip
from app.bank.model.sheets import Sheets
from app.bank.model.validation import Verdict
from app.notes.models import Note
from tests.unit.bank.answering import FILES, a_snapshot, handles_of
from tests.unit.bank.strategies import anything, markdown, note_lists

_PATHS = st.one_of(
    st.sampled_from(
        (
            *FILES,
            "progress.md",
            "persona-ann.md",
            "PROGRESS.md",
            "../../other/_meta.json",
            "/etc/passwd.md",
            "_rules.md",
            "bank/x.md",
            "a\\b.md",
            "a\x00.md",
            "extra.md",
        )
    ),
    st.text(max_size=12),
)
_TITLES = st.one_of(
    st.sampled_from(
        (
            "Observations",
            "Next steps",
            "Later",
            "API timeout is 30",
            "Billing uses MariaDB 10",
            "x",
            "# y",
            "persona-bob.md",
        )
    ),
    st.text(max_size=12),
)
_SECTIONS = st.one_of(
    st.sampled_from(
        (
            (),
            ("Active context",),
            ("Active context", "Observations"),
            ("Active context", "Next steps"),
            ("Active context", "Next steps", "Later"),
            ("Decisions",),
            ("Project brief", "Goal"),
        )
    ),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
)
_BANKS = st.one_of(
    st.just(FILES), st.dictionaries(st.sampled_from((*FILES, "progress.md", "other.md")), markdown, max_size=4)
)


@st.composite
def _texts(draw: st.DrawFn, notes: Sequence[Note]) -> str:
    note = draw(st.sampled_from(notes))
    text: str = draw(
        st.one_of(
            st.just(f"- {note.content}"),
            st.just(note.content),
            anything,
            st.sampled_from(
                ("- API timeout is 45 s", "", "...", "- nothing much was said here", "<script>x</script> 7")
            ),
            st.just(f"- first\n\n| a | b |\n|---|---|\n| {note.content[:20]} | 2 |"),
        )
    )
    return text


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]]:
    notes = draw(note_lists(most=5))
    ids = [note.id for note in notes]
    ops = draw(
        st.lists(
            st.builds(
                ResolvedOp,
                number=st.integers(1, 9),
                op=st.one_of(st.sampled_from(VERBS), st.text(max_size=5)),
                path=_PATHS,
                section_path=_SECTIONS,
                title=_TITLES,
                text=_texts(notes),
                sources=st.lists(st.sampled_from([*ids, "gone.md"]), max_size=3).map(tuple),
                reason=st.sampled_from(("", "because")),
                shown=st.booleans(),
                seen=st.sampled_from(("", "", "0" * 16)),
                repaired=st.booleans(),
            ),
            max_size=6,
        )
    )
    skips = draw(
        st.lists(
            st.builds(
                ResolvedSkip,
                note=st.sampled_from([*ids, "gone.md"]),
                why=st.sampled_from(("duplicate", "empty", "bored")),
                same_as=st.one_of(
                    st.sampled_from(ids), st.sampled_from(("API timeout is 30", "")), st.text(max_size=9)
                ),
            ),
            max_size=3,
        )
    )
    return a_snapshot(draw(_BANKS)), notes, ops, skips


def _carried(case: tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]], policy: Policy) -> Verdict:
    snapshot, notes, ops, skips = case
    return validation.carry_out(snapshot, notes, ops, skips, "Some words.", policy=policy)


@given(case=_cases(), extra=st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_operations_leave_a_bank_in_which_nothing_is_lost(
    case: tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]], *, extra: bool
) -> None:
    snapshot, notes, _, _ = case
    policy = Policy(extra_files=extra)
    verdict = _carried(case, policy)
    assert verdict == _carried(case, policy)
    left = [found.note for found in verdict.uncovered]
    assert sorted([*verdict.plan.filed, *left]) == sorted({note.id for note in notes})
    bank = {**snapshot.files, **verdict.plan.files}
    whole = fold("\n".join(bank.values()))
    for path, content in verdict.plan.files.items():
        assert path in snapshot.files or bank_path(path) == path
        assert snapshot.files.get(path) != content
        if path not in snapshot.files:
            assert extra or snapshot.layout.allows(path)
        rule = snapshot.layout.rule_of(path)
        if rule is not None and rule.append_only and path in snapshot.files:
            there = {placed.digest for placed in blocks_of(content)}
            assert {placed.digest for placed in blocks_of(snapshot.files[path])} - there == set() or "\n  " in content
    for content in snapshot.files.values():
        assert not missing(hard_tokens(content), whole)
    present = {path: {placed.digest for placed in blocks_of(content)} for path, content in bank.items()}
    for path, blocks in verdict.plan.provenance.items():
        if path in verdict.plan.files:
            assert set(blocks) <= present[path]
        assert not {note_id for ids in blocks.values() for note_id in ids} & set(left)


@given(case=_cases())
@settings(max_examples=60, deadline=None)
def test_the_bytes_that_are_counted_are_those_of_the_files(
    case: tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]],
) -> None:
    snapshot, notes, ops, _ = case
    sheets = Sheets(snapshot)
    carry(sheets, {note.id: note for note in notes}, ops, Policy(extra_files=True))
    assert sheets.size() == sum(size_of(sheets.content(path)) for path in {*snapshot.files, *sheets.opened})
    for sheet in sheets.opened.values():
        assert sheet.bytes == size_of(sheet.document.render())


@given(case=_cases())
@settings(max_examples=60, deadline=None)
def test_the_finished_plan_files_every_note(
    case: tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]],
) -> None:
    snapshot, notes, _, _ = case
    verdict = _carried(case, Policy())
    plan = validation.finish(snapshot, verdict, notes, consolidate)
    assert set(plan.filed) == {note.id for note in notes}
    assert plan.synthesis
    for path, content in plan.files.items():
        assert snapshot.files.get(path) != content
    cited = {note_id for blocks in plan.provenance.values() for ids in blocks.values() for note_id in ids}
    silent = {skip.note for skip in verdict.skips}
    assert set(plan.filed) <= cited | silent


@given(case=_cases())
@settings(max_examples=80, deadline=None)
def test_carrying_out_again_on_the_result_doubles_nothing(
    case: tuple[Snapshot, list[Note], list[ResolvedOp], list[ResolvedSkip]],
) -> None:
    snapshot, notes, _, skips = case
    first = _carried(case, Policy())
    after = replace(snapshot, files={**snapshot.files, **first.plan.files}, provenance=first.plan.provenance)
    again = validation.carry_out(after, notes, first.ops, skips, "", policy=Policy())
    for path, content in again.plan.files.items():
        assert _entries(content) <= _entries(after.files.get(path, ""))


def _entries(content: str) -> set[tuple[str, int]]:
    """Every list item that is there, and how often."""
    cores = [
        anatomy(block.raw).core
        for section in parse(content).sections
        for block in split_body(section.body)
        if block.kind == ITEM
    ]
    return {(core, cores.count(core)) for core in cores if core}


@given(
    ops=st.lists(
        st.builds(
            ProposedOp,
            op=st.one_of(st.sampled_from(VERBS), st.text(max_size=5)),
            at=st.one_of(
                st.sampled_from(("f1", "s1", "s2", "[S3]", "s99", "observations", "decisions.md", "")), anything
            ),
            title=_TITLES,
            text=anything,
            sources=st.lists(st.one_of(st.sampled_from(("n1", "N2", "n99")), st.text(max_size=4)), max_size=3).map(
                tuple
            ),
            reason=st.text(max_size=3),
        ),
        max_size=6,
    ),
    skips=st.lists(
        st.builds(ProposedSkip, note=st.text(max_size=3), why=st.text(max_size=5), same_as=anything), max_size=3
    ),
    notes=note_lists(most=3),
    files=_BANKS,
)
@settings(max_examples=100, deadline=None)
def test_every_proposed_operation_is_resolved_or_refused(
    ops: list[ProposedOp], skips: list[ProposedSkip], notes: list[Note], files: dict[str, str]
) -> None:
    snapshot = a_snapshot(files)
    handles = handles_of(snapshot, notes)
    found = validation.resolve(handles, Answer(tuple(ops), tuple(skips)), snapshot)
    assert sorted([op.number for op in found.ops] + [no.number for no in found.refused]) == list(range(1, len(ops) + 1))
    for op in found.ops:
        assert op.path in files or bank_path(op.path) == op.path
        assert op.sources
        assert set(op.sources) <= {note.id for note in notes}
    verdict = validation.carry_out(snapshot, notes, found.ops, found.skips, "", policy=Policy())
    assert all(complaint for complaint in validation.complaints(verdict, found))
