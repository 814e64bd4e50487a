"""One file brought to a length that somebody asks for: what it can do without moves to the archive, word for word."""

from collections.abc import Sequence
from datetime import date

from app.bank.document.edits import Plan
from app.bank.extract.archiving import oldest
from app.bank.extract.moving import Key, Movable, Mover
from app.bank.extract.snapshot import Snapshot


def offered(path: str, snapshot: Snapshot, today: date) -> list[Movable]:
    """The entries that hold, of which somebody has to say whether the file can do without them; open tasks stay."""
    return [item for item in _items(path, snapshot, today) if item.bullet.is_live and not item.is_task]


def compacted(path: str, snapshot: Snapshot, goal: int, today: date, wanted: Sequence[Key] = ()) -> Plan | None:
    """The plan that brings a file to so many bytes, or as near as these entries allow; None when nothing can go.

    An append-only file gives up its oldest entries. From any other what is struck or done goes first, the oldest
    first, and then the wanted entries in their order; no more of them than it takes.
    """
    excess = len(snapshot.files[path].encode()) - goal
    items = _items(path, snapshot, today)
    rule = snapshot.layout.rule_of(path)
    if rule is not None and rule.append_only:
        chosen = oldest(items, excess, today)
    else:
        over = sorted((item for item in items if not item.bullet.is_live), key=lambda item: item.age)
        chosen = _enough([*over, *_found(offered(path, snapshot, today), wanted)], excess)
    moved = _mover(path, snapshot, today).move(chosen) if chosen else None
    if moved is None:
        return None
    return Plan(
        files={one: content for one, content in sorted(moved.files.items()) if snapshot.files.get(one) != content},
        provenance={one: {name: list(ids) for name, ids in blocks.items()} for one, blocks in moved.provenance.items()},
        edits=tuple(moved.edits),
        filed=(),
        synthesis="",
    )


def _mover(path: str, snapshot: Snapshot, today: date) -> Mover:
    return Mover(path, snapshot.files, snapshot.provenance, snapshot.refs, undated=today.isoformat())


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
