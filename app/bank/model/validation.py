"""What of a model's answer is carried out, and which notes are in the bank then.

Pure functions that never fail: whatever the answer says, each operation is carried out or refused with a reason, and
each note is kept, skipped for a reason that was verified, or uncovered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from app.bank.document.edits import AppliedEdit, Plan
from app.bank.document.layout import Layout
from app.bank.document.markdown import parse
from app.bank.document.provenance import blocks_of
from app.bank.document.safety import INSTRUCTION, SECRET, made_safe, safe_note
from app.bank.document.text import hard_tokens
from app.bank.extract.pages import Filed
from app.bank.extract.snapshot import Snapshot
from app.bank.extract.synthesis import LONGEST, synthesis_of
from app.bank.model.carrying import Carried, carry
from app.bank.model.coverage import Coverage, Joined, Uncovered, said_of, verified
from app.bank.model.grounding import is_placeholder
from app.bank.model.outlook import is_invented
from app.bank.model.policy import Policy
from app.bank.model.proposals import DELETE_SECTION, Refusal, ResolvedOp, ResolvedSkip
from app.bank.model.sheets import Sheets, as_lists
from app.bank.model.targets import Resolution, resolve
from app.notes.models import Note

__all__ = ["Policy", "Resolution", "Uncovered", "Verdict", "carry_out", "complaints", "finish", "resolve"]

_SHOWN: Final = 60
_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer makes of a bank."""

    plan: Plan
    """What is carried out. `filed` are the notes that are in the bank then; its synthesis is that of the verdict."""
    refused: tuple[Refusal, ...]
    uncovered: tuple[Uncovered, ...]
    """The other notes, in the order given."""
    flagged: tuple[str, ...]
    """What was found in texts and notes that may not enter the bank as it stands."""
    synthesis: str
    """The model's synthesis, or nothing when it is not acceptable."""
    ops: tuple[ResolvedOp, ...]
    """The operations that are carried out; with those of a repair after them they can be carried out again."""
    skips: tuple[ResolvedSkip, ...] = ()
    """As given."""
    cited: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Path, then block digest: the uncovered notes that the block cites. They are not in the plan's provenance."""


class Extract(Protocol):
    """Files notes without a model."""

    def __call__(
        self,
        files: Mapping[str, str],
        provenance: Mapping[str, Mapping[str, Sequence[str]]],
        refs: Mapping[str, Filed],
        layout: Layout,
        notes: Sequence[Note],
    ) -> Plan: ...


def carry_out(
    snapshot: Snapshot,
    notes: Sequence[Note],
    ops: Sequence[ResolvedOp],
    skips: Sequence[ResolvedSkip],
    synthesis: str,
    *,
    policy: Policy,
) -> Verdict:
    """Carry operations out on a version of the bank; `notes` are those of the batch that are still to be filed."""
    safe: dict[str, Note] = {}
    wanted: dict[str, Note] = {}
    flagged: list[str] = []
    for note in notes:
        if note.id not in safe:
            safe[note.id], found = safe_note(note)
            # A quotation adds words that nobody must repeat; a secret takes some that nobody may.
            wanted[note.id] = safe[note.id] if SECRET in found else note
            flagged += [f"note {note.id}: {flag}" for flag in found]
    coverage = Coverage(wanted.values(), policy)
    refused: list[Refusal] = []
    rest = list(ops)
    while True:
        sheets = Sheets(snapshot)
        carried = carry(sheets, safe, rest, policy)
        said = said_of(sheets)
        kept = {
            note_id: text for note_id, text in said.items() if note_id in safe and coverage.of(note_id, text).is_kept
        }
        idle = _idle(carried, kept, coverage)
        if not idle:
            break
        # An operation that keeps no note is only noise, and others may have relied on it: all is done again without it.
        refused += [_vague(carried.accepted[at]) for at in idle]
        dropped = {id(carried.accepted[at]) for at in idle}
        rest = [op for op in rest if id(op) not in dropped]
    joined = verified(sheets, skips, kept, coverage)
    filed = tuple(dict.fromkeys(note.id for note in notes if note.id in kept or note.id in joined))
    cited = {note_id for op in carried.accepted for note_id in op.sources}
    uncovered = tuple(
        Uncovered(note_id, tuple(sorted(coverage.of(note_id, said.get(note_id, "")).missing)), note_id in cited)
        for note_id in safe
        if note_id not in kept and note_id not in joined
    )
    files, broken = _contents(sheets)
    if broken:  # pragma: no cover - every operation was checked when it was carried out
        empty = carry_out(snapshot, notes, (), skips, synthesis, policy=policy)
        reason = f"{', '.join(sorted(broken))} would not read as it was written."
        failed = (Refusal(op.number, op.op, op.path, "structure", reason) for op in carried.accepted)
        return replace(empty, refused=(*carried.refused, *refused, *failed))
    accepted, doubts = _acceptable(synthesis, sheets, list(safe.values()))
    provenance, pending = _provenance(sheets, {found.note for found in uncovered})
    edits = [edit for number in range(len(carried.accepted)) for edit in carried.edits[number]]
    edits += [_join(found) for _, found in sorted(joined.items()) if found.path]
    return Verdict(
        plan=Plan(files=files, provenance=provenance, edits=tuple(edits), filed=filed, synthesis=accepted),
        refused=tuple(sorted([*carried.refused, *refused], key=lambda refusal: refusal.number)),
        uncovered=uncovered,
        flagged=(*carried.flagged, *flagged, *doubts),
        synthesis=accepted,
        ops=tuple(carried.accepted),
        skips=tuple(skips),
        cited=pending,
    )


