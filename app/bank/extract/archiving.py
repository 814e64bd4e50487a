"""Keeps files within the limits of the rules: what is over moves to `archive/`, month by month, and nothing is lost."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from app.bank.document.edits import AppliedEdit, Plan
from app.bank.document.layout import Layout, is_archive
from app.bank.extract.moving import Movable, Mover, Provenance, as_date
from app.bank.extract.pages import Filed
from app.bank.extract.snapshot import Snapshot
from app.bank.extract.synthesis import synthesis_of

RESTS: Final = timedelta(days=30)
"""How long a struck line stays where it was: so long somebody may still wonder where the value has gone."""
_OVER: Final = re.compile(r"\((?:superseded|resolved|answered|done|replaced) (?P<day>\d{4}-\d\d-\d\d)\)\s*(?:\n|\Z)")


def archived(
    files: Mapping[str, str],
    provenance: Provenance,
    refs: Mapping[str, Filed],
    layout: Layout,
    today: date,
    *,
    raw: Collection[str] = (),
) -> Plan:
    """The plan that brings every file to its limit as far as it goes; without anything to move it changes nothing.

    Lines struck more than 30 days ago and finished tasks leave first. An append-only journal gives up its oldest
    months, and of the present one its oldest entries. Whatever is current stays, so a file may remain too long. `raw`
    are the files that are no text.
    """
    bank = dict(files)
    sources = {path: dict(blocks) for path, blocks in provenance.items()}
    edits: list[AppliedEdit] = []
    for path in sorted(files):
        rule = layout.rule_of(path)
        if rule is None or rule.limit is None or rule.protected or is_archive(path) or path in raw:
            continue
        excess = len(bank[path].encode()) - rule.limit
        if excess <= 0:
            continue
        mover = Mover(path, bank, sources, refs, raw=raw)
        items = list(mover.items())
        over = oldest(items, excess, today) if rule.append_only else [item for item in items if _is_over(item, today)]
        moved = mover.move(over) if over else None
        if moved is not None:
            bank, sources = moved.files, moved.provenance
            edits += moved.edits
    changed = {path: content for path, content in sorted(bank.items()) if files.get(path) != content}
    return Plan(
        files=changed,
        provenance={path: {name: list(ids) for name, ids in blocks.items()} for path, blocks in sources.items()},
        edits=tuple(edits),
        filed=(),
        synthesis=synthesis_of(bank, sources, refs, layout) if changed else "",
    )


def with_archive(plan: Plan, snapshot: Snapshot, refs: Mapping[str, Filed], today: date) -> Plan:
    """A plan made for this bank, and then every file of the result brought to its limit; one commit does both."""
    files = {**snapshot.files, **plan.files}
    second = archived(files, plan.provenance, refs, snapshot.layout, today, raw=snapshot.raw)
    if not second.files:
        return plan
    return Plan(
        files={**plan.files, **second.files},
        provenance=second.provenance,
        edits=plan.edits + second.edits,
        filed=plan.filed,
        synthesis=second.synthesis,
    )


def oldest(items: Sequence[Movable], excess: int, today: date) -> list[Movable]:
    """The oldest entries of a journal: whole months as long as there are older ones, and never the newest entry."""
    ordered = sorted(items, key=lambda item: item.age)
    present = f"{today:%Y-%m}"
    chosen: list[Movable] = []
    for number, item in enumerate(ordered[:-1]):
        month = item.day[:7]
        begins = not number or ordered[number - 1].day[:7] != month
        if excess <= 0 and (begins or month >= present):
            break
        chosen.append(item)
        excess -= item.bytes
    return chosen


def _is_over(item: Movable, today: date) -> bool:
    """Is the item a finished task, or was it struck long ago?"""
    if not item.is_over:
        return False
    if item.is_done:
        return True
    struck_on = None
    if said := _OVER.search(item.block.raw.replace("\r\n", "\n").replace("\r", "\n")):
        struck_on = as_date(said["day"])
    struck_on = struck_on or as_date(item.bullet.day)
    return struck_on is not None and today - struck_on > RESTS
