"""A small bank with handles for all of it, and operations on it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from app.bank.document.blocks import digest
from app.bank.document.markdown import parse
from app.bank.document.rules import compile_rules
from app.bank.extract.pages import Filed
from app.bank.extract.snapshot import Snapshot
from app.bank.model import validation
from app.bank.model.policy import Policy
from app.bank.model.proposals import Answer, Handles, ProposedOp, ProposedSkip, SectionTarget
from app.bank.model.validation import Resolution, Verdict
from app.notes.models import Note
from tests.unit.bank.projects import START, a_note

RULES = """# Memory

## projectbrief.md
The goal of the project. Rarely modified.

## activeContext.md
What is being worked on, the current state.

## decisions.md
Decisions and their reasons. Append-only.

## progress.md (< 2 KB)
What is done and what is left.

## persona-*.md
One file per persona.
"""

ACTIVE = """# Active context

Some words on it.

## Observations

- 2026-02-20 API timeout is 30 s
- 2026-02-21 The cache lives in `redis-7`

## Next steps

- [ ] 2026-02-22 write the guide for v2

### Later

- perhaps a rewrite
"""
DECISIONS = "# Decisions\n\n- 2026-02-10 Billing uses MariaDB 10\n"
BRIEF = "# Project brief\n\n## Goal\n\nA memory for agents.\n"
FILES = {"activeContext.md": ACTIVE, "decisions.md": DECISIONS, "projectbrief.md": BRIEF}
EARLIER = a_note("API timeout is 30 s", at=START - timedelta(days=10))


def a_snapshot(files: Mapping[str, str] | None = None, *, rules: str = RULES, synthesis: str = "") -> Snapshot:
    """The bank above, in which one bullet rests on a note of ten days before."""
    files = dict(FILES if files is None else files)
    block = digest("- 2026-02-20 API timeout is 30 s\n")
    known = "activeContext.md" in files and "API timeout is 30 s" in files["activeContext.md"]
    return Snapshot(
        files=files,
        provenance={"activeContext.md": {block: [EARLIER.id]}} if known else {},
        refs={EARLIER.id: Filed(EARLIER.timestamp, EARLIER.agent, EARLIER.category)} if known else {},
        layout=compile_rules(rules),
        rules=rules,
        synthesis=synthesis,
    )


def handles_of(snapshot: Snapshot, notes: Sequence[Note], *, hidden: Sequence[str] = ()) -> Handles:
    """Handles in the order of paths; sections whose title is in `hidden` are not shown whole."""
    sections: list[SectionTarget] = []
    for path in sorted(snapshot.files):
        document = parse(snapshot.files[path])
        first = 0 if document.title_section() == 0 else 1
        sections += [
            SectionTarget(path, document.path(at), at, document.sections[at].title not in hidden)
            for at in range(first, len(document.sections))
        ]
    return Handles(
        files={f"f{number}": path for number, path in enumerate(sorted(snapshot.files), start=1)},
        sections={f"s{number}": target for number, target in enumerate(sections, start=1)},
        notes={f"n{number}": note for number, note in enumerate(notes, start=1)},
    )


def at(snapshot: Snapshot, title: str) -> str:
    """The handle of the section with that title."""
    found = handles_of(snapshot, []).sections.items()
    return next(handle for handle, target in found if target.section_path[-1:] == (title,))


def an_op(op: str, where: str, text: str, *sources: str, title: str = "", reason: str = "") -> ProposedOp:
    """An operation that cites the first note unless told otherwise."""
    return ProposedOp(op, where, title, text, sources or ("n1",), reason)


def resolved(
    snapshot: Snapshot,
    notes: Sequence[Note],
    *ops: ProposedOp,
    skips: Sequence[ProposedSkip] = (),
    hidden: Sequence[str] = (),
) -> Resolution:
    """The operations with what their handles stand for."""
    handles = handles_of(snapshot, notes, hidden=hidden)
    return validation.resolve(handles, Answer(ops=ops, skips=tuple(skips)), snapshot)


def carried(
    snapshot: Snapshot,
    notes: Sequence[Note],
    *ops: ProposedOp,
    skips: Sequence[ProposedSkip] = (),
    synthesis: str = "",
    policy: Policy | None = None,
) -> Verdict:
    """What the operations make of the bank."""
    resolution = resolved(snapshot, notes, *ops, skips=skips)
    assert not resolution.refused
    return validation.carry_out(snapshot, notes, resolution.ops, resolution.skips, synthesis, policy=policy or Policy())


def code_of(verdict: Verdict) -> str:
    """Why the only operation was refused."""
    assert verdict.plan.files == {}
    assert verdict.ops == ()
    (refusal,) = verdict.refused
    return refusal.code