def finish(snapshot: Snapshot, verdict: Verdict, notes: Sequence[Note], extract: Extract) -> Plan:
    """The plan that files every note: those the verdict leaves uncovered are filed without a model."""
    files = {**snapshot.files, **verdict.plan.files}
    left = {found.note for found in verdict.uncovered}
    if not left:
        synthesis = verdict.synthesis or synthesis_of(
            files, verdict.plan.provenance, _refs(snapshot, notes), snapshot.layout
        )
        return replace(verdict.plan, synthesis=synthesis)
    refs = _refs(snapshot, [note for note in notes if note.id not in left])
    rest = {note.id: safe_note(note)[0] for note in notes if note.id in left}
    plan = extract(files, verdict.plan.provenance, refs, snapshot.layout, list(rest.values()))
    changed = {**verdict.plan.files, **plan.files}
    return Plan(
        files={path: content for path, content in sorted(changed.items()) if snapshot.files.get(path) != content},
        provenance=_with(plan.provenance, verdict, {**files, **plan.files}),
        edits=(*verdict.plan.edits, *plan.edits),
        filed=tuple(dict.fromkeys(note.id for note in notes)),
        synthesis=verdict.synthesis or plan.synthesis,
    )


def complaints(verdict: Verdict, resolution: Resolution) -> list[str]:
    """What a model is told of its answer, so that it can repair it."""
    found = [
        f"op {refusal.number} ({refusal.verb[:_SHOWN]}, {refusal.code}): {refusal.reason}"
        for refusal in sorted((*resolution.refused, *verdict.refused), key=lambda refusal: refusal.number)
    ]
    for note in verdict.uncovered:
        handle = resolution.handles.get(note.note, note.note)
        if not note.cited:
            found.append(f"{handle} uncovered")
        elif note.missing:
            shown = ", ".join(f'"{token[:_SHOWN]}"' for token in note.missing[:_LISTED])
            found.append(f"{handle} not kept: missing {shown}")
        else:
            found.append(f"{handle} not kept: the texts that cite it say too little of it")
    if len(verdict.skips) * 2 > len(verdict.plan.filed) + len(verdict.uncovered):
        found.append("More than half of the notes were skipped: file them, unless the bank says the same already.")
    return found


def _idle(carried: Carried, kept: Mapping[str, str], coverage: Coverage) -> list[int]:
    """The operations that give nothing of any note that is kept."""
    return [
        at
        for at, op in enumerate(carried.accepted)
        if op.op != DELETE_SECTION
        and not any(note_id in kept and coverage.of(note_id, carried.texts[at]).touches for note_id in op.sources)
    ]


def _vague(op: ResolvedOp) -> Refusal:
    target = " > ".join((op.path, *op.section_path))[:200]
    reason = "It keeps none of the notes it cites: say what they say, with their names, numbers and references."
    return Refusal(op.number, op.op, target, "ungrounded", reason)


def _contents(sheets: Sheets) -> tuple[dict[str, str], set[str]]:
    """The files that changed, and those that do not read as they were written."""
    files: dict[str, str] = {}
    broken: set[str] = set()
    for path, sheet in sorted(sheets.opened.items()):
        content = sheet.document.render()
        if content == sheet.before:
            continue
        files[path] = content
        read = parse(content)
        if read.outline() != sheet.document.outline() or read.is_open != sheet.document.is_open:
            broken.add(path)
    return files, broken


def _provenance(
    sheets: Sheets, uncovered: set[str]
) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, tuple[str, ...]]]]:
    """The whole new map without the uncovered notes, and where these are cited."""
    new: dict[str, dict[str, list[str]]] = {}
    pending: dict[str, dict[str, tuple[str, ...]]] = {}
    old = sheets.snapshot.provenance
    for path in sorted({*old, *sheets.opened}):
        sheet = sheets.opened.get(path)
        if sheet is None:
            new[path] = {block: list(ids) for block, ids in old[path].items()}
            continue
        cites = {block: tuple(sorted(ids & uncovered)) for block, ids in sheet.sources.items() if ids & uncovered}
        new[path] = as_lists({**sheet.sources, **{block: sheet.sources[block] - uncovered for block in cites}})
        if cites:
            pending[path] = cites
    return {path: blocks for path, blocks in new.items() if blocks}, pending


def _with(
    provenance: Mapping[str, Mapping[str, Sequence[str]]], verdict: Verdict, files: Mapping[str, str]
) -> dict[str, dict[str, list[str]]]:
    """Provenance with the blocks that cite notes which the model did not keep but which are filed now."""
    found = {path: {block: list(ids) for block, ids in blocks.items()} for path, blocks in provenance.items()}
    for path, blocks in verdict.cited.items():
        if path not in files:
            continue
        present = found.setdefault(path, {})
        there = {placed.digest for placed in blocks_of(files[path])}
        for block, ids in blocks.items():
            if block in there:
                present[block] = sorted({*present.get(block, []), *ids})
    return {path: blocks for path, blocks in found.items() if blocks}


def _acceptable(synthesis: str, sheets: Sheets, notes: Sequence[Note]) -> tuple[str, list[str]]:
    """The synthesis when it is one, and what was found in it."""
    text, flags = made_safe(synthesis, "")
    text = text.strip()
    found = [f"synthesis: {flag}" for flag in flags]
    if not text or len(text) > LONGEST or is_placeholder(text) or INSTRUCTION in flags:
        return "", found
    if sheets.missing(hard_tokens(text)) or is_invented(text, sheets, notes):
        return "", found
    return text, found


def _join(found: Joined) -> AppliedEdit:
    return AppliedEdit("join", found.path, (), found.text, (found.note,), "llm")


def _refs(snapshot: Snapshot, notes: Sequence[Note]) -> dict[str, Filed]:
    return {
        **snapshot.refs,
        **{note.id: Filed(note.timestamp, note.agent, note.category) for note in notes if note.id not in snapshot.refs},
    }
