"""One model in one object, changed by compare-and-swap."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from app.core.errors import Conflict, StoreUnavailable, Unavailable
from app.core.ids import new_nonce
from app.core.schema import Record
from app.storage.store import JSON, ObjectStore, OutcomeUnknown, PreconditionFailed, Stored

ROUNDS: Final = 5
"""Attempts of one change."""

REMEMBERED: Final = 32
"""Changes that a document names, so that whoever made one of them can tell."""
_CHANGES: Final = "last_changes"

M = TypeVar("M", bound=Record)


class DamagedDocument(Unavailable):
    """A stored document cannot be understood; an operator has to look at it."""


def parsed(model: type[M], key: str, body: bytes) -> M:
    """The stored document in these bytes; raises DamagedDocument when they are not one."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise DamagedDocument(
            f"'{key}' cannot be understood (it is no {model.__name__}): an operator has to put back a version of that "
            "object, from a copy or the bucket's own versions; a space without its '_bank.json' is adopted from its "
            "plain files."
        ) from error


@dataclass(frozen=True, slots=True)
class Version(Generic[M]):
    """A document as it was read, and the ETag that a later `replace` states."""

    model: M
    etag: str


class Document(Generic[M]):
    """A model with a `nonce`, kept in one object that several writers change.

    Within a process the changes made through one `Document` wait for each other, so share it where writers meet;
    between processes compare-and-swap decides.
    """

    def __init__(
        self, store: ObjectStore, key: str, model: type[M], *, pause: timedelta = timedelta(milliseconds=20)
    ) -> None:
        if "nonce" not in model.model_fields:
            raise TypeError(f"{model.__name__} needs a `nonce`, which makes each of its versions unlike any other")
        self._store = store
        self._key = key
        self._model = model
        self._pause = pause.total_seconds()
        self._turn = asyncio.Lock()

    async def read(self) -> Version[M] | None:
        """The document; None when there is none.

        Raises:
            DamagedDocument: there is one, but not of this model.
        """
        stored = await self._store.get(self._key)
        return self._parse(stored) if isinstance(stored, Stored) else None

    async def change(self, change: Callable[[M | None], M | None]) -> M | None:
        """Write what `change` makes of the document, and return it.

        `change` gets None when there is no document yet. It must be pure, since it runs again on the new document when
        another writer was faster. When it returns None or what it was given, nothing is written, and the document is
        returned as it is. What it raises ends the change. It is never made twice: a document names its last changes,
        so one whose answer was lost is recognised even when others have gone on from it.

        Raises:
            Conflict: others were faster each time.
            OutcomeUnknown: nobody can tell.
            DamagedDocument: there is a document, but not of this model.
        """
        nonce = new_nonce()
        async with self._turn:
            version = await self.read()
            for attempt in range(ROUNDS):
                current = version.model if version else None
                changed = change(current)
                if changed is None or changed is current:
                    return current
                written = _stamped(changed, nonce, current)
                unknown: OutcomeUnknown | None = None
                try:
                    await self._write(written, version)
                except PreconditionFailed:
                    # Anywhere between nothing and twice the pause before: writers that met once must not meet again.
                    await asyncio.sleep(self._pause * 2**attempt * int(new_nonce(), 16) / 2**64)
                except OutcomeUnknown as outcome:
                    unknown = outcome
                else:
                    return written
                version = await self._read_after(unknown)
                if version is not None and nonce in _changes_of(version.model):
                    return version.model if version.model.__dict__.get("nonce") == nonce else written
        raise Conflict(f"'{self._key}' is being changed by too many others at once; try again.", retry_after=1)

    async def _read_after(self, unknown: OutcomeUnknown | None) -> Version[M] | None:
        try:
            return await self.read()
        except StoreUnavailable:
            if unknown is None:
                raise
            raise unknown from None

    async def _write(self, model: M, version: Version[M] | None) -> None:
        body = model.model_dump_json(by_alias=True).encode()
        if version is None:
            await self._store.create(self._key, body, content_type=JSON)
        else:
            await self._store.replace(self._key, body, etag=version.etag, content_type=JSON)

    def _parse(self, stored: Stored) -> Version[M]:
        return Version(parsed(self._model, stored.key, stored.body), stored.etag)


def _changes_of(model: Record | None) -> list[str]:
    """The nonces of the last changes, the newest first."""
    found = (model.model_extra or {}).get(_CHANGES, []) if model is not None else []
    return [str(nonce) for nonce in found] if isinstance(found, list) else []


def _stamped(changed: M, nonce: str, before: Record | None) -> M:
    changes = [nonce, *_changes_of(before)][:REMEMBERED]
    return changed.model_copy(update={"nonce": nonce, _CHANGES: changes})
