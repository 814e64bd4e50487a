"""What a model is shown of a bank and some notes, and what its answer must look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from app.bank.document.quoting import quoted, quoted_line
from app.bank.extract.snapshot import Snapshot
from app.bank.model.batching import MARGIN, Budget
from app.bank.model.excerpt import Excerpt, excerpt, take_apart
from app.bank.model.proposals import VERBS, Handles
from app.bank.model.wording import SYSTEM, Estimate, closing, named, opening, past, shown
from app.llm.client import Message, Role
from app.notes.models import Note

_TRIES: Final = 6
_MOST_COMPLAINTS: Final = 40
_LONGEST_COMPLAINT: Final = 400
_LONGEST_ANSWER: Final = 24_000
_ANSWER_MARK: Final = "JSON:\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that is sent for one batch of notes, and what is needed to understand the answer."""

    messages: tuple[Message, ...]
    schema: dict[str, Any]
    """The JSON schema of the answer; only handles of this prompt fit."""
    handles: Handles
    notes: tuple[Note, ...]
    """Oldest first, as they are numbered."""
    tokens: int
    """About how long the messages are."""
    reserve: int
    """How long the answer may be."""
    is_too_long: bool = False
    """The notes do not fit even without the bank; a batch that was planned never is."""


def build(
    snapshot: Snapshot,
    notes: Sequence[Note],
    *,
    budget: Budget,
    estimate: Estimate,
    nfkc: bool = False,
    is_outline: bool = False,
) -> Prompt:
    """The prompt for some notes: what never changes first, then the bank as far as there is room, then the notes.

    With `is_outline` the model is shown no word of the bank but its headings.
    """
    if is_outline:
        snapshot = replace(snapshot, synthesis="")
    handles = named(notes)
    limit = budget.limit
    before = opening(snapshot, limit=limit, estimate=estimate, nfkc=nfkc)
    quoted_notes = "\n".join(shown(handle, note, nfkc=nfkc) for handle, note in handles.items())
    after = past(snapshot, limit=limit, estimate=estimate, nfkc=nfkc) + f"[NOTES]\n{quoted_notes}"
    after += closing(list(handles) or ["none"])
    stock = take_apart(snapshot.files, snapshot.layout, estimate, nfkc=nfkc)
    fixed = MARGIN + estimate(SYSTEM)
    room = limit - fixed - estimate(before) - estimate(after)
    ordered = tuple(handles.values())
    for _ in range(_TRIES):
        bank = excerpt(stock, snapshot.layout, ordered, room, nfkc=nfkc, is_outline=is_outline)
        user = before + bank.text + after
        tokens = fixed + estimate(user)
        if tokens <= limit:
            break
        # Escapes and the written-out form of some characters were not in the estimate of the parts.
        size = estimate(bank.text)
        allowed = limit - (tokens - size) - MARGIN
        room = min(room, size) * allowed // size
    else:
        bank = Excerpt("[BANK]\n")
        user = before + bank.text + after
        tokens = fixed + estimate(user)
    return Prompt(
        messages=(Message(Role.SYSTEM, SYSTEM), Message(Role.USER, user)),
        schema=answer_schema([*bank.files, *bank.sections], list(handles)),
        handles=Handles(bank.files, bank.sections, handles),
        notes=ordered,
        tokens=tokens,
        reserve=budget.reserve(len(ordered), tokens),
        is_too_long=tokens > limit,
    )


def answer_schema(places: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of an answer about these handles: flat, everything required, nothing that some engine lacks."""
    text = {"type": "string"}
    note = {"type": "string", "enum": list(notes)}
    op = {
        "op": {"type": "string", "enum": list(VERBS)},
        "at": {"type": "string", "enum": ["", *places]},
        "title": text,
        "text": text,
        "sources": {"type": "array", "items": note},
        "reason": text,
    }
    skip = {"note": note, "why": {"type": "string", "enum": ["duplicate", "empty"]}, "same_as": text}
    return _object({"ops": _list(_object(op)), "skipped": _list(_object(skip)), "synthesis": text})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": dict(properties),
    }


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def answered(text: str, *, nfkc: bool = False) -> Message:
    """The model's own answer as a turn of the conversation; some gateways refuse a turn that is bare JSON."""
    cut = text if len(text) <= _LONGEST_ANSWER else text[:_LONGEST_ANSWER] + "\n(cut)"
    return Message(Role.ASSISTANT, _ANSWER_MARK + quoted(cut.strip(), nfkc=nfkc))


def repair_message(complaints: Sequence[str], uncovered: Sequence[str], *, nfkc: bool = False) -> Message:
    """Tells a model what of its answer could not be used, and which notes, by handle, are still to be filed."""
    lines = [f"- {_short(quoted_line(complaint, nfkc=nfkc))}" for complaint in complaints[:_MOST_COMPLAINTS]]
    if len(complaints) > _MOST_COMPLAINTS:
        lines.append(f"- and {len(complaints) - _MOST_COMPLAINTS} more")
    still = f"\nStill to be filed: {', '.join(uncovered)}\n" if uncovered else "\n"
    return Message(
        Role.USER,
        "[REPAIR]\nWhat could be used of the answer is kept and need not be sent again. What could not:\n"
        + "\n".join(lines)
        + still
        + "Send one JSON object of the same form, with what is missing only. The handles shown above are still right."
        " JSON:",
    )


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST_COMPLAINT else line[: _LONGEST_COMPLAINT - 4].rstrip() + " ..."
