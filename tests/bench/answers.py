"""What it takes to judge a model's answer and carry it out on a large bank, with nothing remembered."""

import gc
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import _lru_cache_wrapper
from typing import Final

from rich.console import Console
from rich.table import Table

from app.bank.document.provenance import blocks_of
from app.bank.document.rules import compile_rules
from app.bank.extract.snapshot import Snapshot
from app.bank.model.policy import Policy
from app.bank.model.proposals import ADD_SECTION, APPEND, REPLACE, SUPERSEDE, ResolvedOp
from app.bank.model.validation import Verdict, carry_out
from app.notes.models import Note

SIZE: Final = 1_000_000
NOTES: Final = 24
ENTRIES: Final = 20
"""Lines of a section."""
RULES: Final = "# Rules\n\n## file-00.md\nEverything about the project.\n"
WORDS: Final = {
    "English": "the {} service reads `{}.toml` and listens on port {} of host-{} since the last release of the gateway",
    "French": "le service {} lit `{}.toml` et écoute le port {} de host-{} depuis la dernière mise à jour déployée",
}
ANSWERS: Final[Mapping[str, Sequence[str]]] = {
    "usual": [APPEND] * 14 + [SUPERSEDE] * 4 + [ADD_SECTION] * 3 + [REPLACE] * 3,
    "all append": [APPEND] * NOTES,
    "all replace": [REPLACE] * NOTES,
}
RUNS: Final = 5
_NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """A bank, and what an answer does to it."""

    language: str
    files: int
    answer: str


CASES: Final = (
    Case("English", 50, "usual"), Case("English", 10, "usual"), Case("English", 1, "usual"),
    Case("French", 10, "usual"), Case("English", 10, "all append"), Case("English", 10, "all replace"),
)  # fmt: skip


def a_bank(case: Case, *, size: int = SIZE) -> dict[str, str]:
    """Files of about so many bytes in all, with sections of 20 entries."""
    chance = random.Random(7)  # noqa: S311 - a bank of the same lines each time
    said = WORDS[case.language]
    files: dict[str, str] = {}
    for number in range(case.files):
        name = f"file-{number:02d}"
        pieces = [f"# {name}\n\n"]
        length = 0
        while length < size // case.files:
            facts = (said.format(*(chance.randrange(60_000) for _ in range(4))) for _ in range(ENTRIES))
            piece = f"## Section {len(pieces) - 1}\n\n" + "".join(f"- 2026-01-15 {fact}\n" for fact in facts) + "\n"
            length += len(piece.encode())
            pieces.append(piece)
        files[f"{name}.md"] = "".join(pieces)
    return files


def an_answer(case: Case, files: Mapping[str, str]) -> tuple[list[Note], list[ResolvedOp]]:
    """24 notes, and an operation for each."""
    notes = [
        Note(
            id=f"n{number}.md", timestamp=_NOW, agent="a", identity="a", category="decision", tags=(), incarnation=None,
            content=f"The gadget_{number} moved to port {70_000 + number} of machine-{number}.",
        )
        for number in range(NOTES)
    ]  # fmt: skip
    ops: list[ResolvedOp] = []
    for number, (note, verb) in enumerate(zip(notes, ANSWERS[case.answer], strict=True)):
        path = sorted(files)[number % len(files)]
        sections = files[path].split("## Section ")
        section = number % (len(sections) - 1)
        old = [line for line in sections[section + 1].splitlines() if line.startswith("- ")]
        title = ""
        text = f"- 2026-03-01 {note.content}"
        if verb == REPLACE:
            text = "\n".join([*old[1:], text])
        elif verb == SUPERSEDE:
            title = old[0].removeprefix("- ")
        elif verb == ADD_SECTION:
            title = f"Gadget_{number}"
        where = (path.removesuffix(".md"),) if verb == ADD_SECTION else (path.removesuffix(".md"), f"Section {section}")
        ops.append(
            ResolvedOp(
                number=number + 1, op=verb, path=path, section_path=where, title=title, text=text,
                sources=(note.id,), reason="decided",
            )
        )  # fmt: skip
    return notes, ops


def judged(case: Case, *, size: int = SIZE) -> tuple[Verdict, float]:
    """What becomes of the answer, and the milliseconds of CPU of the median of several runs."""
    files = a_bank(case, size=size)
    notes, ops = an_answer(case, files)
    provenance = {
        path: {block.digest: [f"old-{at % 900}.md"] for at, block in enumerate(blocks_of(content))}
        for path, content in files.items()
    }
    snapshot = Snapshot(
        files=files, provenance=provenance, refs={}, layout=compile_rules(RULES), rules=RULES, synthesis=""
    )
    # Half of it from the notes and half from the bank, as a synthesis that goes on from the former one is.
    former = [line.removeprefix("- 2026-01-15 ") for line in next(iter(files.values())).splitlines() if "-15 " in line]
    synthesis = "\n".join(f"- {said}" for said in (*(note.content for note in notes[:5]), *former[:5]))
    taken: list[float] = []
    for _ in range(RUNS):
        _forget_everything()
        begun = time.process_time()
        verdict = carry_out(snapshot, notes, ops, (), synthesis, policy=Policy(file_bytes=2 * SIZE))
        taken.append(1000 * (time.process_time() - begun))
    return verdict, statistics.median(taken)


def _forget_everything() -> None:
    """Empty what the modules of the bank remember of texts they have seen."""
    for one in gc.get_objects():
        if isinstance(one, _lru_cache_wrapper) and str(one.__module__).startswith("app.bank"):
            one.cache_clear()


def measure_answers(console: Console) -> None:
    """Print the CPU of one answer of 24 operations on a bank of 1 MB."""
    table = Table(
        title=f"Judging an answer of {NOTES} operations on a bank of {SIZE / 1e6:g} MB, medians of {RUNS} runs"
    )
    for heading in ("bank", "files", "answer"):
        table.add_column(heading)
    for heading in ("CPU, ms", "carried out", "notes kept", "synthesis"):
        table.add_column(heading, justify="right")
    for case in CASES:
        verdict, milliseconds = judged(case)
        table.add_row(
            case.language, str(case.files), case.answer, f"{milliseconds:.0f}",
            str(len(verdict.ops)), str(len(verdict.plan.filed)), "kept" if verdict.synthesis else "refused",
        )  # fmt: skip
    console.print(table)
