"""Earlier versions of a bank undone, always as a new version: nothing that was ever committed is lost."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from app.bank.document.provenance import blocks_of
from app.bank.errors import VersionNotFound
from app.bank.history import version_of
from app.bank.models import Change, Commit, CommitKind, ConsumedNote, Edit
from app.bank.store import Draft
from app.bank.versions.queue import (
    Ancestry,
    Returns,
    as_consumed,
    lives,
    object_of,
    put_back,
    undoing_all,
    withdrawn_note,
)
from app.bank.versions.revisions import BankConflict, BankRevert, BankReverted
from app.bank.versions.timeline import Timeline
from app.bank.versions.undo import Clash, undo
from app.bank.versions.writer import BankWriter
from app.core.errors import FieldFault, InvalidInput
from app.spaces.models import BankFile, Head, Synthesis
from app.storage.document import DamagedDocument

Provenance = Mapping[str, Mapping[str, Sequence[str]]]


class StoreClock(Protocol):
    """What time it is where the bank is kept."""

    def now(self) -> datetime:
        """The current instant."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What a bank becomes when something is undone."""

    files: Mapping[str, BankFile]
    """The whole bank: of what is new, only the content counts."""
    provenance: Provenance
    clashes: tuple[Clash, ...]
    returns: Returns
    kept: tuple[str, ...]
    """Notes of the undone version that the bank still cites."""
    synthesis: Synthesis | None
    """What the synthesis becomes."""


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to say of a turn."""

    turn: Turn
    mode: str
    changed: tuple[str, ...]
    requeued: tuple[str, ...]


class Reversal:
    """Undoes one version, or all after one."""

    def __init__(self, writer: BankWriter, timeline: Timeline, clock: StoreClock) -> None:
        self._writer = writer
        self._timeline = timeline
        self._clock = clock

    async def revert(self, space_id: str, request: BankRevert, *, actor: str) -> BankReverted:
        """Undo what is asked for, and put the notes that were filed with it back in the queue.

        Raises:
            InvalidInput: neither or both of the two versions are given.
            VersionNotFound: the bank has never had that version.
        """
        match request.version, request.to_version:
            case int() as version, None:
                kind = CommitKind.REVERT
            case None, int() as version:
                kind = CommitKind.RESTORE
            case _:
                detail = "give either `version` (undo that one) or `to_version` (go back to that one)"
                raise InvalidInput(f"Nothing can be undone: {detail}.", faults=[FieldFault("version", detail)])

        async def make(head: Head, rules: str) -> tuple[Draft | None, Told]:
            turning = self._without if kind is CommitKind.REVERT else self._back
            turn = await turning(head, version)
            return self._draft(head, rules, turn, dry_run=request.dry_run, kind=kind, undoes=version, actor=actor)

        opened, told = await self._writer.change(space_id, make)
        return BankReverted(
            status="partial" if told.turn.clashes else "ok",
            space_id=space_id,
            mode=told.mode,
            kind=kind.value,
            undone=version,
            version=opened.head.version,
            files_changed=list(told.changed),
            conflicts=[
                BankConflict(filename=one.path, section=list(one.section), reason=one.reason)
                for one in told.turn.clashes
            ],
            notes_requeued=list(told.requeued),
            notes_withdrawn=[note.id for note in told.turn.returns.withdraw],
            notes_kept=list(told.turn.kept),
        )

    async def _without(self, head: Head, version: int) -> Turn:
        """The bank without one version.

        A note whose words go away with it waits again, and so does one that it filed without a trace. A note whose
        words come back need not wait.
        """
        _key, commit = await self._timeline.commit(head, version)
        former = await self._before(head, commit)
        turn = await asyncio.to_thread(_undone, head, commit, *former)
        if version == head.version:
            turn = replace(turn, synthesis=(await self._timeline.past(head, version - 1, contents=False)).synthesis)
        ancestry = Ancestry(head)
        once, before, after = (ancestry.roots(cited(one)) for one in (former[1], head.provenance, turn.provenance))
        requeue, withdraw = before - after, after - before
        for life in lives(await self._since(head, version - 1), ancestry):
            if life.last_version == version and life.root not in before | after:
                if isinstance(life.last, ConsumedNote):
                    requeue.add(life.root)
                elif life.root not in once:
                    withdraw.add(life.root)
        requeue -= ancestry.roots(head.requeue)
        return await self._settled(head, turn, ancestry.latest(requeue).values(), withdraw)

    async def _before(self, head: Head, commit: Commit) -> tuple[Mapping[str, BankFile], Provenance]:
        """The files of a commit as they were before it."""
        if commit.version == 1:
            return {}, {}
        _key, former = await self._timeline.commit(head, commit.version - 1)
        return await self._timeline.files_of(former, commit.changes.keys())

    async def _back(self, head: Head, version: int) -> Turn:
        """The bank as it was at a version."""
        if version > head.version:
            raise VersionNotFound(head.space_id, str(version), head.version)
        past = await self._timeline.past(head, version)
        requeue, withdraw = undoing_all(lives(await self._since(head, version), Ancestry(head)))
        turn = Turn(past.files, past.provenance, (), Returns((), ()), (), past.synthesis)
        return await self._settled(head, turn, requeue, withdraw)

    async def _since(self, head: Head, version: int) -> list[Commit]:
        """The commits after a version in the order of time, without the contents of files."""
        commits = [
            commit.model_copy(update={"changes": {}, "manifest": {}})
            async for _key, commit in self._timeline.walk(head, head.version, version)
        ]
        return commits[::-1]

    async def _settled(self, head: Head, turn: Turn, requeue: Iterable[str], withdraw: AbstractSet[str]) -> Turn:
        """The same with the objects of the notes that wait again, and of those that need not wait any more."""
        ancestry = Ancestry(head)
        wanted = sorted(requeue)
        waiting = sorted(note_id for note_id in head.requeue if ancestry.root(note_id) in withdraw)
        keys = [head.note_refs[note_id].history for note_id in wanted]
        keys += [head.requeue[note_id].history for note_id in waiting]
        records = (await self._timeline.read_all(keys)).values()
        consumed = {note.id: note for commit in records for note in commit.consumed}
        requeued = {note.id: note for commit in records for note in commit.requeued}
        if lost := [note_id for note_id in wanted if note_id not in consumed]:
            raise DamagedDocument(f"The history has lost the text of note '{lost[0]}'.")
        returns = Returns(
            tuple(consumed[note_id] for note_id in wanted),
            tuple(requeued[note_id] for note_id in waiting if note_id in requeued),
        )
        return replace(turn, returns=returns)

    def _draft(
        self, head: Head, rules: str, turn: Turn, *, dry_run: bool, kind: CommitKind, undoes: int, actor: str
    ) -> tuple[Draft | None, Told]:
        present = {path: file.sha256 for path, file in head.files.items()}
        files = {path: file for path, file in turn.files.items() if present.get(path) != _digest(file)}
        removed = tuple(sorted(present.keys() - turn.files.keys()))
        changed = tuple(sorted([*files, *removed]))
        returns = turn.returns
        if dry_run or not (
            changed or returns.requeue or returns.withdraw or _plain(turn.provenance) != _plain(head.provenance)
        ):
            filed = tuple(note.id for note in returns.requeue)
            return None, Told(turn, "dry-run" if dry_run else "unchanged", changed, filed)
        now = self._clock.now()
        requeued = put_back(head.space_id, returns.requeue, now)
        draft = Draft(
            kind=kind,
            actor=actor,
            job_id="",
            batch=0,
            rules=rules,
            files={path: file.content for path, file in files.items()},
            raw={path: file.raw for path, file in files.items() if file.raw is not None},
            provenance=turn.provenance,
            edits=[
                Edit(op=kind.value, path=path, section_path=[], text="", sources=[], filed_by="manual")
                for path in changed
            ],
            synthesis=None if turn.synthesis == head.synthesis else turn.synthesis,
            forgets_synthesis=turn.synthesis is None,
            notes=[withdrawn_note(note, head.note_refs, now) for note in returns.withdraw],
            consumed=[as_consumed(note, hashlib.sha256(object_of(note)).hexdigest()) for note in returns.withdraw],
            removed=removed,
            requeued=requeued,
            undoes=undoes,
        )
        return draft, Told(turn, "applied", changed, tuple(note.id for note in requeued))


def _undone(head: Head, commit: Commit, former: Mapping[str, BankFile], former_sources: Provenance) -> Turn:
    files = dict(head.files)
    clashes: list[Clash] = []
    for path, change in commit.changes.items():
        if change.before_sha256 == change.after_sha256:
            continue
        kept = _later(head, path, commit.version)
        found, clash = _without_change(path, former.get(path), change, head.files.get(path), kept)
        clashes += clash
        if found is None:
            files.pop(path, None)
        else:
            files[path] = found
    freed = {note.id for note in commit.consumed}
    provenance = {}
    for path, file in files.items():
        former_file, before_sources = former.get(path), former_sources.get(path, {})
        later = _later(head, path, commit.version)
        if sources := _sources(head, path, file, former_file, before_sources, freed, later):
            provenance[path] = sources
    kept_notes = tuple(sorted(freed & cited(provenance)))
    return Turn(files, provenance, tuple(clashes), Returns((), ()), kept_notes, head.synthesis)


def _later(head: Head, path: str, version: int) -> frozenset[str]:
    """The blocks of a file that rest on notes filed after a version: they were not its doing alone."""
    return frozenset(
        block
        for block, ids in head.provenance.get(path, {}).items()
        if any((ref := head.note_refs.get(one)) and (version_of(ref.history) or 0) > version for one in ids)
    )


def _without_change(
    path: str, before: BankFile | None, change: Change, now: BankFile | None, kept: AbstractSet[str]
) -> tuple[BankFile | None, list[Clash]]:
    if (now.sha256 if now else None) == change.after_sha256 and not kept:
        return before, []
    if change.raw is not None or any(file is not None and file.raw is not None for file in (before, now)):
        return now, [Clash(path, (), "the file is no text that could be compared")]
    undone = undo(
        path,
        before=before.content if before else None,
        after=change.after,
        now=now.content if now else None,
        kept=kept,
    )
    if undone.content is None:
        return None, undone.clashes
    if now is not None and undone.content == now.content:
        return now, undone.clashes
    base = now or before
    assert base is not None  # noqa: S101 - content comes from one of the two
    return base.model_copy(update={"content": undone.content, "raw": None, "sha256": ""}), undone.clashes


def _sources(
    head: Head,
    path: str,
    file: BankFile,
    before: BankFile | None,
    before_sources: Mapping[str, Sequence[str]],
    freed: AbstractSet[str],
    later: AbstractSet[str],
) -> dict[str, list[str]]:
    """What the blocks of a file rest on once the notes of the undone version are taken away.

    A block that was there before that version, or that rests on later notes too, loses them; one that came with that
    version and had to stay keeps them.
    """
    now, now_sources = head.files.get(path), head.provenance.get(path, {})
    if file is now and not any(freed & set(ids) for ids in now_sources.values()):
        return {block: list(ids) for block, ids in now_sources.items()}
    present = _blocks(now)
    former = _blocks(before)
    found: dict[str, list[str]] = {}
    for block in _blocks(file):
        ids = set(now_sources.get(block, ()))
        if block not in present:
            ids |= set(before_sources.get(block, ()))
        if block in former or block in later:
            ids -= freed
        if ids:
            found[block] = sorted(ids)
    return found


def _blocks(file: BankFile | None) -> frozenset[str]:
    return frozenset(placed.digest for placed in blocks_of(file.content)) if file else frozenset()


def cited(provenance: Provenance) -> set[str]:
    """Every note that something in the bank rests on."""
    return {note for blocks in provenance.values() for ids in blocks.values() for note in ids}


def _plain(provenance: Provenance) -> dict[str, dict[str, list[str]]]:
    return {path: {block: list(ids) for block, ids in blocks.items()} for path, blocks in provenance.items() if blocks}


def _digest(file: BankFile) -> str:
    return file.sha256 or hashlib.sha256(file.content.encode()).hexdigest()
