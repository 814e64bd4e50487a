"""One file brought to a length that somebody asks for: what it can do without moves to the archive, word for word."""

from collections.abc import Sequence
from datetime import date

from app.bank.document.edits import Plan
from app.bank.extract.archiving import oldest
from app.bank.extract.moving import Key, Movable, Moved, Mover
from app.bank.extract.snapshot import Snapshot


def offered(path: str, snapshot: Snapshot, today: date) -> list[Movable]:
    """The entries of which somebody has to say whether the file can do without them. What is still to be done stays."""
    return [item for item in _items(path, snapshot, today) if not item.is_over and not item.is_open]


def compacted(path: str, snapshot: Snapshot, goal: int, today: date, wanted: Sequence[Key] = ()) -> Plan | None:
    """The plan that brings a file to so many bytes, or as near as these entries allow; None when nothing can go.

    An append-only file gives up its oldest entries. From any other what is struck or done goes first, the oldest
    first, and then the wanted entries in their order; no more of them than it takes.
    """
    excess = len(snapshot.files[path].encode()) - goal
    if excess <= 0:
        return None
    mover = _mover(path, snapshot, today)
    if _is_journal(path, snapshot):
        moved = mover.move(oldest(list(mover.items()), excess, today))
    else:
        moved = _moved(mover, _candidates(path, snapshot, today, wanted), excess)
    if moved is None:
        return None
    return Plan(
        files={one: content for one, content in sorted(moved.files.items()) if snapshot.files.get(one) != content},
        provenance={one: {name: list(ids) for name, ids in blocks.items()} for one, blocks in moved.provenance.items()},
        edits=tuple(moved.edits),
        filed=(),
        synthesis="",
    )


def is_stuck(path: str, snapshot: Snapshot, today: date, wanted: Sequence[Key] = ()) -> bool:
    """Of a file of which nothing can go: is there something that should?"""
    if _is_journal(path, snapshot):
        return len(_items(path, snapshot, today)) > 1
    return bool(_candidates(path, snapshot, today, wanted))


def _is_journal(path: str, snapshot: Snapshot) -> bool:
    rule = snapshot.layout.rule_of(path)
    return rule is not None and rule.append_only


def _candidates(path: str, snapshot: Snapshot, today: date, wanted: Sequence[Key]) -> list[Movable]:
    """What may go, in the order in which it goes."""
    over = sorted((item for item in _items(path, snapshot, today) if item.is_over), key=lambda item: item.age)
    return [*over, *_found(offered(path, snapshot, today), wanted)]


def _moved(mover: Mover, candidates: Sequence[Movable], excess: int) -> Moved | None:
    """The first of the candidates, as many as it takes; where one cannot go, the next one goes."""
    while True:
        chosen = _enough(candidates, excess)
        moved = mover.move(chosen)
        gone = frozenset[tuple[int, int]]() if moved is None else moved.places
        stuck = {item.place for item in chosen} - gone
        if not stuck or len(chosen) == len(candidates):
            return moved
        candidates = [item for item in candidates if item.place not in stuck]


def _mover(path: str, snapshot: Snapshot, today: date) -> Mover:
    return Mover(path, snapshot.files, snapshot.provenance, snapshot.refs, raw=snapshot.raw, undated=today.isoformat())


def _items(path: str, snapshot: Snapshot, today: date) -> list[Movable]:
    return list(_mover(path, snapshot, today).items())


def _found(items: Sequence[Movable], wanted: Sequence[Key]) -> list[Movable]:
    """The items that are wanted, in the order in which they are; of equal ones all."""
    by_key: dict[Key, list[Movable]] = {}
    for item in items:
        by_key.setdefault(item.key, []).append(item)
    return [item for key in dict.fromkeys(wanted) for item in by_key.get(key, ())]


def _enough(items: Sequence[Movable], excess: int) -> list[Movable]:
    chosen: list[Movable] = []
    for item in items:
        if excess <= 0:
            break
        chosen.append(item)
        excess -= item.bytes
    return chosen
