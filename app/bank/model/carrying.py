"""Carries operations out on a bank, one after the other, each wholly or not at all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.bank.document.bullets import utc
from app.bank.document.edits import AppliedEdit, EditRefused
from app.bank.document.layout import title_from
from app.bank.document.markdown import heading_line, heading_of, parse
from app.bank.document.paths import bank_path
from app.bank.document.safety import INSTRUCTION, made_safe
from app.bank.document.text import clean
from app.bank.model.grounding import is_placeholder
from app.bank.model.policy import Policy, size_of
from app.bank.model.proposals import (
    ADD_SECTION,
    CREATE_FILE,
    DELETE_SECTION,
    REPLACE,
    SUPERSEDE,
    VERBS,
    Refusal,
    ResolvedOp,
)
from app.bank.model.sheets import Changed, Checkpoint, Sheet, Sheets, checkpoint, roll_back
from app.bank.model.tracing import Job, settle
from app.bank.model.verbs import Verbs
from app.notes.models import Category, Note

_LONGEST_TITLE: Final = 200
_SHOWN: Final = 60
_LISTED: Final = 8


@dataclass(slots=True)
class Carried:
    """What became of a sequence of operations."""

    accepted: list[ResolvedOp] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    edits: dict[int, list[AppliedEdit]] = field(default_factory=dict)
    """By the place of the operation among the accepted."""
    texts: list[str] = field(default_factory=list)
    """What each accepted operation says, as it was carried out."""
    flagged: list[str] = field(default_factory=list)


def carry(sheets: Sheets, notes: Mapping[str, Note], ops: Sequence[ResolvedOp], policy: Policy) -> Carried:
    """Carry the operations out in their order. `notes` are those that wait, by id, their content made safe."""
    return _Carrier(sheets, notes, policy).carry(ops)


class _Carrier:
    def __init__(self, sheets: Sheets, notes: Mapping[str, Note], policy: Policy) -> None:
        self._sheets = sheets
        self._notes = notes
        self._policy = policy
        self._verbs = Verbs(sheets, notes, policy)
        self._carried = Carried()
        self._bytes = sheets.size()

    def carry(self, ops: Sequence[ResolvedOp]) -> Carried:
        for op in ops:
            present = {note_id for note_id in op.sources if note_id in self._notes}
            if op.sources and not present:
                # Somebody else has filed all it is about.
                continue
            try:
                self._check(op, present)
                self._carry(op)
            except EditRefused as refused:
                target = " > ".join((op.path, *op.section_path))[:_LONGEST_TITLE]
                self._carried.refused.append(Refusal(op.number, op.op, target, refused.code, str(refused)))
        return self._carried

    def _check(self, op: ResolvedOp, present: Collection[str]) -> None:
        if op.op not in VERBS:
            raise EditRefused("unknown_op", f"There is no operation '{op.op[:_SHOWN]}'.")
        if not op.sources:
            raise EditRefused("no_sources", "It cites no note.")
        if len(present) < len(set(op.sources)):
            raise EditRefused("unknown_note", "It cites a note that is not waiting, or no longer.")
        if size_of(op.text) > self._policy.op_bytes:
            raise EditRefused("too_large", f"Its text is over {self._policy.op_bytes} bytes.")
        if len(op.title) > _LONGEST_TITLE and op.op in {ADD_SECTION, CREATE_FILE}:
            raise EditRefused("too_large", f"Its title is over {_LONGEST_TITLE} characters.")
        if op.op != DELETE_SECTION and is_placeholder(op.text):
            raise EditRefused("bad_shape", "It has no text.")

    def _carry(self, op: ResolvedOp) -> None:
        name = self._sheets.name(op.path)
        # A replacement repeats lines that are there; they were judged when they came.
        known = self._sheets.prose(name, op.section_path, op.seen) if name and op.op == REPLACE else ()
        author = ", ".join(sorted({self._notes[note_id].identity for note_id in op.sources}))
        text, flags = made_safe(op.text, author, known=known)
        title = " ".join(clean(op.title[: 2 * _LONGEST_TITLE]).split())
        if op.op == ADD_SECTION:
            title, more = made_safe(title, "")
            flags += more
        if INSTRUCTION in flags:
            raise EditRefused("unsafe_content", "Its text tells agents what to do; say what the note says, as a fact.")
        if op.op != DELETE_SECTION and is_placeholder(text):
            raise EditRefused("bad_shape", "It has no text.")
        text = text.strip("\n") if text.strip() else ""
        if parse(text).front:
            raise EditRefused("structure", "The text begins with front matter.")
        sheet, point = self._sheet(op, text)
        try:
            job = Job(op, text, title, sheet, point, self._moment(op))
            self._allowed(job)
            self._verbs.do(job)
            done = settle(job)
            self._within_limits(sheet, done)
        except EditRefused:
            self._undo(sheet, point)
            raise
        self._bytes += done.bytes - sheet.bytes
        sheet.bytes = done.bytes
        self._carried.edits[len(self._carried.accepted)] = job.edits
        self._carried.accepted.append(op)
        self._carried.texts.append(f"{title}\n{text}" if op.op == ADD_SECTION else text)
        self._carried.flagged += [f"op {op.number}: {flag} in {sheet.path}" for flag in sorted(set(flags))]

    def _sheet(self, op: ResolvedOp, text: str) -> tuple[Sheet, Checkpoint | None]:
        """The file of an operation; it is made when it is missing and may be made."""
        if known := self._sheets.name(op.path):
            sheet = self._sheets.open(known)
            return sheet, checkpoint(sheet)
        path = bank_path(op.path)
        if path is None:
            raise EditRefused("bad_path", f"'{op.path[:_SHOWN]}' is no name for a file of the bank.")
        if known := self._sheets.name(path):
            sheet = self._sheets.open(known)
            return sheet, checkpoint(sheet)
        layout = self._sheets.snapshot.layout
        if not layout.allows(path) and not self._policy.extra_files:
            named = ", ".join(rule.path for rule in (*layout.files, *layout.patterns)[:_LISTED])
            raise EditRefused("file_not_allowed", f"The rules name no file '{path}'; they name {named}.")
        if op.op in {REPLACE, SUPERSEDE, DELETE_SECTION} or op.section_path:
            raise EditRefused("unknown_target", f"There is no file '{path}'.")
        if self._sheets.count() >= self._policy.max_files:
            raise EditRefused("file_not_allowed", f"The bank has {self._policy.max_files} files already.")
        rule = layout.rule_of(path)
        title = rule.title if rule is not None and not rule.is_pattern else title_from(path)
        content = heading_line(1, title, "\n")
        if op.op == CREATE_FILE:
            first = heading_of(text.lstrip("\n").split("\n", 1)[0])
            content = f"{text}\n" if first and first[0] == 1 else f"{content}\n{text}\n"
        document = parse(content)
        if document.is_open or document.front:
            raise EditRefused("structure", "The text leaves a fence or a comment open.")
        sheet = self._sheets.create(path, document)
        return sheet, None

    def _undo(self, sheet: Sheet, point: Checkpoint | None) -> None:
        if point is None:
            self._sheets.forget(sheet.path)
        else:
            roll_back(sheet, point)

    def _moment(self, op: ResolvedOp) -> tuple[datetime, str]:
        return max((utc(self._notes[note_id].timestamp), note_id) for note_id in op.sources)

    def _allowed(self, job: Job) -> None:
        op, sheet = job.op, job.sheet
        if sheet.protected:
            decided = any(self._notes[note_id].category == Category.DECISION.value for note_id in op.sources)
            if not decided or not op.reason.strip():
                raise EditRefused("protected", f"'{sheet.path}' changes only with a decision note and a reason.")
        if sheet.append_only and op.op in {REPLACE, DELETE_SECTION}:
            raise EditRefused("append_only", f"'{sheet.path}' is append-only: nothing is replaced or deleted in it.")

    def _within_limits(self, sheet: Sheet, done: Changed) -> None:
        policy, now = self._policy, done.bytes
        if now > policy.file_bytes and now > sheet.bytes:
            raise EditRefused("too_large", f"'{sheet.path}' would be over {policy.file_bytes} bytes.")
        if now > sheet.bytes and self._bytes + now - sheet.bytes > policy.bank_bytes:
            raise EditRefused("too_large", f"The bank would be over {policy.bank_bytes} bytes.")
        for section in (sheet.document.sections[at] for at in done.now):
            grown = size_of(section.body)
            if grown > policy.section_bytes and grown > done.size_before(section):
                raise EditRefused(
                    "too_large", f"'{section.title[:_SHOWN]}' would be over {policy.section_bytes} bytes."
                )
