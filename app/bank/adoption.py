"""A space that an older tool has left becomes one of ours: its objects stay where they are, and are the view."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from app.bank.history import HistoryStore, record_key
from app.bank.models import Change, Commit, CommitKind, ManifestEntry
from app.bank.view import synthesis_bytes
from app.core.clock import iso
from app.core.ids import SPACE_ID_PATTERN, new_incarnation, new_nonce
from app.core.schema import parse_instant
from app.spaces.models import ADOPTED, About, BankFile, Counters, Head, Synthesis
from app.storage.store import Listed, ObjectStore, PreconditionFailed, Stored

_IN_FLIGHT: Final = 32
_ACTOR: Final = "live-memory"
_SENTINEL: Final = ".keep"
_HEADER: Final = re.compile(r"---\n(?P<header>(?:[^\n]*\n)*?)---\n\n?(?P<text>.*)", re.DOTALL)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """What an older tool has left under the name of a space."""

    meta: Stored
    rules: Stored | None
    synthesis: Stored | None
    files: Mapping[str, tuple[Listed, bytes]]
    """By path below `bank/`."""


class Adoption:
    """Builds the first version of a bank from the plain objects of 0.2 or 1.3; changes none of them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._history = HistoryStore(store)
        self._gate = asyncio.Semaphore(_IN_FLIGHT)

    async def first_head(self, space_id: str) -> Head | None:
        """The head that such a space begins with here, whose record is written; None where there is no such space.

        Processes that do this at the same time, or again after a crash, write one and the same record.
        """
        if not re.fullmatch(SPACE_ID_PATTERN, space_id) or (meta := await self._read(f"{space_id}/_meta.json")) is None:
            return None
        rules, synthesis, files = await asyncio.gather(
            self._read(f"{space_id}/_rules.md"), self._read(f"{space_id}/_synthesis.md"), self._files(space_id)
        )
        found = _Found(meta, rules, synthesis, files)
        commit_id = _digest(found)
        key = record_key(space_id, 1, commit_id)
        head = _head(space_id, found, key, iso(self._store.now()))
        try:
            await self._history.write(key, _record(head, found, commit_id))
        except PreconditionFailed:
            # Its name is made of all that it says, so it is the record that would have been written.
            log.info("adoption_recorded_before", space_id=space_id)
        unreadable = [path for path, file in head.files.items() if file.raw is not None]
        log.info("space_adopted", space_id=space_id, files=len(head.files), unreadable=unreadable)
        return head

    async def discard(self, head: Head) -> None:
        """Remove the record of a head that was not taken."""
        if head.history is not None:
            await self._history.discard(head.history)

    async def _files(self, space_id: str) -> dict[str, tuple[Listed, bytes]]:
        prefix = f"{space_id}/bank/"
        listed = [
            one
            async for page in self._store.list(prefix)
            for one in page.objects
            if one.key.rpartition("/")[2] not in {_SENTINEL, ""}
        ]
        bodies = await asyncio.gather(*(self._read(one.key) for one in listed))
        return {
            one.key.removeprefix(prefix): (one, stored.body)
            for one, stored in zip(listed, bodies, strict=True)
            if stored is not None
        }

    async def _read(self, key: str) -> Stored | None:
        async with self._gate:
            found = await self._store.get(key)
        return found if isinstance(found, Stored) else None


def _digest(found: _Found) -> str:
    """16 hex digits that name just these objects."""
    digest = hashlib.sha256()
    bodies: Sequence[bytes | None] = (
        found.meta.body,
        found.rules.body if found.rules else None,
        found.synthesis.body if found.synthesis else None,
    )
    named = {f"bank/{path}": body for path, (_listed, body) in found.files.items()}
    for name, body in [*zip(("_meta.json", "_rules.md", "_synthesis.md"), bodies, strict=True), *named.items()]:
        if body is not None:
            digest.update(f"{len(name)} {name} {len(body)} ".encode() + body)
    return digest.hexdigest()[:16]


