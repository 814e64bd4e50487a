"""Which notes are put to a model together, and how much a prompt may hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.bank.document.bullets import utc
from app.bank.document.routing import destination_of
from app.bank.document.safety import INSTRUCTION, safe_note
from app.bank.extract.snapshot import Snapshot
from app.bank.model.excerpt import Stock, take_apart
from app.bank.model.wording import SYSTEM, Estimate, closing, opening, past, shown
from app.notes.models import Note

MARGIN: Final = 48
"""Tokens that the frame around the messages of a prompt takes, and the rounding of estimates."""
ANSWER_BASE: Final = 600
ANSWER_NOTE: Final = 110
_PROMPT_PERCENT: Final = 60
_NOTE_SHARE: Final = 4
"""A note that takes more than one in so many tokens of a prompt is not put in one."""
_AHEAD: Final = 4
"""A batch looks for notes of the same files among the notes of so many batches."""
_EXTRACTIVE_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What a prompt and its answer may take, in tokens."""

    window: int
    """Prompt and answer together, as far as is known of the model."""
    prompt: int = 32_000
    """A prompt, at most."""
    answer: int = 100_000
    """An answer, at most."""

    @property
    def limit(self) -> int:
        """What a prompt may take of this window."""
        return max(min(self.window * _PROMPT_PERCENT // 100, self.prompt), 1)

    @property
    def largest_note(self) -> int:
        """What a single note may take of a prompt."""
        return self.limit // _NOTE_SHARE

    @property
    def most_notes(self) -> int:
        """So many notes can be answered for, at most."""
        room = min(self.window - self.limit, self.answer)
        return max((room - ANSWER_BASE) // ANSWER_NOTE, 1)

    def expected(self, notes: int) -> int:
        """What the answer about so many notes is likely to take."""
        return ANSWER_BASE + ANSWER_NOTE * notes

    def reserve(self, notes: int, prompt_tokens: int) -> int:
        """What the answer may take: half as much again as is likely, as far as the window allows."""
        return max(min(self.expected(notes) * 3 // 2, self.answer, self.window - prompt_tokens), 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Notes that are put to the model together, or filed without it."""

    notes: tuple[Note, ...]
    """Oldest first."""
    is_extractive: bool
    """They are too big for a prompt, or give orders to agents, and are filed word for word."""
    overhead: int = 0
    """Tokens of the prompt apart from the notes."""
    weights: tuple[int, ...] = ()
    """Tokens of each note."""

    @property
    def tokens_in(self) -> int:
        """About how long the prompt is; nothing when there is none."""
        return self.overhead + sum(self.weights)

    @property
    def tokens_out(self) -> int:
        """About how long the answer will be; nothing when there is none."""
        return 0 if self.is_extractive else ANSWER_BASE + ANSWER_NOTE * len(self.notes)


def halves(batch: Batch) -> tuple[Batch, ...]:
    """The older and the newer half of a batch; nothing for a single note, which cannot be split."""
    middle = len(batch.notes) // 2
    if not middle:
        return ()
    return tuple(
        replace(batch, notes=batch.notes[part], weights=batch.weights[part])
        for part in (slice(middle), slice(middle, None))
    )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A note that is not in a batch yet."""

    note: Note
    weight: int
    goal: str
    """The file it is likely to go to."""


def plan_batches(
    snapshot: Snapshot, notes: Sequence[Note], *, size: int, budget: Budget, estimate: Estimate, nfkc: bool = False
) -> list[Batch]:
    """The batches of a run, oldest notes first; together they hold every note once.

    When the bank is too large to be shown whole, a batch takes notes that go to the same files, so that these can be
    shown: notes of one file stay in their order, and others wait for a few batches at most.
    """
    ordered = sorted(notes, key=lambda note: (utc(note.timestamp), note.id))
    stock = take_apart(snapshot.files, snapshot.layout, estimate, nfkc=nfkc)
    limit = budget.limit
    frame = MARGIN + sum(
        estimate(text)
        for text in (
            SYSTEM,
            opening(snapshot, limit=limit, estimate=estimate, nfkc=nfkc),
            past(snapshot, limit=limit, estimate=estimate, nfkc=nfkc),
            closing([f"n{number}" for number in (1, max(size, 1))]),
        )
    )
    room = limit - frame
    # Whatever the bank, its files are named; that much is not for the notes.
    largest = min(budget.largest_note, room - min(stock.tokens, room // _NOTE_SHARE))
    small: list[_Waiting] = []
    apart: list[Note] = []
    for note in ordered:
        weight = estimate(shown("n999", note, nfkc=nfkc)) + 1
        if weight > largest or INSTRUCTION in safe_note(note)[1]:
            # Nothing that a model makes of an order to agents may enter the bank; as a quotation it may.
            apart.append(note)
        else:
            goal = stock.real_path(destination_of(note, snapshot.layout, stock.files)[0])
            small.append(_Waiting(note, weight, goal))
    most = max(min(size, budget.most_notes), 1)
    usual = sum(waiting.weight for waiting in small) * most // max(len(small), most)
    batches = [_extractive(group) for group in _grouped(apart, most)]
    if stock.tokens + min(usual, room // 2) <= room:
        batches += [_batch(batch, frame + stock.tokens) for batch in _in_order(small, most, room - stock.tokens)]
    else:
        for batch in _by_file(small, most, room // 2, stock, room):
            seen = sum(stock.tokens_of(path) for path in {waiting.goal for waiting in batch})
            taken = sum(waiting.weight for waiting in batch)
            outline = sum(stock.outline_of(path) for path in stock.files)
            batches.append(_batch(batch, frame + min(stock.tokens, seen + outline, room - taken)))
    return sorted(batches, key=lambda batch: (utc(batch.notes[0].timestamp), batch.notes[0].id))


def _batch(waiting: Sequence[_Waiting], overhead: int) -> Batch:
    return Batch(
        tuple(one.note for one in waiting),
        is_extractive=False,
        overhead=overhead,
        weights=tuple(one.weight for one in waiting),
    )


def _extractive(notes: Sequence[Note]) -> Batch:
    return Batch(tuple(notes), is_extractive=True, weights=(0,) * len(notes))


def _grouped(notes: Sequence[Note], most: int) -> list[list[Note]]:
    """Notes in their order, so many together as can be committed easily."""
    groups: list[list[Note]] = []
    room = 0
    for note in notes:
        weight = len(note.content.encode("utf-8", "replace"))
        if not groups or len(groups[-1]) >= most or weight > room:
            groups.append([])
            room = _EXTRACTIVE_BYTES
        groups[-1].append(note)
        room -= weight
    return groups


def _in_order(waiting: Sequence[_Waiting], most: int, room: int) -> list[list[_Waiting]]:
    batches: list[list[_Waiting]] = []
    spent = 0
    for one in waiting:
        if not batches or len(batches[-1]) >= most or spent + one.weight > room:
            batches.append([])
            spent = 0
        batches[-1].append(one)
        spent += one.weight
    return batches


def _by_file(waiting: Sequence[_Waiting], most: int, room: int, stock: Stock, whole: int) -> list[list[_Waiting]]:
    """Batches whose notes go to few files: that of the oldest note, then further ones as long as they fit."""
    left = list(waiting)
    batches: list[list[_Waiting]] = []
    while left:
        ahead = left[: most * _AHEAD]
        taken: list[_Waiting] = []
        files: set[str] = set()
        spent = 0
        for goal in dict.fromkeys(one.goal for one in ahead):
            bank = sum(stock.tokens_of(path) for path in files | {goal})
            if taken and spent + bank > whole:
                continue
            files.add(goal)
            for one in ahead:
                if one.goal != goal:
                    continue
                if taken and (len(taken) >= most or spent + one.weight > room):
                    # A newer note of this file must not overtake it.
                    break
                taken.append(one)
                spent += one.weight
        chosen = {one.note.id for one in taken}
        left = [one for one in left if one.note.id not in chosen]
        batches.append(sorted(taken, key=lambda one: (utc(one.note.timestamp), one.note.id)))
    return batches
