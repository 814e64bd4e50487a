"""A model's answer, understood as far as it can be without believing it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.bank.model import shapes
from app.bank.model.proposals import Answer, ProposedOp, ProposedSkip, Refusal
from app.bank.model.salvage import (
    Cut,
    Found,
    encoded_text,
    loads,
    scan,
    without_fence,
    without_reasoning,
)

MAX_BYTES: Final = 600 * 1024
"""Nobody who files a few notes writes more."""
START: Final = 5_000
MAX_BRACKETS: Final = 1_500
"""More of them in the first START characters are a nesting bomb, not an answer."""
OPS_PER_NOTE: Final = 4
SPARE_OPS: Final = 20

MAX_WRAPS: Final = 5
MAX_ENCODINGS: Final = 2
MAX_VALUES: Final = 500
MAX_ANSWERS: Final = 8
"""So many answers in one list may be attempts at the same."""
MAX_RATIO: Final = 4
COST_OF_TEXT: Final = 1_000
"""Texts encoded in the text are read as long as this keeps the work in proportion to its length."""

_WRAPPERS: Final = ("response", "result", "output", "arguments", "answer", "data", "json", "function", "parameters")
_OF_AN_OP: Final = frozenset({"at", "title", "text", "sources"})
_BRACKETS: Final = frozenset("{[")


@dataclass(frozen=True, slots=True)
class _Draft:
    """The parts of an answer, not yet in shape."""

    ops: Sequence[object] = ()
    skips: Sequence[object] = ()
    synthesis: object = None
    is_whole: bool = True


@dataclass(slots=True)
class _Loose:
    """Parts that stand by themselves."""

    ops: list[object] = field(default_factory=list)
    skips: list[object] = field(default_factory=list)
    synthesis: object = None
    is_edits: bool = False

    def draft(self, *, is_whole: bool) -> _Draft | None:
        if not self.ops and not self.skips:
            return None
        return _Draft(self.ops, self.skips, self.synthesis, is_whole and not self.is_edits)


def read(text: str, *, notes: int, is_cut: bool = False) -> Answer | None:
    """What a model answered, or None when nothing of it can be used and it must be asked again.

    `notes` is how many notes it was given. `is_cut` says that it was stopped before it had finished: only an answer
    that is closed all the same is then taken for whole. Never raises, whatever the text.
    """
    draft = _Reading(text, is_cut=is_cut).draft()
    if draft is None:
        return None
    answer = _in_shape(draft, notes)
    if not draft.is_whole and not answer.ops and not answer.skips:
        return None
    return answer


class _Reading:
    """One attempt at understanding a text and the texts encoded in it, each of them once."""

    def __init__(self, text: str, *, is_cut: bool) -> None:
        self._text = text
        self._is_cut = is_cut
        self._tried: set[str] = set()
        self._left = MAX_RATIO * (len(text) + COST_OF_TEXT)

    def draft(self) -> _Draft | None:
        return self._of_text(self._text, MAX_ENCODINGS)

    def _of_text(self, text: str, encodings: int) -> _Draft | None:
        self._left -= len(text) + COST_OF_TEXT
        if self._left < 0 or text in self._tried or _is_excessive(text):
            return None
        self._tried.add(text)
        body = without_fence(without_reasoning(text))
        for candidate in dict.fromkeys((text, body)):
            # The whole text first: a string in it may hold what looks like reasoning or a fence.
            try:
                value = loads(candidate)
            except ValueError:
                continue
            if draft := self._of_value(value, encodings):
                return draft
        return self._in_prose(body, encodings)

    def _of_value(self, value: object, encodings: int) -> _Draft | None:
        """The answer that is all of the text."""
        if value == []:
            return _Draft()
        return self._envelope(value, encodings) or _loose_parts([value]).draft(is_whole=True)

    def _in_prose(self, body: str, encodings: int) -> _Draft | None:
        """The answer somewhere in a text: whole, in pieces, or up to where it was cut."""
        if encodings and (inner := encoded_text(body)) is not None:
            return self._of_text(inner, encodings - 1)
        found = scan(body)
        if draft := self._whole(found, encodings):
            return draft
        if draft := _loose_parts(found.pieces).draft(is_whole=False):
            return draft
        for broken in found.broken():
            # What was cut may be half of what was meant, its sources above all.
            partial = self._envelope(broken, 0)
            if partial and (partial.ops or partial.skips):
                return replace(partial, synthesis=None, is_whole=False)
        return None

    def _whole(self, found: Found, encodings: int) -> _Draft | None:
        """The last complete answer; where there is none, the parts, when nothing but parts was found."""
        for value in reversed(found.pieces[-MAX_VALUES:]):
            if draft := self._envelope(value, encodings):
                return draft
        if found.failures or self._is_cut:
            return None
        return _loose_parts(found.values).draft(is_whole=True)

    def _envelope(self, value: object, encodings: int, wraps: int = MAX_WRAPS) -> _Draft | None:
        """The answer that a value is, or has wrapped up."""
        wrapped: list[object] = []
        if isinstance(value, str) and encodings and not _BRACKETS.isdisjoint(value):
            return self._of_text(value, encodings - 1)
        if isinstance(value, list) and len(value) <= MAX_ANSWERS:
            wrapped = [one for one in reversed(value) if isinstance(one, dict)]
        elif isinstance(value, dict):
            if draft := self._of_fields(value, encodings):
                return draft
            wrapped = [value[key] for key in _WRAPPERS if key in value]
        inner = (self._envelope(one, encodings, wraps - 1) for one in wrapped if wraps)
        return next((draft for draft in inner if draft), None)

    def _of_fields(self, value: dict[str, object], encodings: int) -> _Draft | None:
        for key in ("ops", "operations"):
            ops = self._op_list(value[key], encodings) if key in value and "filename" not in value else None
            if ops is not None:
                skips = _skip_list(value.get("skipped"))
                return _Draft(_complete(ops), _complete(skips), value.get("synthesis"))
        for key in ("file_edits", "bank_files"):
            edits = value.get(key)
            if isinstance(edits, list):
                # Such edits do not say which notes they rest on, so they are never all that is needed.
                return _Draft(_edited(edits), (), value.get("synthesis"), is_whole=False)
        return None

    def _op_list(self, value: object, encodings: int) -> list[object] | None:
        """The operations under their key; None when that is no list of operations by any reading."""
        if isinstance(value, str):
            draft = self._of_text(value, encodings - 1) if encodings else None
            return list(draft.ops) if draft and draft.is_whole else None
        if isinstance(value, dict):
            return [value] if _is_op(value) else list(value.values())
        return [] if value is None else value if isinstance(value, list) else None


def _is_excessive(text: str) -> bool:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return True
    return sum(text.count(bracket, 0, START) for bracket in "{}[]") > MAX_BRACKETS


def _skip_list(value: object) -> list[object]:
    if isinstance(value, dict):
        return [value] if "note" in value else [{"note": note, "why": why} for note, why in value.items()]
    if isinstance(value, str):
        return [value]
    return value if isinstance(value, list) else []


def _complete(values: Iterable[object]) -> list[object]:
    return [value for value in values if not isinstance(value, Cut)]


def _loose_parts(values: Iterable[object]) -> _Loose:
    """The operations and skips among values, in their order."""
    loose = _Loose()
    for value in values:
        _sort_in(loose, value)
    return loose


def _sort_in(loose: _Loose, value: object) -> None:
    if isinstance(value, list):
        if any(_is_op(one) or _is_skip(one) or _is_edit(one) for one in value):
            for one in value:
                if _is_skip(one) or _is_edit(one):
                    _sort_in(loose, one)
                else:
                    loose.ops.append(one)
    elif _is_op(value):
        loose.ops.append(value)
    elif _is_skip(value):
        loose.skips.append(value)
    elif _is_edit(value):
        loose.ops.extend(_edited([value]))
        loose.is_edits = True
    elif isinstance(value, dict) and ("skipped" in value or "synthesis" in value):
        loose.skips.extend(_skip_list(value.get("skipped")))
        loose.synthesis = value.get("synthesis", loose.synthesis)


def _is_op(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("op"), str) and not value.keys().isdisjoint(_OF_AN_OP)


def _is_skip(value: object) -> bool:
    return isinstance(value, dict) and "note" in value and ("why" in value or "same_as" in value)


def _is_edit(value: object) -> bool:
    return isinstance(value, dict) and "filename" in value and ("operations" in value or "content" in value)


def _edited(edits: Iterable[object]) -> list[object]:
    """The operations of edits that are grouped by file, as version 1 of the prompt had them."""
    ops: list[object] = []
    for edit in edits:
        if not isinstance(edit, dict):
            ops.append(edit)
            continue
        path = shapes.line_of(edit.get("filename"))
        action = shapes.line_of(edit.get("action"))
        if isinstance(edit.get("operations"), list):
            ops.extend(
                shapes.op_of_edit(path, one) if isinstance(one, dict) else one for one in _complete(edit["operations"])
            )
        elif not isinstance(edit, Cut):
            verb = action if action in {"rewrite", "updated"} else "create_file"
            ops.append({"op": verb, "title": path, "text": edit.get("content"), "sources": edit.get("sources")})
    return ops


def _in_shape(draft: _Draft, notes: int) -> Answer:
    limit = OPS_PER_NOTE * max(notes, 0) + SPARE_OPS
    skips = tuple(_skips_in_shape(draft.skips, limit))
    synthesis = shapes.text_of(draft.synthesis) or ""
    ops: dict[ProposedOp, int] = {}
    refused: list[Refusal] = []
    for number, raw in enumerate(draft.ops, 1):
        shaped = shapes.op_of(raw, number)
        if isinstance(shaped, Refusal):
            refused.append(shaped)
        else:
            # A model that runs in circles says the same again and again; it is said once.
            ops.setdefault(shaped, number)
        if len(ops) + len(refused) > limit:
            reason = f"More than {limit} operations for {notes} notes; none is taken. Answer with fewer."
            return Answer((), skips, synthesis, (Refusal(number, "", "", "too_many_ops", reason),), draft.is_whole)
    numbered = tuple(replace(op, number=number) for op, number in ops.items())
    return Answer(numbered, skips, synthesis, tuple(refused), draft.is_whole)


def _skips_in_shape(raw: Iterable[object], limit: int) -> Iterable[ProposedSkip]:
    skips: dict[str, ProposedSkip] = {}
    for one in raw:
        for skip in shapes.skips_of(one):
            skips.setdefault(skip.note, skip)
        if len(skips) > limit:
            break
    return skips.values()