def _head(space_id: str, found: _Found, key: str, now: str) -> Head:
    meta = _object(found.meta.body)
    changed = iso(found.meta.last_modified)
    counters = Counters(
        consolidation_count=_count(meta, "consolidation_count"),
        total_notes_processed=_count(meta, "total_notes_processed"),
        last_consolidation=_text(meta, "last_consolidation") or None,
    )
    return Head(
        space_id=space_id,
        incarnation=new_incarnation(),
        lineage=[ADOPTED, *_incarnations(meta)],
        version=1,
        history=key,
        committed_at=now,
        nonce=new_nonce(),
        about=About(
            description=_text(meta, "description"),
            owner=_text(meta, "owner"),
            created_at=_instant(_text(meta, "created_at")) or changed,
        ),
        files={path: _file(listed, body, key) for path, (listed, body) in sorted(found.files.items())},
        synthesis=_synthesis(found.synthesis, counters.last_consolidation or changed),
        counters=counters,
    )


def _record(head: Head, found: _Found, commit_id: str) -> Commit:
    return Commit(
        version=1,
        commit_id=commit_id,
        parent_version=0,
        parent=None,
        kind=CommitKind.ADOPT,
        actor=_ACTOR,
        job_id="",
        batch=1,
        at=head.committed_at,
        rules_sha256=hashlib.sha256(found.rules.body if found.rules else b"").hexdigest(),
        changes={
            path: Change(before_sha256=None, after_sha256=file.sha256, after=file.content, raw=file.raw)
            for path, file in head.files.items()
        },
        manifest={
            path: ManifestEntry(
                sha256=file.sha256, history=file.history, bytes=file.bytes, modified_at=file.modified_at
            )
            for path, file in head.files.items()
        },
        edits=[],
        synthesis=head.synthesis.text if head.synthesis else None,
        consumed=[],
        synthesis_now=head.synthesis,
        last_consolidation=head.counters.last_consolidation,
    )


def _file(listed: Listed, body: bytes, key: str) -> BankFile:
    content, raw = _readable(body)
    return BankFile(
        content=content,
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        modified_at=iso(listed.last_modified),
        history=key,
        raw=raw,
    )


def _readable(body: bytes) -> tuple[str, str | None]:
    """The text to be shown, and base64 of the bytes when the text alone would lose some of them."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return body.decode(errors="replace"), base64.b64encode(body).decode()


def _synthesis(stored: Stored | None, otherwise: str) -> Synthesis | None:
    """The synthesis of an older tool. Where ours would be written otherwise, the object itself is kept beside it."""
    if stored is None:
        return None
    text, _raw = _readable(stored.body)
    match = _HEADER.fullmatch(text)
    lines = match["header"].splitlines() if match else []
    header = {
        name.strip(): value.strip().strip('"') for name, found, value in (x.partition(":") for x in lines) if found
    }
    processed = header.get("notes_processed", "")
    synthesis = Synthesis(
        text=match["text"] if match else text,
        consolidated_at=header.get("consolidated_at", "") or otherwise,
        notes_processed=int(processed) if re.fullmatch(r"[0-9]{1,15}", processed) else 0,
    )
    if synthesis_bytes(synthesis) == stored.body:
        return synthesis
    return synthesis.model_copy(update={"raw": base64.b64encode(stored.body).decode()})


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(meta: Mapping[str, Any], name: str) -> str:
    value = meta.get(name)
    # JSON can spell halves of characters, which cannot be stored as UTF-8.
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _count(meta: Mapping[str, Any], name: str) -> int:
    value = meta.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _incarnations(meta: Mapping[str, Any]) -> list[str]:
    """Those of the head that has written this, when it is one of ours whose head was lost."""
    known = meta.get("bank_incarnations")
    named = [one for one in known if isinstance(one, str)] if isinstance(known, list) else []
    return [one for one in dict.fromkeys(named) if one != ADOPTED]


def _instant(text: str) -> str:
    """The instant as it was written, if it is one."""
    try:
        parse_instant(text)
    except ValueError:
        return ""
    return text
