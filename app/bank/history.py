"""The immutable records of what was committed."""

import asyncio
import gzip
import re
import zlib
from typing import Final

from app.bank.models import Commit
from app.storage.document import DamagedDocument, parsed
from app.storage.store import GZIP, ObjectStore, Stored

_RECORD: Final = re.compile(r"/_history/(?P<version>\d{8})-[0-9a-f]{16}\.json\.gz\Z")


def history_prefix(space_id: str) -> str:
    """Under which key prefix the records of a space lie."""
    return f"{space_id}/_history/"


def record_key(space_id: str, version: int, commit_id: str) -> str:
    """Two writers may prepare the same version; the random part tells their records apart."""
    return f"{history_prefix(space_id)}{version:08d}-{commit_id}.json.gz"


def is_record_of(key: str, version: int) -> bool:
    """Is it the key of a record of that version of a bank, or of an earlier one?"""
    found = version_of(key)
    return found is not None and found <= version


def version_of(key: str) -> int | None:
    """The version that the record under a key was prepared for; None for the key of anything else."""
    match = _RECORD.search(key)
    return int(match["version"]) if match else None


class HistoryStore:
    """Writes and reads commit records. One that no head leads to does not count, and is swept some day."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def write(self, key: str, commit: Commit) -> None:
        body = await asyncio.to_thread(_packed, commit)
        await self._store.create(key, body, content_type=GZIP)

    async def read(self, key: str) -> Commit | None:
        """The record, or None when there is none; raises DamagedDocument."""
        found = await self._store.get(key)
        if not isinstance(found, Stored):
            return None
        return await asyncio.to_thread(_unpacked, key, found.body)

    async def discard(self, key: str) -> None:
        """Remove a record that was never committed."""
        await self._store.delete(key)


def _packed(commit: Commit) -> bytes:
    return gzip.compress(commit.model_dump_json().encode(), compresslevel=6, mtime=0)


def _unpacked(key: str, body: bytes) -> Commit:
    try:
        content = gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedDocument(f"'{key}' is not a gzip file.") from error
    return parsed(Commit, key, content)
