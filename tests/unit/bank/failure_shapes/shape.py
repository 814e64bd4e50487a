"""What one entry of the corpus says."""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.unit.bank.failure_shapes.stage import SAID

Outcome = Literal["ok", "salvage", "repair", "drop"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A way in which answers come, an answer of that kind, and what must come of it."""

    number: int
    name: str
    answer: str
    outcome: Outcome = "ok"
    """`ok`: understood as a whole; `salvage`: some operations; `repair`: nothing; `drop`: not carried out."""
    texts: tuple[str, ...] = SAID
    """Of the operations that are understood."""
    codes: tuple[str, ...] = ()
    """Of the refusals, in the order of the operations."""
    kept: tuple[str, ...] = ()
    """Handles of the notes that are in the bank then."""
    is_cut: bool = False
    """The endpoint said that the model was stopped."""
    holds: str = ""
    """What some file holds then."""


def an_op(
    op: str = "append", at: str = "s4", text: Any = SAID[0], sources: Any = ("n1",), **more: Any
) -> dict[str, Any]:
    """An operation in the shape that is asked for, or with other things in its fields."""
    return {"op": op, "at": at, "title": "", "text": text, "sources": sources, "reason": "", **more}


def an_answer(*ops: Any, skipped: Any = (), synthesis: Any = "Billing moves.") -> str:
    """An answer as it is asked for."""
    return json.dumps({"ops": ops, "skipped": skipped, "synthesis": synthesis}, ensure_ascii=False)


GOOD: Final = (
    an_op(),
    an_op(at="s2", text=SAID[1], sources=["n2"]),
    an_op(at="s5", text=SAID[2], sources=["n3"]),
)
CLEAN: Final = an_answer(*GOOD)
