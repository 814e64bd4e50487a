"""Who says what: the sources of the blocks that an operation changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.bank.document.blocks import BLANK, FRONT, MARKER, digest, split_body
from app.bank.document.bullets import anatomy
from app.bank.document.edits import AppliedEdit, EditRefused
from app.bank.model.proposals import REPLACE, ResolvedOp
from app.bank.model.sheets import Changed, Checkpoint, Sheet, changes_since

_TELLING: Final = 12
"""Words of a block that are looked for before it is."""


@dataclass(slots=True)
class Job:
    """One operation on its file."""

    op: ResolvedOp
    text: str
    title: str
    sheet: Sheet
    point: Checkpoint | None
    """Where to go back to when it is refused; none when the file is new."""
    moment: tuple[datetime, str]
    """Of the newest note it cites."""
    joined: dict[str, str] = field(default_factory=dict)
    """The blocks that say already what it says: digest, then the block."""
    struck: dict[str, str] = field(default_factory=dict)
    """Names of the blocks it strikes, before and after."""
    edits: list[AppliedEdit] = field(default_factory=list)

    def record(self, verb: str, section_path: tuple[str, ...], text: str) -> None:
        """Note what is done."""
        op = self.op
        sources = tuple(dict.fromkeys(op.sources))
        edit = AppliedEdit(verb, self.sheet.path, section_path, text.rstrip("\r\n"), sources, "llm", op.repaired)
        self.edits.append(edit)


def settle(job: Job) -> Changed:
    """Check that the file reads as it was written, and give every changed block its sources; what has changed."""
    sheet, cited = job.sheet, set(job.op.sources)
    done = changes_since(sheet, job.point)
    changed = done.now
    before = _blocks_before(sheet, job.point, done) if job.point else {}
    if not all(sheet.is_sound(at) for at in changed):
        raise EditRefused("structure", "The text would change the structure around it.")
    now = {
        digest(block.raw): block.raw for at in changed for block in sheet.blocks(at) if block.kind not in {BLANK, FRONT}
    }
    struck = {old: new for old, new in job.struck.items() if new in now}
    for old, name in struck.items():
        sheet.rest(name, now[name], sheet.sources.get(old, frozenset()) | cited, sheet.said.get(old, frozenset()))
    new = {name: raw for name, raw in now.items() if name not in before and name not in struck.values()}
    for name, raw in {**job.joined, **new}.items():
        sheet.rest(name, raw, cited, cited)
    if job.op.op == REPLACE:
        # What the new text repeats of the old one is part of what it says of its notes.
        for name in {digest(block.raw) for block in split_body(job.text)} & before.keys() & now.keys():
            sheet.rest(name, now[name], (), cited)
    gone_blocks = {name: raw for name, raw in before.items() if name not in now}
    _forget(job, gone_blocks, changed, struck, new)
    return done


def _forget(
    job: Job, gone: dict[str, str], changed: Sequence[int], struck: dict[str, str], new: dict[str, str]
) -> None:
    """Drop the sources of blocks that are no longer in the file; a new block that gives their content takes them."""
    sheet = job.sheet
    vanished = {name: raw for name, raw in gone.items() if name in sheet.sources or name in sheet.said}
    if not vanished:
        return
    # Only a section that holds the words of a block can hold the block.
    telling = [MARKER.sub("", raw, count=1).split()[:_TELLING] for raw in vanished.values()]
    places = set(changed)
    still = sheet.digests(
        section
        for at, section in enumerate(sheet.document.sections)
        if at not in places and any(all(word in section.body for word in words) for words in telling)
    )
    for name, raw in sorted(vanished.items()):
        if name in still:
            continue
        if name not in struck:
            _inherit(sheet, name, raw, new)
        sheet.sources.pop(name, None)
        sheet.said.pop(name, None)


def _inherit(sheet: Sheet, name: str, raw: str, new: dict[str, str]) -> None:
    said = anatomy(raw).print
    if not said.hard and not said.stems:
        return
    for heir, text in new.items():
        if said.is_kept_by(text):
            sheet.rest(heir, text, sheet.sources.get(name, ()), sheet.said.get(name, ()))


def _blocks_before(sheet: Sheet, point: Checkpoint, done: Changed) -> dict[str, str]:
    """The blocks that the changed and removed sections had: digest, then the block."""
    touched = {id(sheet.document.sections[at]) for at in done.now} | {id(section) for section in done.gone}
    return {
        digest(block.raw): block.raw
        for number, (section, _, body) in enumerate(point.sections)
        if id(section) in touched
        for block in split_body(body, 0 if number else sheet.document.front)
        if block.kind not in {BLANK, FRONT}
    }
