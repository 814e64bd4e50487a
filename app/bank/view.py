"""The same bank as plain Markdown objects, for people and older tools. Derived from the head after each commit."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, Final

import structlog

from app.bank.history import HistoryStore
from app.bank.versions.queue import object_of
from app.core.clock import Clock
from app.core.errors import Situation
from app.spaces.models import BankFile, Head, Synthesis
from app.spaces.service import SpaceService
from app.storage.document import DamagedDocument
from app.storage.store import JSON, MARKDOWN, TEXT, ObjectStore, PreconditionFailed, Stored

_SYNTHESIS: Final = "_synthesis.md"
_LOOKED_BACK: Final = 100
"""Versions that are gone through to find out whether an object of the view is of one of them."""
_IN_FLIGHT: Final = 16
_PATIENCE: Final = 5.0
"""Seconds before somebody else is asked to bring a view up to date."""

log = structlog.get_logger(__name__)


def render_view(head: Head) -> Iterator[tuple[str, bytes, str]]:
    """Every object of the view of one version: path below the space, bytes, content type. `_meta.json` comes last."""
    yield "bank/.keep", b"", TEXT
    yield "live/.keep", b"", TEXT
    for path, body in _files(head):
        yield path, body, MARKDOWN
    yield "_meta.json", render_meta(head, {}), JSON


def _files(head: Head) -> Iterator[tuple[str, bytes]]:
    for path, file in head.files.items():
        yield f"bank/{path}", _file_bytes(file)
    if head.synthesis is not None:
        yield _SYNTHESIS, synthesis_bytes(head.synthesis)


def _file_bytes(file: BankFile) -> bytes:
    return file.content.encode() if file.raw is None else base64.b64decode(file.raw)


def synthesis_object(head: Head) -> str | None:
    """The synthesis with its header, as older tools know it."""
    return None if head.synthesis is None else synthesis_bytes(head.synthesis).decode(errors="replace")


def synthesis_bytes(synthesis: Synthesis) -> bytes:
    """The object of a synthesis: one that an older tool has written stays as it is."""
    if synthesis.raw is not None:
        return base64.b64decode(synthesis.raw)
    return (
        f'---\nconsolidated_at: "{synthesis.consolidated_at}"\n'
        f"notes_processed: {synthesis.notes_processed}\n---\n\n{synthesis.text}"
    ).encode()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def render_meta(head: Head, former: dict[str, Any]) -> bytes:
    """The `_meta.json` of the view; fields that other tools have added to the former one are kept."""
    meta = {
        **former,
        "space_id": head.space_id,
        "description": head.about.description,
        "owner": head.about.owner,
        "created_at": head.about.created_at,
        **head.counters.model_dump(
            mode="json", include={"last_consolidation", "consolidation_count", "total_notes_processed"}
        ),
        "version": 1,
        "bank_version": head.version,
        "bank_nonce": head.nonce,
        # Should the head be lost, the space is adopted from its view, and the notes that wait must still be its own.
        "bank_incarnations": [head.incarnation, *head.lineage],
        "bank_view": {path: _digest(body) for path, body in _files(head)},
    }
    return json.dumps(meta, indent=2, ensure_ascii=False).encode()


class View:
    """Brings the plain objects of a space up to its head: anybody may do it, at any time, again and again."""

    def __init__(self, store: ObjectStore, spaces: SpaceService, clock: Clock) -> None:
        self._store = store
        self._spaces = spaces
        self._clock = clock
        self._history = HistoryStore(store)
        self._gate = asyncio.Semaphore(_IN_FLIGHT)
        self._current: dict[str, str] = {}
        """Space, and nonce of the head that this process last saw the view agree with."""
        self._turns: dict[str, asyncio.Lock] = {}
        self._asked: dict[str, float] = {}
        """Space, and when somebody was last asked to see to its view."""

    def wants(self, head: Head) -> bool:
        """Should somebody see to the view? At most one is asked every few seconds."""
        if self._current.get(head.space_id) == head.nonce:
            return False
        now = self._clock.monotonic()
        if now - self._asked.get(head.space_id, -_PATIENCE) < _PATIENCE:
            return False
        self._asked[head.space_id] = now
        return True

    async def roll_forward(self, space_id: str) -> None:
        """Make the view agree with the head, and remove the notes that it has filed."""
        async with self._turns.setdefault(space_id, asyncio.Lock()):
            while True:
                opened = await self._spaces.find(space_id)
                if opened is None:
                    break
                if self._current.get(space_id) == opened.head.nonce:
                    self._asked.pop(space_id, None)
                    return
                with suppress(_Overtaken, PreconditionFailed):
                    await self._write(opened.head)
                    self._current[space_id] = opened.head.nonce
        for remembered in (self._current, self._turns, self._asked):
            remembered.pop(space_id, None)

    async def roll_forward_or_log(self, space_id: str) -> None:
        """The same, where nobody waits for it: what fails is tried again at the next touch of the space."""
        try:
            await self.roll_forward(space_id)
        except Situation as situation:
            log.warning("view_lags", space_id=space_id, code=situation.code())

    async def _write(self, head: Head) -> None:
        space_id = head.space_id
        meta = await self._read(f"{space_id}/_meta.json")
        former = _object(meta)
        if former.get("bank_nonce") == head.nonce:
            return
        await self._requeue(head)
        if meta is not None and not former:
            await self._keep_outside_edit(head, meta, former)
        await self._spaces.ensure_rules(head)
        await self._remove_filed(head)
        wanted = {f"{space_id}/{path}": (body, kind) for path, body, kind in render_view(head)}
        meta_key = f"{space_id}/_meta.json"
        del wanted[meta_key]
        for key, (body, kind) in wanted.items():
            await self._bring(head, key, body, kind, former)
        await self._remove_stale(head, wanted.keys(), former)
        if head.synthesis is None:
            await self._remove_synthesis(head, former)
        await self._demand(head)
        await self._swap(meta_key, render_meta(head, former), JSON, meta)

    async def _bring(self, head: Head, key: str, body: bytes, kind: str, former: dict[str, Any]) -> None:
        """Write one object of the view against what was read before the head was seen to be still this one.

        In that order a slow writer of an older version fails instead of writing over a newer view.
        """
        present = await self._read(key)
        if present is not None and present.body == body:
            return
        if present is not None:
            await self._keep_outside_edit(head, present, former)
        await self._demand(head)
        await self._swap(key, body, kind, present)

    async def _swap(self, key: str, body: bytes, kind: str, present: Stored | None) -> None:
        if present is None:
            await self._store.create(key, body, content_type=kind)
        else:
            await self._store.replace(key, body, etag=present.etag, content_type=kind)

    async def _remove_stale(self, head: Head, wanted: Collection[str], former: dict[str, Any]) -> None:
        """Remove files that the bank no longer has; what people have put there is kept aside."""
        async for page in self._store.list(f"{head.space_id}/bank/"):
            names = [listed.key for listed in page.objects if not listed.key.endswith("/.keep")]
            stale = [key for key in names if key not in wanted]
            for key in stale:
                if (present := await self._read(key)) is not None:
                    await self._keep_outside_edit(head, present, former)
            await self._demand(head)
            await self._store.delete_many(stale)

    async def _remove_synthesis(self, head: Head, former: dict[str, Any]) -> None:
        """Remove the synthesis of a bank that has gone back to before its first one."""
        if _SYNTHESIS not in former.get("bank_view", {}):
            return
        if (present := await self._read(f"{head.space_id}/{_SYNTHESIS}")) is not None:
            await self._keep_outside_edit(head, present, former)
            await self._demand(head)
            await self._store.delete(present.key)

    async def _keep_outside_edit(self, head: Head, present: Stored, former: dict[str, Any]) -> None:
        """Keep what somebody has written over the view by hand: the view is not read, but no work is lost either."""
        path = present.key.removeprefix(f"{head.space_id}/")
        found = _digest(present.body)
        if not present.body or former.get("bank_view", {}).get(path) == found:
            return
        if await self._is_of_a_version(head, former, path, present.body):
            return
        kept = f"{head.space_id}/_outside/{head.version:08d}-{found}/{path}"
        await self._store.put(kept, present.body, content_type=MARKDOWN)
        log.warning("outside_edit_kept", space_id=head.space_id, path=path, kept=kept)

    async def _is_of_a_version(self, head: Head, former: dict[str, Any], path: str, body: bytes) -> bool:
        """Are these the bytes of a version since the view was last whole? Its writer was overtaken or has died."""
        since = former.get("bank_version")
        if not isinstance(since, int):
            return False
        name, digest = path.removeprefix("bank/"), hashlib.sha256(body).hexdigest()
        key = head.history
        while key is not None and (record := await self._history.read(key)) is not None and record.version > since:
            change = record.changes.get(name)
            if path != name and change is not None and change.after_sha256 == digest:
                return True
            if path == _SYNTHESIS and record.synthesis and body.endswith(f"\n---\n\n{record.synthesis}".encode()):
                return True
            if head.version - record.version >= _LOOKED_BACK:
                return False
            key = record.parent
        return False

    async def _requeue(self, head: Head) -> None:
        """Make the objects of the notes that were put back in the queue, as far as they are not there."""
        if not head.requeue:
            return
        prefix = f"{head.space_id}/live/"
        there = {listed.key async for page in self._store.list(prefix) for listed in page.objects}
        missing = {note_id for note_id in head.requeue if prefix + note_id not in there}
        for record in sorted({head.requeue[note_id].history for note_id in missing}):
            commit = await self._history.read(record)
            if commit is None:
                raise DamagedDocument(f"The history has lost '{record}', which holds notes that wait.")
            # A note that was not listed may have been filed just then.
            await self._demand(head)
            notes = [note for note in commit.requeued if note.id in missing]
            await asyncio.gather(*(self._make(prefix + note.id, object_of(note)) for note in notes))
        if missing and await self._spaces.find(head.space_id) is None:
            # Whoever has removed the space meanwhile may have listed it before.
            await self._store.delete_many(sorted(prefix + note_id for note_id in missing))

    async def _make(self, key: str, body: bytes) -> None:
        async with self._gate:
            with suppress(PreconditionFailed):
                await self._store.create(key, body, content_type=MARKDOWN)

    async def _remove_filed(self, head: Head) -> None:
        """Remove the objects of notes that the head has filed, whatever wrote them."""
        prefix = f"{head.space_id}/live/"
        async for page in self._store.list(prefix):
            filed = [
                listed.key
                for listed in page.objects
                if not listed.key.endswith(".keep") and not head.is_pending(listed.key.removeprefix(prefix))
            ]
            if not filed:
                continue
            # Listed before: in a space restored meanwhile the same names may wait again.
            await self._demand(head)
            if left := await self._store.delete_many(filed):
                log.warning("filed_notes_not_removed", space_id=head.space_id, count=len(left))

    async def _demand(self, head: Head) -> None:
        """Raise when the head has moved on: a newer view is being written, or there is no space any more."""
        opened = await self._spaces.find(head.space_id)
        if opened is None or opened.head.nonce != head.nonce:
            raise _Overtaken

    async def _read(self, key: str) -> Stored | None:
        found = await self._store.get(key)
        return found if isinstance(found, Stored) else None


class _Overtaken(Exception):
    """The head is another one by now."""


def _object(stored: Stored | None) -> dict[str, Any]:
    try:
        found = json.loads(stored.body) if stored else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
